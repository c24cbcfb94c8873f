//! Which master has which slots of a cluster. Immutable: a change is another topology.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::slot::{SLOTS, slot};
use crate::limits::REDIS_MASTERS_MAX;

/// The masters of a cluster, as the control side has found them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    masters: Vec<Master>,
    /// The master of each slot, by its index; [`NOBODY`]: it has none.
    owners: Box<[u16]>,
}

/// One master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Master {
    /// Where it is.
    pub address: SocketAddr,
    /// How the cluster calls its host, if that is a name.
    pub host: Option<Arc<str>>,
    /// Its slots.
    pub slots: Vec<RangeInclusive<u16>>,
    /// A number that leads to one of its slots, for the keys of its probe.
    pub probe: Option<u32>,
}

impl Master {
    /// A master with these slots, which are below [`SLOTS`].
    pub fn new(address: SocketAddr, host: Option<&str>, slots: Vec<RangeInclusive<u16>>) -> Master {
        Master { address, host: host.map(Arc::from), slots, probe: None }
    }

    /// Its slots as text: how many, and the first of their ranges.
    pub fn slots_text(&self) -> String {
        let count: usize = self.slots.iter().map(ExactSizeIterator::len).sum();
        let mut ranges = self.slots.iter().map(|range| format!("{}-{}", range.start(), range.end()));
        let first: Vec<String> = ranges.by_ref().take(RANGES_SHOWN).collect();
        let more = if ranges.next().is_some() { " …" } else { "" };
        format!("{count} ({}{more})", first.join(" "))
    }
}

impl Topology {
    /// The topology of these masters, in an order that does not depend on theirs. `prefix`: that of every key. Of more
    /// than [`REDIS_MASTERS_MAX`], the last ones by address have no slots.
    pub fn new(mut masters: Vec<Master>, prefix: &str) -> Topology {
        masters.sort_by_key(|master| master.address);
        masters.truncate(REDIS_MASTERS_MAX);
        let mut owners = vec![NOBODY; usize::from(SLOTS)].into_boxed_slice();
        for (index, master) in masters.iter().enumerate() {
            for range in &master.slots {
                let index = u16::try_from(index).unwrap_or(NOBODY);
                let slots = owners.get_mut(usize::from(*range.start())..=usize::from(*range.end()));
                slots.into_iter().flatten().for_each(|owner| *owner = index);
            }
        }
        let mut topology = Topology { masters, owners };
        topology.find_probes(prefix);
        topology
    }

    /// The masters.
    pub fn masters(&self) -> &[Master] {
        &self.masters
    }

    /// The index of the master of a slot. `None`: nobody has it.
    pub fn owner(&self, slot: u16) -> Option<usize> {
        self.owners.get(usize::from(slot)).filter(|owner| **owner != NOBODY).map(|owner| usize::from(*owner))
    }

    /// The address that a node means by `host:port`; without a host, its own.
    pub fn address(&self, text: &str, of: IpAddr) -> Option<SocketAddr> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Some(SocketAddr::new(of, port));
        }
        if let Ok(ip) = host.parse() {
            return Some(SocketAddr::new(ip, port));
        }
        let named = |master: &&Master| master.host.as_deref() == Some(host) && master.address.port() == port;
        self.masters.iter().find(named).map(|master| master.address)
    }

    /// How the cluster calls the host of a master, if that is a name.
    pub fn host(&self, address: SocketAddr) -> Option<Arc<str>> {
        self.masters.iter().find(|master| master.address == address).and_then(|master| master.host.clone())
    }

    /// Finds a number for each master, so that a new connection is tried with keys of its own slots.
    fn find_probes(&mut self, prefix: &str) {
        let mut missing = self.masters.iter().filter(|master| !master.slots.is_empty()).count();
        for number in 0..PROBES_TRIED_MAX {
            if missing == 0 {
                return;
            }
            let Some(owner) = self.owner(slot(probe_key(prefix, number).as_bytes())) else { continue };
            if self.masters[owner].probe.is_none() {
                self.masters[owner].probe = Some(number);
                missing -= 1;
            }
        }
    }
}

