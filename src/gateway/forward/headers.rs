//! Heads on their way through: rebuilt from parsed parts, never copied. What could lie about who is asking is
//! taken out under every spelling; then ours is set.

use std::net::IpAddr;

use crate::clock;
use crate::config;
use crate::gateway::core::Core;
use crate::gateway::core::heads::Request;
use crate::gateway::core::request_id::RequestId;
use crate::http1::{
    Field, FieldKind, Framing, HeadError, ResponseHead, Version, http_date, parse_trailers, push_decimal,
};
use crate::limit::Quota;
use crate::net::Buffer;

/// What the gateway knows about a request besides its head.
pub struct Context<'a> {
    /// The core.
    pub core: &'a Core,
    /// The request's id.
    pub id: &'a RequestId,
    /// The verified user.
    pub user: Option<&'a str>,
    /// The address of the connection's other end.
    pub peer: IpAddr,
    /// Its forwarding fields are believed.
    pub is_peer_trusted: bool,
}

/// Writes the head that goes upstream.
pub fn compose_request(
    out: &mut Buffer,
    request: &Request,
    route: &config::Route,
    authority: &[u8],
    context: &Context<'_>,
) {
    out.put_all([request.method(), b" ", request.path(), request.query()]);
    compose_authority(out, authority);
    compose_passing(out, request, |field| passes_upstream(field, route, context.is_peer_trusted));
    compose_ours(out, request, context);
    compose_framing(out, request.head.framing);
    out.put(b"\r\n");
}

/// Writes the end of a request line, and `Host`.
pub fn compose_authority(out: &mut Buffer, authority: &[u8]) {
    out.put_all([b" HTTP/1.1\r\nHost: ", authority, b"\r\n"]);
}

/// Writes the fields of the client's that pass.
pub fn compose_passing(out: &mut Buffer, request: &Request, passes: impl Fn(&Field) -> bool) {
    let bytes = request.bytes();
    for field in request.head.fields.iter().filter(|field| passes(field)) {
        passing_line(out, field, bytes);
    }
}

/// Writes what the gateway says about a request: who asks, its id, the way it came, its trace.
pub fn compose_ours(out: &mut Buffer, request: &Request, context: &Context<'_>) {
    if let Some(user) = context.user {
        line(out, b"X-Internal-User-Id", user.as_bytes());
    }
    line(out, b"X-Request-Id", context.id.as_bytes());
    compose_forwarding(out, request, context);
    compose_trace(out, request, context);
}

/// Whether a field of the client's goes upstream as it is.
pub fn passes_upstream(field: &Field, route: &config::Route, is_peer_trusted: bool) -> bool {
    use FieldKind as Kind;
    match field.kind {
        _ if field.nominated => false,
        kind if kind.is_hop_by_hop() => false,
        Kind::Host | Kind::ContentLength | Kind::Expect | Kind::Alias => false,
        Kind::Internal | Kind::Forwarded | Kind::XRequestId | Kind::Via => false,
        Kind::XForwardedFor | Kind::XForwardedProto | Kind::XForwardedHost => false,
        // Ours takes the place of any; the state belongs to a parent that we believe, or to none.
        Kind::Traceparent => false,
        Kind::Tracestate => is_peer_trusted,
        Kind::Authorization => route.authorization_forwarded,
        _ => true,
    }
}

fn compose_forwarding(out: &mut Buffer, request: &Request, context: &Context<'_>) {
    out.put(b"X-Forwarded-For: ");
    if context.is_peer_trusted {
        for value in request.values(FieldKind::XForwardedFor).filter(|value| !value.is_empty()) {
            out.put_all([value, b", "]);
        }
    }
    put_address(out, context.peer);
    let believed = |kind| request.only(kind).filter(|_| context.is_peer_trusted);
    let proto = believed(FieldKind::XForwardedProto).filter(|proto| matches!(*proto, b"http" | b"https"));
    out.put_all([b"\r\nX-Forwarded-Proto: ", proto.unwrap_or(b"http"), b"\r\n"]);
    let host = believed(FieldKind::XForwardedHost).unwrap_or(request.host());
    if !host.is_empty() {
        line(out, b"X-Forwarded-Host", host);
    }
    out.put(b"Via: ");
    if context.is_peer_trusted {
        for value in request.values(FieldKind::Via).filter(|value| !value.is_empty()) {
            out.put_all([value, b", "]);
        }
    }
    out.put(b"1.1 realchat-gateway\r\n");
}

