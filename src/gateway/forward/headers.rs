//! Header rules: which fields pass in either direction, and which the gateway sets itself.
//!
//! Heads are rebuilt from parsed parts, never copied. A field that could lie about the caller is removed under every
//! spelling; then the gateway writes its own.

use std::net::IpAddr;

use super::locations::Locations;
use super::trace::Trace;
use super::{credentials, edits};
use crate::auth::Identity;
use crate::auth::token_fields::is_token_field;
use crate::clock;
use crate::config::{self, ClaimField, FieldEdits, Via};
use crate::gateway::core::request_id::{RequestId, RequestIds};
use crate::gateway::cors::CorsPolicy;
use crate::http::{
    AddressText, ClaimedScheme, Field, FieldKind, Request, Response, Scheme, claimed_scheme, http_date,
    push_decimal,
};
use crate::limit::Quota;
use crate::limits::LOCATIONS_MAX;
use crate::message::HeadWriter;
use crate::telemetry::spans::TraceParent;
use crate::tls::client::Verified;

/// What the gateway knows about a request besides its head.
pub struct Context<'a> {
    /// The trace that it is part of; `None`: requests are not traced here.
    pub trace: Option<&'a Trace>,
    /// Where trace ids come from.
    pub ids: &'a RequestIds,
    /// The request's id.
    pub id: &'a RequestId,
    /// Who asks.
    pub identity: &'a Identity,
    /// The fields that the route sets from claims.
    pub claim_fields: &'a [ClaimField],
    /// Whom the client's certificate names, if upstreams are to learn it.
    pub certified: Option<&'a Verified>,
    /// The address of the connection's other end.
    pub peer: IpAddr,
    /// How the client reaches the gateway.
    pub scheme: Scheme,
    /// The peer is a trusted proxy: its forwarding fields are trusted.
    pub is_peer_trusted: bool,
    /// Clients choose handles for their WebSockets, which stay here.
    pub has_handles: bool,
    /// Under which name the gateway stands in `Via`.
    pub via: &'a Via,
    /// The version of HTTP that the request came in, as `Via` has it, and a space.
    pub version: &'static [u8],
}

/// Writes the fields of the request that goes upstream.
pub fn compose_request(
    head: &mut HeadWriter,
    request: &Request,
    route: &config::Route,
    context: &Context<'_>,
) {
    // No handshake: it would say nothing, but might hold a token.
    let is_offer = |field: &Field| {
        field.kind == FieldKind::SecWebSocketProtocol && !route.token_sources.subprotocols.is_empty()
    };
    compose_passing(head, request, route, |field| {
        !is_offer(field) && passes_upstream(field, route, context.is_peer_trusted)
    });
    compose_ours(head, request, context);
}

/// Writes the client's fields that pass, without the credentials in them that stay here, and what the route changes.
pub fn compose_passing(
    head: &mut HeadWriter,
    request: &Request,
    route: &config::Route,
    passes: impl Fn(&Field) -> bool,
) {
    let (bytes, cookies) = (request.bytes(), &route.token_sources.cookies);
    let is_rewritten = |field: &Field| field.kind == FieldKind::Cookie && !cookies.is_empty();
    let stays = |field: &Field| is_rewritten(field) || stays_here(field, request, route);
    for field in request.fields.iter().filter(|field| passes(field) && !stays(field)) {
        head.passing(field, bytes);
    }
    if !cookies.is_empty() {
        credentials::compose_cookies(head, request, cookies);
    }
    edits::compose(head, &route.request_edits);
}

/// Whether a client's field does not go upstream although its kind may: a credential, or one that the route drops.
pub fn stays_here(field: &Field, request: &Request, route: &config::Route) -> bool {
    let name = || field.name.of(request.bytes());
    let is_credential = match field.kind {
        FieldKind::Authorization => !credentials::authorization_passes(request, route),
        FieldKind::Other if !route.token_sources.fields.is_empty() => {
            is_token_field(name(), &route.token_sources.fields)
        }
        _ => false,
    };
    is_credential || (!route.request_edits.is_empty() && edits::drops(&route.request_edits, name()))
}

/// Writes the gateway's own fields: the user and what its claims say, the client's certificate, the request's id, the
/// forwarding fields, the trace.
pub fn compose_ours(head: &mut HeadWriter, request: &Request, context: &Context<'_>) {
    if let Some(user) = context.identity.user() {
        head.field(b"X-Internal-User-Id", user.as_str().as_bytes());
    }
    for field in context.claim_fields {
        if let Some(value) = context.identity.claim(field) {
            head.field(field.field.as_bytes(), value.as_bytes());
        }
    }
    if let Some(certified) = context.certified {
        compose_certified(head, certified);
    }
    head.field(b"X-Request-Id", context.id.as_bytes());
    compose_forwarding(head, request, context);
    compose_trace(head, request, context);
}

