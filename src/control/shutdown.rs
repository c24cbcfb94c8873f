//! Graceful shutdown: wait for a signal or a hot upgrade, drain the connections, and give up after the timeout.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tracing::{info, warn};

use crate::admin::DrainFigures;
use crate::clock;
use crate::control::drain_board::DrainBoard;
use crate::control::running::RunningConfig;
use crate::control::signals::OpenSignal;
use crate::control::upgrade::Upgrade;
use crate::control::upgrade_board::Stage;
use crate::control::{Cores, Drain, ListenerDrain, Phase, manager};
use crate::gateway::core::readiness::{Readiness, Status};
use crate::gateway::core::{Metrics, Present};
use crate::gateway::websocket::{Departed, Stay};
use crate::limits::{DRAIN_LOOK_MS, DRAIN_TOLD_MAX, DRAIN_TOLD_MS};
use crate::net::{NEVER, Timers};

/// How the shutdown ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownOutcome {
    /// All connections have closed.
    Drained,
    /// The drain timed out with this number of open connections.
    CutOff(u64),
    /// A second signal ended the drain.
    Immediate,
}

/// The state for the shutdown.
pub struct Shutdown {
    /// The timers of the control thread.
    pub timers: Rc<Timers>,
    /// The signal for a graceful shutdown.
    pub signal: OpenSignal,
    /// The signal for a hot upgrade, and the upgrade.
    pub upgrade: (OpenSignal, Upgrade),
    /// The cores.
    pub cores: Arc<Cores>,
    /// The metrics of the cores.
    pub metrics: Vec<Metrics>,
    /// The readiness of the process.
    pub readiness: Arc<Readiness>,
    /// The current configuration, with the timeouts of the shutdown.
    pub running: Arc<RunningConfig>,
    /// Set when the admin listener is handed over to the successor process.
    pub is_admin_handed_over: Rc<Cell<bool>>,
    /// Where it says how its drain stands.
    pub board: DrainBoard,
}

/// The cause of the shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ShutdownCause {
    /// SIGTERM or SIGINT.
    Signal,
    /// A hot upgrade: the successor process accepts the connections.
    Upgrade,
}

impl Shutdown {
    /// Waits for a signal or a successful hot upgrade, then drains.
    pub async fn run(self) -> ShutdownOutcome {
        let cause = self.cause().await;
        monoio::spawn(tick_while_draining(self.timers.clone()));
        let begun = match cause {
            ShutdownCause::Signal => self.fail_readiness().await,
            ShutdownCause::Upgrade => Ok(self.leave()),
        };
        match begun {
            Ok(listener_drain) => self.drain(listener_drain).await,
            Err(outcome) => outcome,
        }
    }

    async fn cause(&self) -> ShutdownCause {
        let (signal, upgrade) = &self.upgrade;
        let mut upgraded = pin!(upgrade.on_signal(signal));
        let mut signalled = pin!(self.signal.wait(&self.timers, NEVER));
        poll_fn(|context| {
            // The upgrade is polled first, because a successful upgrade cannot be reverted.
            if upgraded.as_mut().poll(context).is_ready() {
                return Poll::Ready(ShutdownCause::Upgrade);
            }
            signalled.as_mut().poll(context).map(|_| ShutdownCause::Signal)
        })
        .await
    }

    /// Fails the readiness probe, then waits for `SHUTDOWN_DELAY`, so that load balancers stop sending traffic.
    /// Returns an error if a second signal arrives meanwhile.
    async fn fail_readiness(&self) -> Result<ListenerDrain, ShutdownOutcome> {
        manager::stopping();
        self.upgrade.1.board.say(Stage::Ending);
        self.readiness.set(Status::Draining);
        let delay_ms = self.running.get().timeouts.shutdown_delay.as_millis() as u64;
        info!(delay_ms, open = self.open(), "draining: readiness fails from now on");
        if delay_ms > 0 && self.signal.wait(&self.timers, clock::now_ms() + delay_ms).await {
            return Err(ShutdownOutcome::Immediate);
        }
        Ok(ListenerDrain::Close)
    }

    /// Leaves the listening sockets to the successor process. Readiness does not fail and there is no delay, because
    /// the successor process accepts connections at the same address.
    fn leave(&self) -> ListenerDrain {
        info!(open = self.open(), "draining: the new process accepts connections");
        self.is_admin_handed_over.set(true);
        self.timers.wake_all();
        ListenerDrain::HandOver
    }

