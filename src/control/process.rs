//! The main loop of the control thread after the start: take over from the predecessor process, serve the admin
//! listener, handle signals, drain and stop.

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

use super::certificates::CertificateWatch;
use super::desired::Phase;
use super::drain_board::{DrainBoard, PredecessorBoard};
use super::heap::HeapKeeper;
use super::mailbox::Cores;
use super::manager::{self, Watchdog};
use super::members::Prober;
use super::pid_file::{PidFile, PublishedPidFile};
use super::refusals::RefusalWatch;
use super::reload::{self, Reload, ReloadRequests};
use super::running::RunningConfig;
use super::shutdown::{Shutdown, ShutdownOutcome};
use super::signals::Signals;
use super::stream::{ControlStream, StreamState};
use super::traces::TraceExporter;
use super::upgrade::{Predecessor, Program, Upgrade};
use super::upgrade_board::UpgradeBoard;
use super::watch::CoreMonitor;
use crate::admin::{self, Admin};
use crate::clock;
use crate::config::{Config, IoDriver};
use crate::gateway::core::readiness::Readiness;
use crate::gateway::core::{Metrics, Room};
use crate::gateway::websocket::Lines;
use crate::limit::Store;
use crate::limits::{HEALTH_LOOK_MS, TICK_MS};
use crate::net::listener::Socket;
use crate::net::runtime::{Driver, ThreadRuntime};
use crate::net::{Io, Timers};
use crate::telemetry::AccessLogWriter;
use crate::telemetry::metrics::MetricGroup;

/// The gateway process, with the threads of all cores running.
pub struct Process {
    /// The configuration at the start.
    pub config: Arc<Config>,
    /// The current configuration.
    pub running: Arc<RunningConfig>,
    /// The state for reloads.
    pub reload: Arc<Reload>,
    /// The cores.
    pub cores: Vec<RunningCore>,
    /// The state that the cores should be in.
    pub wanted: Arc<Cores>,
    /// The readiness of the process.
    pub readiness: Arc<Readiness>,
    /// What each core may hold.
    pub room: Room,
    /// The store of the rate limiter's buckets.
    pub store: Store,
    /// The access log's writer.
    pub access_log: Option<AccessLogWriter>,
    /// Who sends spans on.
    pub traces: Option<TraceExporter>,
    /// The admin listener.
    pub admin: Option<Socket>,
    /// A duplicate of every listening socket, with its name, for a successor process.
    pub for_successor: Vec<(String, OwnedFd)>,
    /// The ways of tunnels from and to other processes.
    pub lines: Arc<Lines>,
    /// The PID file.
    pub pid_file: Option<PidFile>,
    /// The address of the public listener.
    pub public: SocketAddr,
    /// The address of the listener for HTTPS.
    pub tls: Option<SocketAddr>,
    /// The watch over the certificates, if there is TLS.
    pub certificates: Option<CertificateWatch>,
    /// The control stream, if there is one.
    pub stream: Option<ControlStream>,
}

/// A core with its running thread.
pub struct RunningCore {
    /// The thread.
    pub thread: JoinHandle<()>,
    /// The number of the CPU that the thread is pinned to.
    pub cpu: usize,
    /// The I/O driver of the thread.
    pub driver: Driver,
    /// The metrics of the core.
    pub metrics: Metrics,
}

impl Process {
    /// Runs the control thread until the shutdown has ended. `predecessor` is the process that accepts connections
    /// until this process is ready.
    ///
    /// # Errors
    /// The runtime cannot be built, a signal socket cannot be registered, or the predecessor does not release the
    /// listening sockets in time.
    pub fn run(
        mut self,
        signals: Signals,
        program: Program,
        predecessor: Option<Predecessor>,
    ) -> io::Result<ShutdownOutcome> {
        let (mut runtime, driver) = ThreadRuntime::build(self.config.io_driver.into())?;
        let (outcome, pid_file) = runtime.block_on(self.control(signals, program, predecessor, driver))?;
        if outcome != ShutdownOutcome::Immediate {
            self.stop();
        }
        drop(pid_file);
        Ok(outcome)
    }