/// W3C Trace Context: the parent of a trusted proxy goes on, any other request begins a trace, whose id is the
/// request's own.
fn compose_trace(out: &mut Buffer, request: &Request, context: &Context<'_>) {
    let parent = request.only(FieldKind::Traceparent).filter(|_| context.is_peer_trusted);
    if let Some(parent) = parent.filter(|parent| is_traceparent(parent)) {
        return line(out, b"traceparent", parent);
    }
    let ids = &context.core.resources.ids;
    let is_ours = context.id.as_bytes().len() == 32 && !context.is_peer_trusted;
    let fresh = (!is_ours).then(|| ids.next_id());
    let trace = fresh.as_ref().unwrap_or(context.id);
    out.put_all([b"traceparent: 00-", trace.as_bytes(), b"-", &ids.next_hex(), b"-01\r\n"]);
}

fn is_traceparent(value: &[u8]) -> bool {
    let is_hex = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_zero = |part: &[u8]| part.iter().all(|byte| *byte == b'0');
    value.len() == 55
        && value.starts_with(b"00-")
        && (value[35], value[52]) == (b'-', b'-')
        && [&value[3..35], &value[36..52]].iter().all(|id| is_hex(id) && !is_zero(id))
        && is_hex(&value[53..])
}

fn compose_framing(out: &mut Buffer, framing: Framing) {
    match framing {
        Framing::Chunked => out.put(b"Transfer-Encoding: chunked\r\n"),
        Framing::Length(length) => {
            out.put_all([b"Content-Length: ", push_decimal(length, &mut [0; 20]), b"\r\n"])
        }
        Framing::None | Framing::UntilClose => {}
    }
}

/// How a response goes on to the client.
pub struct Delivery<'a> {
    /// The request it answers.
    pub request: &'a Request,
    /// Its id.
    pub id: &'a RequestId,
    /// What the head says of the body, also where there is none (HEAD, 304).
    pub framing: Framing,
    /// The connection stays open after it.
    pub keep_alive: bool,
    /// What the client is told of its limit.
    pub quota: Option<&'a Quota>,
}

/// Writes the head that goes to the client.
pub fn compose_response(
    out: &mut Buffer,
    core: &Core,
    head: &ResponseHead,
    bytes: &[u8],
    delivery: &Delivery<'_>,
) {
    compose_status(out, head.status, head.reason.of(bytes));
    let has_cors = core.snapshot.cors.is_on();
    let mut has_date = false;
    for field in &head.fields {
        has_date |= field.kind == FieldKind::Date;
        let is_ours = (has_cors && field.kind == FieldKind::AccessControlResponse)
            || (delivery.quota.is_some() && is_quota(field.name.of(bytes)));
        if passes_downstream(field) && !is_ours {
            passing_line(out, field, bytes);
        }
    }
    if !has_date {
        compose_date(out);
    }
    let origin = delivery.request.only(FieldKind::Origin);
    core.snapshot.cors.response_fields(origin, &mut |name, value| line(out, name.as_bytes(), value));
    line(out, b"X-Request-Id", delivery.id.as_bytes());
    if let Some(quota) = delivery.quota {
        compose_quota(out, quota);
    }
    compose_framing(out, delivery.framing);
    compose_connection(out, delivery.request, delivery.keep_alive);
    out.put(b"\r\n");
}

/// Writes what the client may know of its limit: the fields of draft-ietf-httpapi-ratelimit-headers-03, which
/// clients know, and not the structured one of later drafts. Seconds until the bucket is full.
pub fn compose_quota(out: &mut Buffer, quota: &Quota) {
    line(out, b"RateLimit-Limit", push_decimal(u64::from(quota.limit), &mut [0; 20]));
    line(out, b"RateLimit-Remaining", push_decimal(u64::from(quota.remaining), &mut [0; 20]));
    line(out, b"RateLimit-Reset", push_decimal(quota.reset_s(), &mut [0; 20]));
}

