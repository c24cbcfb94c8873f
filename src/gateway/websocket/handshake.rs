//! The WebSocket handshake (RFC 6455 §4): finds its token, validates it, composes the head that goes upstream, and
//! checks the upstream's 101.

use crate::auth::{self, CredentialError, TokenFault};
use crate::config::{self, Access, Origins, TokenSources};
use crate::gateway::answer::failure::HandshakeError;
use crate::gateway::forward::headers::{self, Context};
use crate::http::{BodyLength, FieldKind, Request, Response, is_token, tokens, values};
use crate::limits::SUBPROTOCOLS_MAX;
use crate::message::HeadWriter;
use crate::net::Buffer;
use crate::ws;

/// The one token of a handshake. Browsers cannot set `Authorization` on a WebSocket, so it may come as a subprotocol
/// or in the query. Two tokens are refused, because two services could choose different ones.
pub fn token(request: &Request, sources: TokenSources) -> Result<&[u8], CredentialError> {
    let header = match sources.header {
        true => auth::bearer(request.values(FieldKind::Authorization)),
        false => Err(CredentialError::Missing),
    };
    let header = match header {
        Err(CredentialError::Missing) => None,
        found => Some(found?),
    };
    let offered = subprotocols(request).filter(|_| sources.subprotocol);
    let asked = parameters(request.query()).filter(|_| sources.query);
    let mut found = header
        .into_iter()
        .chain(offered.filter_map(bearer_of))
        .chain(asked.filter(|(name, _)| is_access_token(name)).map(|(_, value)| value));
    let token = found.next().ok_or(CredentialError::Missing)?;
    match found.next() {
        Some(_) => Err(TokenFault::TwoCredentials.into()),
        None => Ok(token),
    }
}

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
    let Origins::Listed(allowed) = origins else { return Ok(()) };
    if request.values(FieldKind::Origin).next().is_none() {
        return Ok(());
    }
    let origin = request.only(FieldKind::Origin).unwrap_or_default();
    match allowed.iter().any(|allowed| allowed.as_bytes().eq_ignore_ascii_case(origin)) {
        true => Ok(()),
        false => Err(HandshakeError::Origin),
    }
}

/// Writes the head that goes upstream, without its end. On a protected route, tokens in subprotocols and in the query
/// are removed, also where the route does not accept them from there.
pub fn compose(
    mut out: Buffer,
    request: &Request,
    route: &config::Route,
    authority: &[u8],
    context: &Context<'_>,
) -> HeadWriter {
    let tokens = match route.access {
        Access::Protected => Tokens::Remove,
        Access::Public => Tokens::Forward,
    };
    out.put_all([b"GET ", request.path()]);
    compose_query(&mut out, request.query(), tokens);
    let mut head = HeadWriter::h1_request_line(out, authority);
    headers::compose_passing(&mut head, request, |field| {
        let is_rewritten =
            matches!(field.kind, FieldKind::SecWebSocketProtocol | FieldKind::SecWebSocketAccept);
        !is_rewritten && headers::passes_upstream(field, route, context.is_peer_trusted)
    });
    compose_subprotocols(&mut head, request, tokens);
    headers::compose_ours(&mut head, request, context);
    head
}

fn compose_subprotocols(head: &mut HeadWriter, request: &Request, tokens: Tokens) {
    let stays = |offer: &[u8]| tokens == Tokens::Remove && bearer_of(offer).is_some();
    let mut passing = subprotocols(request).filter(|offer| !stays(offer));
    let Some(first) = passing.next() else { return };
    head.begin_field(b"Sec-WebSocket-Protocol");
    head.put_value([first]);
    passing.for_each(|offer| head.put_value([b", ", offer]));
    head.end_field();
}

/// Whether tokens in the query and in subprotocols are forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tokens {
    /// A protected route: the tokens are the gateway's, and removed.
    Remove,
    /// A public route: the tokens are the service's.
    Forward,
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

