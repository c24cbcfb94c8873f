//! The bearer token of an `Authorization` field (RFC 6750 §2.1).

use super::error::{CredentialError, TokenFault};

/// Takes the token out of the request's `Authorization` fields.
///
/// `credentials = auth-scheme [ 1*SP ( token68 / … ) ]`, the scheme in any case (RFC 9110 §11.4).
///
/// # Errors
/// [`CredentialError::Missing`] without a bearer token, [`TokenFault::TwoCredentials`] if there are two fields, and
/// [`TokenFault::Malformed`] if a tab separates scheme and token.
pub fn bearer<'a>(mut credentials: impl Iterator<Item = &'a [u8]>) -> Result<&'a [u8], CredentialError> {
    let value = credentials.next().ok_or(CredentialError::Missing)?;
    if credentials.next().is_some() {
        return Err(TokenFault::TwoCredentials.into());
    }
    let Some((scheme, rest)) = value.split_at_checked(SCHEME.len()) else {
        return Err(CredentialError::Missing);
    };
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Err(CredentialError::Missing);
    }
    let token = after_spaces(rest);
    match rest.first() {
        Some(b' ') if !token.is_empty() => Ok(token),
        // A tab is not a separator here: the client meant to send a token and wrote it wrongly.
        Some(b'\t') => Err(TokenFault::Malformed.into()),
        // The scheme alone, or a longer one that only begins with "bearer".
        _ => Err(CredentialError::Missing),
    }
}

fn after_spaces(mut bytes: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

const SCHEME: &[u8] = b"bearer";

#[cfg(test)]
mod tests {
    use super::super::testing::{CLAIMS, HEADER, INVALID, MISSING, NOW, jwt, token, verdict};
    use super::*;

    /// The user whom these `Authorization` fields name, or the code of the answer.
    fn user(fields: &[&str]) -> Result<String, &'static str> {
        let values = fields.iter().map(|field| field.as_bytes());
        verdict(&jwt(), bearer(values).map_err(CredentialError::code)?, NOW)
    }

    #[test]
    fn the_scheme_is_bearer_in_any_case_with_spaces_behind_it() {
        let token = token(HEADER, CLAIMS);
        for scheme in ["Bearer ", "bearer ", "BEARER ", "bEaReR ", "Bearer    "] {
            assert_eq!(user(&[&format!("{scheme}{token}")]).as_deref(), Ok("alice"));
        }
    }

    #[test]
    fn no_bearer_token_is_a_missing_one() {
        let token = token(HEADER, CLAIMS);
        let (basic, longer) = (format!("Basic {token}"), format!("Bearers {token}"));
        assert_eq!(user(&[]), Err(MISSING));
        for field in ["", " ", "Bearer", "Bearer ", "Bearer   ", "Bea", &basic, &longer, &token] {
            assert_eq!(user(&[field]), Err(MISSING), "{field}");
        }
    }

    #[test]
    fn tabs_commas_and_anything_around_the_token_are_refused() {
        let token = token(HEADER, CLAIMS);
        for field in [
            format!("Bearer\t{token}"),
            format!("Bearer \t{token}"),
            format!("Bearer {token} "),
            format!("Bearer {token}\t"),
            format!("Bearer {token},"),
            format!("Bearer {token}, Bearer {token}"),
            format!("Bearer {token} {token}"),
            format!("Bearer \"{token}\""),
            format!("Bearer ={token}"),
        ] {
            assert_eq!(user(&[&field]), Err(INVALID), "{field}");
        }
    }

    #[test]
    fn refuses_two_authorization_fields() {
        let field = format!("Bearer {}", token(HEADER, CLAIMS));
        for fields in
            [[field.as_str(), &field], [&field, "Basic eA=="], ["Basic eA==", &field], ["", &field], ["", ""]]
        {
            assert_eq!(user(&fields), Err(INVALID));
        }
    }
}
