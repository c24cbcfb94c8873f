//! Who asks: what becomes of the token of a request, and what follows from it.

use std::fmt::Write;

use super::question::Question;
use crate::auth::{self, CredentialError, Identity, Refusal, Verified};
use crate::clock;
use crate::config::{Access, Config, show_required};
use crate::gateway::answer::failure::Failure;
use crate::gateway::cors::CorsPolicy;
use crate::gateway::plan::Plan;
use crate::http::{Request, Scheme};

/// The caller of a request, as far as is known.
pub(super) enum Caller {
    /// Nothing was said of a token.
    Open,
    /// There is no token, and none is needed.
    Anonymous,
    /// The user of a valid token, who may use the route.
    User(Identity),
    /// A user, or a page that made his browser send the request, who may not: the name of the user.
    Forbidden(Option<String>),
    /// Without a valid token where one is needed.
    Rejected,
}

/// Tells what becomes of the token of a request.
pub(super) fn find(
    text: &mut String,
    config: &Config,
    plan: &Plan<'_>,
    (question, request): (&Question<'_>, &Request),
    (cors, scheme): (&CorsPolicy, Scheme),
) -> Caller {
    if plan.access() == Access::Public {
        return Caller::Open;
    }
    let found = plan.token(request);
    let (token, is_cookie) = match (question.token, &found) {
        (Some(token), _) => (token.as_bytes(), false),
        _ if !question.is_of_client() => return without_token(text, plan),
        (None, Ok(credential)) => (&*credential.token, credential.is_cookie),
        (None, Err(CredentialError::Missing)) if plan.access() == Access::Optional => {
            text.push_str("token           none: anonymous\n");
            return Caller::Anonymous;
        }
        (None, Err(error)) => {
            let _ = write!(text, "token           {}", auth::report::explain_error(*error).trim_start());
            return Caller::Rejected;
        }
    };
    let (told, verdict) = auth::report::explain_token(&config.jwt, token, plan.issuers(), clock::unix_s());
    text.push_str(&told);
    let Ok(verified) = verdict else { return Caller::Rejected };
    if is_cookie && plan.is_cross_site(request, cors, scheme) {
        let why = "it is a cookie, and no page of this system has sent the request";
        let _ = writeln!(text, "                403 cross_site: {why}");
        return Caller::Forbidden(None);
    }
    judge(text, plan, verified)
}

/// What would count, if there were a token.
fn without_token(text: &mut String, plan: &Plan<'_>) -> Caller {
    for required in plan.route().iter().flat_map(|route| &route.require) {
        let _ = writeln!(text, "required claim  {}; without it 403 forbidden", show_required(required));
    }
    Caller::Open
}

/// Whether the claims of a valid token are those that the route wants.
fn judge(text: &mut String, plan: &Plan<'_>, verified: Verified) -> Caller {
    for required in plan.route().iter().flat_map(|route| &route.require) {
        let has = if verified.claims.meets(required) {
            "the token has it"
        } else {
            "not in the token: 403 forbidden"
        };
        let _ = writeln!(text, "required claim  {}; {has}", show_required(required));
    }
    let name = verified.user.as_str().to_owned();
    match auth::authorize(plan.access(), plan.route(), Ok(verified)) {
        Ok(identity) => Caller::User(identity),
        Err(Refusal::Claim(cause)) => {
            let (status, code) = Failure::Forbidden.answer();
            let _ = writeln!(text, "                {status} {code} ({cause})");
            Caller::Forbidden(Some(name))
        }
        Err(Refusal::Credential(_)) => Caller::Rejected,
    }
}

impl Caller {
    /// Whether the request goes no further.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self, Caller::Forbidden(_) | Caller::Rejected)
    }

    /// The identity, where one is known.
    pub(super) fn identity(&self) -> Option<&Identity> {
        match self {
            Caller::User(identity) => Some(identity),
            Caller::Open | Caller::Anonymous | Caller::Forbidden(_) | Caller::Rejected => None,
        }
    }

    /// The user whom the limits charge.
    pub(super) fn user(&self) -> Option<&str> {
        match self {
            Caller::User(identity) => identity.user().map(|user| user.as_str()),
            Caller::Forbidden(name) => name.as_deref(),
            Caller::Open | Caller::Anonymous | Caller::Rejected => None,
        }
    }
}
