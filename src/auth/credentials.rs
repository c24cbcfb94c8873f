//! Where a request may carry its token: in `Authorization` or a field of its own, in a subprotocol, in the query, in a
//! cookie.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::bearer::bearer;
use super::error::{CredentialError, TokenFault};
use super::holder::Mark;
use super::token_fields;
use crate::config::meaning::token_sources::{ACCESS_TOKEN, BEARER};
use crate::config::{TokenEncoding, TokenPrefix, TokenSources};
use crate::http::path::escape;
use crate::http::{FieldKind, Request, tokens};
use crate::limits::TOKEN_BYTES_MAX;

/// A token as a request carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential<'r> {
    /// The token.
    pub token: Cow<'r, [u8]>,
    /// A browser has sent it by itself, whichever page has begun the request.
    pub is_cookie: bool,
}

/// The one token of a request. Two are refused, because two services could choose different ones. A cookie is sent with
/// every request, so it counts only where there is no other token.
///
/// # Errors
/// There is none, or more than one.
pub fn token<'r>(request: &'r Request, sources: &TokenSources) -> Result<Credential<'r>, CredentialError> {
    if sources.is_header_alone() {
        return bearer_token(request);
    }
    let header = match sources.header {
        true => in_header(request)?,
        false => None,
    };
    let mut found = elsewhere(request, header, sources);
    if let Some(token) = found.next() {
        return match found.next() {
            Some(_) => Err(TokenFault::TwoCredentials.into()),
            None => token.map(|token| Credential { token, is_cookie: false }),
        };
    }
    let mut cookies = cookies(request, sources);
    let token = cookies.next().ok_or(CredentialError::Missing)?;
    match cookies.next() {
        Some(_) => Err(TokenFault::TwoCredentials.into()),
        None => Ok(Credential { token: Cow::Borrowed(token), is_cookie: true }),
    }
}

/// The token in `Authorization`, where no other place is looked at.
///
/// # Errors
/// There is none, or more than one field.
pub fn bearer_token(request: &Request) -> Result<Credential<'_>, CredentialError> {
    let token = bearer(request.values(FieldKind::Authorization))?;
    Ok(Credential { token: Cow::Borrowed(token), is_cookie: false })
}

/// The first credential of a request, wherever any route would look for it: in the header, a field of its own, a
/// subprotocol, the query, a cookie, in this order. What a client without a valid credential is told follows from this
/// one, on every path: an answer that followed from the route would tell which routes there are.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn first<'r>(request: &'r Request, sources: &TokenSources) -> Result<Cow<'r, [u8]>, CredentialError> {
    let header = in_header(request)?;
    let cookies = cookies(request, sources).map(|token| Ok(Cow::Borrowed(token)));
    let first = elsewhere(request, header, sources).chain(cookies).next();
    first.unwrap_or(Err(CredentialError::Missing))
}

/// Whether the token that these sources gave is the one in the header.
pub fn is_in_header(request: &Request, sources: &TokenSources) -> bool {
    sources.header && matches!(in_header(request), Ok(Some(_)))
}

/// A token, or why it cannot be read.
type Read<'r> = Result<Cow<'r, [u8]>, CredentialError>;

/// The tokens of a request that no browser adds by itself: the one of the header, and those in fields of their own, in
/// subprotocols and in the query.
fn elsewhere<'r>(
    request: &'r Request,
    header: Option<&'r [u8]>,
    sources: &TokenSources,
) -> impl Iterator<Item = Read<'r>> {
    let prefixes = &sources.subprotocols;
    // As for parameters: those too short for a prefix cost no more than a look.
    let shortest = prefixes.iter().map(|known| known.prefix.len()).min().unwrap_or(usize::MAX);
    let offered = subprotocols(request).filter(move |offer| offer.len() >= shortest);
    let offered = offered.filter_map(|offer| prefixes.iter().find_map(|prefix| token_of(offer, prefix)));
    let asked = parameters(request.query(), &sources.queries);
    let named = header.into_iter().chain(token_fields::tokens(request, &sources.fields));
    named
        .map(|token| Ok(Cow::Borrowed(token)))
        .chain(offered)
        .chain(asked.map(|token| Ok(Cow::Borrowed(token))))
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

