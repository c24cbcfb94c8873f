//! `allow` and `deny` of a route: the client networks that may use it.

use ipnet::IpNet;

use super::key::RouteKey;
use super::report::Report;
use crate::config::keys::listen::networks as read;
use crate::config::meaning::ClientNetworks;
use crate::config::written::WrittenRoute;
use crate::limits::ROUTE_NETWORKS_MAX;

/// The networks whose clients may use the route.
pub(super) const ALLOW: RouteKey = RouteKey {
    name: "allow",
    default: "every network",
    help: "The networks whose clients may use it, up to 64 addresses and CIDRs: `10.0.0.0/8`, `2001:db8::1`. Others \
           get 403 `address_not_allowed` ([networks](#networks-of-clients)).",
};

/// The networks whose clients may not.
pub(super) const DENY: RouteKey = RouteKey {
    name: "deny",
    default: "none",
    help: "The networks whose clients may not use it, likewise. It wins over `allow`.",
};

pub(super) fn networks(route: &WrittenRoute, report: &mut Report<'_>) -> ClientNetworks {
    let (allow, deny) = (&route.allow, &route.deny);
    ClientNetworks {
        allow: allow.as_ref().map(|written| list(ALLOW.name, written, report)),
        deny: deny.as_ref().map(|written| list(DENY.name, written, report)).unwrap_or_default(),
    }
}

fn list(key: &str, written: &[String], report: &mut Report<'_>) -> Vec<IpNet> {
    if written.is_empty() {
        report.add(&format!("{key} is empty (leave it out)"));
    }
    if written.len() > ROUTE_NETWORKS_MAX {
        report.add(&format!("{key}: there are {}, over {ROUTE_NETWORKS_MAX}", written.len()));
    }
    let mut networks = Vec::new();
    for text in written {
        match read(text) {
            // A mistyped mask would let in or keep out others than meant.
            Ok(read) if !read.notes.is_empty() => report.add(&format!("{key}: {}", read.notes.join("; "))),
            Ok(read) if read.networks.iter().any(is_mapped) => {
                report.add(&format!("{key}: {text} is IPv4 written as IPv6 (write it as IPv4)"));
            }
            Ok(read) => networks.extend(read.networks),
            Err(why) => report.add(&format!("{key}: {why}")),
        }
    }
    networks
}

/// No client's address is in it: a client of IPv4 has an IPv4 address.
fn is_mapped(network: &IpNet) -> bool {
    matches!(network, IpNet::V6(network) if network.prefix_len() >= 96 && network.addr().to_ipv4_mapped().is_some())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::super::testing::{lowered_route, mistake};
    use super::*;

    #[test]
    fn deny_wins_and_what_is_not_allowed_is_out() {
        let keys = "allow = ['10.0.0.0/8', '2001:db8::/32', '192.0.2.7']\ndeny = ['10.1.0.0/16']\n";
        let networks = lowered_route(keys).networks;
        for (address, may) in [
            ("10.0.0.1", true),
            ("10.1.2.3", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8::1", true),
            ("2001:db9::1", false),
            ("::ffff:10.0.0.1", true),
            ("::ffff:10.1.0.1", false),
        ] {
            let address: IpAddr = address.parse().expect("an address");
            assert_eq!(networks.contain(address), may, "{address}");
        }
        let denied = lowered_route("deny = ['10.0.0.0/8']\n").networks;
        assert!(denied.contain([192, 0, 2, 1].into()) && !denied.contain([10, 0, 0, 1].into()));
        assert!(lowered_route("").networks.contain([192, 0, 2, 1].into()));
    }

    #[test]
    fn a_mistake_is_named() {
        for (keys, why) in [
            ("allow = []", "allow is empty"),
            ("deny = []", "deny is empty"),
            ("allow = ['10.0.0.1/8']", "allow: "),
            ("deny = ['10.0.0.0/33']", "deny: "),
            ("allow = ['office.example']", "allow: "),
            ("deny = ['::ffff:10.0.0.0/104']", "write it as IPv4"),
            ("allow = ['']", "allow: "),
        ] {
            let told = mistake(&format!("{keys}\n"));
            assert!(told.contains(why) && told.lines().count() == 1, "{keys}: {told}");
        }
        let many: Vec<_> = (0..=ROUTE_NETWORKS_MAX).map(|n| format!("'10.0.0.{n}'")).collect();
        assert!(mistake(&format!("deny = [{}]\n", many.join(","))).contains("over 64"));
    }
}
