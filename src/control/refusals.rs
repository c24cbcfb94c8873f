//! Tells of connections that are refused: for each bound the first time, then once a minute as long as there are any.

use tracing::warn;

use crate::config::Config;
use crate::downstream::clients::Network;
use crate::gateway::core::{ConnectionsBound, Metrics, Room};
use crate::limits::{FULLEST_LOGGED, REFUSALS_LOG_MS};

/// The watch over what the cores refuse.
pub(super) struct RefusalWatch {
    cores: Vec<Metrics>,
    room: Room,
    full: Told,
    address: Told,
    accept: Told,
}

/// What was told of one bound.
#[derive(Debug, Default)]
struct Told {
    /// How many there were then.
    count: u64,
    at_ms: Option<u64>,
}

impl RefusalWatch {
    /// Nothing was refused yet.
    pub(super) fn new(cores: Vec<Metrics>, room: Room) -> RefusalWatch {
        let told = Told::default;
        RefusalWatch { cores, room, full: told(), address: told(), accept: told() }
    }

    /// Looks at what the cores have counted, and tells what is new.
    pub(super) fn look(&mut self, config: &Config, now_ms: u64) {
        let sum = |count: fn(&Metrics) -> u64| self.cores.iter().map(count).sum::<u64>();
        let address = sum(|core| core.connections.refused_per_address.get());
        let full = sum(|core| core.refusal_notes.full.get());
        let accept = sum(|core| core.connections.accept_failures.get());
        if let Some(refused) = self.full.take(full, now_ms) {
            let (bound, max) = self.bound_of_cores(config);
            let fullest = self.fullest();
            // A proxy that is no client belongs in TRUSTED_PROXIES.
            warn!(refused, bound, max, fullest, "connections are refused: a core is full");
        }
        if let Some(refused) = self.address.take(address, now_ms) {
            let (bound, fullest) = ("MAX_CONNECTIONS_PER_ADDRESS", self.fullest());
            warn!(refused, bound, fullest, "connections are refused: an address has too many");
        }
        if let Some(failures) = self.accept.take(accept, now_ms) {
            let error = self.cores.iter().find_map(|core| core.refusal_notes.accept_error());
            warn!(failures, error, "cannot accept connections: raise the limit of open files");
        }
    }

    /// What bounds the connections of each core, by the name that an operator can change.
    fn bound_of_cores(&self, config: &Config) -> (&'static str, usize) {
        match (config.connections_max, self.room.connections_bound) {
            (Some(max), _) => ("MAX_CONNECTIONS", max),
            (None, ConnectionsBound::Memory) => ("MEMORY_BUDGET", self.room.connections),
            (None, ConnectionsBound::Files) => ("open files", self.room.connections),
        }
    }

    /// The clients with the most connections of all cores.
    fn fullest(&self) -> String {
        let mut all: Vec<(Network, usize)> = Vec::new();
        for (network, count) in self.cores.iter().flat_map(|core| core.refusal_notes.fullest()) {
            match all.iter_mut().find(|(known, _)| *known == network) {
                Some((_, sum)) => *sum += count,
                None => all.push((network, count)),
            }
        }
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        all.truncate(FULLEST_LOGGED);
        let shown: Vec<String> = all.iter().map(|(network, count)| format!("{network}: {count}")).collect();
        shown.join(", ")
    }
}

impl Told {
    /// How many there were since the last time, if it is time to tell.
    fn take(&mut self, count: u64, now_ms: u64) -> Option<u64> {
        let new = count.saturating_sub(self.count);
        let is_due = self.at_ms.is_none_or(|at_ms| now_ms.saturating_sub(at_ms) >= REFUSALS_LOG_MS);
        if new == 0 || !is_due {
            return None;
        }
        (self.count, self.at_ms) = (count, Some(now_ms));
        Some(new)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::rc::Rc;

    use super::*;
    use crate::config::testing::config;
    use crate::downstream::clients::{Clients, GivesWay};

    #[test]
    fn the_first_refusal_is_told_at_once_and_further_ones_once_a_minute() {
        let mut told = Told::default();
        let counts = [(0, 0), (250, 3), (500, 9), (60_000, 90), (60_250, 100), (61_000, 110), (500_000, 110)];
        let said: Vec<Option<u64>> =
            counts.iter().map(|(now_ms, count)| told.take(*count, *now_ms)).collect();
        assert_eq!(said, [None, Some(3), None, None, Some(97), None, Some(10)]);
        assert_eq!(told.take(110, 900_000), None, "there are none any more");
    }

    #[test]
    fn the_bound_has_the_name_that_an_operator_can_change() {
        let room = |connections_bound| Room {
            connections: 7,
            connections_bound,
            upstream_connections: 7,
            held_bytes: 1,
        };
        let bound =
            |bound, toml: &str| RefusalWatch::new(Vec::new(), room(bound)).bound_of_cores(&config(toml));
        assert_eq!(bound(ConnectionsBound::Files, ""), ("open files", 7));
        assert_eq!(bound(ConnectionsBound::Memory, ""), ("MEMORY_BUDGET", 7));
        assert_eq!(bound(ConnectionsBound::Memory, "max_connections = 3"), ("MAX_CONNECTIONS", 3));
    }

    #[test]
    fn the_fullest_clients_are_those_of_all_cores_together() {
        let clients = |held: &[(u8, usize)]| {
            let (clients, metrics) = (Rc::<Clients>::default(), Metrics::default());
            let places: Vec<_> = held
                .iter()
                .flat_map(|(last, count)| std::iter::repeat_n(IpAddr::from([192, 0, 2, *last]), *count))
                .map(|address| clients.enter(Network::of(address), GivesWay::Never))
                .collect();
            metrics.refusal_notes.look(&clients, 1);
            drop(places);
            metrics
        };
        let room = Room {
            connections: 7,
            connections_bound: ConnectionsBound::Files,
            upstream_connections: 7,
            held_bytes: 1,
        };
        let watch =
            RefusalWatch::new(vec![clients(&[(1, 5), (2, 4)]), clients(&[(2, 3), (3, 1), (4, 2)])], room);
        assert_eq!(watch.fullest(), "192.0.2.2: 7, 192.0.2.1: 5, 192.0.2.4: 2");
    }
}
