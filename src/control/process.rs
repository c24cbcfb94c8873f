//! The life of the process after its start, as the control thread leads it: take charge, serve the admin listener, obey
//! signals, drain, stop.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::{error, info, warn};

use super::mailbox::{Order, Postbox};
use super::manager::{self, Watchdog};
use super::pid_file::{InCharge, PidFile};
use super::reload::{self, Reload};
use super::running::Running;
use super::shutdown::{Ending, Shutdown};
use super::signals::Signals;
use super::upgrade::{Predecessor, Program, Upgrade};
use super::watch::Watch;
use crate::admin::{self, Admin};
use crate::clock;
use crate::config::{Config, IoDriver};
use crate::gateway::core::Metrics;
use crate::gateway::core::readiness::Readiness;
use crate::limit::Store;
use crate::limits::TICK_MS;
use crate::net::listener::Socket;
use crate::net::runtime::{Driver, ThreadRuntime};
use crate::net::{Io, Timers};
use crate::telemetry::AccessLogWriter;

/// The gateway process, with all its cores running.
pub struct Process {
    /// The configuration of the start.
    pub config: Arc<Config>,
    /// The configuration that is active.
    pub running: Arc<Running>,
    /// What a reload needs.
    pub reload: Arc<Reload>,
    /// The cores.
    pub cores: Vec<RunningCore>,
    /// The way to each core.
    pub postboxes: Arc<[Postbox]>,
    /// The readiness of the process.
    pub readiness: Arc<Readiness>,
    /// Who keeps the limiter's buckets.
    pub store: Store,
    /// The access log's writer.
    pub access_log: Option<AccessLogWriter>,
    /// The admin listener.
    pub admin: Option<Socket>,
    /// Every listening socket once more, for a successor.
    pub for_successor: Vec<(String, OwnedFd)>,
    /// The PID file.
    pub pid_file: Option<PidFile>,
    /// Where the public listener is.
    pub public: SocketAddr,
}

/// A core whose thread runs.
pub struct RunningCore {
    /// Its thread.
    pub thread: JoinHandle<()>,
    /// The number of its CPU.
    pub cpu: usize,
    /// Its I/O driver.
    pub driver: Driver,
    /// Its metrics.
    pub metrics: Metrics,
}

impl Process {
    /// Does the control thread's work until the process is to end. `predecessor`: the process that is in charge until
    /// this one is ready.
    ///
    /// # Errors
    /// The control thread has no runtime, or the predecessor does not let go.
    pub fn run(
        mut self,
        signals: Signals,
        program: Program,
        predecessor: Option<Predecessor>,
    ) -> io::Result<Ending> {
        let (mut runtime, driver) = ThreadRuntime::build(self.config.io_driver.into())?;
        let (ending, in_charge) = runtime.block_on(self.control(signals, program, predecessor, driver))?;
        if ending != Ending::AtOnce {
            self.stop();
        }
        drop(in_charge);
        Ok(ending)
    }

    async fn control(
        &mut self,
        signals: Signals,
        program: Program,
        predecessor: Option<Predecessor>,
        driver: Driver,
    ) -> io::Result<(Ending, Option<InCharge>)> {
        let io = Rc::<Io>::default();
        let timers = io.timers.clone();
        monoio::spawn(self.clockwork(timers.clone()));
        if let Some(predecessor) = predecessor {
            predecessor.ready(&timers, self.config.timeouts.upgrade.as_millis() as u64).await?;
        }
        let in_charge = self.take_charge();
        let is_admin_left = Rc::<Cell<bool>>::default();
        self.serve_admin(io, driver, is_admin_left.clone());
        manager::ready();
        monoio::spawn(reload::obey(self.reload.clone(), signals.reload.open()?, timers.clone()));
        monoio::spawn(reload::reopen_log(self.reload.clone(), signals.reopen.open()?, timers.clone()));
        let sockets = std::mem::take(&mut self.for_successor);
        let upgrade = Upgrade { program, sockets, running: self.running.clone(), timers: timers.clone() };
        let shutdown = Shutdown {
            timers,
            signal: signals.end.open()?,
            upgrade: (signals.upgrade.open()?, upgrade),
            cores: self.postboxes.clone(),
            metrics: self.metrics(),
            readiness: self.readiness.clone(),
            running: self.running.clone(),
            is_admin_left,
        };
        Ok((shutdown.run().await, in_charge))
    }

