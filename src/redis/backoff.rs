//! Exponential backoff with jitter between attempts to connect.

use crate::clock;
use crate::limits::TICK_MS;
use crate::net::Timers;

/// The pause before the next attempt to connect. It doubles with each attempt; jitter keeps cores from connecting at
/// the same time.
#[derive(Default)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    pub(super) async fn wait(&mut self, timers: &Timers) {
        let longest_ms = (BACKOFF_MIN_MS << self.attempts.min(16)).min(BACKOFF_MAX_MS);
        self.attempts += 1;
        let mut random = [0; 8];
        // Without random bytes there is no jitter, and nothing else is lost.
        let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
        let jitter_ms = u64::from_ne_bytes(random) % (longest_ms / 2 + 1);
        timers.sleep_until(clock::now_ms() + longest_ms - jitter_ms).await;
    }
}

/// The first pause, in milliseconds.
const BACKOFF_MIN_MS: u64 = 50;
/// The longest pause, in milliseconds.
const BACKOFF_MAX_MS: u64 = 2_000;

const _: () = assert!(BACKOFF_MIN_MS >= TICK_MS && BACKOFF_MIN_MS < BACKOFF_MAX_MS);
