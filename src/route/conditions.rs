//! What routes ask of the fields of a request.

use super::entry::Asked;
use crate::config::{FieldCondition, Route};
use crate::http::{Field, FieldKind, same_name};

/// Whether a request meets all conditions.
pub(super) fn are_met(conditions: &[FieldCondition], asked: &Asked<'_>) -> bool {
    conditions.iter().all(|condition| is_met(condition, asked))
}

/// A field counts under its own spelling alone, and if `Connection` does not keep it from the service. A value counts
/// if there is no second field that a service may read as the same.
fn is_met(condition: &FieldCondition, asked: &Asked<'_>) -> bool {
    let name = |field: &Field| field.name.of(asked.head);
    let known = condition.name.as_bytes();
    let is_it = |field: &Field| !field.nominated && name(field).eq_ignore_ascii_case(known);
    let Some(value) = &condition.value else { return asked.fields.iter().any(is_it) };
    let mut alike = asked.fields.iter().filter(|field| same_name(name(field), known));
    let (first, second) = (alike.next(), alike.next());
    second.is_none()
        && first.is_some_and(|field| is_it(field) && field.value.of(asked.head) == value.as_bytes())
}

/// The conditions that a client cannot be trusted to meet, or that would show a credential.
pub(super) fn mistakes(routes: &[Route]) -> impl Iterator<Item = String> {
    routes.iter().flat_map(|route| {
        let tokens = &route.token_sources.fields;
        let why = |condition: &FieldCondition| {
            let is_token = condition.value.is_some() && tokens.contains(&condition.name);
            let why = is_token.then_some(CREDENTIAL).or_else(|| fault(condition))?;
            Some((condition.name.clone(), why))
        };
        let faults = route.conditions.iter().filter_map(why);
        faults.map(|(name, why)| format!("{}: headers \"{name}\": {why}", route.subject()))
    })
}

fn fault(condition: &FieldCondition) -> Option<&'static str> {
    use FieldKind as Kind;
    match FieldKind::of(condition.name.as_bytes()) {
        Kind::Host => Some("is told apart by hosts"),
        kind if kind.is_hop_by_hop() => Some("is for one connection, and none of the request's"),
        Kind::ContentLength | Kind::Expect | Kind::Alias => Some("is between client and gateway"),
        Kind::Internal | Kind::Forwarded | Kind::Proxy | Kind::XRequestId | Kind::Via => Some(NOT_BELIEVED),
        Kind::XForwardedFor | Kind::XForwardedProto | Kind::XForwardedHost => Some(NOT_BELIEVED),
        Kind::Traceparent | Kind::Tracestate | Kind::MethodOverride => Some(NOT_BELIEVED),
        Kind::Authorization | Kind::Cookie | Kind::SecWebSocketProtocol if condition.value.is_some() => {
            Some(CREDENTIAL)
        }
        _ => None,
    }
}

const CREDENTIAL: &str = "may be a credential: only whether it is there (true) can be asked";
const NOT_BELIEVED: &str = "is not taken from a client";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Request;
    use crate::http1::{HeadLimits, RequestHead};

    fn condition(name: &str, value: Option<&str>) -> FieldCondition {
        FieldCondition { name: name.to_owned(), value: value.map(str::to_owned) }
    }

    fn met(value: Option<&str>, fields: &str) -> bool {
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        let mut request = Request::default();
        RequestHead::parse(head.as_bytes(), &HeadLimits::DEFAULT, &mut request).expect("a head");
        are_met(&[condition("x-v", value)], &(&request).into())
    }

    #[test]
    fn a_value_is_that_of_the_only_field() {
        for (fields, is_there, is_two) in [
            ("", false, false),
            ("X-V: 2\r\n", true, true),
            ("x-v:2  \r\n", true, true),
            ("X-V: 1\r\n", true, false),
            ("X-V:\r\n", true, false),
            ("X-V: 2, 2\r\n", true, false),
            ("X-V: 2\r\nX-V: 2\r\n", true, false),
            ("X-V: 2\r\nx-v: 1\r\n", true, false),
            // What a service behind may read as the same.
            ("X-V: 2\r\nX_V: 1\r\n", true, false),
            ("X_V: 2\r\n", false, false),
            ("X.V: 2\r\n", false, false),
            ("X-V2: 2\r\n", false, false),
            ("Connection: x-v\r\nX-V: 2\r\n", false, false),
        ] {
            assert_eq!((met(None, fields), met(Some("2"), fields)), (is_there, is_two), "{fields}");
        }
        assert!(met(Some("A b"), "X-V: A b\r\n") && !met(Some("A b"), "X-V: a b\r\n"));
    }

    #[test]
    fn what_a_client_may_not_say_is_no_condition() {
        for name in
            ["host", "connection", "content-length", "x-internal-user-id", "x-forwarded-proto", "x-real-ip"]
        {
            assert!(fault(&condition(name, None)).is_some(), "{name}");
        }
        for name in ["authorization", "cookie"] {
            assert!(fault(&condition(name, Some("a"))).is_some() && fault(&condition(name, None)).is_none());
        }
        assert_eq!(fault(&condition("accept", Some("text/html"))), None);
    }
}
