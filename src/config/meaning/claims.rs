//! What routes want to know of the claims of a token.

use super::tokens::ClaimPath;

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
