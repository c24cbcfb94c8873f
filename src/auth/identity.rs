//! Identity: the evidence that a request is authorized for its route.

use super::error::CredentialError;
use super::user::{User, Verified};
use crate::config::Access;

/// Admits a request to a route, or not. The only source of an [`Identity`].
///
/// A request on a public route has no user, whatever token it brought. Call this *after* the limiter, so that a
/// client that tries out tokens is rate limited before it learns what is wrong with them.
///
/// # Errors
/// What is wrong with the credential that a protected route needs.
pub fn authorize(
    access: Access,
    identified: Result<Verified, CredentialError>,
) -> Result<Identity, CredentialError> {
    match access {
        Access::Public => Ok(Identity(None)),
        Access::Protected => Ok(Identity(Some(identified?))),
    }
}

/// Evidence that a request may use its route as far as identity goes.
#[derive(Debug)]
pub struct Identity(Option<Verified>);

impl Identity {
    /// The verified user; `None` on a public route.
    pub fn user(&self) -> Option<&User> {
        self.0.as_ref().map(|verified| &verified.user)
    }

    /// The first second, since 1970, at which the token is no longer valid; `None` on a public route.
    pub fn expires_unix_s(&self) -> Option<u64> {
        self.0.as_ref().map(|verified| verified.expires_unix_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::TokenFault;

    #[test]
    fn a_protected_route_needs_a_user_and_a_public_one_has_none() {
        const NOW: u64 = 1_800_000_000;
        let user = || User::parse("alice").unwrap();
        let alice = || Verified { user: user(), valid_from_unix_s: 0, expires_unix_s: NOW };
        let identity = authorize(Access::Protected, Ok(alice())).unwrap();
        assert_eq!(identity.user().map(User::as_str), Some("alice"));
        assert_eq!(identity.expires_unix_s(), Some(NOW));
        for error in [
            CredentialError::Missing,
            CredentialError::Invalid(TokenFault::Signature),
            CredentialError::Expired,
        ] {
            assert_eq!(authorize(Access::Protected, Err(error)).unwrap_err(), error);
            assert!(authorize(Access::Public, Err(error)).unwrap().user().is_none());
        }
        assert!(authorize(Access::Public, Ok(alice())).unwrap().user().is_none());
    }
}
