//! Why a request has no verified user.

use std::fmt;

use crate::config::IssuerSet;

/// Why a request has no verified user. The client learns whether its token is missing, invalid, expired or cannot be
/// judged; the access log also says which
/// check failed ([`cause`](Self::cause)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialError {
    /// There is no bearer token: no `Authorization`, another scheme, or the scheme alone.
    Missing,
    /// The credential is not a valid token. The client does not learn why, because only a forger needs to know.
    Invalid(TokenFault),
    /// The token is valid in every respect, but it has expired: the client should get a new one.
    Expired,
    /// The token is valid in every respect, but it, its session or its user was revoked.
    Revoked,
    /// It cannot be said whether the token was revoked: what is known of revocations is too old.
    RevocationsStale,
    /// No key has the name that the token gives. A newer key set of one of these issuers may have it.
    UnknownKey(UnknownKey),
    /// An issuer to whom the token may belong has no keys yet: nobody can say whether it is valid.
    KeysUnavailable,
}

/// The name of a key that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownKey {
    /// A hash of the name.
    pub kid: u64,
    /// The issuers whose key set may have it by now.
    pub issuers: IssuerSet,
}

/// The check that a token failed. It holds nothing of the token, so a log may show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    /// The request has two credentials: two `Authorization` fields, or tokens in two places of a handshake.
    TwoCredentials,
    /// The token is longer than [`TOKEN_BYTES_MAX`](crate::limits::TOKEN_BYTES_MAX).
    TooLong,
    /// The token does not have three parts, one of them is empty, or a tab precedes the token.
    Malformed,
    /// The token is encrypted: it has five parts (RFC 7516 §3.1).
    Encrypted,
    /// A part is not strict base64url.
    Encoding,
    /// The header is not one JSON object with a string `alg`, or its `kid` or `typ` is not a string.
    Header,
    /// The header has `crit`, `b64`, `enc` or `zip`, which change what the other parts mean.
    CriticalHeader,
    /// No key is for the algorithm that the header names.
    Algorithm,
    /// More keys could have signed it than [`KEYS_TRIED_MAX`](crate::limits::KEYS_TRIED_MAX).
    ManyKeys,
    /// No key of that algorithm made the signature.
    Signature,
    /// It is a token of another kind, as its `typ` says.
    Type,
    /// The claims are not one JSON object.
    Claims,
    /// The user's claim is absent, or neither 1 to 256 visible ASCII characters nor a whole number.
    Subject,
    /// `exp` is absent or not a date.
    NoExpiry,
    /// `nbf` is not a date.
    NotBefore,
    /// `iss` is not the issuer whose key made the signature.
    Issuer,
    /// `aud` does not contain a configured audience.
    Audience,
    /// The token is bound to a key or certificate of its client (`cnf`, RFC 7800), which nobody checks here.
    Bound,
    /// `iat` is absent or not a date, where the lifetime of tokens is bounded.
    NoIssuedAt,
    /// From `iat` to `exp` it is longer than its issuer's tokens may live.
    Lifetime,
    /// `nbf` is in the future.
    NotYetValid,
    /// A dear token of an address that is limited already, over [`crate::limits::DEAR_TOKENS_PER_TICK`]: not looked at.
    Unverified,
}

impl CredentialError {
    /// The stable `code` of the problem document.
    pub fn code(self) -> &'static str {
        match self {
            CredentialError::Missing => "token_missing",
            CredentialError::Invalid(_) => "token_invalid",
            CredentialError::Expired => "token_expired",
            CredentialError::Revoked => "token_revoked",
            CredentialError::RevocationsStale => "revocation_unavailable",
            CredentialError::UnknownKey(_) => "token_invalid",
            CredentialError::KeysUnavailable => "keys_unavailable",
        }
    }

    /// The failed check, as a stable word for the access log and the metric.
    pub fn cause(self) -> &'static str {
        CAUSES[self.nth()]
    }

    /// The place of its cause among all of them.
    pub fn nth(self) -> usize {
        match self {
            CredentialError::Missing => 0,
            CredentialError::Expired => 1,
            CredentialError::UnknownKey(_) => 2,
            CredentialError::KeysUnavailable => 3,
            CredentialError::Revoked => 4,
            CredentialError::RevocationsStale => 5,
            CredentialError::Invalid(fault) => 6 + fault as usize,
        }
    }
}

/// The words for the causes: first those that are no [`TokenFault`], then the faults in their order.
pub(super) const CAUSES: [&str; 28] = [
    "missing",
    "expired",
    "unknown_key",
    "keys_unavailable",
    "revoked",
    "revocations_stale",
    "two_credentials",
    "too_long",
    "malformed",
    "encrypted",
    "encoding",
    "header",
    "critical_header",
    "algorithm",
    "many_keys",
    "signature",
    "token_type",
    "claims",
    "subject",
    "no_expiry",
    "not_before",
    "issuer",
    "audience",
    "token_bound",
    "no_issued_at",
    "lifetime",
    "not_yet_valid",
    "unverified",
];
const _: () = assert!(CAUSES.len() == 7 + TokenFault::Unverified as usize);