/// The key that a new connection to a master of a cluster is tried with, and the hash tag of the other one.
pub fn probe_key(prefix: &str, number: u32) -> String {
    format!("{prefix}:probe:{number}")
}

/// A slot without a master.
const NOBODY: u16 = u16::MAX;
/// Numbers that are tried to find a probe for each master. A master without one is not tried before its first call.
const PROBES_TRIED_MAX: u32 = 1 << 18;
/// Ranges of slots in a line of the log.
const RANGES_SHOWN: usize = 4;

const _: () = assert!(REDIS_MASTERS_MAX < NOBODY as usize);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], 7000))
    }

    fn third(last: u8, slots: RangeInclusive<u16>) -> Master {
        Master::new(at(last), (last == 2).then_some("two.internal"), vec![slots])
    }

    #[test]
    fn each_slot_has_its_master_whatever_the_order_of_the_answer() {
        let masters = vec![third(1, 0..=5460), third(2, 5461..=10922), third(3, 10923..=16383)];
        let topology = Topology::new(masters.iter().rev().cloned().collect(), "rl");
        assert_eq!(topology, Topology::new(masters, "rl"));
        let owners = [0, 5460, 5461, 10922, 10923, 16383, 16384].map(|slot| topology.owner(slot));
        assert_eq!(owners, [Some(0), Some(0), Some(1), Some(1), Some(2), Some(2), None]);
        assert_eq!(topology.masters()[1].slots_text(), "5462 (5461-10922)");
        assert_eq!(Topology::new(Vec::new(), "rl").owner(0), None);
    }

    #[test]
    fn each_master_is_tried_with_a_key_of_its_own_slots() {
        let masters = vec![third(1, 0..=0), third(2, 1..=16382), third(3, 16383..=16383)];
        let topology = Topology::new(masters, "chat");
        for (index, master) in topology.masters().iter().enumerate() {
            let key = probe_key("chat", master.probe.expect("a probe"));
            assert_eq!(topology.owner(slot(key.as_bytes())), Some(index));
            assert_eq!(slot(format!("{{{key}}}:probe").as_bytes()), slot(key.as_bytes()));
        }
        let none = Topology::new(vec![Master::new(at(1), None, Vec::new())], "rl");
        assert_eq!(none.masters()[0].probe, None);
    }

    #[test]
    fn a_node_names_others_in_four_ways() {
        let topology = Topology::new(vec![third(1, 0..=1), third(2, 2..=3)], "rl");
        let of: IpAddr = [10, 0, 0, 9].into();
        for (text, expected) in [
            ("127.0.0.1:7000", Some("127.0.0.1:7000")),
            (":7001", Some("10.0.0.9:7001")),
            ("::1:7000", Some("[::1]:7000")),
            ("[::1]:7000", Some("[::1]:7000")),
            ("two.internal:7000", Some("127.0.0.2:7000")),
            ("two.internal:7001", None),
            ("?:7000", None),
            ("", None),
            ("127.0.0.1:x", None),
            ("127.0.0.1:70000", None),
        ] {
            assert_eq!(topology.address(text, of), expected.map(|text| text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn slots_that_nobody_can_have_are_nobodys() {
        let topology = Topology::new(vec![third(1, 16_000..=20_000), third(2, 5..=5)], "rl");
        assert_eq!((topology.owner(16_000), topology.owner(5)), (None, Some(1)));
        let many = (0..=REDIS_MASTERS_MAX).map(|n| {
            let address = SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 1));
            Master::new(address, None, vec![n as u16..=n as u16])
        });
        let topology = Topology::new(many.collect(), "rl");
        assert_eq!(topology.owner(REDIS_MASTERS_MAX as u16 - 1), Some(REDIS_MASTERS_MAX - 1));
        assert_eq!(topology.owner(REDIS_MASTERS_MAX as u16), None);
    }
}
