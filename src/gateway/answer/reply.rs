//! The gateway's own answers: the one place that turns a failure into bytes for the client.

use std::net::SocketAddr;

use crate::gateway::answer::failure::{self, Failure, HandshakeError};
use crate::gateway::core::Core;
use crate::gateway::core::request_id::RequestId;
use crate::gateway::downstream::Downstream;
use crate::gateway::exchange::After;
use crate::gateway::exchange::Exchange;
use crate::gateway::forward::headers;
use crate::http1::{FieldKind, Framing, Method, push_decimal};
use crate::limit::Denied;
use crate::limits::REFUSED_BODY_BYTES_MAX;
use crate::net::{Buffer, Sink, Transport};

/// An answer of our own.
pub struct Answer<'a> {
    /// Its status.
    pub status: u16,
    /// The body's media type.
    pub content_type: &'static [u8],
    /// The body.
    pub body: &'a [u8],
}

/// Answers a failure, and decides what becomes of the connection.
pub async fn refuse(exchange: &mut Exchange<'_>, failure: Failure) -> After {
    let (status, code) = failure.answer();
    exchange.record.code = Some(code);
    match failure {
        Failure::Cut => return After::Close,
        Failure::ClientGone => {
            exchange.record.status = status;
            return After::Close;
        }
        Failure::Credential(_) => exchange.core.resources.metrics.requests.unauthorized.add(1),
        Failure::Refused(Denied::Limited(_)) => exchange.core.resources.metrics.requests.limited.add(1),
        Failure::Handshake(_) | Failure::TooManyTunnels => {
            exchange.core.resources.metrics.tunnels.handshakes_refused.add(1)
        }
        Failure::UpstreamProtocol => exchange.core.resources.metrics.upstream.protocol_errors.add(1),
        _ => {}
    }
    let mut body = exchange.core.resources.io.buffers.buffer();
    compose_problem(&mut body, exchange, &failure);
    let answer = Answer { status, content_type: b"application/problem+json", body: body.filled() };
    let is_broken = matches!(
        failure,
        Failure::Request(_) | Failure::HeadTimeout | Failure::BodyTimeout | Failure::BodyTooLarge
    );
    send(exchange, &answer, !is_broken, |out| compose_extra(out, &failure)).await
}

/// Sends an answer. `may_continue`: the connection is in a known state after the rest of the request's body.
pub async fn send(
    exchange: &mut Exchange<'_>,
    answer: &Answer<'_>,
    may_continue: bool,
    extra: impl FnOnce(&mut Buffer),
) -> After {
    let core = exchange.core;
    let head = &exchange.request.head;
    let keep_alive = may_continue && exchange.may_keep_alive() && is_drainable(exchange);
    let mut out = core.resources.io.buffers.buffer();
    headers::compose_status(&mut out, answer.status, failure::reason(answer.status).as_bytes());
    headers::compose_date(&mut out);
    if !answer.body.is_empty() {
        headers::line(&mut out, b"Content-Type", answer.content_type);
    }
    if answer.status != 204 {
        headers::line(&mut out, b"Content-Length", push_decimal(answer.body.len() as u64, &mut [0; 20]));
    }
    headers::line(&mut out, b"X-Request-Id", exchange.record.id.as_bytes());
    let origin = exchange.request.only(FieldKind::Origin);
    if answer.status != 204 {
        core.snapshot
            .cors
            .response_fields(origin, &mut |name, value| headers::line(&mut out, name.as_bytes(), value));
    }
    if let Some(quota) = &exchange.record.quota {
        headers::compose_quota(&mut out, quota);
    }
    extra(&mut out);
    headers::compose_connection(&mut out, exchange.request, keep_alive);
    out.put(b"\r\n");
    if head.method != Method::Head {
        out.put(answer.body);
    }
    exchange.record.status = answer.status;
    let mut sink =
        Sink::new(&exchange.downstream.stream, &core.resources.io.timers, out, core.snapshot.client_pace());
    let sent = sink.flush().await;
    exchange.record.bytes_out += sink.sent();
    match (sent, keep_alive) {
        (Err(_), _) => After::Close,
        (Ok(()), false) => After::Linger,
        (Ok(()), true) => exchange.discard_rest().await,
    }
}

