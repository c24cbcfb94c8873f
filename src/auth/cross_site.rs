//! Whether a page of this system has sent a request: where a cookie is the credential, any page of the web could have.

use crate::http::{FieldKind, Method, Request, Scheme};

/// Whether a request that a cookie identifies could do harm if another site's page had sent it: a handshake, whose
/// messages that page could read, and every method but the safe ones (RFC 9110 §9.2.1), whose responses it cannot.
///
/// `may_override`: the service obeys a field that names another method.
pub fn matters(request: &Request, may_override: bool) -> bool {
    let is_safe = matches!(request.method, Method::Get | Method::Head | Method::Options);
    let is_overridden = || may_override && request.values(FieldKind::MethodOverride).next().is_some();
    !is_safe || request.is_websocket || is_overridden()
}

/// Whether a page of this system has sent the request: its browser says so, or its origin `is_allowed`, or its origin
/// is the host that was asked. A page cannot change either field, and a browser that sends neither is too old to be
/// believed.
pub fn is_own(request: &Request, scheme: Scheme, is_allowed: impl Fn(&[u8]) -> bool) -> bool {
    if request.only(FieldKind::SecFetchSite) == Some(b"same-origin") {
        return true;
    }
    let Some(origin) = request.only(FieldKind::Origin) else { return false };
    is_allowed(origin) || is_of_host(origin, request.host(), scheme)
}

/// Whether an origin is this host. Where TLS ends at a proxy in front, a page of `https` asks by `http`. The reverse
/// would be a page that anybody on the way may have written.
fn is_of_host(origin: &[u8], host: &[u8], scheme: Scheme) -> bool {
    let (authority, default_port): (&[u8], &[u8]) = match (origin, scheme) {
        ([b'h', b't', b't', b'p', b's', b':', b'/', b'/', authority @ ..], _) => (authority, b":443"),
        ([b'h', b't', b't', b'p', b':', b'/', b'/', authority @ ..], Scheme::Http) => (authority, b":80"),
        _ => return false,
    };
    // Browsers leave the default port out of an origin (RFC 6454 §6.2); a client may send it in the host.
    let host = host.strip_suffix(default_port).unwrap_or(host);
    !host.is_empty() && authority.eq_ignore_ascii_case(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::{HeadLimits, RequestHead};

    fn request(method: &str, host: &str, fields: &str) -> Request {
        let head = format!("{method} / HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
        let mut request = Request::default();
        RequestHead::parse(head.as_bytes(), &HeadLimits::DEFAULT, &mut request).expect("a valid head");
        request
    }

    #[test]
    fn unsafe_methods_and_handshakes_matter() {
        let matters = |method: &str, fields: &str| super::matters(&request(method, "h", fields), false);
        for method in ["POST", "PUT", "PATCH", "DELETE", "PURGE", "get"] {
            assert!(matters(method, ""), "{method}");
        }
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert!(!matters(method, ""), "{method}");
        }
        assert!(matters("GET", "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
        let overriding = request("GET", "h", "X-HTTP-Method-Override: DELETE\r\n");
        assert!(super::matters(&overriding, true) && !super::matters(&overriding, false));
    }

    #[test]
    fn an_origin_is_own_if_it_is_listed_or_the_host_itself() {
        let own = |scheme, host: &str, fields: &str| {
            is_own(&request("POST", host, fields), scheme, |origin| origin == b"https://app.example")
        };
        let host = "chat.example";
        for (scheme, host, fields) in [
            (Scheme::Https, host, "Origin: https://chat.example\r\n"),
            (Scheme::Http, host, "Origin: https://chat.example\r\n"),
            (Scheme::Http, host, "Origin: http://chat.example\r\n"),
            (Scheme::Https, "CHAT.example:443", "Origin: https://chat.example\r\n"),
            (Scheme::Http, "chat.example:8080", "Origin: http://chat.example:8080\r\n"),
            (Scheme::Http, "[::1]:80", "Origin: http://[::1]\r\n"),
            (Scheme::Https, host, "Origin: https://app.example\r\n"),
            (Scheme::Https, host, "Sec-Fetch-Site: same-origin\r\n"),
            // A proxy has changed the host; the browser has seen both.
            (Scheme::Http, "internal", "Origin: https://chat.example\r\nSec-Fetch-Site: same-origin\r\n"),
            (Scheme::Http, host, "Origin: null\r\nSec-Fetch-Site: same-origin\r\n"),
        ] {
            assert!(own(scheme, host, fields), "{host} {fields}");
        }
        for (scheme, host, fields) in [
            (Scheme::Https, host, ""),
            (Scheme::Https, host, "Origin: null\r\n"),
            (Scheme::Https, host, "Origin: \r\n"),
            (Scheme::Https, host, "Origin: http://chat.example\r\n"),
            (Scheme::Https, host, "Origin: https://chat.example.evil\r\n"),
            (Scheme::Https, host, "Origin: https://evil-chat.example\r\n"),
            (Scheme::Https, host, "Origin: https://chat.example:8443\r\n"),
            (Scheme::Https, "chat.example:8443", "Origin: https://chat.example\r\n"),
            (Scheme::Http, "chat.example:443", "Origin: http://chat.example\r\n"),
            (Scheme::Https, host, "Origin: chat.example\r\n"),
            (Scheme::Https, host, "Origin: https://app.example/\r\n"),
            (Scheme::Https, host, "Origin: https://chat.example\r\nOrigin: https://chat.example\r\n"),
            (Scheme::Https, host, "Sec-Fetch-Site: same-site\r\n"),
            (Scheme::Https, host, "Sec-Fetch-Site: none\r\n"),
            (Scheme::Https, host, "Sec-Fetch-Site: cross-site\r\n"),
            (Scheme::Https, host, "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: same-origin\r\n"),
            (Scheme::Https, host, "Sec_Fetch_Site: same-origin\r\n"),
        ] {
            assert!(!own(scheme, host, fields), "{host} {fields}");
        }
    }

    #[test]
    fn a_request_without_a_host_is_nobodys_own() {
        let head = b"POST / HTTP/1.0\r\nOrigin: https://\r\n\r\n";
        let mut request = Request::default();
        RequestHead::parse(head, &HeadLimits::DEFAULT, &mut request).expect("a valid head");
        assert!(!is_own(&request, Scheme::Https, |_| false));
    }
}
