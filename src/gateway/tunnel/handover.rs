//! Where a tunnel goes on: on the core of its handshake, or on one that has fewer of them.
//!
//! `SO_REUSEPORT` spreads connections by their addresses and not by load. That evens out for short requests, not for
//! sockets that last for hours. Right after its handshake a tunnel is two descriptors with nothing in flight, so that
//! is the moment to move it.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Early, Means, Tunnel, run};
use crate::config::WebSocket;
use crate::gateway::core::Core;
use crate::gateway::record::Ticket;
use crate::gateway::seats::{Seat, Seats};
use crate::limits::BALANCE_DIFFERENCE_MIN;
use crate::telemetry::Counters;

/// A tunnel that has not begun: everything that another core needs.
pub struct Handover {
    /// The client's connection.
    pub client: OwnedFd,
    /// The upstream's.
    pub upstream: OwnedFd,
    /// What the client sent behind its handshake.
    pub early_in: Vec<u8>,
    /// What the upstream sent behind its 101.
    pub early_out: Vec<u8>,
    /// The 101 named an extension.
    pub has_extension: bool,
    /// When the token holds no longer, in seconds since 1970.
    pub expires_unix_s: Option<u64>,
    /// What held when the handshake was taken, and holds for the tunnel.
    pub rules: Arc<WebSocket>,
    /// For the access log.
    pub ticket: Option<Box<Ticket>>,
    /// The core's room for it: on that core it goes on.
    pub room: Room,
    /// The user's place, if there is a bound.
    pub seat: Option<Seat>,
}

/// Leaves a tunnel with another core; it comes back if that one does not take it now.
type Give = dyn Fn(Box<Handover>) -> Result<(), Box<Handover>> + Send + Sync;

/// Another core, or this one among all of them.
pub struct Sibling {
    /// Its numbers.
    pub counters: Arc<Counters>,
    /// The way to it. It never waits.
    pub give: Box<Give>,
}

/// What a core knows about the tunnels of all cores.
pub struct Tunnels {
    /// Every core, this one included.
    siblings: Arc<[Sibling]>,
    /// This core's place among them.
    index: usize,
    /// Rooms of each core that are taken, by tunnels and by handshakes. Shared by all cores and exact, so that no bound
    /// is passed while handshakes are under way; written when one begins and when a tunnel ends.
    taken: Arc<[AtomicU64]>,
    /// The places of users.
    pub seats: Arc<Seats>,
}

/// Evidence that a core has room for a tunnel, from its handshake on. Dropped, it gives the room back.
pub struct Room {
    taken: Arc<[AtomicU64]>,
    index: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.taken[self.index].fetch_sub(1, Ordering::Relaxed);
    }
}

impl Tunnels {
    /// The view of the core at this place. `taken` is the same for all of them.
    pub fn new(
        siblings: Arc<[Sibling]>,
        index: usize,
        taken: Arc<[AtomicU64]>,
        seats: Arc<Seats>,
    ) -> Tunnels {
        Tunnels { siblings, index, taken, seats }
    }

    /// No room is taken yet.
    pub fn rooms(cores: usize) -> Arc<[AtomicU64]> {
        (0..cores).map(|_| AtomicU64::default()).collect()
    }

    /// Room for one more tunnel, on the core that should have it. `None`: there is none.
    pub fn room(&self, rules: &WebSocket) -> Option<Room> {
        let max = rules.tunnels_max.map_or(u64::MAX, |max| max as u64);
        let slack_percent = rules.balance_slack_percent.map(u64::from);
        let other = slack_percent.and_then(|_| self.least_loaded());
        let own = self.taken(self.index);
        let is_wanted = |(_, least): &(usize, u64)| {
            let difference_max = (own * slack_percent.unwrap_or(0) / 100).max(BALANCE_DIFFERENCE_MIN);
            own.saturating_sub(*least) > difference_max
        };
        let better = other.filter(is_wanted).map(|(index, _)| index);
        let fallback = other.map(|(index, _)| index);
        let choices = [better, Some(self.index), fallback];
        choices.into_iter().flatten().find_map(|index| self.take(index, max))
    }

    /// One room of this core's, if it has one. Two cores may try at once: who finds too many steps back.
    fn take(&self, index: usize, max: u64) -> Option<Room> {
        let before = self.taken[index].fetch_add(1, Ordering::Relaxed);
        // Made in any case: dropped, it gives back what was taken.
        let room = Room { taken: self.taken.clone(), index };
        (before < max).then_some(room)
    }

    fn taken(&self, index: usize) -> u64 {
        self.taken[index].load(Ordering::Relaxed)
    }

