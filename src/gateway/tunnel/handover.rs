//! Where a tunnel goes on: on the core of its handshake, or on one that has fewer of them.
//!
//! `SO_REUSEPORT` spreads connections by their addresses and not by load. That evens out for short requests, not for
//! sockets that last for hours. Right after its handshake a tunnel is two descriptors with nothing in flight, so that
//! is the moment to move it.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

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
    /// The places of users.
    pub seats: Arc<Seats>,
}

/// Evidence that there is room for one more tunnel while its handshake lasts.
pub struct Room {
    own: Arc<Counters>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.own.handshakes_pending.subtract(1);
    }
}

impl Tunnels {
    /// The view of the core at this place.
    pub fn new(siblings: Arc<[Sibling]>, index: usize, seats: Arc<Seats>) -> Tunnels {
        Tunnels { siblings, index, seats }
    }

    /// Room for one more tunnel, here or on a core that would take it over. `None`: there is none.
    pub fn room(&self, own: &Arc<Counters>, rules: &WebSocket) -> Option<Room> {
        let open = own.tunnels_open.get() + own.handshakes_pending.get();
        let has_room = rules.tunnels_max.is_none_or(|max| {
            let elsewhere = rules.balance_slack_percent.and_then(|_| self.least_loaded());
            open < max as u64 || elsewhere.is_some_and(|(_, least)| least < max as u64)
        });
        has_room.then(|| {
            own.handshakes_pending.add(1);
            Room { own: own.clone() }
        })
    }

    /// The core that should take one more tunnel, if it is not this one.
    fn elsewhere(&self, own: &Counters, rules: &WebSocket) -> Option<&Sibling> {
        let slack_percent = u64::from(rules.balance_slack_percent?);
        let open = own.tunnels_open.get();
        let (sibling, least) = self.least_loaded()?;
        let difference_max = (open * slack_percent / 100).max(BALANCE_DIFFERENCE_MIN);
        let is_full = rules.tunnels_max.is_some_and(|max| open >= max as u64 && least < max as u64);
        (is_full || open.saturating_sub(least) > difference_max).then_some(sibling)
    }

    /// The other core with the fewest tunnels, and how many it has.
    fn least_loaded(&self) -> Option<(&Sibling, u64)> {
        let others = self.siblings.iter().enumerate().filter(|(index, _)| *index != self.index);
        others
            .map(|(_, sibling)| (sibling, sibling.counters.tunnels_open.get()))
            .filter(|(sibling, _)| sibling.counters.listening.get() > 0)
            .min_by_key(|(_, open)| *open)
    }
}

/// Begins a tunnel, here or on the core that should have it.
pub fn begin(core: &Core, handover: Box<Handover>) {
    core.counters.tunnels_opened.add(1);
    let Some(sibling) = core.tunnels.elsewhere(&core.counters, &handover.rules) else {
        return adopt(&core.means, *handover);
    };
    match (sibling.give)(handover) {
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
    use crate::config::{Written, lower};

    fn rules(tunnels_max: Option<&str>, balance: &str) -> Arc<WebSocket> {
        let written = Written {
            jwt_secret: Some("x".repeat(32)),
            ws_max_connections: tunnels_max.map(str::to_owned),
            ws_balance: Some(balance.to_owned()),
            ..Written::default()
        };
        lower(written, Written::default()).expect("a configuration").config.websocket
    }

    /// Core 0 of cores with so many tunnels.
    fn cores(open: &[u64]) -> (Tunnels, Arc<Counters>) {
        let siblings: Vec<Sibling> = open
            .iter()
            .map(|open| {
                let counters = Arc::<Counters>::default();
                counters.tunnels_open.set(*open);
                counters.listening.set(1);
                Sibling { counters, give: Box::new(|_| Ok(())) }
            })
            .collect();
        let own = siblings[0].counters.clone();
        (Tunnels::new(siblings.into(), 0, Arc::default()), own)
    }

    /// Tunnels of the core that takes one more; `None`: it stays.
    fn goes_to(open: &[u64], rules: &WebSocket) -> Option<u64> {
        let (tunnels, own) = cores(open);
        tunnels.elsewhere(&own, rules).map(|sibling| sibling.counters.tunnels_open.get())
    }

    #[test]
    fn a_tunnel_moves_when_the_difference_is_over_the_slack() {
        let rules = rules(None, "on");
        assert_eq!(goes_to(&[16, 0], &rules), None);
        assert_eq!(goes_to(&[17, 0], &rules), Some(0));
        assert_eq!(goes_to(&[1_000, 901, 950], &rules), None);
        assert_eq!(goes_to(&[1_000, 950, 899], &rules), Some(899));
        assert_eq!(goes_to(&[5, 1_000], &rules), None);
        assert_eq!(goes_to(&[1_000], &rules), None);
    }

    #[test]
    fn without_balance_it_stays() {
        assert_eq!(goes_to(&[1_000, 0], &rules(None, "off")), None);
    }

    #[test]
    fn a_full_core_gives_away_what_another_has_room_for() {
        let rules = rules(Some("10"), "on");
        assert_eq!(goes_to(&[10, 9], &rules), Some(9));
        assert_eq!(goes_to(&[10, 10], &rules), None);
    }

    #[test]
    fn there_is_room_as_long_as_a_core_has_some_and_handshakes_count() {
        let has_room = |open: &[u64], balance: &str| {
            let (tunnels, own) = cores(open);
            tunnels.room(&own, &rules(Some("10"), balance)).is_some()
        };
        assert!(has_room(&[9, 10], "off") && has_room(&[10, 9], "on"));
        assert!(!has_room(&[10, 9], "off") && !has_room(&[10, 10], "on"));
        let (tunnels, own) = cores(&[8]);
        let rules = rules(Some("10"), "on");
        let taken: Vec<_> = (0..3).map(|_| tunnels.room(&own, &rules)).collect();
        assert_eq!(taken.iter().filter(|room| room.is_some()).count(), 2);
        drop(taken);
        assert!(tunnels.room(&own, &rules).is_some());
    }
}
