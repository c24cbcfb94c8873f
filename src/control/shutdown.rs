//! The end of the process: signals, the drain, and what is left when its time is over.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use signal_hook::consts::{SIGINT, SIGTERM};
use tracing::{info, warn};

use crate::clock;
use crate::config::Timeouts;
use crate::control::{Order, Postbox};
use crate::gateway::health::{Health, Readiness};
use crate::limits::TICK_MS;
use crate::net::{NEVER, Stream, Timers};
use crate::telemetry::Counters;

/// SIGTERM and SIGINT as bytes on a socket, from the moment that this exists.
pub struct Signals {
    socket: UnixStream,
}

/// The same on the control thread's ring.
pub struct OpenSignals {
    stream: Stream,
}

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
    /// The signals.
    pub signals: OpenSignals,
    /// The cores.
    pub cores: Arc<[Postbox]>,
    /// Their numbers.
    pub counters: Vec<Arc<Counters>>,
    /// The process's readiness.
    pub health: Arc<Health>,
    /// The configured waits.
    pub timeouts: Timeouts,
}

impl Signals {
    /// Takes over both signals: before the first client is served, or an early one would end the process without
    /// a drain. Errors: no file descriptors.
    pub fn new() -> io::Result<Signals> {
        let (near, far) = UnixStream::pair()?;
        for signal in [SIGTERM, SIGINT] {
            signal_hook::low_level::pipe::register(signal, near.try_clone()?)?;
        }
        far.set_nonblocking(true)?;
        Ok(Signals { socket: far })
    }

    /// Registers the socket with the runtime of this thread.
    pub fn open(self) -> io::Result<OpenSignals> {
        Ok(OpenSignals { stream: Stream::new(OwnedFd::from(self.socket))? })
    }
}

impl OpenSignals {
    /// Waits for a signal. False: none came until the deadline.
    async fn wait(&self, timers: &Timers, deadline_ms: u64) -> bool {
        // One byte per signal: a second signal must not be swallowed together with the first.
        loop {
            if self.stream.arrival(timers, deadline_ms).await.is_err() {
                return false;
            }
            if let Ok(Some(1..)) = self.stream.try_recv(&mut [0]) {
                return true;
            }
        }
    }
}

impl Shutdown<'_> {
    /// Waits for the signal to end, then drains.
    pub async fn run(self) -> Ending {
        self.signals.wait(self.timers, NEVER).await;
        self.health.set(Readiness::Draining);
        let delay_ms = self.timeouts.shutdown_delay.as_millis() as u64;
        info!(delay_ms, open = self.open(), "draining: not ready any more");
        if delay_ms > 0 && self.signals.wait(self.timers, clock::now_ms() + delay_ms).await {
            return Ending::AtOnce;
        }
        for core in self.cores.iter() {
            core.send(Order::Drain);
        }
        let deadline = clock::now_ms() + self.timeouts.shutdown.as_millis() as u64;
        // A core that still listens has not taken the order, or not yet what waits in its listener's queue.
        let mut quiet = 0;
        while quiet < QUIET_TICKS {
            if self.signals.wait(self.timers, clock::now_ms() + TICK_MS).await {
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
