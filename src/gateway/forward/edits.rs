//! What routes change in the fields of messages, and what none may change.

use crate::auth::token_fields::is_token_field;
use crate::config::{FieldEdits, FixedField, Route};
use crate::http::{FieldKind, same_name};
use crate::message::HeadWriter;

/// Whether a field does not pass as it is, under whichever spelling a server may read as its name.
pub fn drops(edits: &FieldEdits, name: &[u8]) -> bool {
    edits.dropped().any(|dropped| same_name(dropped.as_bytes(), name))
}

/// Writes the fields of a route.
pub fn compose(head: &mut HeadWriter, edits: &FieldEdits) {
    edits.written().for_each(|field| head.field(field.name.as_bytes(), field.value.as_bytes()));
}

/// Writes the fields of a route to the answer for a failure. Nobody shall keep that: what speaks to caches is left out.
pub fn compose_failure(head: &mut HeadWriter, edits: &FieldEdits) {
    let is_for_caches =
        |field: &&FixedField| FOR_CACHES.iter().any(|name| field.name.eq_ignore_ascii_case(name));
    let fields = edits.written().filter(|field| !is_for_caches(field));
    fields.for_each(|field| head.field(field.name.as_bytes(), field.value.as_bytes()));
}

const FOR_CACHES: [&str; 7] =
    ["Cache-Control", "CDN-Cache-Control", "Surrogate-Control", "Expires", "Pragma", "ETag", "Last-Modified"];

/// The fields that no route may change, with the routes that would.
pub fn mistakes(routes: &[Route]) -> Vec<String> {
    let mut mistakes = Vec::new();
    for route in routes {
        let Route { request_edits, response_edits, token_sources, .. } = route;
        let tokens = &token_sources.fields;
        for (key, edits, judge) in [
            ("request_headers", request_edits, fault_upstream as Judge),
            ("response_headers", response_edits, fault_downstream),
        ] {
            let is_upstream = key == "request_headers";
            let judge = |action, name: &str| match is_upstream && is_token_field(name.as_bytes(), tokens) {
                true => Some(CREDENTIAL),
                false => judge(action, name),
            };
            let faults = each(edits).filter_map(|(action, name)| Some((action, name, judge(action, name)?)));
            mistakes.extend(faults.map(|(action, name, why)| {
                format!("{}: {key} {} \"{name}\": {why}", route.subject(), action.word())
            }));
        }
    }
    mistakes
}

/// Why a field cannot be changed so.
type Judge = fn(Action, &str) -> Option<&'static str>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Set,
    Add,
    Remove,
}

impl Action {
    fn word(self) -> &'static str {
        match self {
            Action::Set => "set",
            Action::Add => "add",
            Action::Remove => "remove",
        }
    }
}

fn each(edits: &FieldEdits) -> impl Iterator<Item = (Action, &str)> {
    let set = edits.set.iter().map(|field| (Action::Set, &*field.name));
    let add = edits.add.iter().map(|field| (Action::Add, &*field.name));
    set.chain(add).chain(edits.remove.iter().map(|name| (Action::Remove, &**name)))
}

/// Of a request: nothing that the gateway judges, strips or sets itself, and no credential.
fn fault_upstream(action: Action, name: &str) -> Option<&'static str> {
    use FieldKind as Kind;
    // A client's never passes, so this one is the operator's word.
    if action != Action::Remove && name.eq_ignore_ascii_case("X-Forwarded-Prefix") {
        return None;
    }
    match FieldKind::of(name.as_bytes()) {
        Kind::Host => Some("is what the key host says"),
        kind if kind.is_hop_by_hop() => Some(CONNECTION),
        Kind::ContentLength | Kind::Expect | Kind::Alias => Some(CONNECTION),
        Kind::Internal | Kind::Forwarded | Kind::Proxy | Kind::XRequestId | Kind::Via => Some(OWN),
        Kind::XForwardedFor | Kind::XForwardedProto | Kind::XForwardedHost => Some(OWN),
        Kind::Traceparent | Kind::Tracestate | Kind::MethodOverride => Some(OWN),
        Kind::Authorization | Kind::Cookie => Some(CREDENTIAL),
        // Without them, or with another page's, a service would take every page for its own, or for no browser.
        Kind::Origin | Kind::SecFetchSite => Some("is what services know pages by"),
        kind if is_of_handshakes(kind) => Some(HANDSHAKE),
        _ => None,
    }
}

/// Of a response: nothing that frames it, that the gateway says itself, or that belongs to one answer.
fn fault_downstream(action: Action, name: &str) -> Option<&'static str> {
    use FieldKind as Kind;
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    match FieldKind::of(name.as_bytes()) {
        kind if kind.is_hop_by_hop() => Some(CONNECTION),
        Kind::ContentLength | Kind::Alias => Some(CONNECTION),
        Kind::Internal | Kind::XRequestId | Kind::Date => Some(OWN),
        kind if is_of_handshakes(kind) => Some(HANDSHAKE),
        Kind::ContentType => Some(BODY),
        _ if is("Content-Encoding") || is("Content-Range") => Some(BODY),
        Kind::Vary if action != Action::Add => {
            Some("says what an answer depends on, and can only be added to")
        }
        _ if action == Action::Remove => None,
        Kind::SetCookie => Some("is for one client"),
        kind if kind.is_cors_permission() => Some("is what CORS_ALLOWED_ORIGINS says"),
        _ if is("Strict-Transport-Security") => Some("is what HSTS says"),
        _ if ONE_ANSWER.iter().any(|known| is(known)) => Some("belongs to one answer"),
        _ if name.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("ratelimit-")) => Some(OWN),
        _ => None,
    }
}