/// Tells a connection over the cap that there is no room, and closes it.
pub async fn overloaded(core: &Core, stream: Transport, peer: SocketAddr) {
    let mut out = core.resources.io.buffers.buffer();
    headers::compose_status(&mut out, 503, failure::reason(503).as_bytes());
    headers::compose_date(&mut out);
    out.put(b"Retry-After: 1\r\nConnection: close\r\nContent-Type: application/problem+json\r\n");
    let id = core.resources.ids.next_id();
    let mut body = core.resources.io.buffers.buffer();
    put_problem(&mut body, Failure::Overloaded.answer(), Failure::Overloaded.detail(), &id);
    headers::line(&mut out, b"X-Request-Id", id.as_bytes());
    headers::line(&mut out, b"Content-Length", push_decimal(body.len() as u64, &mut [0; 20]));
    out.put(b"\r\n");
    out.put(body.filled());
    if Sink::new(&stream, &core.resources.io.timers, out, core.snapshot.client_pace()).flush().await.is_ok() {
        Downstream::new(core, stream, peer).linger(core).await;
    }
}

/// What is left of the request's body is worth reading for the connection's sake.
fn is_drainable(exchange: &Exchange<'_>) -> bool {
    if exchange.body.is_complete() {
        return true;
    }
    // A client that waits for 100 either sends its body or does not; nobody can know which (RFC 9110 §10.1.1).
    if !exchange.body.is_intact() || exchange.request.head.expect_continue {
        return false;
    }
    match exchange.request.head.framing {
        Framing::Length(length) => length - exchange.body.bytes() <= REFUSED_BODY_BYTES_MAX,
        _ => true,
    }
}

/// RFC 9110 §15.5.22: a 426 says which protocol is required, and §7.8 that `Connection` names the field.
fn compose_upgrade(out: &mut Buffer) {
    out.put(b"Upgrade: websocket\r\nConnection: Upgrade\r\n");
}

fn compose_problem(out: &mut Buffer, exchange: &Exchange<'_>, failure: &Failure) {
    put_problem(out, failure.answer(), failure.detail(), &exchange.record.id);
}

/// RFC 9457, with the stable `code` and the request's id.
fn put_problem(out: &mut Buffer, (status, code): (u16, &str), detail: &str, id: &RequestId) {
    out.put(b"{\"type\":\"about:blank\",\"title\":\"");
    out.put(failure::reason(status).as_bytes());
    out.put(b"\",\"status\":");
    out.put(push_decimal(u64::from(status), &mut [0; 20]));
    out.put(b",\"code\":\"");
    out.put(code.as_bytes());
    out.put(b"\",\"detail\":\"");
    out.put(detail.as_bytes());
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

fn compose_extra(out: &mut Buffer, failure: &Failure) {
    match failure {
        // RFC 6750 §3: no error code where no credential was sent.
        Failure::Credential(crate::auth::CredentialError::Missing) => {
            headers::line(out, b"WWW-Authenticate", b"Bearer")
        }
        Failure::Credential(_) => headers::line(out, b"WWW-Authenticate", b"Bearer error=\"invalid_token\""),
        Failure::Refused(refused) => {
            let seconds = match refused {
                Denied::Limited(limited) => limited.retry_after_s(),
                Denied::Unavailable => 1,
            };
            headers::line(out, b"Retry-After", push_decimal(seconds, &mut [0; 20]))
        }
        Failure::Handshake(HandshakeError::NoUpgrade) => compose_upgrade(out),
        Failure::Handshake(HandshakeError::Version) => {
            compose_upgrade(out);
            headers::line(out, b"Sec-WebSocket-Version", b"13");
        }
        Failure::Overloaded | Failure::UpstreamFull | Failure::Draining => {
            headers::line(out, b"Retry-After", b"1");
        }
        Failure::TooManyTunnels => headers::line(out, b"Retry-After", b"10"),
        Failure::MethodNotAllowed(allow) => headers::line(out, b"Allow", allow.as_bytes()),
        _ => {}
    }
}