    /// From now on this process serves the clients.
    fn take_charge(&mut self) -> Option<InCharge> {
        self.postboxes.iter().for_each(|core| {
            core.send(Order::Open);
        });
        let taken = self.pid_file.take().map(PidFile::take_charge)?;
        taken.inspect_err(|error| error!(%error, "PID_FILE: cannot be replaced")).ok()
    }

    /// Serves the admin listener, and logs where everything listens.
    fn serve_admin(&mut self, io: Rc<Io>, control: Driver, is_left: Rc<Cell<bool>>) {
        let socket = self.admin.take();
        let address = socket.as_ref().and_then(|socket| socket.local_address().ok());
        if let Some(socket) = socket {
            let admin = Admin {
                readiness: self.readiness.clone(),
                cores: self.cores.iter().map(|core| (core.cpu, core.driver, core.metrics.clone())).collect(),
                control,
                access_log_refused: self.access_log.as_ref().map(AccessLogWriter::refused),
                io,
                is_left,
            };
            monoio::spawn(async move {
                if let Err(error) = admin::serve(Rc::new(admin), socket).await {
                    error!(%error, "the admin listener has stopped");
                }
            });
        }
        self.announce(address, control);
    }

    fn announce(&self, admin: Option<SocketAddr>, control: Driver) {
        let admin = admin.map_or("off".to_owned(), |address| address.to_string());
        let drivers: Vec<String> =
            self.cores.iter().map(|core| format!("{}:{}", core.cpu, core.driver)).collect();
        info!(public = %self.public, %admin, cores = drivers.join(","), %control, "gateway is listening");
        let is_chosen = self.config.io_driver == IoDriver::Epoll;
        if !is_chosen && self.cores.iter().any(|core| core.driver == Driver::Epoll) {
            warn!(
                "io_uring is refused here (seccomp, kernel.io_uring_disabled or memlock): running on epoll, \
                 which is slower"
            );
        }
    }

    fn metrics(&self) -> Vec<Metrics> {
        self.cores.iter().map(|core| core.metrics.clone()).collect()
    }

    /// What the control thread does at every tick.
    fn clockwork(&self, timers: Rc<Timers>) -> impl Future<Output = ()> + use<> {
        let metrics = self.metrics();
        let (readiness, store) = (self.readiness.clone(), self.store.clone());
        async move {
            let mut watch = Watch::new(&metrics, readiness.clone(), clock::now_ms());
            let mut watchdog = Watchdog::new();
            let mut tidied_ms = clock::now_ms();
            watch.look(tidied_ms);
            loop {
                monoio::time::sleep(Duration::from_millis(TICK_MS)).await;
                let now_ms = clock::now_ms();
                timers.tick(now_ms);
                watch.look(now_ms);
                watchdog.iter_mut().for_each(|watchdog| watchdog.look(readiness.get(), now_ms));
                if now_ms - tidied_ms >= TIDY_MS {
                    tidied_ms = now_ms;
                    store.tidy();
                }
            }
        }
    }

    /// Stops the cores and writes what is left of the access log. Both have a bound: a core that is stuck is left
    /// behind.
    fn stop(self) {
        self.postboxes.iter().for_each(|core| {
            core.send(Order::Stop);
        });
        let deadline = clock::now_ms() + STOP_MS;
        while self.cores.iter().any(|core| !core.thread.is_finished()) && clock::now_ms() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        if let Some(log) = self.access_log {
            log.finish();
        }
    }
}

/// How long the cores have to end, in milliseconds.
const STOP_MS: u64 = 1_000;
/// How often the in-memory limiter forgets full buckets, in milliseconds.
const TIDY_MS: u64 = 10_000;