    async fn drain(&self, listener_drain: ListenerDrain) -> ShutdownOutcome {
        let timeouts = &self.running.get().timeouts;
        let (timeout_ms, tunnels_ms) =
            (timeouts.shutdown.as_millis() as u64, timeouts.upgrade_tunnels.as_millis() as u64);
        let drain = Drain { listeners: listener_drain, begun_ms: clock::now_ms(), timeout_ms, tunnels_ms };
        self.cores.advance(Phase::Draining(drain));
        let deadline = drain.begun_ms + timeout_ms;
        // A service manager that stops the service signals all of its processes. A process that drains after an
        // upgrade must ignore this first signal.
        let mut signals_left = if listener_drain == ListenerDrain::HandOver { 1 } else { 0 };
        // A core that still listens has not begun with the drain yet, or still accepts the connections in the accept
        // queue.
        let mut idle_checks = 0;
        let mut told_ms = drain.begun_ms;
        let mut shown_ms = 0;
        let mut crossing =
            (listener_drain == ListenerDrain::HandOver).then_some(Crossing { begun_us: clock::now_us() });
        while idle_checks < IDLE_CHECKS {
            if self.signal.wait(&self.timers, clock::now_ms() + DRAIN_LOOK_MS).await {
                if signals_left == 0 {
                    return ShutdownOutcome::Immediate;
                }
                signals_left -= 1;
            }
            if clock::now_ms() >= shown_ms + DRAIN_SHOWN_MS {
                shown_ms = clock::now_ms();
                self.board.say(&self.figures(shown_ms, deadline));
            }
            if clock::now_ms() >= told_ms + DRAIN_TOLD_MS && self.open() > 0 {
                told_ms += DRAIN_TOLD_MS;
                self.tell_what_is_left(clock::now_ms(), deadline);
            }
            if crossing.as_ref().is_some_and(|crossing| crossing.tell_if_over(&self.metrics)) {
                crossing = None;
            }
            idle_checks =
                if crossing.is_none() && !self.listening() && self.open() == 0 { idle_checks + 1 } else { 0 };
            if idle_checks == 0 && clock::now_ms() >= deadline {
                warn!(open = self.open(), "the drain timed out: the remaining connections are cut off");
                return ShutdownOutcome::CutOff(self.open());
            }
        }
        ShutdownOutcome::Drained
    }

    /// What a successor shows of this process.
    fn figures(&self, now_ms: u64, deadline_ms: u64) -> DrainFigures {
        let presences = self.metrics.iter().flat_map(|core| core.presences.get());
        DrainFigures {
            told_ms: now_ms,
            requests: self.metrics.iter().map(|core| core.requests.in_flight.get()).sum(),
            tunnels: self.metrics.iter().map(|core| core.connections.tunnels.get()).sum(),
            deadline_ms,
            oldest_ms: presences.map(|present| present.begun_ms).min().unwrap_or(0),
        }
    }

    /// Tells the operator whom the drain waits for.
    fn tell_what_is_left(&self, now_ms: u64, deadline_ms: u64) {
        let sum = |count: fn(&Metrics) -> u64| self.metrics.iter().map(count).sum::<u64>();
        let requests = sum(|core| core.requests.in_flight.get());
        let tunnels = sum(|core| core.connections.tunnels.get());
        let mut oldest: Vec<Present> = self.metrics.iter().flat_map(|core| core.presences.get()).collect();
        oldest.sort_by_key(|present| present.begun_ms);
        oldest.truncate(DRAIN_TOLD_MAX);
        let oldest = oldest.iter().map(|present| shown(present, now_ms)).collect::<Vec<_>>().join("; ");
        let left_ms = deadline_ms.saturating_sub(now_ms);
        warn!(open = self.open(), requests, tunnels, left_ms, oldest, "draining: still open");
    }

    fn listening(&self) -> bool {
        self.metrics.iter().any(|core| core.connections.listening.get() > 0)
    }

    fn open(&self) -> u64 {
        self.metrics.iter().map(|core| core.connections.open.get()).sum()
    }
}

/// Tunnels that move to the new process.
struct Crossing {
    begun_us: u64,
}

impl Crossing {
    /// Tells what has become of them when every core is done. False: some are not.
    fn tell_if_over(&self, cores: &[Metrics]) -> bool {
        if !cores.iter().all(|core| core.departed.is_over()) {
            return false;
        }
        let sum =
            |count: &dyn Fn(&Departed) -> u64| cores.iter().map(|core| count(&core.departed)).sum::<u64>();
        let stayed = |why| sum(&|core| core.stayed(why));
        let (moved, left) = (sum(&|core| core.moved()), sum(&|core| core.left()));
        let [tls, closing, no_route, other_version, untaken] = Stay::ALL.map(stayed);
        let no_time = left.saturating_sub(tls + closing + no_route + other_version + untaken);
        let took_ms = clock::now_us().saturating_sub(self.begun_us) / 1_000;
        if moved + left > 0 {
            info!(
                moved,
                stayed = left,
                tls,
                closing,
                no_route,
                other_version,
                untaken,
                no_time,
                took_ms,
                "upgrade: WebSocket tunnels have moved to the new process"
            );
        }
        true
    }
}

/// What is still open, in words: nothing of its user, its address or its query.
fn shown(present: &Present, now_ms: u64) -> String {
    let Present { begun_ms, is_tunnel, route, id } = present;
    let what = if *is_tunnel { "tunnel" } else { "request" };
    let age_s = now_ms.saturating_sub(*begun_ms) / 1_000;
    let (route, id) = (route.as_deref().unwrap_or("-"), String::from_utf8_lossy(id));
    format!("{what} {id} of route {route} for {age_s}s")
}

/// Ticks the timers of the control thread more often during the drain, so that the process ends soon after the last
/// connection.
async fn tick_while_draining(timers: Rc<Timers>) {
    loop {
        monoio::time::sleep(Duration::from_millis(DRAIN_LOOK_MS)).await;
        timers.tick(clock::now_ms());
    }
}

/// How often a draining process says what it has open, in milliseconds.
const DRAIN_SHOWN_MS: u64 = 1_000;
/// The drain ends after this number of consecutive checks without an open connection.
const IDLE_CHECKS: u32 = 2;
