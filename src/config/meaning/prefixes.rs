//! The difference between the path of a client's request and the one that goes upstream.

/// What is taken from the beginning of a path, and what is put there. Both are empty, or begin with a slash and do not
/// end with one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prefixes {
    /// Every path of the route begins with it, and goes on with a slash or ends there.
    pub strip: String,
    /// What stands in its place.
    pub add: String,
}

impl Prefixes {
    /// The path that goes upstream, in two pieces. It begins with one slash. `path`: one that the route has matched.
    #[inline]
    pub fn apply<'p>(&'p self, path: &'p [u8]) -> [&'p [u8]; 2] {
        if self.strip.is_empty() && self.add.is_empty() {
            return [b"", path];
        }
        let mut rest = path.get(self.strip.len()..).unwrap_or_default();
        // `//host` would be another authority to whoever resolves it.
        while !self.strip.is_empty() && rest.starts_with(b"//") {
            rest = &rest[1..];
        }
        match (self.add.as_bytes(), rest) {
            (b"", b"") => [b"", b"/"],
            (add, rest) => [add, rest],
        }
    }

    /// Whether it changes anything.
    pub fn is_empty(&self) -> bool {
        self.strip.is_empty() && self.add.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_its_one_slash_at_the_beginning() {
        for (strip, add, path, expected) in [
            ("", "", "/a", "/a"),
            ("/api", "", "/api", "/"),
            ("/api", "", "/api/", "/"),
            ("/api", "", "/api/a/", "/a/"),
            ("/API", "", "/api/a", "/a"),
            ("/api", "/v2", "/api", "/v2"),
            ("/api", "/v2", "/api/", "/v2/"),
            ("/api/x", "/v/2", "/api/x/%C3%A9", "/v/2/%C3%A9"),
            ("", "/v2", "/", "/v2/"),
            ("", "/v2", "/a/b", "/v2/a/b"),
            ("/api", "", "/api//host/x", "/host/x"),
        ] {
            let prefixes = Prefixes { strip: strip.into(), add: add.into() };
            let sent = prefixes.apply(path.as_bytes()).concat();
            assert_eq!(String::from_utf8_lossy(&sent), expected, "{strip} {add} {path}");
        }
    }
}
