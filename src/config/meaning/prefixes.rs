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

    /// What stands behind the authority of a URL that a service has made, as the client has to ask for it, in two
    /// pieces: the reverse of [`Prefixes::apply`]. A path that no request of the route has upstream stays as it is.
    pub fn undo<'p>(&'p self, rest: &'p [u8]) -> [&'p [u8]; 2] {
        let is_end = |byte: &u8| matches!(byte, b'/' | b'?' | b'#') || !is_of_path(*byte);
        let behind = rest.strip_prefix(self.add.as_bytes()).filter(|rest| rest.first().is_none_or(is_end));
        match (behind, self.strip.as_bytes()) {
            _ if self.is_empty() => [b"", rest],
            (None, _) => [b"", rest],
            (Some(behind), b"") if behind.first() != Some(&b'/') => [b"/", behind],
            (Some(behind), strip) => [strip, behind],
        }
    }

    /// Whether it changes anything.
    pub fn is_empty(&self) -> bool {
        self.strip.is_empty() && self.add.is_empty()
    }
}

/// Whether a path may have this byte, and not what ends a URL in a field.
fn is_of_path(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"';,".contains(&byte)
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

    #[test]
    fn the_path_of_a_service_becomes_that_of_its_client_again() {
        for (strip, add, path, expected) in [
            ("", "", "/a", "/a"),
            ("/shop", "", "/cart?x#y", "/shop/cart?x#y"),
            ("/shop", "", "/", "/shop/"),
            ("/shop", "", "", "/shop"),
            ("/shop", "", "?x", "/shop?x"),
            ("/shop", "", "'", "/shop'"),
            ("/shop", "/v2", "/v2/cart", "/shop/cart"),
            ("/shop", "/v2", "/v2", "/shop"),
            ("/shop", "/v2", "/v2?x", "/shop?x"),
            ("/shop", "/v2", "/v2'", "/shop'"),
            ("", "/v2", "/v2", "/"),
            ("", "/v2", "/v2?x", "/?x"),
            ("", "/v2", "/v2/a", "/a"),
            // Not below what the route adds: another path of the service.
            ("/shop", "/v2", "/v20/a", "/v20/a"),
            ("/shop", "/v2", "/login", "/login"),
            ("/shop", "/v2", "", ""),
        ] {
            let prefixes = Prefixes { strip: strip.into(), add: add.into() };
            let asked = prefixes.undo(path.as_bytes()).concat();
            assert_eq!(String::from_utf8_lossy(&asked), expected, "{strip} {add} {path}");
        }
    }
}