    async fn control(
        &mut self,
        signals: Signals,
        program: Program,
        predecessor: Option<Predecessor>,
        driver: Driver,
    ) -> io::Result<(ShutdownOutcome, Option<PublishedPidFile>)> {
        let io = Rc::<Io>::default();
        let timers = io.timers.clone();
        let prober = Prober::new(io.clone(), self.wanted.clone(), self.reload.rosters.clone());
        prober.clone().step(clock::now_ms());
        monoio::spawn(self.run_ticks(timers.clone(), prober.clone()));
        prober.first_round().await;
        let mut board_before = None;
        if let Some(predecessor) = predecessor {
            board_before = rustix::process::getppid()
                .and_then(|parent| PredecessorBoard::of(parent.as_raw_pid() as u32));
            let timeout_ms = self.config.timeouts.upgrade.as_millis() as u64;
            self.lines.begin_arrival(predecessor.take_over(&timers, timeout_ms).await?);
        }
        let pid_file = self.accept_connections();
        let reloads = Rc::<ReloadRequests>::default();
        let sockets = std::mem::take(&mut self.for_successor);
        let upgrade = Upgrade {
            program,
            sockets,
            lines: self.lines.clone(),
            running: self.running.clone(),
            reloads: reloads.clone(),
            timers: timers.clone(),
            cores: self.wanted.clone(),
            board: UpgradeBoard::new(),
        };
        let board = DrainBoard::new();
        let is_admin_handed_over = Rc::<Cell<bool>>::default();
        self.serve_admin(io, driver, is_admin_handed_over.clone(), board_before);
        manager::ready();
        monoio::spawn(reload::on_signal(
            self.reload.clone(),
            reloads,
            signals.reload.open()?,
            timers.clone(),
        ));
        monoio::spawn(reload::reopen_log_on_signal(
            self.reload.clone(),
            signals.reopen.open()?,
            timers.clone(),
        ));
        let shutdown = Shutdown {
            timers,
            signal: signals.end.open()?,
            upgrade: (signals.upgrade.open()?, upgrade),
            cores: self.wanted.clone(),
            metrics: self.metrics(),
            readiness: self.readiness.clone(),
            running: self.running.clone(),
            is_admin_handed_over: is_admin_handed_over.clone(),
            board,
        };
        let outcome = shutdown.run().await;
        if is_admin_handed_over.get() {
            pid_file.into_iter().for_each(PublishedPidFile::leave);
            return Ok((outcome, None));
        }
        Ok((outcome, pid_file))
    }

    /// Makes all cores accept connections and publishes the PID file.
    fn accept_connections(&mut self) -> Option<PublishedPidFile> {
        self.wanted.advance(Phase::Open);
        let taken = self.pid_file.take().map(PidFile::publish)?;
        taken.inspect_err(|error| error!(%error, "PID_FILE: cannot be replaced")).ok()
    }

    /// Serves the admin listener, and logs the addresses of all listeners.
    fn serve_admin(
        &mut self,
        io: Rc<Io>,
        control: Driver,
        is_handed_over: Rc<Cell<bool>>,
        before: Option<PredecessorBoard>,
    ) {
        let socket = self.admin.take();
        let address = socket.as_ref().and_then(|socket| socket.local_address().ok());
        if let Some(socket) = socket {
            let admin = Admin {
                readiness: self.readiness.clone(),
                cores: self.cores.iter().map(|core| (core.cpu, core.driver, core.metrics.clone())).collect(),
                control,
                access_log_refused: self.access_log.as_ref().map(AccessLogWriter::refused),
                io,
                is_handed_over,
                last_reload: self.reload.last.clone(),
                config_version: self.wanted.version(),
                config: {
                    let running = self.running.clone();
                    Box::new(move || running.get())
                },
                spans: {
                    let figures = self.traces.as_ref().map(TraceExporter::figures);
                    Box::new(move || figures.as_ref().map(|figures| figures.get()))
                },
                predecessor: Box::new(move || before.as_ref()?.figures(clock::now_ms())),
                upstreams: {
                    let rosters = self.reload.rosters.clone();
                    Box::new(move || rosters.rows())
                },
                issuers: {
                    let states = self.reload.key_states.clone();
                    Box::new(move || states.rows())
                },
                stream: self.stream_state().map(|state| state.metrics.clone() as Arc<dyn MetricGroup>),
                tls: {
                    let wanted = self.wanted.clone();
                    Box::new(move || wanted.configuration().tls.clone())
                },
            };
            monoio::spawn(async move {
                if let Err(error) = admin::serve(Rc::new(admin), socket).await {
                    error!(%error, "the admin listener has stopped");
                }
            });
        }
        self.log_listening(address, control);
    }