fn is_of_handshakes(kind: FieldKind) -> bool {
    use FieldKind as Kind;
    matches!(
        kind,
        Kind::SecWebSocketKey
            | Kind::SecWebSocketVersion
            | Kind::SecWebSocketProtocol
            | Kind::SecWebSocketExtensions
            | Kind::SecWebSocketAccept
    )
}

const CREDENTIAL: &str = "holds credentials, which a route does not make or change";
const CONNECTION: &str = "belongs to the connection";
const HANDSHAKE: &str = "belongs to the handshake";
const OWN: &str = "is one of those that the gateway removes or sets itself";
const BODY: &str = "says what the body is";
/// What the gateway's answers have where it is due.
const ONE_ANSWER: [&str; 5] = ["Location", "Allow", "Retry-After", "WWW-Authenticate", "Proxy-Authenticate"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::forward::headers::{passes_downstream, passes_upstream};
    use crate::http::{Field, Span};
    use crate::net::BufferPool;

    fn field(name: &str, value: &str) -> FixedField {
        FixedField { name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn a_field_is_dropped_under_every_spelling() {
        let edits =
            FieldEdits { set: vec![field("X-A", "1")], remove: vec!["x-b".into()], ..FieldEdits::default() };
        for name in ["x-a", "X_A", "x.b", "X-B"] {
            assert!(drops(&edits, name.as_bytes()), "{name}");
        }
        assert!(!drops(&edits, b"x-ab") && !drops(&edits, b"xa") && !drops(&FieldEdits::default(), b"x-a"));
    }

    #[test]
    fn a_failure_says_nothing_to_caches() {
        let edits = FieldEdits {
            set: vec![field("cache-control", "public"), field("X-A", "1")],
            ..FieldEdits::default()
        };
        let text = |write: fn(&mut HeadWriter, &FieldEdits)| {
            let mut head = HeadWriter::H1(BufferPool::new().buffer());
            write(&mut head, &edits);
            let HeadWriter::H1(out) = head;
            String::from_utf8_lossy(out.filled()).into_owned()
        };
        assert_eq!(
            (text(compose), text(compose_failure)),
            ("cache-control: public\r\nX-A: 1\r\n".into(), "X-A: 1\r\n".into())
        );
    }

    /// Every name that is known here: what the gateway does not let pass, no route brings back.
    #[test]
    fn what_does_not_pass_cannot_be_set() {
        let names = [
            "Host",
            "Connection",
            "Keep-Alive",
            "Proxy-Connection",
            "Proxy-Authorization",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Upgrade",
            "Content-Length",
            "Expect",
            "X-Internal-User-Id",
            "X-Internal-Role",
            "Forwarded",
            "X-Real-IP",
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "X-Forwarded-Host",
            "X-Forwarded-Port",
            "X-Original-URL",
            "Client-IP",
            "X-Envoy-Internal",
            "Proxy",
            "X-Request-Id",
            "Via",
            "traceparent",
            "tracestate",
            "X-HTTP-Method-Override",
            "Sec-WebSocket-Key",
            "Authorization",
            "Cookie",
            "Date",
            "Set-Cookie",
            "Access-Control-Allow-Origin",
            "RateLimit-Limit",
            "Location",
            "X-Plain",
            "Origin",
        ];
        let route = Route::new("r", &["/"]);
        for name in names {
            let field = Field {
                name: Span::default(),
                value: Span::default(),
                kind: FieldKind::of(name.as_bytes()),
                nominated: false,
            };
            for action in [Action::Set, Action::Add] {
                assert!(
                    passes_upstream(&field, &route, false) || fault_upstream(action, name).is_some(),
                    "{name} upstream"
                );
                assert!(
                    passes_downstream(&field) || fault_downstream(action, name).is_some(),
                    "{name} downstream"
                );
            }
        }
        assert_eq!(fault_upstream(Action::Set, "x-forwarded-prefix"), None);
        assert!(fault_upstream(Action::Remove, "Origin").is_some());
        for (action, name, is_right) in [
            (Action::Remove, "Set-Cookie", true),
            (Action::Set, "Set-Cookie", false),
            (Action::Remove, "Server", true),
            (Action::Set, "X-Frame-Options", true),
            (Action::Add, "Vary", true),
            (Action::Set, "Vary", false),
            (Action::Remove, "Vary", false),
            (Action::Set, "Content-Type", false),
            (Action::Remove, "Content-Encoding", false),
            (Action::Add, "Strict-Transport-Security", false),
            (Action::Set, "RateLimit-Reset", false),
            (Action::Add, "WWW-Authenticate", false),
            (Action::Set, "Cache-Control", true),
        ] {
            assert_eq!(fault_downstream(action, name).is_none(), is_right, "{action:?} {name}");
        }
    }
}
