//! Who a request is from, and which names are allowed.

use http::StatusCode;

use super::answer::Answer;
use super::request::Request;

/// The user of a request: the one in `X-Internal-User-Id`. A backend trusts this field because only the gateway can
/// reach the backend.
pub(super) fn identity(request: &Request) -> Result<&str, Answer> {
    let mut named = request.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-internal-user-id"));
    match (named.next(), named.next()) {
        (Some((_, user)), None) if !user.is_empty() => Ok(user),
        (None, _) => Err(Answer::problem(StatusCode::FORBIDDEN, "no identity: come through the gateway")),
        _ => {
            Err(Answer::problem(StatusCode::BAD_REQUEST, "X-Internal-User-Id must be there once, not empty"))
        }
    }
}

/// Whether a name needs no escaping in a path, a header or a log.
pub(super) fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}