    fn log_listening(&self, admin: Option<SocketAddr>, control: Driver) {
        let shown = |address: Option<SocketAddr>| address.map_or("off".to_owned(), |one| one.to_string());
        let (tls, admin) = (shown(self.tls), shown(admin));
        let drivers: Vec<String> =
            self.cores.iter().map(|core| format!("{}:{}", core.cpu, core.driver)).collect();
        info!(public = %self.public, %tls, %admin, cores = drivers.join(","), %control, "gateway is listening");
        let is_chosen = self.config.io_driver == IoDriver::Epoll;
        if !is_chosen && self.cores.iter().any(|core| core.driver == Driver::Epoll) {
            warn!(
                "io_uring is not available (seccomp, kernel.io_uring_disabled or memlock): using epoll, \
                 which is slower"
            );
        }
    }

    fn stream_state(&self) -> Option<Arc<StreamState>> {
        self.stream.as_ref().map(|stream| stream.state.clone())
    }

    fn metrics(&self) -> Vec<Metrics> {
        self.cores.iter().map(|core| core.metrics.clone()).collect()
    }

    /// Runs the periodic work of the control thread: timers, probes, the watch over the cores, the watchdog, the
    /// in-memory limiter and the heap.
    fn run_ticks(&self, timers: Rc<Timers>, prober: Rc<Prober>) -> impl Future<Output = ()> + use<> {
        let metrics = self.metrics();
        let (readiness, store, version) = (self.readiness.clone(), self.store.clone(), self.wanted.version());
        let (reload, running) = (self.reload.clone(), self.running.clone());
        let stream = self.stream_state();
        let mut refusals = RefusalWatch::new(self.metrics(), self.room);
        async move {
            let mut monitor = CoreMonitor::new(&metrics, version, readiness.clone(), clock::now_ms());
            let mut watchdog = Watchdog::new();
            let mut heap = HeapKeeper::default();
            let mut tidied_ms = clock::now_ms();
            let mut looked_ms = tidied_ms;
            monitor.check(tidied_ms);
            loop {
                monoio::time::sleep(Duration::from_millis(TICK_MS)).await;
                let now_ms = clock::now_ms();
                timers.tick(now_ms);
                prober.clone().step(now_ms);
                if now_ms - looked_ms >= HEALTH_LOOK_MS {
                    looked_ms = now_ms;
                    monitor.set_upstream_down(reload.look_at_members(now_ms));
                    let config = running.get();
                    refusals.look(&config, now_ms);
                    if let Some(state) = &stream {
                        monitor.set_freshness(state.look(&config.control, now_ms));
                    }
                }
                monitor.check(now_ms);
                heap.watch(&metrics);
                watchdog.iter_mut().for_each(|watchdog| watchdog.notify_if_due(readiness.get(), now_ms));
                if now_ms - tidied_ms >= TIDY_MS {
                    tidied_ms = now_ms;
                    store.tidy();
                    heap.check(&metrics);
                }
            }
        }
    }

    /// Stops the cores, then writes the remaining lines of the access log. Both steps have a time limit, and a core
    /// that does not stop in time is abandoned.
    fn stop(self) {
        drop((self.certificates, self.stream));
        self.wanted.advance(Phase::Stopped);
        let deadline = clock::now_ms() + STOP_MS;
        while self.cores.iter().any(|core| !core.thread.is_finished()) && clock::now_ms() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        if let Some(log) = self.access_log {
            log.finish();
        }
        if let Some(traces) = self.traces {
            traces.finish();
        }
    }
}

/// Time limit for stopping the cores, in milliseconds.
const STOP_MS: u64 = 1_000;
/// Interval at which the in-memory limiter discards full buckets, and freed memory goes back to the kernel, in
/// milliseconds.
const TIDY_MS: u64 = 10_000;