/// Whether a subprotocol is a token, of these sources or the `bearer.…` that is one wherever handshakes are taken.
pub fn is_token_offer(offer: &[u8], sources: &TokenSources) -> bool {
    behind(offer, BEARER.as_bytes()).is_some()
        || sources.subprotocols.iter().any(|known| behind(offer, known.prefix.as_bytes()).is_some())
}

/// The handle that the client has chosen for its WebSocket: the mark of a subprotocol `handle.` and 32 to 64 hex
/// digits. Of several the first counts.
pub fn offered_handle(request: &Request) -> Option<Mark> {
    subprotocols(request).find_map(|offer| secret_of(behind(offer, HANDLE)?))
}

/// Whether a subprotocol is a handle, well-formed or not.
pub fn is_handle_offer(offer: &[u8]) -> bool {
    behind(offer, HANDLE).is_some()
}

/// The handle that a renewal is for, in `X-Socket-Handle`; `None`: there is not exactly one.
pub fn handle_of(request: &Request) -> Option<Mark> {
    let names = [HANDLE_FIELD.to_owned()];
    let mut values = token_fields::tokens(request, &names);
    values.next().filter(|_| values.next().is_none()).and_then(secret_of)
}

/// In any case: hex digits of either mean the same bits.
fn secret_of(text: &[u8]) -> Option<Mark> {
    let is_hex = (32..=64).contains(&text.len()) && text.iter().all(u8::is_ascii_hexdigit);
    is_hex.then(|| Mark::of_handle(&text.to_ascii_lowercase()))
}

/// What a subprotocol begins with that is a handle.
const HANDLE: &[u8] = b"handle.";
/// The field of a renewal that has the handle.
const HANDLE_FIELD: &str = "x-socket-handle";

/// The token of a subprotocol that is one.
fn token_of<'r>(offer: &'r [u8], prefix: &TokenPrefix) -> Option<Read<'r>> {
    let token = behind(offer, prefix.prefix.as_bytes())?;
    Some(match prefix.encoding {
        TokenEncoding::Plain => Ok(Cow::Borrowed(token)),
        TokenEncoding::Base64url if token.len() > ENCODED_MAX => Err(TokenFault::TooLong.into()),
        TokenEncoding::Base64url => {
            URL_SAFE_NO_PAD.decode(token).map(Cow::Owned).map_err(|_| TokenFault::Encoding.into())
        }
    })
}

/// What follows a prefix that is there in any case.
fn behind<'r>(offer: &'r [u8], prefix: &[u8]) -> Option<&'r [u8]> {
    let (start, rest) = offer.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// The values of these parameters of a query, which begins with its question mark or is empty, as they stand. Some
/// services take `;` for `&`, and read names in any case: a token is one however they would find it.
///
/// A query may have thousands of parameters, and whoever sends it has shown no token yet: those too short for a name
/// cost no more than a look at their bytes.
fn parameters<'r>(query: &'r [u8], names: &[String]) -> impl Iterator<Item = &'r [u8]> {
    let shortest = names.iter().map(String::len).min().unwrap_or(usize::MAX);
    let query = if names.is_empty() { b"" } else { query };
    let pieces = query.get(1..).unwrap_or_default().split(|&byte| is_separator(byte));
    pieces.filter(move |piece| piece.len() >= shortest).filter_map(|piece| {
        let (name, value) = match memchr::memchr(b'=', piece) {
            Some(at) => (&piece[..at], &piece[at + 1..]),
            None => (piece, &piece[piece.len()..]),
        };
        names.iter().any(|known| is_parameter(name, known.as_bytes())).then_some(value)
    })
}

/// Whether a query has a parameter that is a token.
pub fn has_token_parameter(query: &[u8], names: &[String]) -> bool {
    parameters(query, names).next().is_some()
}

/// Whether a parameter, with its value or without, is a token.
pub fn is_token_parameter(piece: &[u8], names: &[String]) -> bool {
    let name = piece.split(|&byte| byte == b'=').next().unwrap_or_default();
    names.iter().any(|known| is_parameter(name, known.as_bytes()))
}

/// Whether a parameter, with its value or without, is the one of RFC 6750 §2.3.
pub fn is_access_token(piece: &[u8]) -> bool {
    is_parameter(piece.split(|&byte| byte == b'=').next().unwrap_or_default(), ACCESS_TOKEN.as_bytes())
}

