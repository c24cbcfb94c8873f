//! Authorities: the `Host` field and the authority of an absolute-form target.

use std::net::Ipv6Addr;

use super::{ProtocolError, Scheme};
use crate::limits::HOST_BYTES_MAX;

/// Refuses what is not a host name, an IPv4 address or a bracketed IPv6 address, with an optional port.
///
/// Stricter than RFC 3986 §3.2.2 in what no host has: percent escapes, sub-delimiters (a comma would make
/// one `X-Forwarded-Host` two), an empty port, IPvFuture.
pub(crate) fn check(authority: &[u8]) -> Result<(), ProtocolError> {
    let (host_is_valid, port) = if let Some(rest) = authority.strip_prefix(b"[") {
        let end = rest.iter().position(|&byte| byte == b']').ok_or(ProtocolError::InvalidHost)?;
        (is_ipv6(&rest[..end]), &rest[end + 1..])
    } else {
        let end = authority.iter().position(|&byte| byte == b':').unwrap_or(authority.len());
        (is_name(&authority[..end]), &authority[end..])
    };
    if host_is_valid && is_port(port) { Ok(()) } else { Err(ProtocolError::InvalidHost) }
}

/// Whether these bytes are a host with an optional port.
pub fn is_host(authority: &[u8]) -> bool {
    check(authority).is_ok()
}

/// The host of an authority that `check` has accepted.
pub fn without_port(authority: &[u8]) -> &[u8] {
    let last = authority.iter().rposition(|&byte| byte == b':' || byte == b']');
    match last {
        Some(at) if authority[at] == b':' => &authority[..at],
        _ => authority,
    }
}

/// The name of an authority as names are compared: in lower case, without port and without the dot at its end, which
/// only says that the name is whole. `None`: it is longer than a name can be, or none is there.
pub fn host_name<'b>(authority: &[u8], buffer: &'b mut [u8; HOST_BYTES_MAX]) -> Option<&'b str> {
    let host = without_port(authority);
    let host = host.strip_suffix(b".").unwrap_or(host);
    let name = buffer.get_mut(..host.len()).filter(|name| !name.is_empty())?;
    name.copy_from_slice(host);
    name.make_ascii_lowercase();
    std::str::from_utf8(name).ok()
}

/// Whether two authorities that `check` has accepted are one: the default port of the scheme may be left out ("normally
/// equivalent", RFC 3986 §6.2.3), and case does not matter (§6.2.2.1).
pub(crate) fn is_same(one: &[u8], other: &[u8], scheme: Scheme) -> bool {
    let default: &[u8] = match scheme {
        Scheme::Http => b":80",
        Scheme::Https => b":443",
    };
    let bare = |authority| match without_port(authority) {
        host if authority[host.len()..] == *default => host,
        _ => authority,
    };
    bare(one).eq_ignore_ascii_case(bare(other))
}

fn is_name(host: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    !host.is_empty() && host.iter().all(allowed)
}

fn is_ipv6(address: &[u8]) -> bool {
    std::str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// Nothing, or a colon and a number of at most 16 bits.
fn is_port(port: &[u8]) -> bool {
    let Some(digits) = port.strip_prefix(b":") else { return port.is_empty() };
    let number = |sum: u32, digit: &u8| sum * 10 + u32::from(digit - b'0');
    let digits_only = (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    digits_only && digits.iter().fold(0, number) <= u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_behind_the_last_colon_outside_brackets() {
        for (authority, host) in [
            ("a", "a"),
            ("a:80", "a"),
            ("[::1]", "[::1]"),
            ("[::1]:443", "[::1]"),
            ("", ""),
            ("10.0.0.1:1", "10.0.0.1"),
        ] {
            assert_eq!(without_port(authority.as_bytes()), host.as_bytes());
        }
    }

    #[test]
    fn names_are_compared_in_lower_case_without_port_and_dot() {
        for (authority, expected) in [
            ("Chat.Example:8080", Some("chat.example")),
            ("chat.example.", Some("chat.example")),
            ("chat.example.:80", Some("chat.example")),
            ("chat.example..", Some("chat.example.")),
            ("[::1]:80", Some("[::1]")),
            ("", None),
            (".", None),
        ] {
            assert_eq!(host_name(authority.as_bytes(), &mut [0; HOST_BYTES_MAX]), expected, "{authority}");
        }
        let long = "a".repeat(HOST_BYTES_MAX + 1);
        assert_eq!(host_name(long.as_bytes(), &mut [0; HOST_BYTES_MAX]), None);
        assert_eq!(host_name(&long.as_bytes()[1..], &mut [0; HOST_BYTES_MAX]), Some(&long[1..]));
    }

    #[test]
    fn the_default_port_of_the_scheme_is_no_difference() {
        let same = |one: &str, other: &str, scheme| {
            let (forth, back) = (is_same(one.as_bytes(), other.as_bytes(), scheme), (other, one));
            assert_eq!(forth, is_same(back.0.as_bytes(), back.1.as_bytes(), scheme), "{one} {other}");
            forth
        };
        let (http, https) = (Scheme::Http, Scheme::Https);
        assert!(same("h:80", "H", http) && same("h:443", "h", https) && same("h", "h", http));
        assert!(same("[::1]:80", "[::1]", http) && same("[::1]:443", "[::1]", https));
        for (one, other, scheme) in [
            ("h:80", "h", https),
            ("h:443", "h", http),
            ("h:443", "h:80", https),
            ("h:8080", "h", http),
            ("h:80", "h:8080", http),
            ("h:80", "g", http),
            ("[::80]", "[:", http),
            ("[1::80]", "[1:", http),
        ] {
            assert!(!same(one, other, scheme), "{one} {other}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_an_optional_port() {
        for host in [
            "a",
            "chat.example.com",
            "EXAMPLE.com:8080",
            "10.0.0.1:1",
            "[::1]",
            "[2001:db8::1]:443",
            "my_svc",
        ] {
            assert_eq!(check(host.as_bytes()), Ok(()), "{host}");
        }
        for host in [
            "",
            ":80",
            "a:",
            "a:b",
            "a:65536",
            "a:123456",
            "a:8 0",
            "u@a",
            "u:p@a",
            "a/b",
            "a b",
            "a,b",
            "a%41",
            "[::1",
            "::1",
            "[::1]x",
            "[::1]:",
            "[]",
            "[fe80::1%eth0]",
            "[v1.a]",
            "a?b",
            "a#b",
            "\u{e9}",
            "a\\b",
            "a\tb",
            "a:+80",
        ] {
            assert_eq!(check(host.as_bytes()), Err(ProtocolError::InvalidHost), "{host}");
        }
    }
}
