//! Token buckets by name: the client of each, and its key in a store.
//!
//! ```text
//! rl:u:<id>                    a verified user
//! rl:ip:<address>              a client of a public route
//! rl:bad:<address>             a client without a valid credential
//! {rl:u:<id>}:<route>          the same for one route alone (its second limit: {rl:u:<id>}:<route>:2)
//! {rl:ip:<address>}:<route>
//! rl:route:<route>             everybody on one route
//! ```
//!
//! Redis Cluster places a key with a hash tag (`{…}`) by the tag alone, so a client's bucket for a route is in the same
//! slot as its global one, and one script can charge both. A bucket for everybody is placed by its own name, so in a
//! cluster one script could not charge it together with another. (The gateway speaks to single servers.)
//!
//! `{`, `}` and `%` of an id are percent-encoded, so an id cannot choose its slot, and no two ids have the same key.

use std::fmt::{self, Write};
use std::net::{IpAddr, Ipv6Addr};

use crate::limits::{KEY_PREFIX_BYTES_MAX, NAME_BYTES_MAX, ROUTE_LIMITS_MAX, SUBJECT_BYTES_MAX};

/// The client whose bucket is charged.
///
/// All addresses of an IPv6 /64 are one client (RFC 6177 gives a site at least that, so more addresses cost it
/// nothing). An IPv4-mapped address counts as the IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client<'a> {
    /// A *verified* subject: with an unverified one a stranger could empty a victim's bucket.
    User(&'a str),
    /// A client of a public route.
    Address(IpAddr),
    /// A client without a valid credential. It has a bucket of its own, so an expired token does not keep its owner
    /// from logging in.
    Bad(IpAddr),
}

/// One bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bucket<'a> {
    /// One client's bucket for all routes.
    Global(Client<'a>),
    /// One client's bucket for one route.
    Own(Client<'a>, RouteBucket<'a>),
    /// The bucket of all clients together for one route.
    Everybody(RouteBucket<'a>),
}

/// One bucket of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteBucket<'a> {
    /// The route's name.
    pub route: &'a str,
    /// The index of the limit among those of the route.
    pub index: usize,
}

impl Client<'_> {
    /// The key of something that belongs to this client and is no bucket: `{rc:u:<id>}`.
    ///
    /// # Panics
    /// As [`Bucket::key`].
    pub fn tagged_key<'b>(&self, prefix: &str, out: &'b mut KeyBuf) -> &'b [u8] {
        out.length = 0;
        out.put(b"{");
        out.put_client(prefix, self);
        out.put(b"}");
        &out.bytes[..out.length]
    }
}

impl Bucket<'_> {
    /// The key as text.
    ///
    /// # Panics
    /// If a part of the key is longer than its bound. Subjects are bounded when they are verified, the other parts
    /// when the configuration is read.
    pub fn key<'b>(&self, prefix: &str, out: &'b mut KeyBuf) -> &'b [u8] {
        out.length = 0;
        match self {
            Self::Global(client) => out.put_client(prefix, client),
            Self::Own(client, own) => {
                out.put(b"{");
                out.put_client(prefix, client);
                out.put(b"}:");
                out.put_route(own);
            }
            Self::Everybody(own) => {
                out.put(prefix.as_bytes());
                out.put(b":route:");
                out.put_route(own);
            }
        }
        &out.bytes[..out.length]
    }
}

/// A buffer for one key.
#[derive(Debug, Clone)]
pub struct KeyBuf {
    bytes: [u8; KEY_BYTES_MAX],
    length: usize,
}

impl Default for KeyBuf {
    fn default() -> Self {
        Self { bytes: [0; KEY_BYTES_MAX], length: 0 }
    }
}

impl KeyBuf {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.length..][..bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    fn put_client(&mut self, prefix: &str, client: &Client<'_>) {
        self.put(prefix.as_bytes());
        match client {
            Client::User(id) => {
                self.put(b":u:");
                self.put_id(id.as_bytes());
            }
            Client::Address(address) => self.put_source(b":ip:", *address),
            Client::Bad(address) => self.put_source(b":bad:", *address),
        }
    }

    fn put_id(&mut self, id: &[u8]) {
        if !id.iter().any(|byte| b"{}%".contains(byte)) {
            return self.put(id);
        }
        for byte in id {
            match byte {
                b'{' => self.put(b"%7B"),
                b'}' => self.put(b"%7D"),
                b'%' => self.put(b"%25"),
                byte => self.put(&[*byte]),
            }
        }
    }

    /// The address or network that counts as one client.
    fn put_source(&mut self, kind: &[u8], address: IpAddr) {
        self.put(kind);
        // The buffer is large enough for the longest of both, so this cannot fail.
        let _ = match address.to_canonical() {
            IpAddr::V4(address) => write!(self, "{address}"),
            IpAddr::V6(address) => write!(self, "{}/64", Ipv6Addr::from_bits(address.to_bits() & NETWORK_64)),
        };
    }

    fn put_route(&mut self, own: &RouteBucket<'_>) {
        self.put(own.route.as_bytes());
        // The first limit, which is often the only one, has no number.
        if own.index > 0 {
            self.put(&[b':', NUMBERS[own.index]]);
        }
    }
}