/// Whether a byte ends one parameter of a query.
pub fn is_separator(byte: u8) -> bool {
    matches!(byte, b'&' | b';')
}

/// Whether a name is this one (`access_token`, RFC 6750 §2.3) as any service may read it: in any case, with some of it
/// percent-encoded, with another byte for the `_` (PHP takes a space or a dot for it), behind spaces (PHP drops them),
/// as an element of an array (`access_token[]`), and with broken escapes in it, of which decoders make what they like.
fn is_parameter(name: &[u8], known: &[u8]) -> bool {
    let mut rest = name;
    while let (b' ' | b'+' | b'%', after) = next(rest) {
        rest = after;
    }
    for &expected in known {
        // A stray `%` is nothing, unless it is all that stands for the `_`.
        while let (b'%', after) = next(rest)
            && (expected.is_ascii_alphanumeric() || !next(after).0.is_ascii_alphanumeric())
        {
            rest = after;
        }
        if rest.is_empty() {
            return false;
        }
        let (byte, after) = next(rest);
        let is_same = match expected.is_ascii_alphanumeric() {
            true => byte.eq_ignore_ascii_case(&expected),
            false => !byte.is_ascii_alphanumeric(),
        };
        if !is_same {
            return false;
        }
        rest = after;
    }
    rest.is_empty() || matches!(next(rest).0, b'[' | b'%' | 0)
}

/// The first byte of a name, decoded, and the rest; 0 at its end. A `%` without two hex digits is itself.
fn next(name: &[u8]) -> (u8, &[u8]) {
    match name {
        [byte, after @ ..] => escape(name).map_or((*byte, after), |byte| (byte, &name[3..])),
        [] => (0, name),
    }
}

/// The values of the cookies that are tokens, in all fields.
fn cookies<'r>(request: &'r Request, sources: &TokenSources) -> impl Iterator<Item = &'r [u8]> {
    let names = &sources.cookies;
    let fields = request.values(FieldKind::Cookie).filter(|_| !names.is_empty());
    fields.flat_map(cookie_pieces).filter_map(|piece| {
        let (name, value) = named(piece)?;
        names.iter().any(|known| known.as_bytes() == name).then_some(value)
    })
}

/// The cookies of one field, each with the spaces around it (RFC 6265 §4.2.1).
pub fn cookie_pieces(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    field.split(|&byte| byte == b';')
}

/// Whether a cookie is a token.
pub fn is_token_cookie(piece: &[u8], names: &[String]) -> bool {
    let name = named(piece).map_or(piece.trim_ascii(), |(name, _)| name);
    names.iter().any(|known| known.as_bytes() == name)
}

/// Name and value of a cookie, the value without the quotes around it: "cookie-value = *cookie-octet / ( DQUOTE
/// *cookie-octet DQUOTE )" (RFC 6265 §4.1.1).
fn named(piece: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b'=', piece)?;
    let (name, value) = (piece[..at].trim_ascii(), piece[at + 1..].trim_ascii());
    let inner = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    Some((name, inner.unwrap_or(value)))
}

