//! What is remembered of a head that is refused: method and target for the log, `Origin` for the answer.

use crate::http::path::before_parameters;
use crate::http::{Field, FieldKind, Method, Request, Span, trim};
use crate::limits::{REFUSED_METHOD_BYTES_MAX, REFUSED_TARGET_BYTES_MAX};

/// Fills `request` with what can be read of a refused head, of which `received` has come. It is for the log and for the
/// answer alone: nothing is routed by it. A line that does not look like one of HTTP may be anything, a secret too: of
/// such a head nothing is remembered.
pub(crate) fn remember(received: &[u8], request: &mut Request) {
    let received = received.strip_prefix(b"\r\n").unwrap_or(received);
    let method = if received.starts_with(b"HEAD ") { Method::Head } else { Method::Get };
    request.clear(method);
    let end = memchr::memchr2(b'\r', b'\n', received).unwrap_or(received.len());
    if let Some((method, target)) = parts(&received[..end]) {
        remember_line(request, method, target);
    }
    if let Some(origin) = origin(received) {
        let value = push(request, origin);
        request.fields.push(Field {
            name: Span::default(),
            value,
            kind: FieldKind::Origin,
            nominated: false,
        });
    }
}

/// Method and target of a request line, whatever is wrong with it.
fn parts(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = memchr::memchr(b' ', line).filter(|at| (1..=REFUSED_METHOD_BYTES_MAX).contains(at))?;
    let (method, rest) = (&line[..space], &line[space + 1..]);
    let target = rest.split(|&byte| byte == b' ').next().unwrap_or_default();
    let is_http = target.starts_with(b"/") || memchr::memmem::find(rest, b" HTTP/").is_some();
    is_http.then_some((method, target))
}

/// The target up to what may hold a token or a password.
fn remember_line(request: &mut Request, method: &[u8], target: &[u8]) {
    request.method_name = push(request, method);
    let target = &target[..target.len().min(REFUSED_TARGET_BYTES_MAX)];
    // `user:password@` of an authority, wherever that ends: a password may have a raw `?`.
    let from = match memchr::memmem::find(target, b"://") {
        _ if target.starts_with(b"/") => target.len(),
        Some(at) if target[..at].iter().all(u8::is_ascii_alphanumeric) => at + 3,
        _ => 0,
    };
    let authority = target[from..].split(|&byte| byte == b'/').next().unwrap_or_default();
    let user = memchr::memrchr(b'@', authority).map_or(0, |at| at + 1);
    let start = request.bytes.len();
    match from == target.len() {
        true => request.bytes.extend_from_slice(before_parameters(target)),
        false => {
            request.bytes.extend_from_slice(&target[..from]);
            request.bytes.extend_from_slice(before_parameters(&target[from + user..]));
        }
    }
    request.refused_target = Span::new(start, request.bytes.len());
}

/// The value of the only `Origin` whose line is complete.
fn origin(received: &[u8]) -> Option<&[u8]> {
    let mut found = None;
    for line in received.split_inclusive(|&byte| byte == b'\n').skip(1) {
        let Some(line) = line.strip_suffix(b"\n") else { break };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_at_checked(ORIGIN.len()) else { continue };
        if name.eq_ignore_ascii_case(ORIGIN) {
            if found.is_some() {
                return None;
            }
            found = Some(trim(value)).filter(|value| value.len() <= REFUSED_TARGET_BYTES_MAX);
        }
    }
    found
}

fn push(request: &mut Request, bytes: &[u8]) -> Span {
    let start = request.bytes.len();
    request.bytes.extend_from_slice(bytes);
    Span::new(start, request.bytes.len())
}

const ORIGIN: &[u8] = b"origin:";

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered(head: &[u8]) -> Request {
        let mut request = Request::default();
        remember(head, &mut request);
        request
    }

    #[test]
    fn method_and_target_are_those_of_the_line() {
        for (line, method, target) in [
            ("GET /a//b?access_token=x HTTP/1.1", "GET", "/a//b"),
            ("GET /a#access_token=x HTTP/1.1", "GET", "/a"),
            ("GET /a;t=x HTTP/1.1", "GET", "/a"),
            ("GET /a%3bt=x HTTP/1.1", "GET", "/a"),
            ("GET /a%253Ft=x HTTP/1.1", "GET", "/a"),
            ("GET /a\\b\u{e9}\"", "GET", "/a\\b\u{e9}\""),
            ("G@T /a HTTP/1.1", "G@T", "/a"),
            ("GET /a b?c HTTP/1.1", "GET", "/a"),
            ("GET  /a HTTP/1.1", "GET", ""),
            ("CONNECT h:443 HTTP/1.1", "CONNECT", "h:443"),
            ("CONNECT u:p@h:443 HTTP/1.1", "CONNECT", "h:443"),
            ("GET http://u:p@h/a@b?c HTTP/1.1", "GET", "http://h/a@b"),
            ("GET http://u:p@v@h HTTP/1.1", "GET", "http://h"),
            ("GET http://u:p?@h/ HTTP/1.1", "GET", "http://h/"),
            ("GET x?://u:p@h HTTP/1.1", "GET", "x"),
            ("GET h?access_token=x&u=http://h HTTP/1.1", "GET", "h"),
            ("AUTH secret", "", ""),
            ("hello", "", ""),
            (" /a HTTP/1.1", "", ""),
            ("", "", ""),
            (&format!("{} /a HTTP/1.1", "G".repeat(99)), "", ""),
        ] {
            for head in [line.to_owned(), format!("{line}\r\nHost: h\r\n\r\n"), format!("{line}\n/x HTTP/1")]
            {
                let request = remembered(head.as_bytes());
                assert_eq!(request.method_name(), method.as_bytes(), "{line}");
                assert_eq!(request.refused_target(), target.as_bytes(), "{line}");
                assert_eq!(request.path(), b"/", "nothing is routed by it");
            }
        }
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(60_000));
        assert_eq!(remembered(long.as_bytes()).refused_target().len(), REFUSED_TARGET_BYTES_MAX);
        assert_eq!(remembered(b"HEAD /a//").method, Method::Head);
    }

    #[test]
    fn the_only_complete_origin_is_remembered() {
        for (lines, origin) in [
            ("Origin: https://a\r\n", Some("https://a")),
            ("X: y\r\nORIGIN:\thttps://a \r\nx", Some("https://a")),
            ("Bad Line\nOrigin: https://a\n", Some("https://a")),
            ("Origin: https://a", None),
            ("Origin: https://a\r\norigin: https://a\r\n", None),
            ("X-Origin: https://a\r\n", None),
            ("X: y\r\n\r\nOrigin: https://a\r\n", None),
            ("Origin : https://a\r\n", None),
        ] {
            let request = remembered(format!("GET /// HTTP/1.1\r\n{lines}").as_bytes());
            assert_eq!(request.only(FieldKind::Origin), origin.map(str::as_bytes), "{lines:?}");
        }
    }

    #[test]
    fn any_bytes_cut_anywhere_are_remembered_without_a_panic() {
        let head = b"\r\nGET http://u@h/%25%2525;\xff\0%3 HTTP/1.1\r\nOrigin: \xff\r\n\r\n";
        for from in 0..head.len() {
            for to in from..head.len() {
                let request = remembered(&head[from..to]);
                assert!(request.refused_target().len() <= head.len());
            }
        }
    }
}
