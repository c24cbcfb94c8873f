//! The PROXY protocol (haproxy.org, proxy-protocol.txt, versions 1 and 2): what a load balancer that only passes bytes
//! on says of the connection before the first of them. Pure functions over bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::limits::PROXY_HEADER_BYTES_MAX;

/// How much of a header there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More is needed: all bytes so far belong to the header.
    Partial,
    /// The header is whole.
    Whole {
        /// Its length in bytes.
        length: usize,
        /// The client, if the header names one. `None`: the balancer speaks for itself, as in a health check, or does
        /// not know (`UNKNOWN`, `LOCAL`).
        client: Option<SocketAddr>,
    },
}

/// The bytes are no such header, or one that is longer than its bound or names an address that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoHeader;

/// Looks for a header at the front of what has come.
///
/// # Errors
/// [`NoHeader`]. A connection that has to begin with one is closed then: its bytes may be anything.
pub fn look(bytes: &[u8]) -> Result<Progress, NoHeader> {
    match bytes {
        _ if begins(bytes, SIGNATURE) => binary(bytes),
        _ if begins(bytes, b"PROXY ") => text(bytes),
        _ => Err(NoHeader),
    }
}

/// Whether the bytes and the word are alike as far as both go.
fn begins(bytes: &[u8], word: &[u8]) -> bool {
    let length = word.len().min(bytes.len());
    bytes[..length] == word[..length]
}

/// Version 1: a line.
fn text(bytes: &[u8]) -> Result<Progress, NoHeader> {
    let shown = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', shown) else {
        let may_go_on = shown.len() < LINE_BYTES_MAX;
        return if may_go_on { Ok(Progress::Partial) } else { Err(NoHeader) };
    };
    let line = shown[..end].strip_suffix(b"\r").ok_or(NoHeader)?;
    let line = std::str::from_utf8(line).map_err(|_| NoHeader)?;
    let mut words = line.split(' ').skip(1);
    let family = words.next().ok_or(NoHeader)?;
    let client = match family {
        // What else is in the line means nothing.
        "UNKNOWN" => None,
        "TCP4" | "TCP6" => {
            let mut address =
                || words.next()?.parse::<IpAddr>().ok().filter(|ip| ip.is_ipv4() == (family == "TCP4"));
            let (source, _target) = (address().ok_or(NoHeader)?, address().ok_or(NoHeader)?);
            let mut port = || port(words.next()?);
            let (source_port, _target_port) = (port().ok_or(NoHeader)?, port().ok_or(NoHeader)?);
            if words.next().is_some() {
                return Err(NoHeader);
            }
            Some(SocketAddr::new(source, source_port))
        }
        _ => return Err(NoHeader),
    };
    Ok(Progress::Whole { length: end + 1, client })
}

/// A port in decimal digits alone: no sign, no leading zero.
fn port(word: &str) -> Option<u16> {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    word.parse().ok().filter(|_| is_plain)
}

/// Version 2: the signature, version and command, family and protocol, a length, the addresses, then values that this
/// gateway has no use for.
fn binary(bytes: &[u8]) -> Result<Progress, NoHeader> {
    let Some((&[command, family, high, low], behind)) =
        bytes.get(SIGNATURE.len()..).and_then(<[u8]>::split_first_chunk)
    else {
        return Ok(Progress::Partial);
    };
    let rest = usize::from(u16::from_be_bytes([high, low]));
    let length = SIGNATURE.len() + 4 + rest;
    if length > PROXY_HEADER_BYTES_MAX || command >> 4 != VERSION_2 {
        return Err(NoHeader);
    }
    if bytes.len() < length {
        return Ok(Progress::Partial);
    }
    let addresses = &behind[..rest];
    let client = match (command & 0xf, family) {
        (LOCAL, _) => None,
        (PROXY, TCP_OVER_IPV4) => {
            let (source, rest) = addresses.split_first_chunk::<4>().ok_or(NoHeader)?;
            let (_target, ports) = rest.split_first_chunk::<4>().ok_or(NoHeader)?;
            Some(of_parts(Ipv4Addr::from(*source).into(), ports)?)
        }
        (PROXY, TCP_OVER_IPV6) => {
            let (source, rest) = addresses.split_first_chunk::<16>().ok_or(NoHeader)?;
            let (_target, ports) = rest.split_first_chunk::<16>().ok_or(NoHeader)?;
            Some(of_parts(Ipv6Addr::from(*source).into(), ports)?)
        }
        // A Unix socket, or nothing that is known: not an address that a limit could be kept for.
        (PROXY, _) => None,
        _ => return Err(NoHeader),
    };
    Ok(Progress::Whole { length, client })
}