    /// The other core with the fewest rooms taken, and how many these are.
    fn least_loaded(&self) -> Option<(usize, u64)> {
        let others = self.siblings.iter().enumerate().filter(|(index, _)| *index != self.index);
        let open = others.filter(|(_, sibling)| sibling.counters.listening.get() > 0);
        open.map(|(index, _)| (index, self.taken(index))).min_by_key(|(_, taken)| *taken)
    }
}

/// Begins a tunnel, here or on the core that should have it.
pub fn begin(core: &Core, handover: Box<Handover>) {
    core.counters.tunnels_opened.add(1);
    let index = handover.room.index;
    if index == core.tunnels.index {
        return adopt(&core.means, *handover);
    }
    // If its mailbox is full it stays here, in a room of the other's: a bound for a moment passed by one.
    match (core.tunnels.siblings[index].give)(handover) {
        Ok(()) => core.counters.tunnels_handed_over.add(1),
        Err(handover) => adopt(&core.means, *handover),
    }
}

/// Goes on with a tunnel on this core.
pub fn adopt(means: &Rc<Means>, mut handover: Handover) {
    let from_client = std::mem::take(&mut handover.early_in).into_boxed_slice();
    let from_upstream = std::mem::take(&mut handover.early_out).into_boxed_slice();
    // Without a place in the runtime both connections close, which both peers see.
    let Ok(tunnel) = Tunnel::new(means, handover) else { return };
    means.counters.tunnels_open.add(1);
    means.counters.connections_open.add(1);
    monoio::spawn(run(Box::new(tunnel), Early { from_client, from_upstream }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::config;

    fn rules(tunnels_max: Option<&str>, balance: &str) -> Arc<WebSocket> {
        let tunnels_max = tunnels_max.map(|count| format!("ws_max_connections = {count}\n"));
        config(&format!("{}ws_balance = '{balance}'\n", tunnels_max.unwrap_or_default())).websocket
    }

    /// Core 0 of cores with so many rooms taken.
    fn cores(taken: &[u64]) -> Tunnels {
        let rooms = Tunnels::rooms(taken.len());
        let siblings = taken.iter().zip(rooms.iter()).map(|(taken, room)| {
            room.store(*taken, Ordering::Relaxed);
            let counters = Arc::<Counters>::default();
            counters.listening.set(1);
            Sibling { counters, give: Box::new(|_| Ok(())) }
        });
        Tunnels::new(siblings.collect(), 0, rooms.clone(), Arc::default())
    }

    /// The core that takes one more tunnel.
    fn goes_to(taken: &[u64], rules: &WebSocket) -> Option<usize> {
        cores(taken).room(rules).map(|room| room.index)
    }

    #[test]
    fn a_tunnel_moves_when_the_difference_is_over_the_slack() {
        let rules = rules(None, "on");
        for (taken, index) in [
            (&[16, 0][..], 0),
            (&[17, 0], 1),
            (&[1_000, 901, 950], 0),
            (&[1_000, 950, 899], 2),
            (&[5, 1_000], 0),
            (&[1_000], 0),
        ] {
            assert_eq!(goes_to(taken, &rules), Some(index), "{taken:?}");
        }
    }

    #[test]
    fn without_balance_it_stays() {
        assert_eq!(goes_to(&[1_000, 0], &rules(None, "off")), Some(0));
    }

    #[test]
    fn a_core_that_goes_away_gets_none() {
        let tunnels = cores(&[1_000, 0]);
        tunnels.siblings[1].counters.listening.set(0);
        assert_eq!(tunnels.room(&rules(None, "on")).map(|room| room.index), Some(0));
    }

    #[test]
    fn a_full_core_gives_away_what_another_has_room_for() {
        let (on, off) = (rules(Some("10"), "on"), rules(Some("10"), "off"));
        assert_eq!((goes_to(&[10, 9], &on), goes_to(&[10, 9], &off)), (Some(1), None));
        assert_eq!((goes_to(&[9, 10], &on), goes_to(&[9, 10], &off)), (Some(0), Some(0)));
        assert_eq!(goes_to(&[10, 10], &on), None);
    }

    #[test]
    fn the_bound_holds_however_many_ask_at_once_and_rooms_come_back() {
        let (tunnels, rules) = (cores(&[8, 7]), rules(Some("10"), "on"));
        let rooms: Vec<_> = (0..9).filter_map(|_| tunnels.room(&rules)).collect();
        assert_eq!((rooms.len(), tunnels.taken(0), tunnels.taken(1)), (5, 10, 10));
        drop(rooms);
        assert_eq!((tunnels.taken(0), tunnels.taken(1)), (8, 7));
    }
}
