//! Every time at which something happens to a tunnel without a byte: pings, their answers, idleness, the lifetime, the
//! token's end, the drain.

use super::keepalive::Keepalive;
use super::rules::TunnelRules;

/// The times of one tunnel that neither its peers nor the gateway close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TunnelTimers {
    pub(super) begun_ms: u64,
    /// `None`: the token holds for ever, or its end does not matter.
    pub(super) expiry: Option<Expiry>,
    /// `None`: the core does not drain.
    pub(super) drain: Option<Drain>,
    pub(super) keepalive: Keepalive,
}

/// The end of the client's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// In seconds since 1970.
    pub(super) unix_s: u64,
    /// When the wall clock is read next: at least once a minute, because an operator may set it.
    pub(super) look_ms: u64,
}

/// The core drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// When it is this tunnel's turn to leave.
    pub departs_ms: u64,
    /// When every tunnel is cut off that has not left.
    pub cut_ms: u64,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// The drain has come to this tunnel.
    Departure,
    /// The wall clock is to be compared with the token's end.
    TokenLook,
    /// The lifetime is over.
    LifetimeEnd,
    /// Two intervals have passed since our ping.
    Pong,
    /// The client was silent for the idle timeout.
    Idle,
    /// The client was silent for an interval.
    Ping,
}

impl TunnelTimers {
    /// What is due first of all that is due now.
    pub fn due(&self, rules: &TunnelRules, now_ms: u64) -> Option<Due> {
        let is_due = |(_, at_ms): &(Due, Option<u64>)| at_ms.is_some_and(|at_ms| at_ms <= now_ms);
        self.all(rules).into_iter().find(is_due).map(|(due, _)| due)
    }

    /// When the next of them is due.
    pub fn next_ms(&self, rules: &TunnelRules) -> Option<u64> {
        self.all(rules).into_iter().filter_map(|(_, at_ms)| at_ms).min()
    }

    /// All of them, the most important first.
    fn all(&self, rules: &TunnelRules) -> [(Due, Option<u64>); 6] {
        let lifetime_ms = rules.lifetime_ms.map(|lifetime| self.begun_ms.saturating_add(lifetime.get()));
        [
            (Due::Departure, self.drain.map(|drain| drain.departs_ms)),
            (Due::TokenLook, self.expiry.map(|expiry| expiry.look_ms)),
            (Due::LifetimeEnd, lifetime_ms),
            (Due::Pong, self.keepalive.pong_ms(rules)),
            (Due::Idle, self.keepalive.idle_ms(rules)),
            (Due::Ping, self.keepalive.ping_ms(rules)),
        ]
    }
}

impl Expiry {
    /// The end of a token, as seen at this moment of both clocks.
    pub fn new(expires_unix_s: u64, unix_s: u64, now_ms: u64) -> Expiry {
        let left_s = expires_unix_s.saturating_sub(unix_s);
        Expiry { unix_s: expires_unix_s, look_ms: now_ms.saturating_add(left_s.min(LOOK_S) * 1_000) }
    }

    /// The token's time is over.
    pub fn is_over(&self, unix_s: u64) -> bool {
        unix_s >= self.unix_s
    }
}

/// How often the wall clock is compared with a token's end, in seconds.
const LOOK_S: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::websocket::tunnel::testing::rules;

    fn timers() -> TunnelTimers {
        let keepalive = Keepalive::new([0; 8], 1_000);
        TunnelTimers { begun_ms: 1_000, expiry: None, drain: None, keepalive }
    }

    #[test]
    fn the_earliest_comes_first_and_the_most_important_of_those_that_are_due() {
        let rules = TunnelRules { lifetime_ms: 31_000.try_into().ok(), ..rules() };
        let mut timers = timers();
        assert_eq!((timers.next_ms(&rules), timers.due(&rules, 30_999)), (Some(31_000), None));
        assert_eq!(timers.due(&rules, 31_000), Some(Due::Ping));
        assert_eq!(timers.due(&rules, 32_000), Some(Due::LifetimeEnd));
        timers.drain = Some(Drain { departs_ms: 31_500, cut_ms: 40_000 });
        assert_eq!(timers.due(&rules, 32_000), Some(Due::Departure));
    }

    #[test]
    fn the_wall_clock_is_looked_at_once_a_minute_and_at_the_tokens_end() {
        let look = |left_s: u64| Expiry::new(1_000_000 + left_s, 1_000_000, 5_000).look_ms;
        assert_eq!([0, 1, 59, 60, 61, 9_999].map(look), [5_000, 6_000, 64_000, 65_000, 65_000, 65_000]);
        let expiry = Expiry::new(1_000_000, 999_999, 5_000);
        assert!(!expiry.is_over(999_999) && expiry.is_over(1_000_000));
        assert_eq!(Expiry::new(10, 1_000_000, 5_000).look_ms, 5_000);
    }
}
