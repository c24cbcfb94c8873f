//! The end of the process: the drain, and what is left when its time is over.

use std::sync::Arc;

use tracing::{info, warn};

use crate::clock;
use crate::control::running::Running;
use crate::control::signals::OpenSignal;
use crate::control::{Order, Postbox};
use crate::gateway::health::{Health, Readiness};
use crate::limits::TICK_MS;
use crate::net::{NEVER, Timers};
use crate::telemetry::Counters;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Everything in flight has ended.
    Drained,
    /// The drain's time was over, with so many connections left.
    CutOff(u64),
    /// A second signal.
    AtOnce,
}

/// What a shutdown needs.
pub struct Shutdown<'s> {
    /// The waits of the control thread.
    pub timers: &'s Timers,
    /// The signal to end.
    pub signal: OpenSignal,
    /// The cores.
    pub cores: Arc<[Postbox]>,
    /// Their numbers.
    pub counters: Vec<Arc<Counters>>,
    /// The process's readiness.
    pub health: Arc<Health>,
    /// The configuration, with its waits.
    pub running: Arc<Running>,
}

impl Shutdown<'_> {
    /// Waits for the signal to end, then drains.
    pub async fn run(self) -> Ending {
        self.signal.wait(self.timers, NEVER).await;
        self.health.set(Readiness::Draining);
        let timeouts = self.running.get().timeouts.clone();
        let delay_ms = timeouts.shutdown_delay.as_millis() as u64;
        info!(delay_ms, open = self.open(), "draining: not ready any more");
        if delay_ms > 0 && self.signal.wait(self.timers, clock::now_ms() + delay_ms).await {
            return Ending::AtOnce;
        }
        for core in self.cores.iter() {
            core.send(Order::Drain);
        }
        let deadline = clock::now_ms() + timeouts.shutdown.as_millis() as u64;
        // A core that still listens has not taken the order, or not yet what waits in its listener's queue.
        let mut quiet = 0;
        while quiet < QUIET_TICKS {
            if self.signal.wait(self.timers, clock::now_ms() + TICK_MS).await {
                return Ending::AtOnce;
            }
            quiet = if self.open() == 0 && !self.listening() { quiet + 1 } else { 0 };
            if quiet == 0 && clock::now_ms() >= deadline {
                warn!(open = self.open(), "the drain's time is over: cutting off what is left");
                return Ending::CutOff(self.open());
            }
        }
        Ending::Drained
    }

    fn listening(&self) -> bool {
        self.counters.iter().any(|core| core.listening.get() > 0)
    }

    fn open(&self) -> u64 {
        self.counters.iter().map(|core| core.connections_open.get()).sum()
    }
}

/// So many ticks in a row without a connection, and the drain is over.
const QUIET_TICKS: u32 = 2;
