//! Why a request has no verified user.

use std::fmt;

/// Why a request has no verified user. The client learns which of the three it is; the access log also says which
/// check failed ([`cause`](Self::cause)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialError {
    /// There is no bearer token: no `Authorization`, another scheme, or the scheme alone.
    Missing,
    /// The credential is not a valid token. The client does not learn why, because only a forger needs to know.
    Invalid(TokenFault),
    /// The token is valid in every respect, but it has expired: the client should get a new one.
    Expired,
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
    /// A part is not strict base64url.
    Encoding,
    /// The header is not one JSON object with a string `alg`.
    Header,
    /// The header has `crit`, `b64`, `enc` or `zip`, which change what the other parts mean.
    CriticalHeader,
    /// No key is for the algorithm that the header names.
    Algorithm,
    /// No key of that algorithm made the signature.
    Signature,
    /// The claims are not one JSON object.
    Claims,
    /// The user's claim is absent, or not 1 to 256 visible ASCII characters.
    Subject,
    /// `exp` is absent or not a date.
    NoExpiry,
    /// `nbf` is not a date.
    NotBefore,
    /// `iss` is not the configured issuer.
    Issuer,
    /// `aud` does not contain the configured audience.
    Audience,
    /// `nbf` is in the future.
    NotYetValid,
    /// A long token of an address that is limited already, over [`crate::limits::LONG_TOKENS_PER_TICK`]: not looked at.
    Unverified,
}

impl CredentialError {
    /// The stable `code` of the problem document.
    pub fn code(self) -> &'static str {
        match self {
            CredentialError::Missing => "token_missing",
            CredentialError::Invalid(_) => "token_invalid",
            CredentialError::Expired => "token_expired",
        }
    }

    /// The failed check, as a stable word for the access log.
    pub fn cause(self) -> &'static str {
        match self {
            CredentialError::Missing => "missing",
            CredentialError::Invalid(fault) => fault.as_str(),
            CredentialError::Expired => "expired",
        }
    }
}

impl TokenFault {
    fn as_str(self) -> &'static str {
        match self {
            TokenFault::TwoCredentials => "two_credentials",
            TokenFault::TooLong => "too_long",
            TokenFault::Malformed => "malformed",
            TokenFault::Encoding => "encoding",
            TokenFault::Header => "header",
            TokenFault::CriticalHeader => "critical_header",
            TokenFault::Algorithm => "algorithm",
            TokenFault::Signature => "signature",
            TokenFault::Claims => "claims",
            TokenFault::Subject => "subject",
            TokenFault::NoExpiry => "no_expiry",
            TokenFault::NotBefore => "not_before",
            TokenFault::Issuer => "issuer",
            TokenFault::Audience => "audience",
            TokenFault::NotYetValid => "not_yet_valid",
            TokenFault::Unverified => "unverified",
        }
    }
}

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
    use super::super::testing::{CLAIMS, HEADER, NOW, encode, jwt, sealed, token};
    use super::super::{Keys, bearer};
    use super::*;
    use crate::config::Jwt;
    use crate::limits::TOKEN_BYTES_MAX;

    /// A configuration in which every check can fail.
    fn strict() -> Jwt {
        Jwt { issuer: Some("us".to_owned()), audience: Some("chat".to_owned()), ..jwt() }
    }

    fn cause_of(fields: &[&[u8]]) -> &'static str {
        let verify = |token: &[u8]| Keys::new(&strict()).verify(token, NOW);
        bearer(fields.iter().copied()).and_then(verify).map_or_else(CredentialError::cause, |_| "valid")
    }

    #[test]
    fn every_check_that_fails_names_its_cause() {
        let signed = |claims: &str| token(HEADER, format!("{{{claims}}}"));
        let alg = |header: &str| token(header, CLAIMS);
        let rest = r#""sub":"alice","exp":1800000060"#;
        for (token, cause) in [
            (signed(&format!(r#"{rest},"iss":"us","aud":"chat""#)), "valid"),
            (signed(r#""sub":"alice","exp":1,"iss":"us","aud":"chat""#), "expired"),
            (String::new(), "missing"),
            ("a".repeat(TOKEN_BYTES_MAX + 1), "too_long"),
            ("a.b".to_owned(), "malformed"),
            ("a..c".to_owned(), "malformed"),
            ("\t".to_owned(), "malformed"),
            ("*.b.c".to_owned(), "encoding"),
            (alg("[]"), "header"),
            (alg("{}"), "header"),
            (alg(r#"{"alg":"HS256","typ":1}"#), "header"),
            (alg(r#"{"alg":"HS256","crit":[]}"#), "critical_header"),
            (alg(r#"{"alg":"none"}"#), "algorithm"),
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
            (signed(&format!(r#"{rest},"iss":"us","aud":"chat","nbf":1800000001"#)), "not_yet_valid"),
        ] {
            let separator = if token.starts_with('\t') { "" } else { " " };
            assert_eq!(cause_of(&[format!("Bearer{separator}{token}").as_bytes()]), cause, "{token}");
        }
        assert_eq!(cause_of(&[b"Bearer a", b"Bearer b"]), "two_credentials");
    }
}
