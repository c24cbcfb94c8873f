//! Where a request may carry its token: in `Authorization`, in a subprotocol, in the query.

use super::bearer::bearer;
use super::error::{CredentialError, TokenFault};
use crate::config::TokenSources;
use crate::http::{FieldKind, Request, tokens};

/// The one token of a handshake. Browsers cannot set `Authorization` on a WebSocket, so it may come as a subprotocol
/// or in the query. Two tokens are refused, because two services could choose different ones.
pub fn token(request: &Request, sources: TokenSources) -> Result<&[u8], CredentialError> {
    let header = match sources.header {
        true => in_header(request)?,
        false => None,
    };
    let offered = subprotocols(request).filter(|_| sources.subprotocol);
    let asked = access_tokens(request.query()).filter(|_| sources.query);
    let mut found = header.into_iter().chain(offered.filter_map(bearer_of)).chain(asked);
    let token = found.next().ok_or(CredentialError::Missing)?;
    match found.next() {
        Some(_) => Err(TokenFault::TwoCredentials.into()),
        None => Ok(token),
    }
}

/// The first credential of a request, wherever it stands: in the header, a subprotocol, the query, in this order. What
/// a client without a valid credential is told follows from this one, on every path: an answer that followed from the
/// route would tell which routes there are.
pub fn first(request: &Request) -> Result<&[u8], CredentialError> {
    let header = in_header(request)?;
    let mut elsewhere = subprotocols(request).filter_map(bearer_of).chain(access_tokens(request.query()));
    header.or_else(|| elsewhere.next()).ok_or(CredentialError::Missing)
}

/// Whether the token that these sources gave is the one in the header.
pub fn is_in_header(request: &Request, sources: TokenSources) -> bool {
    sources.header && matches!(in_header(request), Ok(Some(_)))
}

/// The bearer token of the header; `None` if there is none.
fn in_header(request: &Request) -> Result<Option<&[u8]>, CredentialError> {
    match bearer(request.values(FieldKind::Authorization)) {
        Err(CredentialError::Missing) => Ok(None),
        found => found.map(Some),
    }
}

/// The subprotocols that the client offers, in all fields.
pub fn subprotocols(request: &Request) -> impl Iterator<Item = &[u8]> {
    request.values(FieldKind::SecWebSocketProtocol).flat_map(tokens)
}

/// The token of a subprotocol that is one, in any case.
pub fn bearer_of(offer: &[u8]) -> Option<&[u8]> {
    let (prefix, token) = offer.split_at_checked(BEARER.len())?;
    prefix.eq_ignore_ascii_case(BEARER).then_some(token)
}

/// The tokens in a query, which begins with its question mark or is empty: their values as they stand. Some services
/// take `;` for `&`, and read names in any case: a token is one however they would find it.
///
/// A query may have thousands of parameters, and whoever sends it has shown no token yet: those too short for the name
/// cost no more than a look at their bytes.
pub fn access_tokens(query: &[u8]) -> impl Iterator<Item = &[u8]> {
    let pieces = query.get(1..).unwrap_or_default().split(|&byte| is_separator(byte));
    pieces.filter(|piece| piece.len() >= ACCESS_TOKEN.len()).filter_map(|piece| {
        let (name, value) = match memchr::memchr(b'=', piece) {
            Some(at) => (&piece[..at], &piece[at + 1..]),
            None => (piece, &piece[piece.len()..]),
        };
        is_access_token(name).then_some(value)
    })
}

/// Whether a byte ends one parameter of a query.
pub fn is_separator(byte: u8) -> bool {
    matches!(byte, b'&' | b';')
}

/// `access_token` (RFC 6750 §2.3) as any service may read it: in any case, with some of it percent-encoded, with
/// another byte for the `_` (PHP takes a space or a dot for it), behind spaces (PHP drops them), and as an element of
/// an array (`access_token[]`).
pub fn is_access_token(name: &[u8]) -> bool {
    let mut rest = name;
    while let (b' ' | b'+', after) = next(rest) {
        rest = after;
    }
    for &expected in ACCESS_TOKEN {
        if rest.is_empty() {
            return false;
        }
        let (byte, after) = next(rest);
        let is_same = match expected {
            b'_' => !byte.is_ascii_alphanumeric(),
            letter => byte.to_ascii_lowercase() == letter,
        };
        if !is_same {
            return false;
        }
        rest = after;
    }
    rest.is_empty() || matches!(next(rest).0, b'[' | 0)
}

/// The first byte of a name, decoded, and the rest; 0 at its end.
fn next(name: &[u8]) -> (u8, &[u8]) {
    match name {
        [b'%', high, low, after @ ..] => (hex(*high) << 4 | hex(*low), after),
        [byte, after @ ..] => (*byte, after),
        [] => (0, name),
    }
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
    use crate::http1::{HeadLimits, RequestHead};

    fn request(target: &str, fields: &str) -> Request {
        let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
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
    fn every_spelling_that_a_service_may_read_as_the_parameter_is_one() {
        for name in [
            "access_token",
            "ACCESS_TOKEN",
            "access+token",
            "access-token",
            "access.token",
            "access%20token",
            "%61ccess%5Ftoken",
            "+access_token",
            "%20%20access_token",
            "access_token[]",
            "access_token%5B0%5D",
            "access[token",
            "access_token%00x",
        ] {
            assert!(is_access_token(name.as_bytes()), "{name}");
        }
        for name in [
            "",
            "+",
            "access",
            "accesstoken",
            "access_tokens",
            "accessxtoken",
            "xaccess_token",
            "access__token",
        ] {
            assert!(!is_access_token(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn the_first_credential_does_not_depend_on_a_route() {
        let first = |target: &str, fields: &str| {
            super::first(&request(target, fields)).map(|token| String::from_utf8_lossy(token).into_owned())
        };
        let (header, offer) = ("Authorization: Bearer a\r\n", "Sec-WebSocket-Protocol: x, bearer.b\r\n");
        assert_eq!(first("/?access_token=c", &format!("{offer}{header}")), Ok("a".into()));
        assert_eq!(first("/?access_token=c", offer), Ok("b".into()));
        assert_eq!(first("/?access_token=c", "Authorization: Basic x\r\n"), Ok("c".into()));
        assert_eq!(first("/?x", ""), Err(CredentialError::Missing));
        let twice = first("/?access_token=c", &format!("{header}{header}"));
        assert_eq!(twice, Err(TokenFault::TwoCredentials.into()));
    }

    #[test]
    fn only_a_bearer_token_from_a_source_is_in_the_header() {
        let all = TokenSources::ALL;
        let is = |fields: &str, sources| is_in_header(&request("/?access_token=c", fields), sources);
        assert!(is("Authorization: Bearer a\r\n", all));
        assert!(!is("Authorization: Basic a\r\n", all) && !is("", all));
        assert!(!is("Authorization: Bearer a\r\n", TokenSources { header: false, ..all }));
    }
}
