//! Where a tunnel goes on: on the core of its handshake, or on one that has fewer of them.
//!
//! `SO_REUSEPORT` spreads connections by their addresses and not by load. That evens out for short requests, not for
//! sockets that last for hours. Right after its handshake a tunnel is two descriptors with nothing in flight, so that
//! is the moment to move it.

use std::sync::Arc;

use super::registration::Registration;
use super::state::TunnelState;
use crate::config::WebSocket;
use crate::gateway::core::metrics::ConnectionMetrics;
use crate::gateway::websocket::slots::{TunnelSlot, TunnelSlots, UserSlot, UserSlots};
use crate::limits::BALANCE_DIFFERENCE_MIN;
use crate::net::DetachedTransport;

/// A tunnel that runs on no core: everything that one needs to go on with it.
pub struct Handover {
    /// The client's connection.
    pub client: DetachedTransport,
    /// The upstream's.
    pub upstream: DetachedTransport,
    /// How far it is.
    pub state: TunnelState,
    /// Whose it is.
    pub registration: Registration,
    /// The Close code for its client if its token is found revoked right now.
    pub revoked_code: u16,
    /// The core's slot for it: on that core it goes on.
    pub slot: TunnelSlot,
    /// The user's slot, if there is a bound.
    pub user_slot: Option<UserSlot>,
}

/// Leaves a tunnel with another core; it comes back if that one does not take it now.
type Give = dyn Fn(Box<Handover>) -> Result<(), Box<Handover>> + Send + Sync;

/// Another core, or this one among all of them.
pub struct Sibling {
    /// Its connections, for whether it still listens.
    pub connections: Arc<ConnectionMetrics>,
    /// The way to it. It never waits.
    pub give: Box<Give>,
}

/// What a core knows about the tunnels of all cores.
pub struct Tunnels {
    /// Every core, this one included.
    siblings: Arc<[Sibling]>,
    /// This core's place among them.
    index: usize,
    /// The slots of all cores.
    slots: TunnelSlots,
    /// The slots of all users.
    pub user_slots: Arc<UserSlots>,
}

impl Tunnels {
    /// The view of the core at this place. Both kinds of slots are the same for all of them.
    pub fn new(
        siblings: Arc<[Sibling]>,
        index: usize,
        slots: TunnelSlots,
        user_slots: Arc<UserSlots>,
    ) -> Tunnels {
        Tunnels { siblings, index, slots, user_slots }
    }

    /// This core's place among all of them.
    pub fn index(&self) -> usize {
        self.index
    }

    /// How many cores there are.
    pub fn cores(&self) -> usize {
        self.siblings.len()
    }

    /// A slot for one more tunnel, on the core that should have it: no other one that has `connections_max` connections
    /// already. `None`: there is none.
    pub fn slot(&self, rules: &WebSocket, connections_max: usize) -> Option<TunnelSlot> {
        let max = rules.tunnels_max.map_or(u64::MAX, |max| max as u64);
        let slack_percent = rules.balance_slack_percent.map(u64::from);
        let other = slack_percent.and_then(|_| self.least_loaded(connections_max as u64));
        let own = self.slots.taken(self.index);
        let is_wanted = |(_, least): &(usize, u64)| {
            let difference_max = (own * slack_percent.unwrap_or(0) / 100).max(BALANCE_DIFFERENCE_MIN);
            own.saturating_sub(*least) > difference_max
        };
        let better = other.filter(is_wanted).map(|(index, _)| index);
        let fallback = other.map(|(index, _)| index);
        let choices = [better, Some(self.index), fallback];
        choices.into_iter().flatten().find_map(|index| self.slots.take(index, max))
    }

    /// A slot for a tunnel of the process before, which is open already: on this core or on one that should rather have
    /// it, whatever the bounds.
    pub fn slot_of_inherited(&self, rules: &WebSocket, connections_max: usize) -> TunnelSlot {
        self.slot(rules, connections_max).unwrap_or_else(|| self.slots.take_any(self.index))
    }

