//! Whose bucket a request draws from, and the key it is kept under.

use std::fmt;
use std::io::Write;
use std::net::{IpAddr, Ipv6Addr};

use crate::limits::SUBJECT_BYTES_MAX;

/// Whose bucket a request draws from.
///
/// An IPv6 client is its /64 (RFC 6177 gives a site at least that, so single addresses are free to it); an
/// IPv4-mapped address is the IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bucket<'a> {
    /// A *verified* subject: anything less would let strangers drain a victim's bucket.
    User(&'a str),
    /// A client of a public route.
    Address(IpAddr),
    /// A client without a valid credential: a bucket of its own, so that a stale token does not keep its
    /// bearer from logging in.
    Bad(IpAddr),
}

impl Bucket<'_> {
    /// The key as text: `rl:u:<id>`, `rl:ip:<address>`, `rl:bad:<address>`.
    ///
    /// # Panics
    /// If a subject is longer than [`SUBJECT_BYTES_MAX`]: verification refuses those.
    pub fn key<'b>(&self, out: &'b mut KeyBuf) -> &'b [u8] {
        let mut rest = &mut out.0[..];
        write!(rest, "{self}").expect("a subject is bounded when it is verified");
        let left = rest.len();
        &out.0[..KEY_BYTES_MAX - left]
    }
}

impl fmt::Display for Bucket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "rl:u:{id}"),
            Self::Address(address) => write!(f, "rl:ip:{}", Source(*address)),
            Self::Bad(address) => write!(f, "rl:bad:{}", Source(*address)),
        }
    }
}

/// Room for one key.
#[derive(Debug, Clone)]
pub struct KeyBuf([u8; KEY_BYTES_MAX]);

impl Default for KeyBuf {
    fn default() -> Self {
        Self([0; KEY_BYTES_MAX])
    }
}

/// Addresses that count as one client.
struct Source(IpAddr);

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.to_canonical() {
            IpAddr::V4(address) => write!(f, "{address}"),
            IpAddr::V6(address) => {
                let network = Ipv6Addr::from_bits(address.to_bits() & NETWORK_64);
                write!(f, "{network}/64")
            }
        }
    }
}

const NETWORK_64: u128 = (u64::MAX as u128) << 64;
/// The longest key is a user's.
const KEY_BYTES_MAX: usize = "rl:u:".len() + SUBJECT_BYTES_MAX;
const _: () = assert!("rl:bad:ffff:ffff:ffff:ffff::/64".len() <= KEY_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    fn key(bucket: Bucket<'_>) -> String {
        String::from_utf8(bucket.key(&mut KeyBuf::default()).to_vec()).unwrap()
    }

    #[test]
    fn names_each_bucket() {
        let address = |text: &str| text.parse().unwrap();
        for (bucket, expected) in [
            (Bucket::User("u-1"), "rl:u:u-1"),
            (Bucket::Address(address("192.0.2.7")), "rl:ip:192.0.2.7"),
            (Bucket::Bad(address("192.0.2.7")), "rl:bad:192.0.2.7"),
            (Bucket::Address(address("::ffff:192.0.2.7")), "rl:ip:192.0.2.7"),
            (Bucket::Address(address("2001:db8:1:2:3:4:5:6")), "rl:ip:2001:db8:1:2::/64"),
            (Bucket::Address(address("2001:db8:1:2:ffff::")), "rl:ip:2001:db8:1:2::/64"),
            (Bucket::Address(address("2001:db8:1:3::1")), "rl:ip:2001:db8:1:3::/64"),
            (Bucket::Bad(address("::1")), "rl:bad:::/64"),
            (
                Bucket::Bad(address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
                "rl:bad:ffff:ffff:ffff:ffff::/64",
            ),
        ] {
            assert_eq!(key(bucket), expected);
            assert_eq!(bucket.to_string(), expected);
        }
    }

    #[test]
    fn the_longest_subject_fits() {
        let id = "x".repeat(SUBJECT_BYTES_MAX);
        assert_eq!(key(Bucket::User(&id)), format!("rl:u:{id}"));
    }

    #[test]
    fn a_user_cannot_name_an_address_bucket() {
        assert_ne!(key(Bucket::User("rl:ip:192.0.2.7")), key(Bucket::Address("192.0.2.7".parse().unwrap())));
        assert!(key(Bucket::User("ip:192.0.2.7")).starts_with("rl:u:"));
    }
}
