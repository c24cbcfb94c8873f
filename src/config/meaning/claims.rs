//! Claims: where they stand in a token, and what routes want to know of them.

/// One claim that a route requires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredClaim {
    /// Where the claim stands.
    pub claim: ClaimPath,
    /// The values of which it must have, or contain, one. Ascending.
    pub any_of: Vec<String>,
    /// The cause of a refusal in the access log: it names the claim.
    pub cause: String,
    /// Index into [`WantedClaims::required`].
    pub index: usize,
}

/// One field that a route sets from a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimField {
    /// The name of the field, below `X-Internal-`.
    pub field: String,
    /// Where the claim stands.
    pub claim: ClaimPath,
    /// The cause of a refusal in the access log: it names the claim.
    pub cause: String,
    /// Index into [`WantedClaims::forwarded`].
    pub index: usize,
}

/// What all routes together want to know of a token. It is looked up when the token is verified, and kept with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WantedClaims {
    /// The different requirements.
    pub required: Vec<RequiredClaim>,
    /// The different claims that go into fields.
    pub forwarded: Vec<ClaimPath>,
}

/// Where a claim stands: the names on the way to it, never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath {
    /// As it is written.
    pub text: String,
    /// The names on the way, from the outermost.
    pub names: Vec<String>,
}

impl ClaimPath {
    /// Reads `sub`, `user.id` or the JSON pointer `/user/id` (RFC 6901). A name with `://` in it, as some issuers have
    /// them, is one name. `None`: a name is empty, or a pointer has a wrong escape.
    pub fn parse(text: &str) -> Option<ClaimPath> {
        let names: Vec<String> = match text.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(unescaped).collect::<Option<_>>()?,
            None if text.contains("://") => vec![text.to_owned()],
            None => text.split('.').map(str::to_owned).collect(),
        };
        let is_whole = names.iter().all(|name| !name.is_empty());
        is_whole.then(|| ClaimPath { text: text.to_owned(), names })
    }
}

/// A reference token of a JSON pointer: `~1` is a slash and `~0` a tilde, and no other escape exists.
fn unescaped(token: &str) -> Option<String> {
    let mut pieces = token.split('~');
    let mut name = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (sign, rest) = match piece.as_bytes().first()? {
            b'0' => ('~', &piece[1..]),
            b'1' => ('/', &piece[1..]),
            _ => return None,
        };
        name.push(sign);
        name.push_str(rest);
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_named_by_dots_by_a_pointer_or_as_a_whole() {
        let names = |text: &str| ClaimPath::parse(text).map(|path| path.names);
        let some = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(names("sub"), some(&["sub"]));
        assert_eq!(names("user.id"), some(&["user", "id"]));
        assert_eq!(names("/user/id"), some(&["user", "id"]));
        assert_eq!(names("/a.b/c~1d~0e~01"), some(&["a.b", "c/d~e~1"]));
        assert_eq!(names("https://chat.example/user.id"), some(&["https://chat.example/user.id"]));
        for wrong in ["", ".", "a.", ".a", "a..b", "/", "/a/", "//a", "/a~", "/a~2"] {
            assert_eq!(names(wrong), None, "{wrong}");
        }
    }
}
