//! From an upstream's written address to endpoints. `getaddrinfo` blocks: never on a core.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use crate::config::UpstreamAddress;
use crate::limits::ADDRESSES_MAX;
use crate::net::Endpoint;

/// The endpoints, if no name has to be resolved for them.
pub fn known(address: &UpstreamAddress) -> Option<Arc<[Endpoint]>> {
    match address {
        UpstreamAddress::Unix(path) => Some(Arc::new([Endpoint::unix(path)])),
        UpstreamAddress::Tcp { host, port } => {
            let ip: IpAddr = host.parse().ok()?;
            Some(Arc::new([Endpoint::tcp(SocketAddr::new(ip, *port))]))
        }
    }
}

/// The endpoints, by name resolution if need be; sorted, so that an unchanged answer compares equal. Blocks.
pub fn resolve(address: &UpstreamAddress) -> io::Result<Arc<[Endpoint]>> {
    if let Some(known) = known(address) {
        return Ok(known);
    }
    let UpstreamAddress::Tcp { host, port } = address else { unreachable!("a path is always known") };
    let mut addresses: Vec<SocketAddr> = (host.as_str(), *port).to_socket_addrs()?.collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(ADDRESSES_MAX);
    Ok(addresses.into_iter().map(Endpoint::tcp).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str) -> UpstreamAddress {
        UpstreamAddress::Tcp { host: host.to_owned(), port: 80 }
    }

    #[test]
    fn literals_and_paths_need_no_resolution() {
        assert_eq!(known(&tcp("127.0.0.1")).expect("known")[0].text(), "127.0.0.1:80");
        assert_eq!(known(&tcp("::1")).expect("known")[0].text(), "[::1]:80");
        assert_eq!(
            known(&UpstreamAddress::Unix("/run/a.sock".into())).expect("known")[0].text(),
            "unix:/run/a.sock"
        );
        assert!(known(&tcp("localhost")).is_none());
    }

    #[test]
    fn a_name_resolves_to_each_address_once() {
        let endpoints = resolve(&tcp("localhost")).expect("localhost");
        assert!(!endpoints.is_empty());
        for (i, endpoint) in endpoints.iter().enumerate() {
            assert!(!endpoints[..i].contains(endpoint));
        }
    }

    #[test]
    fn an_unknown_name_is_an_error() {
        assert!(resolve(&tcp("no-such-host.invalid")).is_err());
    }
}
