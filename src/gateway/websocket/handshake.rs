//! The WebSocket handshake (RFC 6455 §4): validates it, composes the head that goes upstream, and checks the upstream's
//! 101. Its token is found by `auth::credentials`.

use crate::auth::credentials::{
    is_access_token, is_handle_offer, is_token_offer, is_token_parameter, subprotocols,
};
use crate::config::{self, Access, Origins};
use crate::gateway::answer::failure::HandshakeError;
use crate::gateway::forward::credentials::{compose_subprotocols, put_query};
use crate::gateway::forward::edits;
use crate::gateway::forward::headers::{self, Context};
use crate::http::{BodyLength, FieldKind, Request, Response, is_token, tokens, values};
use crate::limits::SUBPROTOCOLS_MAX;
use crate::message::HeadWriter;
use crate::net::Buffer;
use crate::ws;

/// Whether the request is a valid handshake. The caller was authorized before.
pub fn check(request: &Request, origins: &Origins) -> Result<(), HandshakeError> {
    if !request.is_websocket {
        return Err(HandshakeError::NoUpgrade);
    }
    if !matches!(request.body, BodyLength::None | BodyLength::Exact(0)) {
        return Err(HandshakeError::Body);
    }
    if request.only(FieldKind::SecWebSocketVersion) != Some(b"13") {
        return Err(HandshakeError::Version);
    }
    if !request.only(FieldKind::SecWebSocketKey).is_some_and(ws::is_key) {
        return Err(HandshakeError::Key);
    }
    if subprotocols(request).take(SUBPROTOCOLS_MAX + 1).count() > SUBPROTOCOLS_MAX
        || !subprotocols(request).all(is_token)
    {
        return Err(HandshakeError::Subprotocols);
    }
    check_origin(request, origins)
}

/// Browsers always send `Origin`, and a page cannot change it. A client without `Origin` is not a browser, and could
/// send any value: it is accepted.
fn check_origin(request: &Request, origins: &Origins) -> Result<(), HandshakeError> {
    if *origins == Origins::Any || request.values(FieldKind::Origin).next().is_none() {
        return Ok(());
    }
    match origins.list(request.only(FieldKind::Origin).unwrap_or_default()) {
        true => Ok(()),
        false => Err(HandshakeError::Origin),
    }
}

/// Writes the head that goes upstream, without its end. Where tokens are looked at, those in subprotocols and in the
/// query are removed, also where the route does not accept them from there; and so is an `Authorization` that is not
/// the token that was verified: a service must not take it for a credential that the gateway has checked.
pub fn compose(
    mut out: Buffer,
    request: &Request,
    route: &config::Route,
    authority: &[u8],
    context: &Context<'_>,
) -> HeadWriter {
    // On a public route the tokens are the service's.
    let sources = Some(&route.token_sources).filter(|_| route.access != Access::Public);
    let [prefix, path] = route.prefixes.apply(request.path());
    out.put_all([b"GET ", prefix, path]);
    match sources {
        Some(sources) => put_query(&mut out, request.query(), |piece| {
            is_access_token(piece) || is_token_parameter(piece, &sources.queries)
        }),
        None => out.put(request.query()),
    }
    let mut head = HeadWriter::h1_request_line(out, authority);
    headers::compose_passing(&mut head, request, route, |field| {
        let is_rewritten =
            matches!(field.kind, FieldKind::SecWebSocketProtocol | FieldKind::SecWebSocketAccept);
        !is_rewritten && headers::passes_upstream(field, route, context.is_peer_trusted)
    });
    compose_subprotocols(&mut head, request, sources, context.has_handles);
    headers::compose_ours(&mut head, request, context);
    head
}

/// The subprotocol that the gateway chooses for a service that chooses none: a browser that has offered one beside its
/// token would close the connection (WHATWG WebSockets, "establish a WebSocket connection").
pub fn marker(request: &Request, route: &config::Route) -> Option<&'static [u8]> {
    let stays_here = |offer: &[u8]| is_token_offer(offer, &route.token_sources) || is_handle_offer(offer);
    let has_token = || subprotocols(request).any(stays_here);
    let is_offered = || subprotocols(request).any(|offer| offer == MARKER);
    (route.access != Access::Public && has_token() && is_offered()).then_some(MARKER)
}

/// Whether a 101 is the answer to this handshake: "If the response lacks a Sec-WebSocket-Accept header field or the
/// Sec-WebSocket-Accept contains a value other than …, the client MUST _Fail the WebSocket Connection_" (RFC 6455
/// §4.1).
pub fn is_answered(request: &Request, response: &Response, head: &[u8]) -> bool {
    let Some(key) = request.only(FieldKind::SecWebSocketKey) else { return false };
    let mut accepts = values(head, &response.fields, FieldKind::SecWebSocketAccept);
    let (accept, another) = (accepts.next(), accepts.next());
    response.is_websocket && another.is_none() && accept == Some(&ws::accept_key(key))
}

