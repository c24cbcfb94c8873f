//! Identity: the evidence that a request is authorized for its route.

use super::error::CredentialError;
use super::holder::Holder;
use super::kept::ClaimValue;
use super::user::{User, Verified};
use crate::config::{Access, ClaimField, Route};

/// Admits a request to a route, or not. The only source of an [`Identity`].
///
/// A request on a public route has no user, whatever token it brought; on an optional one it has none if it brought no
/// token. `route` is `None` where no route has the path
/// and method. Call this *after* the limiter, so that a client that tries out tokens is rate limited before it learns
/// what is wrong with them.
///
/// # Errors
/// What is wrong with the credential that the route needs, or the claim that its user lacks.
pub fn authorize<'r>(
    access: Access,
    route: Option<&'r Route>,
    identified: Result<Verified, CredentialError>,
) -> Result<Identity, Refusal<'r>> {
    let verified = match (access, identified) {
        (Access::Public, _) => return Ok(Identity(None)),
        (Access::Optional, Err(CredentialError::Missing)) => return Ok(Identity(None)),
        (Access::Protected | Access::Optional, identified) => identified.map_err(Refusal::Credential)?,
    };
    if let Some(route) = route {
        check_claims(route, &verified)?;
    }
    Ok(Identity(Some(verified)))
}

/// Why a request may not use its route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal<'r> {
    /// What is wrong with its credential.
    Credential(CredentialError),
    /// The user lacks a claim, or has one that cannot be forwarded: the cause for the access log.
    Claim(&'r str),
}

fn check_claims<'r>(route: &'r Route, verified: &Verified) -> Result<(), Refusal<'r>> {
    if let Some(lacking) = route.require.iter().find(|required| !verified.claims.meets(required)) {
        return Err(Refusal::Claim(&lacking.cause));
    }
    // Without the field the service would take the user for one who has no such claim.
    let unfit =
        route.claim_fields.iter().find(|field| *verified.claims.value(field.index) == ClaimValue::Unfit);
    unfit.map_or(Ok(()), |field| Err(Refusal::Claim(&field.cause)))
}

/// Evidence that a request may use its route as far as identity goes.
#[derive(Debug)]
pub struct Identity(Option<Verified>);

impl Identity {
    /// The verified user; `None` on a public route, and on an optional one without a token.
    pub fn user(&self) -> Option<&User> {
        self.0.as_ref().map(|verified| &verified.user)
    }

    /// The first second, since 1970, at which the token is no longer valid; `None` without a user.
    pub fn expires_unix_s(&self) -> Option<u64> {
        self.0.as_ref().map(|verified| verified.expires_unix_s)
    }

    /// Whose the token is; `None` without a user.
    pub fn holder(&self) -> Option<Holder> {
        self.0.as_ref().map(|verified| *verified.holder)
    }

    /// The value of a field that is set from a claim; `None`: the user does not have the claim.
    pub fn claim(&self, field: &ClaimField) -> Option<&str> {
        match self.0.as_ref()?.claims.value(field.index) {
            ClaimValue::Text(text) => Some(text),
            ClaimValue::Absent | ClaimValue::Unfit => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::json;
    use super::super::kept::KeptClaims;
    use super::*;
    use crate::auth::TokenFault;
    use crate::config::testing::config;

    fn alice(claims: KeptClaims) -> Verified {
        let user = User::parse("alice").unwrap();
        let holder = Holder::someone("alice", 0);
        Verified { user, valid_from_unix_s: 0, expires_unix_s: 1_800_000_000, holder: holder.into(), claims }
    }

    #[test]
    fn a_protected_route_needs_a_user_and_a_public_one_has_none() {
        let alice = || Ok(alice(KeptClaims::default()));
        let identity = authorize(Access::Protected, None, alice()).unwrap();
        assert_eq!(identity.user().map(User::as_str), Some("alice"));
        assert_eq!(identity.expires_unix_s(), Some(1_800_000_000));
        for error in [
            CredentialError::Missing,
            CredentialError::Invalid(TokenFault::Signature),
            CredentialError::Expired,
        ] {
            let refused = authorize(Access::Protected, None, Err(error)).unwrap_err();
            assert_eq!(refused, Refusal::Credential(error));
            assert!(authorize(Access::Public, None, Err(error)).unwrap().user().is_none());
        }
        assert!(authorize(Access::Public, None, alice()).unwrap().user().is_none());
    }

    #[test]
    fn an_optional_route_takes_a_user_or_nobody_but_no_bad_token() {
        let identity = authorize(Access::Optional, None, Ok(alice(KeptClaims::default()))).unwrap();
        assert_eq!(identity.user().map(User::as_str), Some("alice"));
        let nobody = authorize(Access::Optional, None, Err(CredentialError::Missing)).unwrap();
        assert_eq!((nobody.user(), nobody.expires_unix_s()), (None, None));
        for error in [CredentialError::Expired, CredentialError::Invalid(TokenFault::TwoCredentials)] {
            assert!(authorize(Access::Optional, None, Err(error)).is_err());
        }
    }

    #[test]
    fn every_required_claim_has_to_be_there_and_every_forwarded_one_to_fit() {
        let config = config(
            "[upstreams.a]\nurl = 'http://a'\n[[route]]\nname = 'r'\npaths = ['/']\nupstream = 'a'\n\
             require = { role = ['editor', 'admin'], scope = 'chat' }\n\
             claims_to_headers = { 'X-Internal-Tenant' = 'tenant' }\n",
        );
        let (route, wanted) = (&config.routes[0], &config.jwt.claims);
        let asked = |claims: &str| {
            let claims = json::object(claims.as_bytes()).expect("an object");
            let verified = alice(KeptClaims::of(wanted, &claims));
            authorize(Access::Protected, Some(route), Ok(verified))
                .map(|identity| identity.claim(&route.claim_fields[0]).map(str::to_owned))
        };
        assert_eq!(asked(r#"{"role":"admin","scope":"a chat"}"#).unwrap(), None);
        assert_eq!(asked(r#"{"role":"admin","scope":"chat","tenant":7}"#).unwrap().as_deref(), Some("7"));
        for (claims, cause) in [
            ("{}", "claim:role"),
            (r#"{"role":"guest","scope":"chat"}"#, "claim:role"),
            (r#"{"role":"editor"}"#, "claim:scope"),
            (r#"{"role":"editor","scope":"chat","tenant":"a\nb"}"#, "claim_value:tenant"),
        ] {
            assert_eq!(asked(claims).unwrap_err(), Refusal::Claim(cause), "{claims}");
        }
    }
}
