//! What a client may still send: token buckets of the tunnel's own, for messages, frames and control frames.

use super::rules::TunnelRules;
use crate::ws::{Header, Opcode};

/// What is left to a client, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// When it was last refilled.
    pub(super) filled_ms: u64,
    pub(super) messages: u64,
    pub(super) frames: u64,
    /// Pings, and pongs that answer nothing.
    pub(super) control_frames: u32,
    /// Pings of the upstream's that the client has not answered yet. As many pongs are free.
    pub(super) pongs_owed: u32,
}

/// How one bucket fills.
#[derive(Clone, Copy)]
struct Refill {
    /// Thousandths of a token per second, which are millionths per millisecond; 0: there is no bound.
    rate_milli: u64,
    /// Millionths of a token.
    capacity: u64,
}

impl Allowance {
    /// Whole bursts.
    pub fn new(rules: &TunnelRules, now_ms: u64) -> Allowance {
        Allowance {
            filled_ms: now_ms,
            messages: messages(rules).capacity,
            frames: frames(rules).capacity,
            control_frames: control_frames(rules).capacity as u32,
            pongs_owed: 0,
        }
    }

    /// Takes what a frame of the client's costs. False: it is one too many.
    pub fn take(&mut self, header: &Header, rules: &TunnelRules, now_ms: u64) -> bool {
        if now_ms > self.filled_ms {
            self.fill(rules, now_ms);
        }
        let (is_message, is_control) = match header.opcode {
            Opcode::Text | Opcode::Binary => (true, false),
            Opcode::Pong if self.pongs_owed > 0 => {
                self.pongs_owed -= 1;
                (true, false)
            }
            Opcode::Ping | Opcode::Pong => (true, true),
            // Fragments are bounded by the size of their message. One that is empty, and not the end, has no purpose.
            Opcode::Continuation => (header.payload == 0 && !header.fin, false),
            Opcode::Close => (false, false),
        };
        frames(rules).take(&mut self.frames)
            && (!is_control || self.take_control_frame(rules))
            && (!is_message || messages(rules).take(&mut self.messages))
    }

    /// The upstream has sent a ping, which the client is to answer.
    pub fn owe_pong(&mut self) {
        self.pongs_owed = self.pongs_owed.saturating_add(1);
    }

    fn take_control_frame(&mut self, rules: &TunnelRules) -> bool {
        let mut left = u64::from(self.control_frames);
        let has_one = control_frames(rules).take(&mut left);
        self.control_frames = left as u32;
        has_one
    }

    fn fill(&mut self, rules: &TunnelRules, now_ms: u64) {
        let passed_ms = now_ms - self.filled_ms;
        self.filled_ms = now_ms;
        self.messages = messages(rules).filled(self.messages, passed_ms);
        self.frames = frames(rules).filled(self.frames, passed_ms);
        self.control_frames = control_frames(rules).filled(self.control_frames.into(), passed_ms) as u32;
    }
}

impl Refill {
    fn filled(self, left: u64, passed_ms: u64) -> u64 {
        left.saturating_add(passed_ms.saturating_mul(self.rate_milli)).min(self.capacity)
    }

    fn take(self, left: &mut u64) -> bool {
        let has_one = self.rate_milli == 0 || *left >= MILLIONTHS;
        *left = left.saturating_sub(if has_one { MILLIONTHS } else { 0 });
        has_one
    }
}

fn messages(rules: &TunnelRules) -> Refill {
    let capacity = u64::from(rules.message_burst) * MILLIONTHS;
    Refill { rate_milli: u64::from(rules.message_rate_milli), capacity }
}

fn frames(rules: &TunnelRules) -> Refill {
    of_a_second(rules.frame_rate_milli, rules)
}

/// Of control frames, no more than some 4,000 may come at once, so that 32 bits count them.
fn control_frames(rules: &TunnelRules) -> Refill {
    let refill = of_a_second(rules.control_frame_rate_milli, rules);
    Refill { capacity: refill.capacity.min(u32::MAX.into()), ..refill }
}

/// What a second brings may come at once, and at least the burst of messages: fragments of one message come
/// together, and so does what a client had to say while its network was away.
fn of_a_second(rate_milli: u32, rules: &TunnelRules) -> Refill {
    let rate_milli = u64::from(rate_milli);
    let capacity = (rate_milli * MILLIONTHS / 1_000).max(u64::from(rules.message_burst) * MILLIONTHS);
    Refill { rate_milli, capacity }
}

const MILLIONTHS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::websocket::tunnel::testing::rules;

    fn header(opcode: Opcode, payload: u64, fin: bool) -> Header {
        Header { opcode, payload, fin, mask: Some([0; 4]), length: 6 }
    }

    fn taking(rules: TunnelRules, header: Header) -> impl FnMut(u64) -> bool {
        let mut allowance = Allowance::new(&rules, 1_000);
        move |now_ms| allowance.take(&header, &rules, now_ms)
    }

    fn with_messages(message_rate_milli: u32, message_burst: u32) -> TunnelRules {
        TunnelRules { message_rate_milli, message_burst, ..rules() }
    }

    #[test]
    fn a_burst_passes_then_the_rate_holds_and_idle_time_fills_no_more_than_the_burst() {
        let mut take = taking(with_messages(2_500, 3), header(Opcode::Text, 5, true));
        assert_eq!([1_000, 1_000, 1_000, 1_000].map(&mut take), [true, true, true, false]);
        assert_eq!([1_399, 1_400, 1_400, 1_799, 1_800].map(&mut take), [false, true, false, false, true]);
        assert_eq!([99_000; 4].map(&mut take), [true, true, true, false]);
    }

    #[test]
    fn a_rate_of_zero_is_no_bound() {
        let unbounded = TunnelRules { frame_rate_milli: 0, control_frame_rate_milli: 0, ..rules() };
        let mut take = taking(unbounded, header(Opcode::Ping, 5, true));
        assert!((0..10_000).all(|_| take(5)));
    }

    #[test]
    fn empty_fragments_that_are_not_the_end_count_as_messages_and_others_as_frames() {
        let rules = with_messages(1, 3);
        let mut empty = taking(rules, header(Opcode::Continuation, 0, false));
        assert_eq!((0..10).filter(|_| empty(1_000)).count(), 3);
        for other in [header(Opcode::Continuation, 0, true), header(Opcode::Continuation, 1, false)] {
            let mut other = taking(rules, other);
            assert_eq!((0..2_000).filter(|_| other(1_000)).count(), 1_000, "the frames of a second");
            assert_eq!((0..2_000).filter(|_| other(2_500)).count(), 1_000);
        }
    }

    #[test]
    fn control_frames_have_a_bound_of_their_own_and_what_answers_the_upstream_is_free() {
        let rules = rules();
        let mut ping = taking(rules, header(Opcode::Ping, 0, true));
        assert_eq!((0..100).filter(|_| ping(1_000)).count(), 20);
        assert_eq!((0..100).filter(|_| ping(2_000)).count(), 10);
        let mut allowance = Allowance::new(&rules, 1_000);
        (0..500).for_each(|_| allowance.owe_pong());
        let mut pong = || allowance.take(&header(Opcode::Pong, 4, true), &rules, 1_000);
        assert_eq!((0..1_000).filter(|_| pong()).count(), 520);
    }
}