/// Whether the upstream's 101 names an extension.
pub fn has_extension(response: &Response, head: &[u8]) -> bool {
    values(head, &response.fields, FieldKind::SecWebSocketExtensions)
        .any(|value| tokens(value).next().is_some())
}

/// Writes the fields of the 101 that goes to the client. `marker`: the subprotocol for which the service may have left
/// the choice to the gateway. `edits`: what the route changes.
pub fn compose_switch(
    head: &mut HeadWriter,
    response: &Response,
    bytes: &[u8],
    id: &[u8],
    (marker, edits): (Option<&[u8]>, Option<&config::FieldEdits>),
) {
    headers::compose_interim(head, response, bytes, edits);
    let has_chosen = || values(bytes, &response.fields, FieldKind::SecWebSocketProtocol).next().is_some();
    if let Some(marker) = marker.filter(|_| !has_chosen()) {
        head.field(b"Sec-WebSocket-Protocol", marker);
    }
    head.field(b"X-Request-Id", id);
    if let Some(edits) = edits {
        edits::compose(head, edits);
    }
}

/// A subprotocol that means nothing but that there is one.
const MARKER: &[u8] = b"realchat.v1";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Method;
    use crate::http1::{HeadLimits, RequestHead, ResponseHead};

    const KEY: &str = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

    fn request(target: &str, fields: &str) -> Request {
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{fields}\r\n"
        );
        let mut request = Request::default();
        RequestHead::parse(head.as_bytes(), &HeadLimits::DEFAULT, &mut request).expect("a valid head");
        request
    }

    #[test]
    fn every_flaw_of_a_handshake_has_its_name() {
        use HandshakeError::*;
        let wrong = |fields: &str| check(&request("/ws", fields), &Origins::Any).err();
        assert_eq!(wrong(KEY), None);
        assert_eq!(wrong(&format!("{KEY}Content-Length: 0\r\n")), None);
        assert_eq!(wrong(&format!("{KEY}Content-Length: 1\r\n")), Some(Body));
        assert_eq!(wrong(&format!("{KEY}Transfer-Encoding: chunked\r\n")), Some(Body));
        assert_eq!(wrong(&KEY.replace("13", "12")), Some(Version));
        assert_eq!(wrong(&format!("{KEY}Sec-WebSocket-Version: 13\r\n")), Some(Version));
        assert_eq!(wrong(&KEY.replace("-Version", "-V")), Some(Version));
        assert_eq!(wrong(&KEY.replace("==", "=")), Some(Key));
        assert_eq!(wrong(&format!("{KEY}{}", &KEY[27..])), Some(Key));
        assert_eq!(wrong(&format!("{KEY}Sec-WebSocket-Protocol: a b\r\n")), Some(Subprotocols));
        let many = vec!["a"; SUBPROTOCOLS_MAX + 1].join(",");
        assert_eq!(wrong(&format!("{KEY}Sec-WebSocket-Protocol: {many}\r\n")), Some(Subprotocols));
        let mut plain = request("/ws", KEY);
        plain.is_websocket = false;
        assert_eq!(check(&plain, &Origins::Any), Err(NoUpgrade));
    }

    #[test]
    fn only_listed_origins_may_and_who_is_no_browser_may() {
        let listed = Origins::Listed(vec!["https://chat.example".to_owned()]);
        let may = |fields: &str| check(&request("/ws", &format!("{KEY}{fields}")), &listed).is_ok();
        assert!(
            may("") && may("Origin: https://chat.example\r\n") && may("Origin: HTTPS://Chat.Example\r\n")
        );
        for fields in [
            "Origin: https://chat.example.evil\r\n",
            "Origin: null\r\n",
            "Origin: \r\n",
            "Origin: http://chat.example\r\n",
            "Origin: https://chat.example\r\nOrigin: https://chat.example\r\n",
        ] {
            assert!(!may(fields), "{fields}");
        }
    }

    #[test]
    fn only_the_right_accept_begins_a_tunnel() {
        let answered = |fields: &str| {
            let head = format!("HTTP/1.1 101 x\r\n{fields}\r\n").into_bytes();
            let mut response = Response::default();
            ResponseHead::parse(&head, &HeadLimits::DEFAULT, Method::Get, &mut response)
                .expect("a valid head");
            is_answered(&request("/ws", KEY), &response, &head)
        };
        let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
        let accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        assert!(answered(&format!("{upgrade}{accept}")));
        assert!(!answered(upgrade) && !answered(accept));
        assert!(!answered(&format!("{upgrade}{accept}{accept}")));
        assert!(!answered(&format!("{upgrade}{}", accept.replace("s3", "S3"))));
    }
}
