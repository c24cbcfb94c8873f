//! Requests that the gateway answers itself: health, readiness, and CORS preflights. They reach no other service and
//! cost less than a 429, so they are not rate limited: probes must get through, and so must the browsers of an allowed
//! page, however many of them share one address. A preflight of an origin that may not call is neither.

use super::reply::{self, Answer, AnswerBody};
use crate::downstream::{AfterAnswer, Outcome};
use crate::gateway::cors::{CorsPolicy, Preflight};
use crate::gateway::exchange::Exchange;
use crate::http::{FieldKind, Method, Request};

/// A request for the gateway itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Local<'c> {
    /// `/healthz`: the process runs.
    Health,
    /// `/readyz`: whether traffic should come.
    Readiness,
    /// A browser asks whether a page may call.
    Preflight(Preflight<'c>),
}

impl Local<'_> {
    /// Whether the client's address pays for it, as for a bad credential.
    pub fn is_charged(&self) -> bool {
        matches!(self, Local::Preflight(preflight) if preflight.allowed.is_none())
    }
}

/// Whether a request is for the gateway itself.
pub fn find<'c>(cors: &'c CorsPolicy, request: &'c Request) -> Option<Local<'c>> {
    match request.method {
        Method::Options => preflight(cors, request).map(Local::Preflight),
        _ => probe(request),
    }
}

/// Whether a request asks for the health of the process.
pub fn probe(request: &Request) -> Option<Local<'static>> {
    let is_read = matches!(request.method, Method::Get | Method::Head);
    match request.path() {
        b"/healthz" if is_read => Some(Local::Health),
        b"/readyz" if is_read => Some(Local::Readiness),
        _ => None,
    }
}

/// A preflight carries no token and asks about no resource (Fetch standard, CORS preflight fetch): the same answer for
/// every path.
fn preflight<'c>(cors: &'c CorsPolicy, request: &'c Request) -> Option<Preflight<'c>> {
    let origin = request.only(FieldKind::Origin);
    let method = request.only(FieldKind::AccessControlRequestMethod);
    let headers = request.only(FieldKind::AccessControlRequestHeaders);
    cors.preflight(request.method_name(), origin, method, headers)
}

/// Answers it.
pub async fn answer<U>(exchange: &mut Exchange<'_>, local: &Local<'_>) -> Outcome<U> {
    match local {
        Local::Health => text(exchange, 200, "ok").await,
        Local::Readiness => {
            let status = exchange.core.resources.readiness.get();
            text(exchange, if status.is_ready() { 200 } else { 503 }, status.text()).await
        }
        Local::Preflight(preflight) => {
            exchange.record.route = Some("preflight");
            let answer = Answer { status: 204, content_type: b"", body: AnswerBody::Fixed(b"") };
            reply::send(exchange, answer, AfterAnswer::Continue, |head| {
                preflight.fields(&mut |name, value| head.field(name.as_bytes(), value));
            })
            .await
        }
    }
}

async fn text<U>(exchange: &mut Exchange<'_>, status: u16, text: &'static str) -> Outcome<U> {
    exchange.record.route = Some("gateway");
    let answer = Answer {
        status,
        content_type: b"text/plain; charset=utf-8",
        body: AnswerBody::Fixed(text.as_bytes()),
    };
    reply::send(exchange, answer, AfterAnswer::Continue, |_| {}).await
}