/// Writes the fields of the 101 that goes to the client.
pub fn compose_switch(head: &mut HeadWriter, response: &Response, bytes: &[u8], id: &[u8]) {
    for field in response.fields.iter().filter(|field| headers::passes_downstream(field)) {
        head.field(field.name.of(bytes), field.value.of(bytes));
    }
    head.field(b"X-Request-Id", id);
}

/// The subprotocols that the client offers, in all fields.
fn subprotocols(request: &Request) -> impl Iterator<Item = &[u8]> {
    request.values(FieldKind::SecWebSocketProtocol).flat_map(tokens)
}

/// The token of a subprotocol that is one, in any case.
fn bearer_of(offer: &[u8]) -> Option<&[u8]> {
    let (prefix, token) = offer.split_at_checked(BEARER.len())?;
    prefix.eq_ignore_ascii_case(BEARER).then_some(token)
}

/// The parameters of a query, which begins with its question mark or is empty: names and values as they stand. Some
/// services take `;` for `&`, and read names in any case: a token is one however they would find it.
fn parameters(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let pieces = query.get(1..).unwrap_or_default().split(|&byte| is_separator(byte));
    pieces.map(|piece| match memchr::memchr(b'=', piece) {
        Some(at) => (&piece[..at], &piece[at + 1..]),
        None => (piece, &piece[piece.len()..]),
    })
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b'&' | b';')
}

/// The query without its tokens; nothing else of it changes.
fn compose_query(out: &mut Buffer, query: &[u8], tokens: Tokens) {
    if tokens == Tokens::Forward || !parameters(query).any(|(name, _)| is_access_token(name)) {
        return out.put(query);
    }
    // Each piece with the separator before it; the first that stays has the question mark.
    let (mut rest, mut is_first) = (query, true);
    while let [separator, behind @ ..] = rest {
        let end = behind.iter().position(|&byte| is_separator(byte)).unwrap_or(behind.len());
        let (piece, next) = behind.split_at(end);
        let name = piece.split(|&byte| byte == b'=').next().unwrap_or_default();
        if !is_access_token(name) {
            let before = if is_first { b"?" } else { std::slice::from_ref(separator) };
            out.put_all([before, piece]);
            is_first = false;
        }
        rest = next;
    }
}

