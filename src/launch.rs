//! From a configuration to running threads: sockets first, then a pinned thread per core, then the control
//! thread's work on this one.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use core_affinity::CoreId;
use crossbeam_channel::bounded;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{error, info, warn};

use crate::admin::{self, Admin};
use crate::auth::Keys;
use crate::clock;
use crate::config::{AccessLog, Config, CoreChoice, IoDriver};
use crate::control::inherit::Inherited;
use crate::control::manager::Watchdog;
use crate::control::names::{Names, Service};
use crate::control::pid_file::{InCharge, PidFile};
use crate::control::reload::{self, Load, Reload};
use crate::control::running::Running;
use crate::control::shutdown::{Ending, Shutdown};
use crate::control::signals::Signals;
use crate::control::sockets::Sockets;
use crate::control::upgrade::{Predecessor, Program, Upgrade};
use crate::control::watch::Watch;
use crate::control::{Order, Postbox, Target, mailbox, manager};
use crate::gateway::core::readiness::Readiness;
use crate::gateway::core::{Metrics, Prepared, Replacement};
use crate::gateway::websocket::slots::UserSlots;
use crate::gateway::websocket::tunnel::Tunnels;
use crate::limit::Store;
use crate::limits::{FDS_RESERVED, TICK_MS};
use crate::net::listener::Socket;
use crate::net::runtime::{Driver, Preference, ThreadRuntime};
use crate::net::{Io, Timers};
use crate::route::RouteTable;
use crate::telemetry::AccessLogWriter;
use crate::worker::{self, Assignment, store};

/// Why the gateway did not start.
#[derive(Debug)]
pub enum LaunchError {
    /// The configuration cannot be meant: the operator's mistakes, one line each.
    Mistakes(Vec<String>),
    /// The machine does not give what is needed.
    Machine(String),
}

/// The gateway, with all its cores running.
pub struct Gateway {
    config: Arc<Config>,
    running: Arc<Running>,
    reload: Arc<Reload>,
    cores: Vec<RunningCore>,
    postboxes: Arc<[Postbox]>,
    readiness: Arc<Readiness>,
    store: Store,
    access_log: Option<AccessLogWriter>,
    admin: Option<Socket>,
    /// The same sockets once more, for a successor.
    for_successor: Vec<(String, OwnedFd)>,
    pid_file: Option<PidFile>,
    /// Where the public listener is.
    pub public: SocketAddr,
}

struct RunningCore {
    thread: JoinHandle<()>,
    cpu: usize,
    driver: Driver,
    metrics: Metrics,
}

/// Starts everything, and takes no client yet. `load`: reads the configuration again, for a reload; `inherited`: what
/// another process has handed over.
pub fn launch(config: Config, load: Load, inherited: Inherited) -> Result<Gateway, LaunchError> {
    let cpus = choose_cpus(&config.cores)?;
    let routes = Arc::new(RouteTable::new(&config.routes).map_err(LaunchError::Mistakes)?);
    let config = Arc::new(config);
    let sockets = Sockets::new(&config, cpus.len(), inherited).map_err(LaunchError::Mistakes)?;
    let public = sockets.address().map_err(machine("PORT"))?;
    let for_successor = sockets.for_successor().map_err(machine("sockets"))?;
    let pid_file = config.pid_file.as_deref().map(PidFile::prepare).transpose();
    let pid_file = pid_file.map_err(|error| mistake("PID_FILE", config.pid_file.as_deref(), &error))?;
    let connections_room = connections_room(cpus.len());
    let access_log =
        AccessLogWriter::start(&config.access_log).map_err(|error| not_writable(&config, &error))?;
    let keys = Arc::new(Keys::new(&config.jwt));
    let store = Store::new(&config.rate_limit);
    let readiness: Arc<Readiness> = Arc::default();

    let (postboxes, mailboxes) = mailbox::mailboxes(cpus.len()).map_err(machine("core"))?;
    let metrics: Vec<Metrics> = (0..cpus.len()).map(|_| Metrics::default()).collect();
    let siblings = mailbox::siblings(&postboxes, &metrics);
    let (slots, user_slots) = (Tunnels::slots(cpus.len()), Arc::<UserSlots>::default());
    let mut cores = Vec::new();
    for (index, ((cpu, sockets), mailbox)) in cpus.into_iter().zip(sockets.public).zip(mailboxes).enumerate()
    {
        let metrics = metrics[index].clone();
        let prepared = Prepared {
            metrics: metrics.clone(),
            access_log: access_log.as_ref().map(|log| log.core_log(metrics.access_log.clone())),
            readiness: readiness.clone(),
            tunnels: Tunnels::new(siblings.clone(), index, slots.clone(), user_slots.clone()),
            store: store.clone(),
            connections_room,
        };
        let first = Replacement::first(config.clone(), routes.clone(), keys.clone());
        let assignment = Assignment { prepared, first, sockets, mailbox };
        let (thread, driver) = start_core(index, cpu, assignment, config.io_driver)?;
        cores.push(RunningCore { thread, cpu: cpu.id, driver, metrics });
    }
    let services = Service::all(redis_service(&config).as_ref(), &config);
    let names = Names::begin(services, config.timeouts.dns_refresh, &postboxes).map_err(machine("names"))?;
    let running = Arc::new(Running::new(config.clone()));
    let reload = Arc::new(Reload {
        load,
        running: running.clone(),
        cores: postboxes.clone(),
        metrics: cores.iter().map(|core| core.metrics.clone()).collect(),
        names: Mutex::new(names),
        redis: redis_service,
        reopen_log: reopener(access_log.as_ref()),
    });
    Ok(Gateway {
        config,
        running,
        reload,
        cores,
        postboxes,
        readiness,
        store,
        access_log,
        admin: sockets.admin,
        for_successor,
        pid_file,
        public,
    })
}