fn of_parts(source: IpAddr, ports: &[u8]) -> Result<SocketAddr, NoHeader> {
    let (&[high, low, ..], _) = ports.split_first_chunk::<4>().ok_or(NoHeader)?;
    Ok(SocketAddr::new(source, u16::from_be_bytes([high, low])))
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const VERSION_2: u8 = 2;
const LOCAL: u8 = 0;
const PROXY: u8 = 1;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
/// The longest line of version 1, with its end.
const LINE_BYTES_MAX: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0x20 | command, family]);
        bytes.extend((rest.len() as u16).to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    fn client(bytes: &[u8]) -> Option<String> {
        match look(bytes) {
            Ok(Progress::Whole { length, client }) => {
                assert_eq!(length, bytes.len());
                client.map(|client| client.to_string())
            }
            other => panic!("{other:?} of {bytes:?}"),
        }
    }

    fn over_ipv4() -> Vec<u8> {
        header(PROXY, TCP_OVER_IPV4, &[192, 0, 2, 7, 10, 0, 0, 1, 0x1f, 0x90, 0, 80])
    }

    fn over_ipv6() -> Vec<u8> {
        let mut rest = [0; 36];
        rest[..2].copy_from_slice(&[0x20, 1]);
        rest[15] = 9;
        rest[33] = 5;
        header(PROXY, TCP_OVER_IPV6, &[&rest[..], b"\x03\0\x04abcd"].concat())
    }

    #[test]
    fn both_versions_name_the_client() {
        assert_eq!(client(b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\r\n").as_deref(), Some("192.0.2.7:8080"));
        assert_eq!(client(b"PROXY TCP6 2001:db8::9 ::1 5 443\r\n").as_deref(), Some("[2001:db8::9]:5"));
        assert_eq!(client(&over_ipv4()).as_deref(), Some("192.0.2.7:8080"));
        assert_eq!(client(&over_ipv6()).as_deref(), Some("[2001::9]:5"));
    }

    #[test]
    fn a_balancer_may_speak_for_itself() {
        for bytes in [
            b"PROXY UNKNOWN\r\n".to_vec(),
            b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(),
            header(LOCAL, 0, b""),
            header(LOCAL, TCP_OVER_IPV4, &[0; 12]),
            header(PROXY, 0, b"values"),
            header(PROXY, 0x31, &[0; 216]),
        ] {
            assert_eq!(client(&bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PROXY\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 8080\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 80 9\r\n",
            b"PROXY TCP4 192.0.2.7  10.0.0.1 8080 80\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 +8080 80\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 08080 80\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 65536 80\r\n",
            b"PROXY TCP4 192.0.2.007 10.0.0.1 8080 80\r\n",
            b"PROXY TCP4 ::1 10.0.0.1 8080 80\r\n",
            b"PROXY TCP6 192.0.2.7 10.0.0.1 8080 80\r\n",
            b"PROXY UDP4 192.0.2.7 10.0.0.1 8080 80\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\n",
            b"proxy UNKNOWN\r\n",
            &[b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat(),
            &header(2, TCP_OVER_IPV4, &[0; 12]),
            &header(PROXY, TCP_OVER_IPV4, &[0; 11]),
            &header(PROXY, TCP_OVER_IPV6, &[0; 35]),
            &header(PROXY, TCP_OVER_IPV4, &[0; PROXY_HEADER_BYTES_MAX]),
            &[SIGNATURE, &[0x11, 0x11, 0, 0]].concat(),
        ] {
            assert_eq!(look(bytes), Err(NoHeader), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_header_that_is_cut_anywhere_is_partial_and_takes_nothing_of_what_follows() {
        for whole in [b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\r\n".to_vec(), over_ipv4(), over_ipv6()] {
            for cut in 0..whole.len() {
                assert_eq!(look(&whole[..cut]), Ok(Progress::Partial), "{cut}");
            }
            let followed = [&whole[..], b"GET / HTTP/1.1\r\n"].concat();
            let Ok(Progress::Whole { length, .. }) = look(&followed) else { panic!("{followed:?}") };
            assert_eq!(length, whole.len());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_and_a_header_is_never_longer_than_they_are(
            is_binary: bool,
            bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let begun = if is_binary { SIGNATURE } else { b"PROXY " };
            let bytes = [begun, &bytes[..]].concat();
            match look(&bytes) {
                Ok(Progress::Whole { length, .. }) => prop_assert!(length <= bytes.len()),
                Ok(Progress::Partial) => prop_assert!(bytes.len() < PROXY_HEADER_BYTES_MAX),
                Err(NoHeader) => {}
            }
        }
    }
}
