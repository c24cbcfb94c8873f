//! What the gateway answers by itself: health, and the preflights of browsers.

use crate::gateway::answer::reply::{self, Answer};
use crate::gateway::exchange::After;
use crate::gateway::exchange::Exchange;
use crate::gateway::forward::headers;
use crate::http1::{FieldKind, Method};

/// Answers the request if it is for the gateway itself. None of it is limited: it touches nothing.
pub async fn answer(exchange: &mut Exchange<'_>) -> Option<After> {
    let is_read = matches!(exchange.request.head.method, Method::Get | Method::Head);
    match exchange.request.path() {
        b"/healthz" if is_read => Some(text(exchange, 200, "ok").await),
        b"/readyz" if is_read => {
            let readiness = exchange.core.resources.readiness.get();
            let status = if readiness.is_ready() { 200 } else { 503 };
            Some(text(exchange, status, readiness.text()).await)
        }
        _ if exchange.request.head.method == Method::Options => preflight(exchange).await,
        _ => None,
    }
}

async fn text(exchange: &mut Exchange<'_>, status: u16, text: &'static str) -> After {
    exchange.record.route = Some("gateway");
    let answer = Answer { status, content_type: b"text/plain; charset=utf-8", body: text.as_bytes() };
    reply::send(exchange, &answer, true, |_| {}).await
}

/// A preflight carries no token and asks about no resource (Fetch standard, CORS preflight fetch): the same
/// answer for every path.
async fn preflight(exchange: &mut Exchange<'_>) -> Option<After> {
    let core = exchange.core;
    let request = exchange.request;
    let origin = request.only(FieldKind::Origin);
    let method = request.only(FieldKind::AccessControlRequestMethod);
    let headers_asked = request.only(FieldKind::AccessControlRequestHeaders);
    let granted = core.snapshot.cors.preflight(request.method(), origin, method, headers_asked)?;
    exchange.record.route = Some("preflight");
    let answer = Answer { status: 204, content_type: b"", body: b"" };
    let extra = |out: &mut crate::net::Buffer| {
        granted.fields(&mut |name, value| headers::line(out, name.as_bytes(), value))
    };
    Some(reply::send(exchange, &answer, true, extra).await)
}
