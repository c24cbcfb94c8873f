//! Whose a token is, as everything that comes later speaks of it: revocations, renewals, open WebSockets.

use std::fmt;

use aws_lc_rs::digest;

use super::json::{Json, Object};

/// A hash of a name: the first 128 bits of SHA-256. It has no key of the process, so that it means the same to another
/// process and to another instance. A user, a token and a session of the same name have different ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark([u64; 2]);

/// What a name belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A user: the claim that names them.
    User,
    /// One token: its `jti`.
    Token,
    /// A session at the issuer, with all tokens that come of it: their `sid`.
    Session,
}

/// Who holds a verified token. It is made once, when the token is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// The user.
    pub user: Mark,
    /// The token; `None`: it has no `jti`.
    pub token: Option<Mark>,
    /// The session; `None`: it has no `sid`.
    pub session: Option<Mark>,
    /// When the token was issued, in whole seconds since 1970; 0 without `iat`.
    pub issued_unix_s: u64,
    /// The first second, since 1970, at which the token is no longer valid, leeway included.
    pub expires_unix_s: u64,
}

impl Mark {
    /// The mark of a name.
    pub fn of(subject: Subject, name: &str) -> Mark {
        Mark::tagged(subject as u8, name.as_bytes())
    }

    /// The mark of a secret that the client has chosen.
    pub fn of_handle(handle: &[u8]) -> Mark {
        Mark::tagged(HANDLE, handle)
    }

    /// The mark of a route's name.
    pub fn of_route(name: &str) -> Mark {
        Mark::tagged(ROUTE, name.as_bytes())
    }

    fn tagged(tag: u8, bytes: &[u8]) -> Mark {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&[tag]);
        context.update(bytes);
        Mark::first_of(context.finish().as_ref())
    }

    fn first_of(digest: &[u8]) -> Mark {
        let word = |at: usize| {
            let bytes = digest.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u64::from_be_bytes)
        };
        Mark([word(0), word(8)])
    }

    /// Its bits as 32 hex digits.
    pub fn hex(self) -> String {
        format!("{:016x}{:016x}", self.0[0], self.0[1])
    }

    /// The mark of 32 hex digits.
    pub fn from_hex(text: &str) -> Option<Mark> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let (high, low) = text.split_at_checked(16).filter(|_| is_hex)?;
        Some(Mark([u64::from_str_radix(high, 16).ok()?, u64::from_str_radix(low, 16).ok()?]))
    }

    /// Its bits.
    pub fn words(self) -> [u64; 2] {
        self.0
    }

    /// The mark with these bits.
    pub fn from_words(words: [u64; 2]) -> Mark {
        Mark(words)
    }
}

impl Holder {
    /// The holder of a token with these claims.
    pub(super) fn of(user: &str, claims: &Object<'_>, issued_unix_s: u64, expires_unix_s: u64) -> Holder {
        let mark = |subject, claim: &str| match claims.get(claim)? {
            Json::String(name) => Some(Mark::of(subject, name)),
            Json::Whole(number) => Some(Mark::of(subject, &number.to_string())),
            _ => None,
        };
        Holder {
            user: Mark::of(Subject::User, user),
            token: mark(Subject::Token, "jti"),
            session: mark(Subject::Session, "sid"),
            issued_unix_s,
            expires_unix_s,
        }
    }
}

#[cfg(test)]
impl Holder {
    /// The holder of a token that says little.
    pub fn someone(user: &str, issued_unix_s: u64) -> Holder {
        let user = Mark::of(Subject::User, user);
        Holder { user, token: None, session: None, issued_unix_s, expires_unix_s: 1_800_000_000 }
    }
}

impl fmt::Debug for Mark {
    /// The first bits: enough to tell two apart in a test.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mark({:08x}…)", self.0[0] >> 32)
    }
}

/// Stands before a handle where a [`Subject`] stands before a name.
const HANDLE: u8 = 0xff;
/// The same for the name of a route.
const ROUTE: u8 = 0xfe;

#[cfg(test)]
mod tests {
    use super::super::json;
    use super::*;

    /// Another process, and another version of the program, has to come to the same bits.
    #[test]
    fn a_mark_is_the_same_everywhere() {
        // printf '\0alice' | sha256sum
        let mark = Mark::of(Subject::User, "alice");
        assert_eq!(format!("{:016x}{:016x}", mark.words()[0], mark.words()[1]), ALICE);
        assert_eq!((Mark::from_words(mark.words()), Mark::from_hex(&mark.hex())), (mark, Some(mark)));
        for wrong in ["", "0", &"g".repeat(32), &"0".repeat(31), &"+".repeat(32), &"é".repeat(16)] {
            assert_eq!(Mark::from_hex(wrong), None, "{wrong}");
        }
        let others = [Mark::of(Subject::Token, "alice"), Mark::of(Subject::Session, "alice")];
        assert!(
            !others.contains(&mark) && others[0] != others[1] && !others.contains(&Mark::of_handle(b"alice"))
        );
    }

    const ALICE: &str = "1255dacaa637f70cb606763d3035c7ef";

    #[test]
    fn a_holder_is_what_the_claims_say() {
        let holder = |claims: &str| Holder::of("alice", &json::object(claims.as_bytes()).unwrap(), 5, 9);
        let both = holder(r#"{"jti":"j","sid":"s"}"#);
        assert_eq!(both.token, Some(Mark::of(Subject::Token, "j")));
        assert_eq!(both.session, Some(Mark::of(Subject::Session, "s")));
        assert_eq!((both.issued_unix_s, both.expires_unix_s), (5, 9));
        assert_eq!(holder(r#"{"jti":7}"#).token, Some(Mark::of(Subject::Token, "7")));
        let neither = holder(r#"{"jti":null,"sid":["s"]}"#);
        assert_eq!((neither.token, neither.session, neither.user), (None, None, both.user));
    }
}