/// Whether a client's field goes upstream as it is.
pub fn passes_upstream(field: &Field, route: &config::Route, is_peer_trusted: bool) -> bool {
    use FieldKind as Kind;
    match field.kind {
        _ if field.nominated => false,
        kind if kind.is_hop_by_hop() => false,
        Kind::Host | Kind::ContentLength | Kind::Expect | Kind::Alias => false,
        Kind::Internal | Kind::Forwarded | Kind::Proxy | Kind::XRequestId | Kind::Via => false,
        Kind::XForwardedFor | Kind::XForwardedProto | Kind::XForwardedHost => false,
        // The gateway writes its own; the state belongs to a trusted proxy's parent, or to none.
        Kind::Traceparent => false,
        Kind::Tracestate => is_peer_trusted,
        Kind::Authorization => route.authorization_forwarded,
        // Method, access and limits were decided for the method of the request line.
        Kind::MethodOverride => route.method_override_forwarded,
        _ => true,
    }
}

fn compose_certified(head: &mut HeadWriter, Verified { common_name, names }: &Verified) {
    head.field(b"X-Internal-Client-Verified", b"yes");
    for (name, value) in [(&b"X-Internal-Client-Subject"[..], common_name), (b"X-Internal-Client-San", names)]
    {
        if !value.is_empty() {
            head.field(name, value.as_bytes());
        }
    }
}

fn compose_forwarding(head: &mut HeadWriter, request: &Request, context: &Context<'_>) {
    let believed = |kind| request.only(kind).filter(|_| context.is_peer_trusted);
    let peer = AddressText::new(context.peer);
    compose_list(
        head,
        (b"X-Forwarded-For", FieldKind::XForwardedFor),
        [peer.as_bytes(), b""],
        request,
        context,
    );
    compose_scheme(head, request, context);
    let host = believed(FieldKind::XForwardedHost).filter(|host| !host.is_empty()).unwrap_or(request.host());
    if !host.is_empty() {
        head.field(b"X-Forwarded-Host", host);
    }
    if let Via::Name(name) = context.via {
        compose_list(head, (b"Via", FieldKind::Via), [context.version, name.as_bytes()], request, context);
    }
}

/// Writes `X-Forwarded-Proto`. What a trusted proxy says and nobody here understands goes on as it is: the gateway's
/// own connection could say the opposite of what is meant.
fn compose_scheme(head: &mut HeadWriter, request: &Request, context: &Context<'_>) {
    let name = b"X-Forwarded-Proto";
    let claimed = claimed_scheme(request);
    match claimed {
        ClaimedScheme::Known(claimed) if context.is_peer_trusted => {
            head.field(name, claimed.name().as_bytes())
        }
        ClaimedScheme::Unknown if context.is_peer_trusted => {
            let mut values = request.values(FieldKind::XForwardedProto).filter(|value| !value.is_empty());
            head.begin_field(name);
            head.put_value([values.next().unwrap_or_default()]);
            values.for_each(|value| head.put_value([b", ", value]));
            head.end_field();
        }
        _ => head.field(name, context.scheme.name().as_bytes()),
    }
}

/// Writes a list that ends with `last`: a trusted proxy's own list, and its continuation.
#[inline(always)]
fn compose_list(
    head: &mut HeadWriter,
    (name, kind): (&[u8], FieldKind),
    last: [&[u8]; 2],
    request: &Request,
    context: &Context<'_>,
) {
    if !context.is_peer_trusted {
        return head.field_of(name, last);
    }
    head.begin_field(name);
    for value in request.values(kind).filter(|value| !value.is_empty()) {
        head.put_value([value, b", "]);
    }
    head.put_value(last);
    head.end_field();
}

/// W3C Trace Context. Where requests are traced, the parent is the gateway's own span. Elsewhere the parent of a
/// trusted proxy goes on; any other request begins a trace, whose id is the request's own.
fn compose_trace(head: &mut HeadWriter, request: &Request, context: &Context<'_>) {
    if let Some(trace) = context.trace {
        let (id, parent, flags) = trace.pieces();
        return head.field_of(b"traceparent", [b"00-", &id, b"-", &parent, b"-", flags]);
    }
    let parent = request.only(FieldKind::Traceparent).filter(|_| context.is_peer_trusted);
    if let Some(parent) = parent.filter(|parent| TraceParent::read(parent).is_some()) {
        return head.field(b"traceparent", parent);
    }
    let is_generated = context.id.as_bytes().len() == 32 && !context.is_peer_trusted;
    let fresh = (!is_generated).then(|| context.ids.next_id());
    let trace = fresh.as_ref().unwrap_or(context.id);
    head.field_of(b"traceparent", [b"00-", trace.as_bytes(), b"-", &context.ids.next_hex(), b"-01"]);
}