impl From<TokenFault> for CredentialError {
    fn from(fault: TokenFault) -> CredentialError {
        CredentialError::Invalid(fault)
    }
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl std::error::Error for CredentialError {}

#[cfg(test)]
mod tests {
    use super::super::bearer;
    use super::super::testing::{CLAIMS, HEADER, NOW, encode, keys, sealed, token, with};
    use super::*;
    use crate::config::Jwt;
    use crate::limits::TOKEN_BYTES_MAX;

    /// A configuration in which every check can fail.
    fn strict() -> Jwt {
        with(|issuer| {
            issuer.issuer = Some("us".to_owned());
            issuer.audiences = vec!["chat".to_owned()];
            issuer.lifetime_max = Some(std::time::Duration::from_secs(3600));
        })
    }

    fn cause_of(fields: &[&[u8]]) -> &'static str {
        let verify = |token: &[u8]| keys(&strict()).verify(token, IssuerSet::ALL, NOW);
        bearer(fields.iter().copied()).and_then(verify).map_or_else(CredentialError::cause, |_| "valid")
    }

    #[test]
    fn every_check_that_fails_names_its_cause() {
        let signed = |claims: &str| token(HEADER, format!("{{{claims}}}"));
        let alg = |header: &str| token(header, CLAIMS);
        let rest = r#""sub":"alice","exp":1800000060"#;
        for (token, cause) in [
            (signed(&format!(r#"{rest},"iss":"us","aud":"chat","iat":1800000000"#)), "valid"),
            (signed(r#""sub":"alice","exp":1,"iat":0,"iss":"us","aud":"chat""#), "expired"),
            (String::new(), "missing"),
            ("a".repeat(TOKEN_BYTES_MAX + 1), "too_long"),
            ("a.b".to_owned(), "malformed"),
            ("a..c".to_owned(), "malformed"),
            ("\t".to_owned(), "malformed"),
            ("a.b.c.d.e".to_owned(), "encrypted"),
            ("a..c.d.e".to_owned(), "encrypted"),
            ("a.b.c.d".to_owned(), "malformed"),
            ("a.b.c.d.e.f".to_owned(), "malformed"),
            ("*.b.c".to_owned(), "encoding"),
            (alg("[]"), "header"),
            (alg("{}"), "header"),
            (alg(r#"{"alg":"HS256","typ":1}"#), "header"),
            (alg(r#"{"alg":"HS256","crit":[]}"#), "critical_header"),
            (alg(r#"{"alg":"HS256","kid":1}"#), "header"),
            (alg(r#"{"alg":"none"}"#), "algorithm"),
            (alg(r#"{"alg":"RS256"}"#), "algorithm"),
            (alg(r#"{"alg":"HS256","typ":"logout+jwt"}"#), "token_type"),
            (format!("{}A", &alg(HEADER)[..alg(HEADER).len() - 4]), "signature"),
            (token(HEADER, "[]"), "claims"),
            (sealed(&format!("{}.*", encode(HEADER))), "encoding"),
            (signed(r#""exp":1800000060"#), "subject"),
            (signed(r#""sub":"","exp":1800000060"#), "subject"),
            (signed(r#""sub":"alice""#), "no_expiry"),
            (signed(r#""sub":"alice","exp":"soon""#), "no_expiry"),
            (signed(&format!(r#"{rest},"nbf":"now""#)), "not_before"),
            (signed(&format!(r#"{rest},"aud":"chat""#)), "issuer"),
            (signed(&format!(r#"{rest},"iss":"us""#)), "audience"),
            (signed(&format!(r#"{rest},"iss":"us","aud":"chat","cnf":{{}}"#)), "token_bound"),
            (signed(&format!(r#"{rest},"iss":"us","aud":"chat""#)), "no_issued_at"),
            (signed(&format!(r#"{rest},"iss":"us","aud":"chat","iat":1"#)), "lifetime"),
            (
                signed(&format!(r#"{rest},"iss":"us","aud":"chat","iat":1800000000,"nbf":1800000001"#)),
                "not_yet_valid",
            ),
        ] {
            let separator = if token.starts_with('\t') { "" } else { " " };
            assert_eq!(cause_of(&[format!("Bearer{separator}{token}").as_bytes()]), cause, "{token}");
        }
        assert_eq!(cause_of(&[b"Bearer a", b"Bearer b"]), "two_credentials");
    }
}
