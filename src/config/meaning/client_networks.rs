//! The networks whose clients may use a route.

use std::net::IpAddr;

use ipnet::IpNet;

/// The networks whose clients may use a route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientNetworks {
    /// Those that may. `None`: all.
    pub allow: Option<Vec<IpNet>>,
    /// Those that may not, also if they are among the others.
    pub deny: Vec<IpNet>,
}

impl ClientNetworks {
    /// Whether a client of this address may.
    #[inline]
    pub fn contain(&self, address: IpAddr) -> bool {
        if self.is_every() {
            return true;
        }
        let address = address.to_canonical();
        let is_in = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
        !is_in(&self.deny) && self.allow.as_deref().is_none_or(is_in)
    }

    /// Whether every client may.
    pub fn is_every(&self) -> bool {
        self.allow.is_none() && self.deny.is_empty()
    }
}