/// What is wrong with a configuration that is right by its form: CPUs that are not there, routes that contradict
/// each other.
pub fn check(config: &Config) -> Vec<String> {
    let mut mistakes = Vec::new();
    if let Err(LaunchError::Mistakes(wrong)) = choose_cpus(&config.cores) {
        mistakes.extend(wrong);
    }
    if let Err(wrong) = RouteTable::new(&config.routes) {
        mistakes.extend(wrong);
    }
    mistakes
}

impl Gateway {
    /// Does the control thread's work until the process is to end. `predecessor`: the process that is in charge until
    /// this one is ready. Errors: the control thread has no runtime, or the predecessor does not let go.
    pub fn run(
        mut self,
        signals: Signals,
        program: Program,
        predecessor: Option<Predecessor>,
    ) -> io::Result<Ending> {
        let (mut runtime, driver) = ThreadRuntime::build(preference(self.config.io_driver))?;
        let io = Rc::<Io>::default();
        let timers = io.timers.clone();
        let (ending, in_charge) = runtime.block_on(async {
            monoio::spawn(self.clockwork(timers.clone()));
            if let Some(predecessor) = predecessor {
                predecessor.ready(&timers, self.config.timeouts.upgrade.as_millis() as u64).await?;
            }
            let in_charge = self.take_charge();
            let is_admin_left = Rc::default();
            self.open_window(&io, driver, &is_admin_left);
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
            io::Result::Ok((shutdown.run().await, in_charge))
        })?;
        if ending != Ending::AtOnce {
            self.stop();
        }
        drop(in_charge);
        Ok(ending)
    }

    /// From now on this process serves the clients.
    fn take_charge(&mut self) -> Option<InCharge> {
        self.postboxes.iter().for_each(|core| {
            core.send(Order::Open);
        });
        let taken = self.pid_file.take().map(PidFile::take_charge)?;
        taken.inspect_err(|error| error!(%error, "PID_FILE: cannot be replaced")).ok()
    }

    /// Serves the admin listener, and says where everything is.
    fn open_window(&mut self, io: &Rc<Io>, driver: Driver, is_left: &Rc<Cell<bool>>) {
        let admin = self.admin.take();
        let address = admin.as_ref().and_then(|socket| socket.local_address().ok());
        if let Some(socket) = admin {
            let window = self.window(io.clone(), driver, is_left.clone());
            monoio::spawn(serve_admin(Rc::new(window), socket));
        }
        self.announce(address, driver);
    }

    fn metrics(&self) -> Vec<Metrics> {
        self.cores.iter().map(|core| core.metrics.clone()).collect()
    }

    /// Stops the cores and writes what is left of the access log. Both have a bound: a core that is stuck is
    /// left behind.
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

