//! Takes the credentials that a route looks at out of what goes upstream. A service must not take one for a credential
//! that the gateway has checked, and has no use for one that it has.

use crate::auth::credentials::{
    cookie_pieces, has_token_parameter, is_handle_offer, is_in_header, is_separator, is_token_cookie,
    is_token_offer, subprotocols,
};
use crate::config::{Access, Route, TokenSources};
use crate::http::{FieldKind, Request};
use crate::message::HeadWriter;
use crate::net::Buffer;

/// Whether the client's `Authorization` goes upstream: only a token that was verified does, where it may have been
/// another credential that was.
pub fn authorization_passes(request: &Request, route: &Route) -> bool {
    let sources = &route.token_sources;
    let is_sole = route.access == Access::Protected && sources.is_header_alone();
    route.authorization_forwarded
        && (route.access == Access::Public || is_sole || is_in_header(request, sources))
}

/// Whether the query has a parameter that stays here.
pub fn is_in_query(request: &Request, names: &[String]) -> bool {
    !names.is_empty() && has_token_parameter(request.query(), names)
}

/// Writes the query without the parameters that stay here; nothing else of it changes.
pub fn put_query(out: &mut Buffer, query: &[u8], stays: impl Fn(&[u8]) -> bool) {
    // Each piece with the separator before it; the first that stays has the question mark.
    let (mut rest, mut is_first) = (query, true);
    while let [separator, behind @ ..] = rest {
        let end = behind.iter().position(|&byte| is_separator(byte)).unwrap_or(behind.len());
        let (piece, next) = behind.split_at(end);
        if !stays(piece) {
            let before = if is_first { b"?" } else { std::slice::from_ref(separator) };
            out.put_all([before, piece]);
            is_first = false;
        }
        rest = next;
    }
}

/// Writes `Cookie` without these cookies; the others stay as they are.
pub fn compose_cookies(head: &mut HeadWriter, request: &Request, names: &[String]) {
    for field in request.values(FieldKind::Cookie) {
        let mut passing = cookie_pieces(field).filter(|piece| !is_token_cookie(piece, names));
        // What is left of a field that held nothing else is nothing.
        let Some(first) = passing.by_ref().find(|piece| !piece.trim_ascii().is_empty()) else { continue };
        head.begin_field(b"Cookie");
        head.put_value([first.trim_ascii_start()]);
        passing.for_each(|piece| head.put_value([b";", piece]));
        head.end_field();
    }
}

/// Writes `Sec-WebSocket-Protocol` without the subprotocols that are tokens, or handles where there are any.
pub fn compose_subprotocols(
    head: &mut HeadWriter,
    request: &Request,
    sources: Option<&TokenSources>,
    has_handles: bool,
) {
    let stays = |offer: &[u8]| {
        sources
            .is_some_and(|sources| is_token_offer(offer, sources) || (has_handles && is_handle_offer(offer)))
    };
    let mut passing = subprotocols(request).filter(|offer| !stays(offer));
    let Some(first) = passing.next() else { return };
    head.begin_field(b"Sec-WebSocket-Protocol");
    head.put_value([first]);
    passing.for_each(|offer| head.put_value([b", ", offer]));
    head.end_field();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::credentials::is_token_parameter;
    use crate::net::BufferPool;

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
            ("?access+token=x&access-token[]=y&b", "?b"),
            ("?t=x&a=%20&T=y&tt=z", "?a=%20&tt=z"),
            ("?a&%74=x", "?a"),
        ] {
            let mut out = BufferPool::new().buffer();
            let names = ["access_token".to_owned(), "t".to_owned()];
            put_query(&mut out, query.as_bytes(), |piece| is_token_parameter(piece, &names));
            assert_eq!(String::from_utf8_lossy(out.filled()), left, "{query}");
        }
    }
}
