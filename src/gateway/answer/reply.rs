//! The gateway's own answers: the one place that turns a failure into bytes for the client.

use super::failure::{self, Failure, HandshakeError};
use crate::auth::CredentialError;
use crate::clock;
use crate::downstream::clients::Network;
use crate::downstream::{AfterAnswer, Outcome, ResponseBody};
use crate::gateway::core::request_id::RequestId;
use crate::gateway::exchange::Exchange;
use crate::gateway::forward::{edits, headers};
use crate::http::{BodyLength, FieldKind, Method, ProtocolError, push_decimal};
use crate::limit::Denied;
use crate::message::{HeadWriter, Trailers};
use crate::net::Buffer;
use crate::telemetry::heavy::Heavy;

/// An answer of the gateway's own.
pub struct Answer<'a> {
    /// Its status.
    pub status: u16,
    /// The body's media type.
    pub content_type: &'a [u8],
    /// The body.
    pub body: AnswerBody<'a>,
}

/// The body of an answer.
pub enum AnswerBody<'a> {
    /// Always the same.
    Fixed(&'a [u8]),
    /// Made for this answer.
    Made(Buffer),
}

impl AnswerBody<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            AnswerBody::Fixed(bytes) => bytes,
            AnswerBody::Made(buffer) => buffer.filled(),
        }
    }
}

impl Answer<'_> {
    /// What the answer's head says of its body.
    fn response_body(&self, method: Method) -> ResponseBody {
        let length = self.body.bytes().len() as u64;
        let is_bodiless = method == Method::Head || self.status == 204;
        ResponseBody {
            length: if is_bodiless { BodyLength::None } else { BodyLength::Exact(length) },
            announced: (self.status != 204).then_some(length),
            trailers: Trailers::Drop,
        }
    }
}

/// Answers a failure.
pub async fn refuse<U>(exchange: &mut Exchange<'_>, failure: Failure) -> Outcome<U> {
    let (status, code) = failure.answer();
    exchange.record.failed(code, failure.cause());
    count(exchange, &failure, code);
    if tracing::enabled!(tracing::Level::DEBUG) {
        tell(exchange, &failure);
    }
    match failure {
        Failure::Cut(_) => return exchange.record.aborted(),
        Failure::ClientGone(_) => {
            exchange.record.status = status;
            return exchange.record.aborted();
        }
        _ => {}
    }
    let mut body = exchange.core.resources.io.buffers.buffer();
    put_problem(&mut body, &failure, exchange.record.id);
    if exchange.client.is_stream() {
        // A connection has many answers that its client does not take, and each may wait for long.
        body.park();
    }
    let answer = Answer { status, content_type: PROBLEM, body: AnswerBody::Made(body) };
    let after = match failure {
        Failure::Request(_)
        | Failure::MalformedLimited(..)
        | Failure::HeadTimeout
        | Failure::PlainHttp
        | Failure::BodyTimeout
        | Failure::BodyTooLarge => AfterAnswer::Close,
        _ => AfterAnswer::Continue,
    };
    let edits = exchange.record.edits;
    send(exchange, answer, after, |head| {
        compose_extra(head, &failure);
        if let Some(edits) = edits {
            edits::compose_failure(head, edits);
        }
    })
    .await
}

/// The reason of a failure for the program's log. Nothing of the request goes there but its id.
#[cold]
fn tell(exchange: &Exchange<'_>, failure: &Failure) {
    let Exchange { core, record, .. } = exchange;
    let Some(skipped) = core.resources.debug_lines.take(clock::now_ms()) else { return };
    let (status, code) = failure.answer();
    let cause = failure.cause().or(record.refused_for).unwrap_or("-");
    let (request_id, route) = (String::from_utf8_lossy(record.id.as_bytes()), record.route.unwrap_or("-"));
    let client = record.client;
    tracing::debug!(%request_id, %client, route, status, code, cause, skipped, "no response of a service");
}

fn count(exchange: &Exchange<'_>, failure: &Failure, code: &'static str) {
    let metrics = &exchange.core.resources.metrics;
    metrics.requests.errors.add(code);
    match failure {
        Failure::UpstreamProtocol(_) => {
            if let Some(upstream) = exchange.record.upstream(exchange.core) {
                upstream.metrics().protocol_errors.add(1);
            }
        }
        Failure::Credential(error) => {
            metrics.auth.refused.at(error.nth()).add(1);
            // Whose keys are not there yet is not refused: it cannot be judged.
            if *error != CredentialError::KeysUnavailable {
                metrics.requests.unauthorized.add(1);
            }
        }
        Failure::Forbidden | Failure::CrossSite | Failure::AddressNotAllowed => {
            metrics.requests.forbidden.add(1)
        }
        Failure::Limit(Denied::Limited(_)) | Failure::MalformedLimited(..) => {
            metrics.requests.limited.add(1);
            let record = &exchange.record;
            let address = || Heavy::Address(Network::of(record.client).address());
            let who = record.user.as_ref().map_or_else(address, |user| Heavy::user(user.as_str()));
            metrics.limited.add(who, 1, exchange.core.resources.io.timers.ticked_ms());
        }
        Failure::Handshake(_) | Failure::TooManyTunnels | Failure::TooManyTunnelsAnywhere => {
            metrics.tunnels.handshakes_refused.add(1)
        }
        Failure::HandshakesPaced(_) => metrics.tunnels.handshakes_paced.add(1),
        _ => {}
    }
}

