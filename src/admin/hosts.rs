//! Who may be asked for: the names of the admin listener. A page in a browser on this host can reach the listener by a
//! name of its own that leads to 127.0.0.1 (DNS rebinding), and could read what it says. Such a request has that name
//! in its `Host`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::http::{FieldKind, Request};

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stranger {
    /// It asks for another host.
    Host,
    /// A page of another origin has sent it.
    Origin,
}

/// Checks the host of a request and, if a page has sent it, the page's origin. `names` are those of `ADMIN_HOSTS`.
pub(super) fn check(request: &Request, names: &[String]) -> Result<(), Stranger> {
    // Without a `Host`, which only HTTP/1.0 may leave out: no browser.
    let host = name_of(request.host());
    if !request.host().is_empty() && !is_address(host) && !is_own(host, names) {
        return Err(Stranger::Host);
    }
    let is_known = |origin: &[u8]| {
        let page = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://")).map(name_of);
        // An address is known only if it is the one that is asked: anybody can have one.
        page.is_some_and(|page| is_own(page, names) || (is_address(page) && page == host))
    };
    match request.values(FieldKind::Origin).all(is_known) {
        true => Ok(()),
        false => Err(Stranger::Origin),
    }
}

/// The authority without its port. The colon of a port is the last one, and none inside of brackets.
fn name_of(authority: &[u8]) -> &[u8] {
    let colon = authority.iter().rposition(|byte| *byte == b':');
    match colon.filter(|colon| !authority[*colon..].contains(&b']')) {
        Some(colon) => &authority[..colon],
        None => authority,
    }
}

fn is_address(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let address = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().map(IpAddr::V6),
        None => host.parse::<Ipv4Addr>().map(IpAddr::V4),
    };
    address.is_ok()
}

fn is_own(host: &[u8], names: &[String]) -> bool {
    let is = |name: &str| host.eq_ignore_ascii_case(name.as_bytes());
    is("localhost") || names.iter().any(|name| is(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_own_names_are_hosts() {
        let names = ["gateway".to_owned(), "metrics.example".to_owned()];
        let is_own = |authority: &str| {
            let host = name_of(authority.as_bytes());
            is_address(host) || is_own(host, &names)
        };
        for host in [
            "127.0.0.1:9901",
            "10.0.0.7",
            "[::1]:9901",
            "[2001:db8::1]",
            "localhost",
            "LocalHost:9901",
            "gateway:9901",
            "Metrics.Example",
        ] {
            assert!(is_own(host), "{host}");
        }
        for host in [
            "evil.example:9901",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "2130706433",
            "0x7f.1",
            "127.1",
            "gateway.example",
            "xgateway",
            "",
            "[::1].evil",
            "a",
        ] {
            assert!(!is_own(host), "{host}");
        }
    }
}
