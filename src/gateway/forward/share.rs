//! What divides the requests of a route among its upstreams.

use std::net::IpAddr;

use crate::auth::Identity;
use crate::downstream::clients::Network;
use crate::gateway::exchange::Exchange;
use crate::upstream::hash_of;

/// The user, or else the client's address.
pub fn key(exchange: &Exchange<'_>, identity: &Identity) -> u64 {
    let key = match identity.user() {
        Some(user) => hash_of(user.as_str().as_bytes()),
        None => hash_of_address(exchange),
    };
    // Once more: those who share an upstream should not share a member for it.
    hash_of(&key.to_be_bytes())
}

/// The hash of the client's address. An IPv6 client is its /64, as it is for the limits.
pub(super) fn hash_of_address(exchange: &Exchange<'_>) -> u64 {
    match Network::of(exchange.record.client).address() {
        IpAddr::V4(address) => hash_of(&address.octets()),
        IpAddr::V6(address) => hash_of(&address.octets()),
    }
}
