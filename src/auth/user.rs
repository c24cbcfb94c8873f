//! The user of a verified token.

use std::rc::Rc;

use super::holder::Holder;
use super::kept::KeptClaims;
use crate::limits::SUBJECT_BYTES_MAX;

/// The subject of a verified token: 1 to 256 visible ASCII characters, so a header field, a Redis key and a log line
/// can carry it unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User(Rc<str>);

impl User {
    /// `None` if the name cannot be a user.
    pub(super) fn parse(name: &str) -> Option<User> {
        User::is_valid(name).then(|| User(Rc::from(name)))
    }

    /// Whether a name can be a user.
    pub(super) fn is_valid(name: &str) -> bool {
        (1..=SUBJECT_BYTES_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
    }

    /// The name as the token spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a valid token says: its user, and from when to when it is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The user whom the token names.
    pub user: User,
    /// The first second, since 1970, at which the token is valid, leeway included; 0 without `nbf`.
    pub valid_from_unix_s: u64,
    /// The first second, since 1970, at which the token is no longer valid, leeway included.
    pub expires_unix_s: u64,
    /// Whose it is, to whoever looks for it later.
    pub holder: Rc<Holder>,
    /// What routes want to know of its claims.
    pub claims: KeptClaims,
}