/// What the gateway adds to a response.
pub struct Additions<'a> {
    /// The request that is answered.
    pub request: &'a Request,
    /// Its id.
    pub id: &'a RequestId,
    /// What the client may know of its limit.
    pub quota: Option<&'a Quota>,
    /// Which browser origins may read the response.
    pub cors: &'a CorsPolicy,
    /// `Strict-Transport-Security`.
    pub hsts: Option<&'a str>,
    /// The service's own names in where it sends the client.
    pub locations: Option<&'a Locations<'a>>,
    /// What the route changes.
    pub edits: Option<&'a FieldEdits>,
}

/// Writes the fields of the response that goes to the client. `bytes`: what the spans of `response` are ranges of.
pub fn compose_response(head: &mut HeadWriter, response: &Response, bytes: &[u8], additions: &Additions<'_>) {
    let has_cors = additions.cors.is_on();
    let (mut has_date, mut corrected) = (false, 0);
    for field in &response.fields {
        has_date |= field.kind == FieldKind::Date;
        let is_overridden = (has_cors && field.kind.is_cors_permission())
            || (additions.quota.is_some() && is_quota(field.name.of(bytes)))
            || (additions.hsts.is_some() && field.name.of(bytes).eq_ignore_ascii_case(HSTS))
            || additions.edits.is_some_and(|edits| edits::drops(edits, field.name.of(bytes)));
        if !passes_downstream(field) || is_overridden {
            continue;
        }
        let locations =
            additions.locations.filter(|_| field.kind == FieldKind::Other && corrected < LOCATIONS_MAX);
        match locations.is_some_and(|locations| locations.compose(head, field, bytes)) {
            true => corrected += 1,
            false => head.passing(field, bytes),
        }
    }
    if !has_date {
        compose_date(head);
    }
    let origin = additions.request.only(FieldKind::Origin);
    let exposed = response.fields.iter().filter(|field| field.kind == FieldKind::AccessControlExposeHeaders);
    additions.cors.compose_response(head, origin, exposed.map(|field| field.value.of(bytes)));
    head.field(b"X-Request-Id", additions.id.as_bytes());
    if let Some(quota) = additions.quota {
        compose_quota(head, quota);
    }
    compose_hsts(head, additions.hsts);
    if let Some(edits) = additions.edits {
        edits::compose(head, edits);
    }
}

/// Writes `Strict-Transport-Security` (RFC 6797 §6.1), in the place of an upstream's.
pub fn compose_hsts(head: &mut HeadWriter, hsts: Option<&str>) {
    if let Some(hsts) = hsts {
        head.field(HSTS, hsts.as_bytes());
    }
}

/// Writes what the client may know of its limit: the fields of draft-ietf-httpapi-ratelimit-headers-03, which clients
/// know, and not the structured one of later drafts. Seconds until the bucket is full.
pub fn compose_quota(head: &mut HeadWriter, quota: &Quota) {
    head.field(b"RateLimit-Limit", push_decimal(u64::from(quota.limit), &mut [0; 20]));
    head.field(b"RateLimit-Remaining", push_decimal(u64::from(quota.remaining), &mut [0; 20]));
    head.field(b"RateLimit-Reset", push_decimal(quota.reset_s(), &mut [0; 20]));
}

/// An upstream's own `RateLimit-…`: beside the gateway's a client could not tell them apart.
fn is_quota(name: &[u8]) -> bool {
    name.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"ratelimit-"))
}

/// Writes the fields of an interim response, without those that the route sets on the final one or removes.
pub fn compose_interim(head: &mut HeadWriter, response: &Response, bytes: &[u8], edits: Option<&FieldEdits>) {
    let is_dropped = |field: &Field| edits.is_some_and(|edits| edits::drops(edits, field.name.of(bytes)));
    for field in response.fields.iter().filter(|field| passes_downstream(field) && !is_dropped(field)) {
        head.passing(field, bytes);
    }
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

/// Writes `Date` (RFC 9110 §6.6.1: who generates a response, or forwards one without it, should add it).
pub fn compose_date(head: &mut HeadWriter) {
    let mut date = [0; 29];
    http_date(clock::unix_s(), &mut date);
    head.field(b"Date", &date);
}

const HSTS: &[u8] = b"Strict-Transport-Security";
