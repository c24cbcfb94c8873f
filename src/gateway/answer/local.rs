//! Requests that the gateway answers itself: health, readiness, CORS preflights, challenges of certificate authorities,
//! and redirects to HTTPS. They reach no other service and
//! cost less than a 429, so they are not rate limited: probes must get through, and so must the browsers of an allowed
//! page, however many of them share one address. A preflight of an origin that may not call is neither.

use super::failure::Failure;
use super::logout;
use super::reply::{self, Answer, AnswerBody};
use crate::config::{Config, Renewal};
use crate::downstream::{AfterAnswer, Outcome};
use crate::gateway::cors::{CorsPolicy, Preflight};
use crate::gateway::exchange::Exchange;
use crate::gateway::websocket::renewal;
use crate::http::{FieldKind, Method, ProtocolError, Request, Scheme, push_decimal, without_port};
use crate::tls::challenges;

/// A request for the gateway itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Local<'c> {
    /// `/healthz`: the process runs.
    Health,
    /// `/readyz`: whether traffic should come.
    Readiness,
    /// A browser asks whether a page may call.
    Preflight(Preflight<'c>),
    /// A certificate authority asks for the file of this token.
    Challenge(&'c [u8]),
    /// A client has a new token for its WebSocket.
    Renew,
    /// An issuer says that a session has ended.
    Logout,
    /// A request in the clear belongs to this port of HTTPS.
    Redirect(u16),
}

impl Local<'_> {
    /// Whether the client's address pays for it, as for a bad credential.
    pub fn is_charged(&self) -> bool {
        matches!(self, Local::Preflight(preflight) if preflight.allowed.is_none())
    }
}

/// Whether a request is for the gateway itself.
pub fn find<'c>(
    config: &Config,
    cors: &'c CorsPolicy,
    request: &'c Request,
    scheme: Scheme,
) -> Option<Local<'c>> {
    if let Some(local) = challenge(config, request) {
        return Some(local);
    }
    if scheme == Scheme::Http
        && let Some(port) = config.redirect_port()
    {
        return probe(request).or(Some(Local::Redirect(port)));
    }
    match request.method {
        Method::Options => preflight(cors, request).map(Local::Preflight),
        Method::Post if config.control.renewal == Renewal::On && request.path() == renewal::PATH => {
            Some(Local::Renew)
        }
        Method::Post if logout::is_asked(config, request) => Some(Local::Logout),
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

/// Whether a certificate authority asks, and there is a folder for what it asks for.
fn challenge<'c>(config: &Config, request: &'c Request) -> Option<Local<'c>> {
    let is_read = matches!(request.method, Method::Get | Method::Head);
    let token = config.https.challenges.as_ref().and_then(|_| challenges::token(request.path()))?;
    is_read.then_some(Local::Challenge(token))
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
        Local::Challenge(token) => challenge_answer(exchange, token).await,
        Local::Redirect(port) => redirect(exchange, *port).await,
        Local::Renew => renew(exchange).await,
        Local::Logout => logout(exchange).await,
    }
}

async fn renew<U>(exchange: &mut Exchange<'_>) -> Outcome<U> {
    let Some(renewals) = &exchange.core.resources.renewals else {
        return reply::refuse(exchange, Failure::NoRoute).await;
    };
    // Boxed, because it would be part of every exchange, and is rare.
    match Box::pin(renewal::serve(exchange, renewals)).await {
        Ok(outcome) => outcome,
        Err(failure) => reply::refuse(exchange, failure).await,
    }
}

async fn logout<U>(exchange: &mut Exchange<'_>) -> Outcome<U> {
    let Some(logouts) = &exchange.core.resources.logouts else {
        return reply::refuse(exchange, Failure::NoRoute).await;
    };
    match Box::pin(logout::serve(exchange, logouts)).await {
        Ok(outcome) => outcome,
        Err(failure) => reply::refuse(exchange, failure).await,
    }
}

async fn challenge_answer<U>(exchange: &mut Exchange<'_>, token: &[u8]) -> Outcome<U> {
    exchange.record.route = Some("gateway");
    let core = exchange.core;
    let Some(file) = core.snapshot.challenges.find(token) else {
        return reply::refuse(exchange, Failure::NoRoute).await;
    };
    let mut body = core.resources.io.buffers.buffer();
    body.put(file);
    let answer =
        Answer { status: 200, content_type: b"application/octet-stream", body: AnswerBody::Made(body) };
    reply::send(exchange, answer, AfterAnswer::Continue, |_| {}).await
}

/// 308 keeps method and body (RFC 9110 §15.4.9), so it is right for every request.
async fn redirect<U>(exchange: &mut Exchange<'_>, port: u16) -> Outcome<U> {
    exchange.record.route = Some("gateway");
    let request = exchange.request;
    let host = without_port(request.host());
    if host.is_empty() {
        return reply::refuse(exchange, Failure::Request(ProtocolError::MissingHost)).await;
    }
    let mut location = exchange.core.resources.io.buffers.buffer();
    location.put_all([b"https://", host]);
    if port != HTTPS_PORT {
        location.put_all([b":", push_decimal(u64::from(port), &mut [0; 20])]);
    }
    let path = if request.target.is_asterisk { b"/" } else { request.path() };
    location.put_all([path, request.query()]);
    let answer = Answer { status: 308, content_type: b"", body: AnswerBody::Fixed(b"") };
    reply::send(exchange, answer, AfterAnswer::Continue, |head| {
        head.field(b"Location", location.filled());
    })
    .await
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

/// The port of `https` that a URI leaves out (RFC 9110 §4.2.2).
const HTTPS_PORT: u16 = 443;