impl Write for KeyBuf {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}

const NETWORK_64: u128 = (u64::MAX as u128) << 64;
/// The numbers of a route's limits.
const NUMBERS: &[u8; ROUTE_LIMITS_MAX] = b"1234";
/// The longest key is a user's on a route, every byte of the id encoded.
const KEY_BYTES_MAX: usize = "{:u:}::2".len() + KEY_PREFIX_BYTES_MAX + 3 * SUBJECT_BYTES_MAX + NAME_BYTES_MAX;
const _: () = assert!(":bad:ffff:ffff:ffff:ffff::/64".len() < 3 * SUBJECT_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    fn key(bucket: Bucket<'_>) -> String {
        String::from_utf8(bucket.key("rl", &mut KeyBuf::default()).to_vec()).unwrap()
    }

    #[test]
    fn names_each_client() {
        let address = |text: &str| text.parse().unwrap();
        for (client, expected) in [
            (Client::User("u-1"), "rl:u:u-1"),
            (Client::Address(address("192.0.2.7")), "rl:ip:192.0.2.7"),
            (Client::Bad(address("192.0.2.7")), "rl:bad:192.0.2.7"),
            (Client::Address(address("::ffff:192.0.2.7")), "rl:ip:192.0.2.7"),
            (Client::Address(address("2001:db8:1:2:3:4:5:6")), "rl:ip:2001:db8:1:2::/64"),
            (Client::Address(address("2001:db8:1:2:ffff::")), "rl:ip:2001:db8:1:2::/64"),
            (Client::Address(address("2001:db8:1:3::1")), "rl:ip:2001:db8:1:3::/64"),
            (Client::Bad(address("::1")), "rl:bad:::/64"),
            (
                Client::Bad(address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
                "rl:bad:ffff:ffff:ffff:ffff::/64",
            ),
        ] {
            assert_eq!(key(Bucket::Global(client)), expected);
        }
    }

    #[test]
    fn what_belongs_to_a_client_has_its_name_as_a_tag() {
        let mut out = KeyBuf::default();
        assert_eq!(Client::User("ann}").tagged_key("rc", &mut out), b"{rc:u:ann%7D}");
    }

    #[test]
    fn names_the_buckets_of_a_route() {
        let own = |index| RouteBucket { route: "auth-login", index };
        let client = Client::Address("192.0.2.7".parse().unwrap());
        assert_eq!(key(Bucket::Own(client, own(0))), "{rl:ip:192.0.2.7}:auth-login");
        assert_eq!(key(Bucket::Own(client, own(1))), "{rl:ip:192.0.2.7}:auth-login:2");
        assert_eq!(key(Bucket::Own(Client::User("ann"), own(0))), "{rl:u:ann}:auth-login");
        assert_eq!(key(Bucket::Everybody(own(0))), "rl:route:auth-login");
        assert_eq!(key(Bucket::Everybody(own(3))), "rl:route:auth-login:4");
    }

    #[test]
    fn a_prefix_stands_before_every_key() {
        let mut out = KeyBuf::default();
        assert_eq!(Bucket::Global(Client::User("a")).key("shop:rl", &mut out), b"shop:rl:u:a");
        assert_eq!(Bucket::Global(Client::User("b")).key("x", &mut out), b"x:u:b", "room may be used again");
    }

    #[test]
    fn no_id_chooses_its_place_and_no_two_make_one_key() {
        assert_eq!(key(Bucket::Global(Client::User("a{b}%7B"))), "rl:u:a%7Bb%7D%257B");
        let ids = ["{a}", "%7Ba%7D", "%257Ba%257D", "a", "a}:r"];
        let mut keys: Vec<_> = ids.map(|id| key(Bucket::Global(Client::User(id)))).into();
        keys.extend(ids.map(|id| key(Bucket::Own(Client::User(id), RouteBucket { route: "r", index: 0 }))));
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 2 * ids.len(), "{keys:?}");
    }

    #[test]
    fn the_longest_key_fits() {
        let (id, name) = ("%".repeat(SUBJECT_BYTES_MAX), "n".repeat(NAME_BYTES_MAX));
        let (prefix, mut out) = ("p".repeat(KEY_PREFIX_BYTES_MAX), KeyBuf::default());
        let own = RouteBucket { route: &name, index: ROUTE_LIMITS_MAX - 1 };
        let longest = Bucket::Own(Client::User(&id), own).key(&prefix, &mut out);
        assert_eq!(longest.len(), KEY_BYTES_MAX);
    }

    #[test]
    fn a_user_cannot_name_another_bucket() {
        let address = key(Bucket::Global(Client::Address("192.0.2.7".parse().unwrap())));
        for id in ["rl:ip:192.0.2.7", "ip:192.0.2.7", "../ip:192.0.2.7"] {
            let user = key(Bucket::Global(Client::User(id)));
            assert!(user != address && user.starts_with("rl:u:"));
        }
    }
}
