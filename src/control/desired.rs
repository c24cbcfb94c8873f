//! The state that the control thread wants the cores to be in. It is a value, not a series of messages: the latest one
//! holds, and a core that missed any number of them takes the same steps to it as one that saw each.

use std::sync::Arc;

use crate::config::{self, Members, RedisAddress};
use crate::gateway::core::Replacement;
use crate::redis::slots::Topology;
use crate::upstream::Roster;

/// The service whose addresses are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The upstream of this name, if its members come from there. An index into the configuration would be ambiguous:
    /// after a reload, the same index can belong to another upstream.
    Upstream(String, Members),
    /// Redis, if its configured address is this one.
    Redis(RedisAddress),
}

/// A service of the configuration, and its members. `None`: they are not known yet.
pub type Enlisted = (Target, Option<Roster>);

/// What a draining core does with its listening sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerDrain {
    /// Accept the connections in the accept queues, then close the sockets. Closing a socket resets the connections
    /// in its queue.
    Close,
    /// Stop accepting immediately and leave the sockets open. The successor process accepts the connections in the
    /// queues.
    HandOver,
}

/// A drain. It has the same times on every core, whenever a core begins with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// What happens to the listening sockets.
    pub listeners: ListenerDrain,
    /// The begin, by the coarse clock.
    pub begun_ms: u64,
    /// The time until the process ends, in milliseconds.
    pub timeout_ms: u64,
    /// The time in which tunnels move to the new process, in milliseconds.
    pub tunnels_ms: u64,
}

/// How far the life of the process is. It only goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No connections are accepted yet.
    Starting,
    /// Connections are accepted.
    Open,
    /// No more connections are accepted, the requests in flight are finished, and idle connections are closed.
    Draining(Drain),
    /// Everything ends immediately, even with requests in flight.
    Stopped,
}

/// The desired state.
#[derive(Debug, Clone)]
pub struct Desired {
    /// The number of the configuration: 1 at the start, one more with every reload.
    pub version: u64,
    /// The configuration.
    pub configuration: Arc<Replacement>,
    /// Every service of the configuration.
    rosters: Arc<[Enlisted]>,
    /// The masters of the Redis cluster at this address.
    topology: Option<(RedisAddress, Arc<Topology>)>,
    phase: Phase,
}

/// What a core does to come to the desired state.
#[derive(Debug, Clone)]
pub enum Step {
    /// Apply this configuration, which has this version. Its Redis has this roster, and if it is a cluster these
    /// masters.
    Configure(u64, Arc<Replacement>, Option<Roster>, Option<Arc<Topology>>),
    /// Replace the roster of a service.
    Roster(Target, Roster),
    /// The Redis cluster at this address has these masters.
    Topology(RedisAddress, Arc<Topology>),
    /// Start accepting connections.
    Open,
    /// Drain. The core may not have accepted connections before.
    Drain(Drain),
    /// Stop immediately. No other step comes with it.
    Stop,
}

impl Desired {
    /// The state at the start. `services` are those of the configuration.
    pub fn first(configuration: Replacement, services: impl IntoIterator<Item = Target>) -> Desired {
        Desired {
            version: 1,
            configuration: Arc::new(configuration),
            rosters: services.into_iter().map(|target| (target, None)).collect(),
            topology: None,
            phase: Phase::Starting,
        }
    }

    /// Replaces the configuration. `services` are its services; one without a roster keeps the one that it has.
    pub fn configure(&mut self, configuration: Replacement, services: Vec<Enlisted>) {
        let before = self.rosters.clone();
        let enlist = |(target, roster): Enlisted| {
            let known =
                || before.iter().find(|(known, _)| *known == target).and_then(|(_, known)| known.clone());
            let roster = roster.or_else(known);
            (target, roster)
        };
        self.rosters = services.into_iter().map(enlist).collect();
        self.configuration = Arc::new(configuration);
        self.version += 1;
    }

    /// Replaces the roster of a service. Returns false if nothing changes, or if the configuration has no such service
    /// any more.
    pub fn set_roster(&mut self, target: &Target, roster: &Roster) -> bool {
        let Some((_, before)) = self.rosters.iter().find(|(known, _)| known == target) else { return false };
        if before.as_ref() == Some(roster) {
            return false;
        }
        let replaced = |(known, before): &Enlisted| {
            let roster = if known == target { Some(roster.clone()) } else { before.clone() };
            (known.clone(), roster)
        };
        self.rosters = self.rosters.iter().map(replaced).collect();
        true
    }

    /// The Redis cluster at this address, of this configuration or of the next one, has these masters.
    pub fn set_topology(&mut self, address: &RedisAddress, topology: &Arc<Topology>) {
        self.topology = Some((address.clone(), topology.clone()));
    }

