//! The end of the process: why, the drain, and what is left when its time is over.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tracing::{info, warn};

use crate::clock;
use crate::control::running::Running;
use crate::control::signals::OpenSignal;
use crate::control::upgrade::Upgrade;
use crate::control::{Fate, Order, Postbox, manager};
use crate::gateway::core::Metrics;
use crate::gateway::core::readiness::{Readiness, Status};
use crate::limits::DRAIN_LOOK_MS;
use crate::net::{NEVER, Timers};

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
pub struct Shutdown {
    /// The waits of the control thread.
    pub timers: Rc<Timers>,
    /// The signal to end.
    pub signal: OpenSignal,
    /// The signal to hand over, and how.
    pub upgrade: (OpenSignal, Upgrade),
    /// The cores.
    pub cores: Arc<[Postbox]>,
    /// Their metrics.
    pub metrics: Vec<Metrics>,
    /// The process's readiness.
    pub readiness: Arc<Readiness>,
    /// The configuration, with its waits.
    pub running: Arc<Running>,
    /// The admin listener is another process's.
    pub is_admin_left: Rc<Cell<bool>>,
}

/// Why the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// It was told to.
    Signal,
    /// Another process is in charge.
    HandedOver,
}

impl Shutdown {
    /// Waits for a reason to end, then drains.
    pub async fn run(self) -> Ending {
        let cause = self.cause().await;
        monoio::spawn(quicken(self.timers.clone()));
        let begun = match cause {
            Cause::Signal => self.fail_readiness().await,
            Cause::HandedOver => Ok(self.leave()),
        };
        match begun {
            Ok(fate) => self.drain(fate).await,
            Err(ending) => ending,
        }
    }

    async fn cause(&self) -> Cause {
        let (signal, upgrade) = &self.upgrade;
        let mut upgraded = pin!(upgrade.obey(signal));
        let mut signalled = pin!(self.signal.wait(&self.timers, NEVER));
        poll_fn(|context| {
            // The upgrade first: one that has succeeded cannot be taken back.
            if upgraded.as_mut().poll(context).is_ready() {
                return Poll::Ready(Cause::HandedOver);
            }
            signalled.as_mut().poll(context).map(|_| Cause::Signal)
        })
        .await
    }

    /// Load balancers are told first, and have their time to notice. Errors: a second signal.
    async fn fail_readiness(&self) -> Result<Fate, Ending> {
        manager::stopping();
        self.readiness.set(Status::Draining);
        let delay_ms = self.running.get().timeouts.shutdown_delay.as_millis() as u64;
        info!(delay_ms, open = self.open(), "draining: not ready any more");
        if delay_ms > 0 && self.signal.wait(&self.timers, clock::now_ms() + delay_ms).await {
            return Err(Ending::AtOnce);
        }
        Ok(Fate::Closed)
    }

    /// Nobody has to notice: whoever comes from now on meets the other process, at the same address.
    fn leave(&self) -> Fate {
        info!(open = self.open(), "draining: another process is in charge");
        self.is_admin_left.set(true);
        self.timers.wake_all();
        Fate::HandedOver
    }

    async fn drain(&self, fate: Fate) -> Ending {
        for core in self.cores.iter() {
            core.send(Order::Drain(fate));
        }
        let deadline = clock::now_ms() + self.running.get().timeouts.shutdown.as_millis() as u64;
        // A service manager that ends the service tells all of its processes: to one that ends already that is no
        // news.
        let mut signals_left = if fate == Fate::HandedOver { 1 } else { 0 };
        // A core that still listens has not taken the order, or not yet what waits in its listener's queue.
        let mut quiet = 0;
        while quiet < QUIET_LOOKS {
            if self.signal.wait(&self.timers, clock::now_ms() + DRAIN_LOOK_MS).await {
                if signals_left == 0 {
                    return Ending::AtOnce;
                }
                signals_left -= 1;
            }
            quiet = if !self.listening() && self.open() == 0 { quiet + 1 } else { 0 };
            if quiet == 0 && clock::now_ms() >= deadline {
                warn!(open = self.open(), "the drain's time is over: cutting off what is left");
                return Ending::CutOff(self.open());
            }
        }
        Ending::Drained
    }

    fn listening(&self) -> bool {
        self.metrics.iter().any(|core| core.connections.listening.get() > 0)
    }

    fn open(&self) -> u64 {
        self.metrics.iter().map(|core| core.connections.open.get()).sum()
    }
}

/// From now on the control thread looks at its deadlines more often: an end should be seen when it is there.
async fn quicken(timers: Rc<Timers>) {
    loop {
        monoio::time::sleep(Duration::from_millis(DRAIN_LOOK_MS)).await;
        timers.tick(clock::now_ms());
    }
}

/// So many looks in a row without a connection, and the drain is over.
const QUIET_LOOKS: u32 = 2;
