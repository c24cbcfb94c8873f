//! How tokens are signed and verified.

use std::fmt;
use std::time::Duration;

/// How tokens are signed and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwt {
    /// HS256 secrets. The first one signs, all of them verify. Never empty.
    pub secrets: Vec<Secret>,
    /// The required value of `iss`. `None`: not checked.
    pub issuer: Option<String>,
    /// The value that `aud` must be or contain. `None`: not checked.
    pub audience: Option<String>,
    /// Allowed clock difference for `exp` and `nbf`.
    pub leeway: Duration,
    /// The claim that names the user.
    pub user_claim: String,
}

/// Secret bytes. They never appear in a log, an error or `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
