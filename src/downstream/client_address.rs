//! The client's address behind trusted proxies.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::limits::FORWARDED_HOPS_MAX;

/// Who sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress {
    /// The client for limits and logs; an IPv4-mapped address is the IPv4 address.
    pub address: IpAddr,
    /// The peer is a trusted proxy: its forwarding fields are trusted.
    pub is_peer_trusted: bool,
}

/// The client behind the peer.
///
/// A trusted peer's `X-Forwarded-For` (field values in the order received) is read from the right to the
/// first address that is not trusted: each proxy appends the address it saw, so whatever stands further left
/// was written by that address itself. An entry that is no address ends the walk at the one before it, and
/// so does [`FORWARDED_HOPS_MAX`].
pub fn client_address<'a>(
    peer: IpAddr,
    trusted: &[IpNet],
    forwarded_for: impl DoubleEndedIterator<Item = &'a [u8]>,
) -> ClientAddress {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    let mut address = peer.to_canonical();
    let is_peer_trusted = is_trusted(&address);
    if !is_peer_trusted {
        return ClientAddress { address, is_peer_trusted };
    }
    let entries = forwarded_for.rev().flat_map(|value| value.rsplit(|&byte| byte == b','));
    for entry in entries.take(FORWARDED_HOPS_MAX).map(<[u8]>::trim_ascii) {
        // RFC 9110 §5.6.1.2: "a recipient MUST parse and ignore a reasonable number of empty list elements".
        if entry.is_empty() {
            continue;
        }
        let Some(hop) = hop_address(entry) else { break };
        address = hop;
        if !is_trusted(&address) {
            break;
        }
    }
    ClientAddress { address, is_peer_trusted }
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn hop_address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    let address = text.parse().ok().or_else(bracketed).or_else(with_port)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUSTED: [&str; 3] = ["10.0.0.0/8", "127.0.0.1/32", "2001:db8:ffff::/48"];

    fn client(peer: &str, values: &[&str]) -> (String, bool) {
        let trusted: Vec<IpNet> = TRUSTED.iter().map(|net| net.parse().unwrap()).collect();
        let found = client_address(peer.parse().unwrap(), &trusted, values.iter().map(|v| v.as_bytes()));
        (found.address.to_string(), found.is_peer_trusted)
    }

    #[test]
    fn a_stranger_is_the_client_whatever_it_says() {
        for value in ["1.2.3.4", "10.0.0.1", "127.0.0.1, 10.0.0.1", ""] {
            assert_eq!(client("198.51.100.9", &[value]), ("198.51.100.9".into(), false), "{value}");
        }
    }

    #[test]
    fn reads_from_the_right_to_the_first_untrusted_address() {
        for (values, expected) in [
            (&[][..], "10.0.0.1"),
            (&["192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.1, 10.0.0.2"], "192.0.2.1"),
            (&["192.0.2.1,10.0.0.2 ,\t127.0.0.1"], "192.0.2.1"),
            (&["192.0.2.1", "10.0.0.2", "10.0.0.3, 10.0.0.4"], "192.0.2.1"),
            (&["10.9.9.9", "10.0.0.2"], "10.9.9.9"),
            (&["192.0.2.1, , ,"], "192.0.2.1"),
            (&["192.0.2.1", "", ""], "192.0.2.1"),
        ] {
            assert_eq!(client("10.0.0.1", values), (expected.into(), true), "{values:?}");
        }
    }

    #[test]
    fn a_spoofed_entry_left_of_the_client_changes_nothing() {
        for value in ["127.0.0.1, 192.0.2.1", "10.0.0.7, 192.0.2.1, 10.0.0.2", "8.8.8.8, 9.9.9.9, 192.0.2.1"]
        {
            assert_eq!(client("10.0.0.1", &[value]).0, "192.0.2.1", "{value}");
        }
    }

    #[test]
    fn reads_every_spelling_of_an_address() {
        for (entry, expected) in [
            ("192.0.2.1:443", "192.0.2.1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("2001:DB8::1", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[::ffff:192.0.2.1]:1", "192.0.2.1"),
            ("::ffff:10.0.0.5", "10.0.0.5"),
        ] {
            assert_eq!(client("10.0.0.1", &[entry]).0, expected, "{entry}");
        }
        assert_eq!(client("::ffff:10.0.0.1", &["192.0.2.1"]), ("192.0.2.1".into(), true));
        assert_eq!(client("2001:db8:ffff::1", &["2001:db8:ffff::2, 10.0.0.1"]).0, "2001:db8:ffff::2");
    }

    #[test]
    fn an_entry_that_is_no_address_ends_the_walk() {
        for entry in [
            "unknown",
            "_hidden",
            "192.0.2",
            "192.0.2.1:",
            "192.0.2.1:99999",
            "192.0.2.01",
            "[192.0.2.1]",
            "[2001:db8::1",
            "fe80::1%eth0",
            "\"192.0.2.1\"",
            "1.2.3.4 5.6.7.8",
            "h\u{e4}",
            "[]",
            ":80",
        ] {
            let value = format!("192.0.2.99, {entry}, 10.0.0.2");
            assert_eq!(client("10.0.0.1", &[&value]).0, "10.0.0.2", "{entry}");
        }
        let found = client_address(
            "127.0.0.1".parse().unwrap(),
            &["127.0.0.1/32".parse().unwrap()],
            [&b"192.0.2.1, \xff\xfe"[..]].into_iter(),
        );
        assert_eq!(found.address.to_string(), "127.0.0.1");
    }

    #[test]
    fn ten_thousand_hops_are_not_walked() {
        let own = vec!["10.0.0.2"; 10_000].join(",");
        assert_eq!(client("10.0.0.1", &["192.0.2.1", &own]).0, "10.0.0.2");
        let empty = ",".repeat(10_000);
        assert_eq!(client("10.0.0.1", &["192.0.2.1", &empty]).0, "10.0.0.1");
        let hops = vec!["10.0.0.2"; FORWARDED_HOPS_MAX - 1].join(",");
        assert_eq!(client("10.0.0.1", &["192.0.2.1", &hops]).0, "192.0.2.1");
    }
}