/// `access_token` (RFC 6750 §2.3) in any case, also where some of it is percent-encoded: the service behind us may
/// decode it.
fn is_access_token(name: &[u8]) -> bool {
    let mut rest = name;
    for expected in ACCESS_TOKEN {
        let (byte, after) = match rest {
            [b'%', high, low, after @ ..] => (hex(*high) << 4 | hex(*low), after),
            [byte, after @ ..] => (*byte, after),
            [] => return false,
        };
        if byte.to_ascii_lowercase() != *expected {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

/// The value of a hex digit. The head's parser has seen to it that there is no other after a `%`.
fn hex(digit: u8) -> u8 {
    (digit as char).to_digit(16).unwrap_or(0) as u8
}

const BEARER: &[u8] = b"bearer.";
const ACCESS_TOKEN: &[u8] = b"access_token";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Method;
    use crate::http1::{HeadLimits, RequestHead, ResponseHead};
    use crate::net::BufferPool;

    const KEY: &str = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

    fn request(target: &str, fields: &str) -> Request {
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{fields}\r\n"
        );
        let mut request = Request::default();
        RequestHead::parse(head.as_bytes(), &HeadLimits::DEFAULT, &mut request).expect("a valid head");
        request
    }

    fn found(target: &str, fields: &str, sources: TokenSources) -> Result<String, CredentialError> {
        let request = request(target, fields);
        token(&request, sources).map(|token| String::from_utf8_lossy(token).into_owned())
    }

    #[test]
    fn a_token_comes_in_one_of_three_ways() {
        let all = TokenSources::ALL;
        assert_eq!(found("/ws", "Authorization: Bearer a.b.c\r\n", all), Ok("a.b.c".into()));
        let offer = "Sec-WebSocket-Protocol: chat.v1, bearer.a.b.c\r\nSec-WebSocket-Protocol: chat.v2\r\n";
        assert_eq!(found("/ws", offer, all), Ok("a.b.c".into()));
        assert_eq!(found("/ws?x=1&access_token=a.b.c&y", "", all), Ok("a.b.c".into()));
        for target in ["/ws?acc%65ss%5ftoken=a.b.c", "/ws?Access_Token=a.b.c", "/ws?x;access_token=a.b.c;y"] {
            assert_eq!(found(target, "", all), Ok("a.b.c".into()), "{target}");
        }
        assert_eq!(found("/ws", "Sec-WebSocket-Protocol: Bearer.a.b.c\r\n", all), Ok("a.b.c".into()));
        for (target, fields) in [
            ("/ws", ""),
            ("/ws?access_tokens=x&xaccess_token=y&", ""),
            ("/ws", "Sec-WebSocket-Protocol: bearer, xbearer.x\r\nAuthorization: Basic eA==\r\n"),
        ] {
            assert_eq!(found(target, fields, all), Err(CredentialError::Missing), "{target} {fields}");
        }
    }

    #[test]
    fn two_tokens_are_refused_wherever_they_stand() {
        let (header, offer) = ("Authorization: Bearer a\r\n", "Sec-WebSocket-Protocol: bearer.a\r\n");
        for (target, fields) in [
            ("/ws?access_token=a", header.to_owned()),
            ("/ws?access_token=a", offer.to_owned()),
            ("/ws?access_token=a&access_token=a", String::new()),
            ("/ws?a;Access_Token=a", header.to_owned()),
            ("/ws", format!("{header}{}", offer.replace("bearer", "BEARER"))),
            ("/ws", format!("{header}{offer}")),
            ("/ws", format!("{header}{header}")),
            ("/ws", format!("{offer}{offer}")),
            ("/ws", "Sec-WebSocket-Protocol: bearer.a, bearer.a\r\n".to_owned()),
        ] {
            assert_eq!(
                found(target, &fields, TokenSources::ALL),
                Err(TokenFault::TwoCredentials.into()),
                "{target} {fields}"
            );
        }
    }

    #[test]
    fn a_source_that_is_off_is_not_looked_at() {
        let fields = "Authorization: Bearer a\r\nSec-WebSocket-Protocol: bearer.b\r\n";
        for (name, token) in [("header", "a"), ("subprotocol", "b"), ("query", "c")] {
            let sources = TokenSources {
                header: name == "header",
                subprotocol: name == "subprotocol",
                query: name == "query",
            };
            assert_eq!(found("/ws?access_token=c", fields, sources), Ok(token.into()));
        }
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
    fn tokens_are_taken_out_of_the_query_and_nothing_else_is() {
        for (query, left) in [
            ("", ""),
            ("?", "?"),
            ("?a=1&b", "?a=1&b"),
            ("?access_token=x", ""),
            ("?access_token", ""),
            ("?access_token=x&a=1", "?a=1"),
            ("?a=1&access_token=x&&b=2", "?a=1&&b=2"),
            ("?a=access_token=x", "?a=access_token=x"),
            ("?a&%61ccess_token=x=y", "?a"),
            ("?a;ACCESS_token=x;b&c", "?a;b&c"),
            ("?access_token=x;b", "?b"),
        ] {
            let mut out = BufferPool::new().buffer();
            compose_query(&mut out, query.as_bytes(), Tokens::Remove);
            assert_eq!(String::from_utf8_lossy(out.filled()), left, "{query}");
            let mut out = BufferPool::new().buffer();
            compose_query(&mut out, query.as_bytes(), Tokens::Forward);
            assert_eq!(out.filled(), query.as_bytes());
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
