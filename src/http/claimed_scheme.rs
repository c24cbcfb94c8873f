//! What a trusted proxy says of the scheme by which the client has come (`X-Forwarded-Proto`).

use super::field::{FieldKind, tokens};
use super::request::Request;
use super::scheme::Scheme;

/// What the fields of a request say of its scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimedScheme {
    /// Nothing.
    Absent,
    /// This one, everywhere.
    Known(Scheme),
    /// Something else, or several: nobody here can say what is meant.
    Unknown,
}

/// What the request says, whoever sends it. A chain of proxies may have left a list. `ws` and `wss` are the schemes of
/// the same transports as `http` and `https` (RFC 6455 §3); some proxies tell a handshake by them.
pub fn claimed_scheme(request: &Request) -> ClaimedScheme {
    let mut claimed = ClaimedScheme::Absent;
    for element in request.values(FieldKind::XForwardedProto).flat_map(tokens) {
        let known = match element {
            _ if is_any(element, [b"https", b"wss"]) => ClaimedScheme::Known(Scheme::Https),
            _ if is_any(element, [b"http", b"ws"]) => ClaimedScheme::Known(Scheme::Http),
            _ => return ClaimedScheme::Unknown,
        };
        match claimed {
            ClaimedScheme::Absent => claimed = known,
            before if before == known => {}
            _ => return ClaimedScheme::Unknown,
        }
    }
    claimed
}

fn is_any(element: &[u8], names: [&[u8]; 2]) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case(element))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::{HeadLimits, RequestHead};

    #[test]
    fn a_claim_is_http_or_https_or_not_ours_to_judge() {
        use ClaimedScheme::{Absent, Known, Unknown};
        for (fields, expected) in [
            ("", Absent),
            ("X-Forwarded-Proto: \r\n", Absent),
            ("X-Forwarded-Proto: https\r\n", Known(Scheme::Https)),
            ("X-Forwarded-Proto: WSS\r\n", Known(Scheme::Https)),
            ("X-Forwarded-Proto: http\r\n", Known(Scheme::Http)),
            ("X-Forwarded-Proto: ws\r\n", Known(Scheme::Http)),
            ("X-Forwarded-Proto: wss,https\r\n", Known(Scheme::Https)),
            ("X-Forwarded-Proto: https\r\nX-Forwarded-Proto: https\r\n", Known(Scheme::Https)),
            ("X-Forwarded-Proto: https, http\r\n", Unknown),
            ("X-Forwarded-Proto: ws\r\nX-Forwarded-Proto: wss\r\n", Unknown),
            ("X-Forwarded-Proto: h2c\r\n", Unknown),
            ("X-Forwarded-Proto: httpss\r\n", Unknown),
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes();
            let mut request = Request::default();
            RequestHead::parse(&head, &HeadLimits::DEFAULT, &mut request).expect("a head");
            assert_eq!(claimed_scheme(&request), expected, "{fields}");
        }
    }
}