/// Characters of the longest token in base64url: four for three bytes, without padding.
const ENCODED_MAX: usize = (4 * TOKEN_BYTES_MAX).div_ceil(3);

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

    fn found(target: &str, fields: &str, sources: &TokenSources) -> Result<String, CredentialError> {
        let request = request(target, fields);
        token(&request, sources).map(|found| String::from_utf8_lossy(&found.token).into_owned())
    }

    /// Everything that a configuration can name.
    fn every_source() -> TokenSources {
        let phoenix = TokenPrefix { prefix: "b64.phx.".to_owned(), encoding: TokenEncoding::Base64url };
        TokenSources {
            header: true,
            fields: vec!["x-auth-token".to_owned()],
            subprotocols: vec![TokenPrefix::bearer(), phoenix],
            queries: vec!["access_token".to_owned(), "t".to_owned()],
            cookies: vec!["session".to_owned()],
        }
    }

    #[test]
    fn a_field_of_its_own_is_one_of_the_ways() {
        let all = &every_source();
        assert_eq!(found("/", "X-Auth-Token: a.b.c\r\n", all), Ok("a.b.c".into()));
        assert_eq!(found("/", "X_Auth_Token: a.b.c\r\n", all), Err(CredentialError::Missing));
        for two in ["X-Auth-Token: b\r\n", "X-Auth-Token: a\r\n", "Authorization: Bearer b\r\n"] {
            let told = found("/", &format!("X-Auth-Token: a\r\n{two}"), all);
            assert_eq!(told, Err(TokenFault::TwoCredentials.into()), "{two}");
        }
        assert_eq!(found("/?t=b", "X-Auth-Token: a\r\n", all), Err(TokenFault::TwoCredentials.into()));
        assert_eq!(found("/", "X-Auth-Token: a\r\nCookie: session=b\r\n", all), Ok("a".into()));
        assert_eq!(found("/", "X-Auth-Token: a\r\n", &TokenSources::header()), Err(CredentialError::Missing));
    }

    #[test]
    fn a_token_comes_in_one_of_three_ways() {
        let all = &TokenSources::of_handshakes();
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
            ("/ws?access_tokens=x&xaccess_token=y&t=z", ""),
            ("/ws", "Sec-WebSocket-Protocol: bearer, xbearer.x\r\nAuthorization: Basic eA==\r\n"),
            ("/ws", "Cookie: session=x; access_token=x\r\n"),
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
            ("/ws?access_token=a&%74=a", String::new()),
            ("/ws?a;Access_Token=a", header.to_owned()),
            ("/ws", format!("{header}{}", offer.replace("bearer", "BEARER"))),
            ("/ws", format!("{header}{offer}")),
            ("/ws", format!("{header}{header}")),
            ("/ws", format!("{offer}{offer}")),
            ("/ws", "Sec-WebSocket-Protocol: bearer.a, bearer.a\r\n".to_owned()),
            ("/ws", "Sec-WebSocket-Protocol: bearer.a, B64.phx.YQ\r\n".to_owned()),
            ("/ws", "Sec-WebSocket-Protocol: b64.phx.*, b64.phx.*\r\n".to_owned()),
            ("/ws", "Cookie: session=a; session=a\r\n".to_owned()),
            ("/ws", "Cookie: session=a\r\nCookie: x; session =a\r\n".to_owned()),
        ] {
            assert_eq!(
                found(target, &fields, &every_source()),
                Err(TokenFault::TwoCredentials.into()),
                "{target} {fields}"
            );
        }
    }

    #[test]
    fn a_source_that_is_off_is_not_looked_at() {
        let fields = "Authorization: Bearer a\r\nSec-WebSocket-Protocol: bearer.b, b64.phx.Yg\r\nCookie: session=d\r\n";
        let (all, none) = (every_source(), TokenSources::default());
        let (bearer, phoenix) = (all.subprotocols[0].clone(), all.subprotocols[1].clone());
        for (sources, token) in [
            (TokenSources { header: true, ..none.clone() }, "a"),
            (TokenSources { subprotocols: vec![bearer], ..none.clone() }, "b"),
            (TokenSources { subprotocols: vec![phoenix], ..none.clone() }, "b"),
            (TokenSources { queries: vec!["access_token".to_owned()], ..none.clone() }, "c"),
            (TokenSources { cookies: all.cookies, ..none.clone() }, "d"),
        ] {
            assert_eq!(found("/ws?access_token=c", fields, &sources), Ok(token.into()));
        }
        assert_eq!(found("/ws?access_token=c", fields, &none), Err(CredentialError::Missing));
    }

    #[test]
    fn a_cookie_counts_where_there_is_no_other_token() {
        let all = &every_source();
        let is_cookie =
            |target: &str, fields: &str| token(&request(target, fields), all).map(|found| found.is_cookie);
        let cookie = "Cookie: session=d; session=e\r\n";
        assert_eq!(is_cookie("/", "Cookie: session=d\r\n"), Ok(true));
        assert_eq!(is_cookie("/", &format!("Authorization: Bearer a\r\n{cookie}")), Ok(false));
        assert_eq!(is_cookie("/?t=a", cookie), Ok(false));
        assert_eq!(
            is_cookie("/", &format!("Authorization: Basic a\r\n{}", "Cookie: session=d\r\n")),
            Ok(true)
        );
    }

    #[test]
    fn a_cookie_is_found_wherever_it_stands_and_nothing_else_is_taken_for_it() {
        let cookie = |value: &str| {
            found("/", &format!("Cookie: {value}\r\n"), &TokenSources { header: false, ..every_source() })
        };
        for value in [
            "session=a.b.c",
            "session=a.b.c; x=1",
            "x=1; session=a.b.c; y=2",
            "x=1; session=a.b.c",
            "x=1;session=a.b.c;",
            "x=\"1; session=a.b.c",
            "session=\"a.b.c\"",
            " session = a.b.c ",
            "x; =; ; session=a.b.c",
        ] {
            assert_eq!(cookie(value), Ok("a.b.c".into()), "{value}");
        }
        for value in [
            "",
            "session",
            "Session=a",
            "xsession=a",
            "session2=a",
            "x=session=a",
            "x=1, session=a",
            "%73ession=a",
        ] {
            assert_eq!(cookie(value), Err(CredentialError::Missing), "{value}");
        }
        // Quotes on one side alone belong to the value, which is no token then.
        assert_eq!(cookie("session=\"a"), Ok("\"a".into()));
        assert_eq!(cookie("session="), Ok(String::new()));
        assert_eq!(cookie("session=\""), Ok("\"".into()));
        assert_eq!(cookie("session=a=b"), Ok("a=b".into()));
    }

    #[test]
    fn a_token_in_base64url_is_decoded_strictly() {
        let all = &every_source();
        let offered = |offer: &str| found("/", &format!("Sec-WebSocket-Protocol: phoenix, {offer}\r\n"), all);
        assert_eq!(offered("b64.phx.YS5iLmM"), Ok("a.b.c".into()));
        for offer in ["b64.phx.YS5iLmM=", "b64.phx.*", "b64.phx.YS5iLmN", "b64.phx.A"] {
            assert!(matches!(offered(offer), Err(CredentialError::Invalid(_))), "{offer}");
        }
        let long = format!("b64.phx.{}", "A".repeat(ENCODED_MAX + 1));
        assert_eq!(offered(&long), Err(TokenFault::TooLong.into()));
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
            "access_token%",
            "access_token%zz",
            "%%61ccess_token",
            "acc%%ess_token",
            "access%_%token%5",
            "access%token",
            "access%token%",
            "access_toke%n%2",
        ] {
            assert!(is_parameter(name.as_bytes(), b"access_token"), "{name}");
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
            "%",
            "%%%",
            "access%",
            "access_tok%65%6",
        ] {
            assert!(!is_parameter(name.as_bytes(), b"access_token"), "{name}");
        }
    }

    #[test]
    fn the_first_credential_does_not_depend_on_a_route() {
        let all = every_source();
        let first = |target: &str, fields: &str| {
            super::first(&request(target, fields), &all)
                .map(|token| String::from_utf8_lossy(&token).into_owned())
        };
        let (header, offer) = ("Authorization: Bearer a\r\n", "Sec-WebSocket-Protocol: x, bearer.b\r\n");
        let cookie = "Cookie: session=d; session=e\r\n";
        assert_eq!(first("/?access_token=c", &format!("{offer}{header}")), Ok("a".into()));
        assert_eq!(first("/?access_token=c", &format!("{cookie}{offer}")), Ok("b".into()));
        assert_eq!(first("/?access_token=c", &format!("Authorization: Basic x\r\n{cookie}")), Ok("c".into()));
        assert_eq!(first("/?x", cookie), Ok("d".into()));
        assert_eq!(first("/?x", ""), Err(CredentialError::Missing));
        let twice = first("/?access_token=c", &format!("{header}{header}"));
        assert_eq!(twice, Err(TokenFault::TwoCredentials.into()));
    }

    #[test]
    fn only_a_bearer_token_from_a_source_is_in_the_header() {
        let all = every_source();
        let is = |fields: &str, sources: &TokenSources| {
            is_in_header(&request("/?access_token=c", fields), sources)
        };
        assert!(is("Authorization: Bearer a\r\n", &all));
        assert!(!is("Authorization: Basic a\r\n", &all) && !is("", &all));
        assert!(!is("Authorization: Bearer a\r\n", &TokenSources { header: false, ..all.clone() }));
    }
}