    /// Goes on to a phase. Returns false if that would not be forward.
    pub fn advance(&mut self, phase: Phase) -> bool {
        let is_forward = phase.rank() > self.phase.rank();
        if is_forward {
            self.phase = phase;
        }
        is_forward
    }

    /// The steps to this state for a core that is in the state `seen`.
    pub fn steps_from(&self, seen: &Desired) -> Vec<Step> {
        if self.phase == Phase::Stopped {
            return vec![Step::Stop];
        }
        let mut steps = Vec::new();
        let is_reconfigured = self.version != seen.version;
        if is_reconfigured {
            let topology = self.topology().map(|(_, topology)| topology.clone());
            let replacement = self.configuration.clone();
            steps.push(Step::Configure(self.version, replacement, self.redis_roster(), topology));
        } else if let Some((address, topology)) = self.topology()
            && !seen.topology().is_some_and(|(_, known)| Arc::ptr_eq(known, topology))
        {
            steps.push(Step::Topology(address.clone(), topology.clone()));
        }
        for (target, roster) in self.rosters.iter() {
            // The services of another configuration may be new to the core.
            let is_seen =
                !is_reconfigured && seen.rosters.iter().any(|known| (&known.0, &known.1) == (target, roster));
            steps
                .extend(roster.clone().filter(|_| !is_seen).map(|found| Step::Roster(target.clone(), found)));
        }
        match self.phase {
            phase if phase == seen.phase => {}
            Phase::Open => steps.push(Step::Open),
            Phase::Draining(drain) => steps.push(Step::Drain(drain)),
            Phase::Starting | Phase::Stopped => {}
        }
        steps
    }

    /// The masters of the configuration's Redis cluster.
    fn topology(&self) -> Option<&(RedisAddress, Arc<Topology>)> {
        let is_ours = |address: &RedisAddress| {
            self.rosters.iter().any(|(target, _)| matches!(target, Target::Redis(known) if known == address))
        };
        self.topology.as_ref().filter(|(address, _)| is_ours(address))
    }

    fn redis_roster(&self) -> Option<Roster> {
        let is_redis = |(target, _): &&Enlisted| matches!(target, Target::Redis(_));
        self.rosters.iter().find(is_redis).and_then(|(_, roster)| roster.clone())
    }
}

impl Target {
    /// An upstream.
    pub fn upstream(upstream: &config::Upstream) -> Target {
        Target::Upstream(upstream.name.clone(), upstream.members.clone())
    }
}

