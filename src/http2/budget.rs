//! What a client may do that costs it little and moves no request on: a budget for resets, and one for control frames.
//! Time is an argument.

use crate::limits::{CONTROL_FRAMES_MAX, CONTROL_FRAMES_PER_SECOND, RESETS_MAX};

/// The budgets of one connection.
#[derive(Debug)]
pub struct Budget {
    resets: u32,
    control: u32,
    /// When time has last made up for something.
    since_ms: u64,
}

/// A budget is used up: the connection ends with `ENHANCE_YOUR_CALM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted;

impl Budget {
    /// Full budgets.
    pub fn new(now_ms: u64) -> Budget {
        Budget { resets: RESETS_MAX, control: CONTROL_FRAMES_MAX, since_ms: now_ms }
    }

    /// A stream was reset before its exchange was finished: by the client (CVE-2023-44487), or by us, for what the
    /// client has sent (CVE-2025-8671).
    ///
    /// # Errors
    /// There were too many.
    pub fn reset(&mut self) -> Result<(), Exhausted> {
        self.resets = self.resets.checked_sub(1).ok_or(Exhausted)?;
        Ok(())
    }

    /// An exchange was finished: it makes up for a reset.
    pub fn finished(&mut self) {
        self.resets = (self.resets + 1).min(RESETS_MAX);
    }

    /// A frame that moves no request on.
    ///
    /// # Errors
    /// There were too many.
    pub fn control(&mut self, now_ms: u64) -> Result<(), Exhausted> {
        if self.control == 0 {
            let earned = now_ms.saturating_sub(self.since_ms).saturating_mul(PER_SECOND) / 1_000;
            self.control = earned.min(u64::from(CONTROL_FRAMES_MAX)) as u32;
            self.since_ms = now_ms;
        }
        self.control = self.control.checked_sub(1).ok_or(Exhausted)?;
        Ok(())
    }

    /// A frame with something in it was sent, or received: it makes up for some that the other side needs on its
    /// account (windows of stream and connection, a measurement of the round trip).
    pub fn moved(&mut self) {
        self.control = (self.control + CONTROL_FRAMES_PER_FRAME).min(CONTROL_FRAMES_MAX);
    }
}

const PER_SECOND: u64 = CONTROL_FRAMES_PER_SECOND as u64;
/// What one frame that moves a request on makes up for.
const CONTROL_FRAMES_PER_FRAME: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rapid_resets_use_up_the_budget_and_finished_exchanges_make_up_for_them() {
        let mut budget = Budget::new(0);
        for _ in 0..10 * RESETS_MAX {
            budget.reset().unwrap();
            budget.finished();
        }
        assert!((0..RESETS_MAX).all(|_| budget.reset().is_ok()));
        assert_eq!(budget.reset(), Err(Exhausted));
        budget.finished();
        assert_eq!((budget.reset(), budget.reset()), (Ok(()), Err(Exhausted)));
    }

    #[test]
    fn a_flood_of_control_frames_ends_and_a_ping_a_second_never_does() {
        let mut budget = Budget::new(0);
        assert!((0..CONTROL_FRAMES_MAX).all(|_| budget.control(0).is_ok()));
        assert_eq!(budget.control(9), Err(Exhausted));
        let mut budget = Budget::new(0);
        assert!((0..1_000_000).all(|second| budget.control(1_000 * second).is_ok()));
    }

    #[test]
    fn windows_for_what_was_sent_are_no_flood() {
        let mut budget = Budget::new(0);
        for _ in 0..CONTROL_FRAMES_MAX {
            budget.moved();
            assert!((0..CONTROL_FRAMES_PER_FRAME).all(|_| budget.control(0).is_ok()));
        }
    }
}
