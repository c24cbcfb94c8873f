//! How an upstream's members are chosen, and its own bounds.

use std::fmt;
use std::time::Duration;

use super::choice::Choice;
use crate::config::value::show_duration;

/// How a member is chosen for a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Balancing {
    /// The rule.
    pub policy: BalancePolicy,
    /// What decides with [`BalancePolicy::Hash`].
    pub hash_on: HashOn,
    /// How long a new member takes to its whole weight.
    pub slow_start: Duration,
}

impl Balancing {
    /// What is not the default, as an operator writes it: `, balance = hash, hash_on = user`.
    pub(crate) fn show(&self) -> String {
        let Balancing { policy, hash_on, slow_start } = self;
        let mut shown = String::new();
        if *policy != BalancePolicy::default() {
            shown.push_str(&format!(", balance = {}", policy.word()));
        }
        if *policy == BalancePolicy::Hash {
            shown.push_str(&format!(", hash_on = {hash_on}"));
        }
        if !slow_start.is_zero() {
            shown.push_str(&format!(", slow_start = {}", show_duration(*slow_start)));
        }
        shown
    }
}

/// A rule by which a member is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BalancePolicy {
    /// The better one of two, by latency and requests in flight.
    #[default]
    P2c,
    /// In turn, by weight.
    RoundRobin,
    /// The same one for the same user, address or header.
    Hash,
}

impl Choice for BalancePolicy {
    const ALL: &'static [Self] = &[Self::P2c, Self::RoundRobin, Self::Hash];

    fn word(self) -> &'static str {
        match self {
            Self::P2c => "p2c",
            Self::RoundRobin => "round_robin",
            Self::Hash => "hash",
        }
    }
}

/// What keeps requests with one member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HashOn {
    /// The verified user.
    #[default]
    User,
    /// The client's address.
    Address,
    /// A header field, by its name in lower case.
    Header(Box<str>),
}

impl fmt::Display for HashOn {
    /// As it is written: `header:x-room`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HashOn::User => f.write_str("user"),
            HashOn::Address => f.write_str("address"),
            HashOn::Header(name) => write!(f, "header:{name}"),
        }
    }
}

/// What one upstream has instead of the process-wide settings. `None`: those.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpstreamBounds {
    /// Requests in flight per core.
    pub in_flight: Option<usize>,
    /// Requests per core that wait for a connection to open.
    pub pending_connects: Option<usize>,
    /// Long responses per core.
    pub streams: Option<usize>,
    /// How long connecting may take.
    pub connect_timeout: Option<Duration>,
    /// From the end of a request to the head of its response.
    pub head_timeout: Option<Duration>,
    /// Between bytes of a response, and of a request that is not read.
    pub idle_timeout: Option<Duration>,
}

impl UpstreamBounds {
    /// What is not the default, as an operator writes it: `, in_flight = 10`.
    pub(crate) fn show(&self) -> String {
        let counts = [
            ("in_flight", self.in_flight),
            ("pending_connects", self.pending_connects),
            ("streams", self.streams),
        ];
        let timeouts = [
            ("connect_timeout", self.connect_timeout),
            ("head_timeout", self.head_timeout),
            ("idle_timeout", self.idle_timeout),
        ];
        let counts = counts.into_iter().filter_map(|(key, count)| Some(format!(", {key} = {}", count?)));
        let timeouts = timeouts
            .into_iter()
            .filter_map(|(key, timeout)| Some(format!(", {key} = {}", show_duration(timeout?))));
        counts.chain(timeouts).collect()
    }
}