    fn window(&self, io: Rc<Io>, control: Driver, is_left: Rc<Cell<bool>>) -> Admin {
        let cores = self.cores.iter().map(|core| (core.cpu, core.driver, core.metrics.clone())).collect();
        let access_log_refused = self.access_log.as_ref().map(AccessLogWriter::refused);
        let readiness = self.readiness.clone();
        Admin { readiness, cores, control, access_log_refused, io, is_left }
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
}

async fn serve_admin(admin: Rc<Admin>, socket: Socket) {
    if let Err(error) = admin::serve(admin, socket).await {
        error!(%error, "the admin listener has stopped");
    }
}

/// The CPUs that the configuration means, of those that the process may use (affinity mask, cpuset).
fn choose_cpus(choice: &CoreChoice) -> Result<Vec<CoreId>, LaunchError> {
    let allowed = core_affinity::get_core_ids().unwrap_or_default();
    let mistake = |text: String| Err(LaunchError::Mistakes(vec![text]));
    match choice {
        CoreChoice::All if allowed.is_empty() => {
            mistake("CORES: this process may not use any CPU".to_owned())
        }
        CoreChoice::All => Ok(allowed),
        CoreChoice::Count(count) if *count > allowed.len() => {
            mistake(format!("CORES: {count} cores are wanted, the process may use {}", allowed.len()))
        }
        CoreChoice::Count(count) => Ok(allowed.into_iter().take(*count).collect()),
        CoreChoice::List(list) => {
            let missing: Vec<String> = list
                .iter()
                .filter(|cpu| !allowed.iter().any(|core| core.id == **cpu))
                .map(usize::to_string)
                .collect();
            if !missing.is_empty() {
                return mistake(format!("CORES: the process may not use CPU {}", missing.join(", ")));
            }
            Ok(list.iter().map(|&id| CoreId { id }).collect())
        }
    }
}

/// Half of the descriptors for clients, half for upstreams, some kept back.
fn connections_room(cores: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    // The soft limit is there for programs that use select(2).
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let files = getrlimit(Resource::Nofile).current.unwrap_or(FILES_ASSUMED);
    let per_core = (files / cores as u64).saturating_sub(FDS_RESERVED) / 2;
    per_core.max(1) as usize
}

/// Starts one core's thread and waits for it to have a runtime.
fn start_core(
    index: usize,
    cpu: CoreId,
    assignment: Assignment,
    wanted: IoDriver,
) -> Result<(JoinHandle<()>, Driver), LaunchError> {
    let (built, driver) = bounded(1);
    let thread = thread::Builder::new().name(format!("core-{index}")).spawn(move || {
        if !core_affinity::set_for_current(cpu) {
            warn!(core = index, cpu = cpu.id, "the core could not be pinned to its CPU");
        }
        // The ring belongs to the thread that builds it.
        let mut runtime = match ThreadRuntime::build(preference(wanted)) {
            Ok((runtime, driver)) => {
                let _ = built.send(Ok(driver));
                runtime
            }
            Err(error) => {
                let _ = built.send(Err(error));
                return;
            }
        };
        if let Err(error) = runtime.block_on(worker::run(assignment)) {
            panic!("core {index} cannot work: {error}");
        }
    });
    let thread = thread.map_err(machine("core"))?;
    let driver = driver.recv().unwrap_or_else(|_| Err(io::Error::other("the thread ended")));
    let driver = driver.map_err(machine("no runtime"))?;
    if wanted == IoDriver::IoUring && driver == Driver::Epoll {
        return Err(LaunchError::Machine(
            "IO_DRIVER: io_uring is refused here (seccomp, kernel.io_uring_disabled, memlock or an old \
             kernel)"
                .into(),
        ));
    }
    Ok((thread, driver))
}

fn preference(driver: IoDriver) -> Preference {
    match driver {
        IoDriver::Epoll => Preference::Epoll,
        IoDriver::Auto | IoDriver::IoUring => Preference::Ring,
    }
}

fn redis_service(config: &Config) -> Option<Service> {
    let (address, _) = store::redis(config)?;
    Some(Service { target: Target::Redis(address.clone()), name: "redis".to_owned(), address })
}

fn reopener(log: Option<&AccessLogWriter>) -> Box<dyn Fn() + Send + Sync> {
    match log {
        Some(log) => Box::new(log.reopener()),
        None => Box::new(|| {}),
    }
}

/// Where lines should go is written by the operator; that there is no thread for them is the machine's fault.
fn not_writable(config: &Config, error: &io::Error) -> LaunchError {
    match &config.access_log {
        AccessLog::File(path) => mistake("ACCESS_LOG", Some(path), error),
        AccessLog::Off | AccessLog::Stdout => LaunchError::Machine(format!("ACCESS_LOG: {error}")),
    }
}

/// A path that cannot be written.
fn mistake(key: &str, path: Option<&Path>, error: &io::Error) -> LaunchError {
    let path = path.unwrap_or(Path::new("")).display();
    LaunchError::Mistakes(vec![format!("{key}: {path} cannot be written: {error}")])
}

fn machine(what: &str) -> impl FnOnce(io::Error) -> LaunchError {
    let what = what.to_owned();
    move |error| LaunchError::Machine(format!("{what}: {error}"))
}

/// How long the cores have to end, in milliseconds.
const STOP_MS: u64 = 1_000;
/// How often the in-memory limiter forgets full buckets, in milliseconds.
const TIDY_MS: u64 = 10_000;
/// Files that may be open where the limit cannot be read.
const FILES_ASSUMED: u64 = 1024;