impl Phase {
    fn rank(self) -> u8 {
        match self {
            Phase::Starting => 0,
            Phase::Open => 1,
            Phase::Draining(_) => 2,
            Phase::Stopped => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{KeySets, Keys};
    use crate::config::UpstreamAddress;
    use crate::config::testing::config;
    use crate::net::Endpoint;
    use crate::route::RouteTable;
    use crate::upstream::roster;

    fn replacement() -> Replacement {
        let config = config("");
        let routes = RouteTable::new(&config.routes).expect("routes");
        Replacement {
            routes: Arc::new(routes),
            keys: Arc::new(Keys::new(&config.jwt, &KeySets::unavailable(&config.jwt))),
            tls: None,
            challenges: Arc::default(),
            originations: Arc::default(),
            config: Arc::new(config),
        }
    }

    fn redis(host: &str) -> RedisAddress {
        RedisAddress::Tcp { host: host.to_owned(), port: 80 }
    }

    fn tcp(host: &str) -> UpstreamAddress {
        UpstreamAddress::Tcp { host: host.to_owned(), port: 80 }
    }

    fn upstream(host: &str) -> Target {
        Target::Upstream(host.to_owned(), Members::one(tcp(host)))
    }

    /// The roster of one member; the same each time.
    fn endpoints(last: u8) -> Roster {
        static KNOWN: std::sync::LazyLock<Vec<Roster>> = std::sync::LazyLock::new(|| {
            let endpoint = |last| Endpoint::tcp(([127, 0, 0, last], 80).into());
            (0..10).map(|last| roster(&[endpoint(last)], None, 1, 0)).collect()
        });
        KNOWN[usize::from(last)].clone()
    }

    fn drain(listeners: ListenerDrain) -> Phase {
        Phase::Draining(Drain { listeners, begun_ms: 1, timeout_ms: 2, tunnels_ms: 0 })
    }

    /// The steps as text, one word for each.
    fn told(steps: &[Step]) -> Vec<String> {
        let word = |step: &Step| match step {
            Step::Configure(version, _, redis, _) => {
                let redis = redis
                    .as_ref()
                    .map_or(String::new(), |found| format!("+redis {}", found[0].record.endpoint().text()));
                format!("configure {version}{redis}")
            }
            Step::Roster(Target::Upstream(name, _), found) => {
                format!("{name} {}", found[0].record.endpoint().text())
            }
            Step::Topology(_, topology) => format!("topology of {}", topology.masters().len()),
            Step::Roster(_, found) => format!("redis {}", found[0].record.endpoint().text()),
            Step::Open => "open".to_owned(),
            Step::Drain(drain) => format!("drain {:?}", drain.listeners),
            Step::Stop => "stop".to_owned(),
        };
        steps.iter().map(word).collect()
    }

    #[test]
    fn nothing_new_is_no_step() {
        let first = Desired::first(replacement(), [upstream("a")]);
        assert!(first.clone().steps_from(&first).is_empty());
    }

    #[test]
    fn many_updates_before_one_look_are_the_steps_to_the_last_one() {
        let first = Desired::first(replacement(), [upstream("a"), upstream("b")]);
        let mut wanted = first.clone();
        assert!(wanted.set_roster(&upstream("a"), &endpoints(1)));
        assert!(wanted.advance(Phase::Open));
        assert!(wanted.set_roster(&upstream("a"), &endpoints(2)));
        assert_eq!(told(&wanted.steps_from(&first)), ["a 127.0.0.2:80", "open"]);
        let seen = wanted.clone();
        for _ in 0..1_000 {
            wanted.configure(replacement(), vec![(upstream("a"), None), (upstream("c"), Some(endpoints(3)))]);
        }
        wanted.advance(drain(ListenerDrain::Close));
        let steps = ["configure 1001", "a 127.0.0.2:80", "c 127.0.0.3:80", "drain Close"];
        assert_eq!(told(&wanted.steps_from(&seen)), steps);
    }

    #[test]
    fn a_service_that_a_missed_configuration_brought_has_its_addresses() {
        let first = Desired::first(replacement(), []);
        let mut wanted = first.clone();
        let redis = Target::Redis(redis("r"));
        wanted.configure(
            replacement(),
            vec![(upstream("a"), Some(endpoints(1))), (redis.clone(), Some(endpoints(9)))],
        );
        // The second reload finds the services in the running configuration and does not resolve them again.
        wanted.configure(replacement(), vec![(upstream("a"), None), (redis, None)]);
        let steps = ["configure 3+redis 127.0.0.9:80", "a 127.0.0.1:80", "redis 127.0.0.9:80"];
        assert_eq!(told(&wanted.steps_from(&first)), steps);
    }

    #[test]
    fn the_order_of_a_reload_a_drain_and_addresses_does_not_matter() {
        type Update = fn(&mut Desired);
        let updates: [Update; 3] = [
            |wanted| wanted.configure(replacement(), vec![(upstream("a"), None)]),
            |wanted| assert!(wanted.advance(drain(ListenerDrain::HandOver))),
            |wanted| assert!(wanted.set_roster(&upstream("a"), &endpoints(1))),
        ];
        let first = Desired::first(replacement(), [upstream("a")]);
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut wanted = first.clone();
            order.into_iter().for_each(|nth| updates[nth](&mut wanted));
            let steps = ["configure 2", "a 127.0.0.1:80", "drain HandOver"];
            assert_eq!(told(&wanted.steps_from(&first)), steps, "{order:?}");
        }
    }

    #[test]
    fn a_stop_is_the_only_step_whatever_was_missed() {
        let first = Desired::first(replacement(), [upstream("a")]);
        let mut wanted = first.clone();
        wanted.configure(replacement(), vec![]);
        for phase in [Phase::Open, drain(ListenerDrain::Close), Phase::Stopped] {
            assert!(wanted.advance(phase));
        }
        wanted.configure(replacement(), vec![]);
        assert_eq!(told(&wanted.steps_from(&first)), ["stop"]);
    }

    #[test]
    fn phases_only_go_forward() {
        let mut wanted = Desired::first(replacement(), []);
        assert!(wanted.advance(drain(ListenerDrain::HandOver)));
        for phase in [Phase::Starting, Phase::Open, drain(ListenerDrain::Close)] {
            assert!(!wanted.advance(phase));
        }
        assert_eq!(wanted.phase, drain(ListenerDrain::HandOver));
        assert!(wanted.advance(Phase::Stopped) && !wanted.advance(drain(ListenerDrain::Close)));
    }

    #[test]
    fn addresses_of_a_service_that_is_gone_are_not_kept() {
        let mut wanted = Desired::first(replacement(), [upstream("a")]);
        assert!(wanted.set_roster(&upstream("a"), &endpoints(1)));
        assert!(!wanted.set_roster(&upstream("a"), &endpoints(1)), "the same again");
        wanted.configure(replacement(), vec![(upstream("b"), None)]);
        assert!(!wanted.set_roster(&upstream("a"), &endpoints(2)));
        assert_eq!(wanted.rosters.len(), 1);
    }
}
