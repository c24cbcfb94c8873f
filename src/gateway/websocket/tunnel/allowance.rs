//! How many messages a client may still send: a token bucket of the tunnel's own.

use super::rules::TunnelRules;

/// The messages that are left to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Millionths of a message.
    pub(super) left: u64,
    /// When it was last refilled.
    pub(super) filled_ms: u64,
}

impl Allowance {
    /// A whole burst.
    pub fn new(rules: &TunnelRules, now_ms: u64) -> Allowance {
        Allowance { left: capacity(rules), filled_ms: now_ms }
    }

    /// Takes one message. False: it is one too many.
    pub fn take(&mut self, rules: &TunnelRules, now_ms: u64) -> bool {
        // Thousandths per second are millionths per millisecond.
        let rate_milli = u64::from(rules.message_rate_milli);
        if rate_milli == 0 {
            return true;
        }
        let passed_ms = now_ms.saturating_sub(self.filled_ms);
        self.filled_ms = now_ms;
        let left = self.left.saturating_add(passed_ms.saturating_mul(rate_milli)).min(capacity(rules));
        let has_one = left >= MILLIONTHS;
        self.left = if has_one { left - MILLIONTHS } else { left };
        has_one
    }
}

fn capacity(rules: &TunnelRules) -> u64 {
    u64::from(rules.message_burst) * MILLIONTHS
}

const MILLIONTHS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::websocket::tunnel::testing::rules;

    fn taking(message_rate_milli: u32, message_burst: u32) -> impl FnMut(u64) -> bool {
        let rules = TunnelRules { message_rate_milli, message_burst, ..rules() };
        let mut allowance = Allowance::new(&rules, 1_000);
        move |now_ms| allowance.take(&rules, now_ms)
    }

    #[test]
    fn a_burst_passes_then_the_rate_holds_and_idle_time_fills_no_more_than_the_burst() {
        let mut take = taking(2_500, 3);
        assert_eq!([1_000, 1_000, 1_000, 1_000].map(&mut take), [true, true, true, false]);
        assert_eq!([1_399, 1_400, 1_400, 1_799, 1_800].map(&mut take), [false, true, false, false, true]);
        assert_eq!([99_000; 4].map(&mut take), [true, true, true, false]);
    }

    #[test]
    fn a_rate_of_zero_is_no_bound() {
        let mut take = taking(0, 1);
        assert!((0..1_000).all(|_| take(5)));
    }
}