/// Sends an answer. `extra` writes fields of its own.
pub async fn send<U>(
    exchange: &mut Exchange<'_>,
    answer: Answer<'_>,
    after: AfterAnswer,
    extra: impl FnOnce(&mut HeadWriter),
) -> Outcome<U> {
    let Exchange { core, client, request, record, .. } = exchange;
    let mut responder = client.answer(after, request.expects_continue);
    let mut head = responder.head(answer.status, failure::reason(answer.status).as_bytes());
    headers::compose_date(&mut head);
    if !answer.body.bytes().is_empty() {
        head.field(b"Content-Type", answer.content_type);
    }
    head.field(b"X-Request-Id", record.id.as_bytes());
    if answer.status != 204 {
        let origin = request.only(FieldKind::Origin);
        core.snapshot.cors.response_fields(origin, &mut |name, value| head.field(name.as_bytes(), value));
    }
    if let Some(quota) = &record.quota {
        headers::compose_quota(&mut head, quota);
    }
    headers::compose_hsts(&mut head, record.hsts);
    extra(&mut head);
    let body = answer.response_body(request.method);
    let mut sink = responder.respond(head, body);
    record.status = answer.status;
    let written = match body.length {
        BodyLength::None => Ok(()),
        BodyLength::Exact(_) | BodyLength::Unknown => sink.write(answer.body.bytes()).await,
    };
    // It was gathered: a client that does not take it holds no second copy.
    drop(answer);
    let sent = match written {
        Ok(()) => sink.flush().await,
        failed => failed,
    };
    record.bytes_out += sink.sent();
    // A client that did not take an answer is no failure of the exchange: the answer is what was decided.
    if sent.is_ok() { Outcome::Complete } else { Outcome::Aborted }
}

/// RFC 9457, with the stable `code` and the request's id.
fn put_problem(out: &mut Buffer, failure: &Failure, id: &RequestId) {
    let (status, code) = failure.answer();
    out.put(b"{\"type\":\"about:blank\",\"title\":\"");
    out.put(failure::reason(status).as_bytes());
    out.put(b"\",\"status\":");
    out.put(push_decimal(u64::from(status), &mut [0; 20]));
    out.put(b",\"code\":\"");
    out.put(code.as_bytes());
    out.put(b"\",\"detail\":\"");
    out.put(failure.detail().as_bytes());
    out.put(b"\",\"request_id\":\"");
    // An adopted id may hold any visible character.
    for byte in id.as_bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.put(b"\\");
        }
        out.put(&[*byte]);
    }
    out.put(b"\"}\n");
}

fn compose_extra(head: &mut HeadWriter, failure: &Failure) {
    match failure {
        // RFC 6750 §3: no error code where no credential was sent.
        Failure::Credential(CredentialError::Missing) => head.field(b"WWW-Authenticate", b"Bearer"),
        Failure::Credential(CredentialError::KeysUnavailable | CredentialError::RevocationsStale) => {
            head.field(b"Retry-After", b"5");
        }
        Failure::Credential(_) => head.field(b"WWW-Authenticate", b"Bearer error=\"invalid_token\""),
        // RFC 6750 §3.1: "The request requires higher privileges than provided by the access token."
        Failure::Forbidden => head.field(b"WWW-Authenticate", b"Bearer error=\"insufficient_scope\""),
        Failure::Limit(Denied::Limited(limited)) | Failure::MalformedLimited(_, limited) => {
            head.field(b"Retry-After", push_decimal(limited.retry_after_s(), &mut [0; 20]));
        }
        Failure::Limit(Denied::Unavailable) => head.field(b"Retry-After", b"1"),
        Failure::Handshake(HandshakeError::NoUpgrade) => compose_upgrade(head),
        Failure::Handshake(HandshakeError::Version) => {
            compose_upgrade(head);
            head.field(b"Sec-WebSocket-Version", b"13");
        }
        Failure::Overloaded | Failure::UpstreamFull(_) | Failure::TooManyRequests | Failure::Draining => {
            head.field(b"Retry-After", b"1");
        }
        Failure::TooManyConnections | Failure::TooManyTunnels | Failure::TooManyTunnelsAnywhere => {
            head.field(b"Retry-After", b"10")
        }
        Failure::HandshakesPaced(retry_after_s) => {
            head.field(b"Retry-After", push_decimal(*retry_after_s, &mut [0; 20]));
        }
        Failure::MethodNotAllowed(allow) => head.field(b"Allow", allow.as_bytes()),
        // RFC 9110 §15.5.6 asks for the methods. The same for every path: nothing of the routes is told.
        Failure::Request(ProtocolError::TraceRefused) => head.field(b"Allow", METHODS),
        _ => {}
    }
}

/// RFC 9110 §15.5.22: a 426 says which protocol is required, and §7.8 that `Connection` names the field.
fn compose_upgrade(head: &mut HeadWriter) {
    head.field(b"Upgrade", b"websocket");
    head.field(b"Connection", b"Upgrade");
}

/// The methods that are not refused everywhere.
const METHODS: &[u8] = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
const PROBLEM: &[u8] = b"application/problem+json";