/// An upstream's own `RateLimit-…`: beside ours a client could not tell which is which.
fn is_quota(name: &[u8]) -> bool {
    name.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"ratelimit-"))
}

/// Writes a 1xx response on its way through.
pub fn compose_interim(out: &mut Buffer, head: &ResponseHead, bytes: &[u8]) {
    compose_status(out, head.status, head.reason.of(bytes));
    for field in head.fields.iter().filter(|field| passes_downstream(field)) {
        passing_line(out, field, bytes);
    }
    out.put(b"\r\n");
}

/// Whether a field of the upstream's goes to the client as it is.
pub fn passes_downstream(field: &Field) -> bool {
    use FieldKind as Kind;
    match field.kind {
        _ if field.nominated => false,
        kind if kind.is_hop_by_hop() => false,
        Kind::ContentLength | Kind::Internal | Kind::XRequestId | Kind::Alias => false,
        _ => true,
    }
}

/// Writes `Connection` where the client would otherwise assume the opposite.
pub fn compose_connection(out: &mut Buffer, request: &Request, keep_alive: bool) {
    match (request.head.version, keep_alive) {
        (Version::Http11, false) | (Version::Http10, false) => out.put(b"Connection: close\r\n"),
        (Version::Http10, true) => out.put(b"Connection: keep-alive\r\n"),
        (Version::Http11, true) => {}
    }
}

/// Writes `Date` (RFC 9110 §6.6.1: who generates a response, or forwards one without it, should add it).
pub fn compose_date(out: &mut Buffer) {
    let mut date = [0; 29];
    http_date(clock::unix_s(), &mut date);
    line(out, b"Date", &date);
}

/// Writes a status line.
pub fn compose_status(out: &mut Buffer, status: u16, reason: &[u8]) {
    out.put_all([b"HTTP/1.1 ", push_decimal(u64::from(status), &mut [0; 20]), b" ", reason, b"\r\n"]);
}

/// Writes one field line.
#[inline]
pub fn line(out: &mut Buffer, name: &[u8], value: &[u8]) {
    out.put_all([name, b": ", value, b"\r\n"]);
}

/// Writes a field line of a head that was parsed. Most stand there as we write them, and go in one piece.
#[inline]
fn passing_line(out: &mut Buffer, field: &Field, head: &[u8]) {
    let (name, value) = (field.name, field.value);
    match name.joined(value, 2).map(|both| both.of(head)) {
        Some(both) if both[name.len()..].starts_with(b": ") => out.put_all([both, b"\r\n"]),
        _ => line(out, name.of(head), value.of(head)),
    }
}

/// The lines of a trailer section that may pass. Trailers are rare; this is the one place that allocates.
pub fn trailers_that_pass(section: &[u8]) -> Result<Vec<&[u8]>, HeadError> {
    let mut fields = Vec::new();
    parse_trailers(section, &mut fields)?;
    let mut lines = section.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let passes = |field: &&Field| field.kind.may_be_trailer();
    let passing = fields.iter().map(|field| (field, lines.next().unwrap_or_default()));
    Ok(passing.filter(|(field, _)| passes(field)).map(|(_, line)| line).collect())
}

/// An address without the detour through a `String`; the usual kind without the one through a formatter, too.
fn put_address(out: &mut Buffer, address: IpAddr) {
    use std::io::Write;
    if let IpAddr::V4(address) = address {
        let [first, rest @ ..] = address.octets().map(u64::from);
        out.put(push_decimal(first, &mut [0; 20]));
        return rest.iter().for_each(|octet| out.put_all([b".", push_decimal(*octet, &mut [0; 20])]));
    }
    let mut text = [0; 45];
    let mut rest = &mut text[..];
    // 45 bytes hold the longest IPv6 text (RFC 4291 §2.2), so this cannot come short.
    let _ = write!(rest, "{address}");
    let left = rest.len();
    out.put(&text[..45 - left]);
}