    /// Gives a tunnel to the core that has the slot for it. It comes back if that is this core; and if too
    /// many wait for the other one already, with the other's slot: its bound is passed by one for a moment.
    pub fn hand_over(&self, handover: Box<Handover>) -> Result<(), Box<Handover>> {
        match handover.slot.core() {
            here if here == self.index => Err(handover),
            other => (self.siblings[other].give)(handover),
        }
    }

    /// The other core with the fewest slots taken, and how many these are.
    fn least_loaded(&self, connections_max: u64) -> Option<(usize, u64)> {
        let others = self.siblings.iter().enumerate().filter(|(index, _)| *index != self.index);
        let open = others.filter(|(_, Sibling { connections, .. })| {
            connections.listening.get() > 0 && connections.open.get() < connections_max
        });
        open.map(|(index, _)| (index, self.slots.taken(index))).min_by_key(|(_, taken)| *taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::config;

    fn rules(tunnels_max: Option<&str>, balance: &str) -> Arc<WebSocket> {
        let tunnels_max = tunnels_max.map(|count| format!("ws_max_connections = {count}\n"));
        config(&format!("{}ws_balance = '{balance}'\n", tunnels_max.unwrap_or_default())).websocket
    }

    /// Core 0 of cores with this many slots taken.
    fn cores(taken: &[u64]) -> Tunnels {
        let slots = TunnelSlots::new(taken.len());
        let siblings = taken.iter().enumerate().map(|(core, taken)| {
            (0..*taken).for_each(|_| std::mem::forget(slots.take(core, u64::MAX)));
            let connections = Arc::<ConnectionMetrics>::default();
            connections.listening.set(1);
            Sibling { connections, give: Box::new(|_| Ok(())) }
        });
        Tunnels::new(siblings.collect(), 0, slots.clone(), Arc::default())
    }

    /// The core that takes one more tunnel.
    fn goes_to(taken: &[u64], rules: &WebSocket) -> Option<usize> {
        cores(taken).slot(rules, 1_000).map(|slot| slot.core())
    }

    #[test]
    fn a_tunnel_stays_where_the_other_core_has_all_connections_that_it_may_have() {
        let (cores, rules) = (cores(&[100, 0]), rules(None, "on"));
        cores.siblings[1].connections.open.set(50);
        assert_eq!(cores.slot(&rules, 51).map(|slot| slot.core()), Some(1));
        assert_eq!(cores.slot(&rules, 50).map(|slot| slot.core()), Some(0));
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
        tunnels.siblings[1].connections.listening.set(0);
        assert_eq!(tunnels.slot(&rules(None, "on"), 1_000).map(|slot| slot.core()), Some(0));
    }

    #[test]
    fn a_full_core_gives_away_what_another_has_a_slot_for() {
        let (on, off) = (rules(Some("10"), "on"), rules(Some("10"), "off"));
        assert_eq!((goes_to(&[10, 9], &on), goes_to(&[10, 9], &off)), (Some(1), None));
        assert_eq!((goes_to(&[9, 10], &on), goes_to(&[9, 10], &off)), (Some(0), Some(0)));
        assert_eq!(goes_to(&[10, 10], &on), None);
    }

    #[test]
    fn the_bound_holds_however_many_ask_at_once_and_slots_come_back() {
        let (tunnels, rules) = (cores(&[8, 7]), rules(Some("10"), "on"));
        let slots: Vec<_> = (0..9).filter_map(|_| tunnels.slot(&rules, 1_000)).collect();
        assert_eq!((slots.len(), tunnels.slots.taken(0), tunnels.slots.taken(1)), (5, 10, 10));
        drop(slots);
        assert_eq!((tunnels.slots.taken(0), tunnels.slots.taken(1)), (8, 7));
    }
}
