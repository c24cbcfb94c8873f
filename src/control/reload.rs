//! Configuration reload: read the configuration, validate it as at the start, compare it with the current configuration
//! and make it the one that every core should have. A single mistake rejects the new configuration, and the current one
//! stays.
//!
//! A reload reads files and resolves names, both of which block, so each reload runs on its own thread.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use crossbeam_channel::Receiver;
use rustix::process::{Pid, Signal, kill_process};
use tracing::{error, info, warn};

use crate::admin::LastReload;
use crate::auth::{KeyRequests, KeySetState, KeySets, Keys};
use crate::clock;
use crate::config::{self, Config, Issuer, Lowered, Mistakes, Tls};
use crate::control::keys::{KeyKeeper, KeyRegistry, KeyStates};
use crate::control::masters::MasterWatch;
use crate::control::members::{MemberWatch, Rosters, Service};
use crate::control::running::RunningConfig;
use crate::control::signals::OpenSignal;
use crate::control::{Cores, manager};
use crate::gateway::core::{Metrics, Replacement};
use crate::limits::{RELOAD_TAKEN_MS, TICK_MS};
use crate::net::{NEVER, Timers};
use crate::route::RouteTable;
use crate::tls::{Certificate, Challenges, Origination, Originations, Termination};

/// Reads the configuration from the sources of the process: flags, environment and file.
pub type Load = Box<dyn Fn() -> Result<Lowered, Mistakes> + Send + Sync>;

/// The state for reloads.
pub struct Reload {
    /// Reads the configuration.
    pub load: Load,
    /// The current configuration.
    pub running: Arc<RunningConfig>,
    /// The state that the cores should be in.
    pub cores: Arc<Cores>,
    /// The metrics of the cores.
    pub metrics: Vec<Metrics>,
    /// The keeper of key sets, if an issuer has one.
    pub keys: Mutex<Option<KeyKeeper>>,
    /// The requests of the cores for newer key sets.
    pub key_requests: Arc<KeyRequests>,
    /// What is known of the issuers' key sets.
    pub key_states: Arc<KeyStates>,
    /// Who the members of each service are.
    pub rosters: Arc<Rosters>,
    /// The watch over them, if somebody has to be asked.
    pub members: Mutex<Option<MemberWatch>>,
    /// The watch over the masters of Redis, if there are any to look for.
    pub masters: Mutex<Option<MasterWatch>>,
    /// What the cores ring when a master may be another one.
    pub redis_bell: Receiver<()>,
    /// Returns the Redis service of a configuration. Its name is resolved together with the names of the upstreams.
    pub redis: fn(&Config) -> Option<Service>,
    /// Reopens the file of the access log.
    pub reopen_log: Box<dyn Fn() + Send + Sync>,
    /// Held while a configuration is read and published: by a reload, or by the watch over the certificates.
    pub turn: Mutex<()>,
    /// What came of the last reload.
    pub last: Arc<LastReload>,
}

/// The result of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// The new configuration has mistakes. Nothing has changed.
    Refused,
    /// There is no change that a running process can apply.
    Unchanged,
    /// Every core has applied the new configuration.
    Applied,
    /// A core has not applied the configuration in time, and does so as soon as it can. The other cores have applied
    /// it.
    Incomplete,
}

/// The requests for a reload, and to whom else they go. A successor process may have read the configuration before a
/// request that comes during an upgrade, and the service manager sends the request only to the process in charge.
#[derive(Debug, Default)]
pub struct ReloadRequests {
    count: Cell<u64>,
    successor: Cell<Option<u32>>,
}

impl ReloadRequests {
    /// How many there have been.
    pub fn count(&self) -> u64 {
        self.count.get()
    }

    /// This process has taken over. `count` is how many requests there had been before it began. The latest request
    /// goes to it if there was one since then, and so does every later one.
    pub fn succeeded_by(&self, pid: u32, count: u64) {
        self.successor.set(Some(pid));
        if self.count.get() != count {
            self.pass_on();
        }
    }

    fn add(&self) {
        self.count.set(self.count.get() + 1);
        self.pass_on();
    }

    fn pass_on(&self) {
        let Some(pid) = self.successor.get() else { return };
        let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
        // It handles the signal: it has reported that it was ready. The number is its own as long as this process, its
        // parent, lives.
        match process.map(|process| kill_process(process, Signal::HUP)) {
            Some(Ok(())) => info!(pid, "reload: passed on to the new process"),
            _ => warn!(pid, "reload: the new process has ended and does not reload"),
        }
    }
}

/// Reloads the configuration at every signal. Runs until the runtime ends.
pub async fn on_signal(
    reload: Arc<Reload>,
    requests: Rc<ReloadRequests>,
    signal: OpenSignal,
    timers: Rc<Timers>,
) {
    while signal.wait(&timers, NEVER).await {
        // Pending signals need only one reload, because the files are read after the last signal.
        signal.discard_pending();
        requests.add();
        manager::reloading();
        let reload = reload.clone();
        match thread::Builder::new().name("reload".to_owned()).spawn(move || reload.run()) {
            Ok(thread) => {
                while !thread.is_finished() {
                    timers.sleep_until(clock::now_ms() + TICK_MS).await;
                }
            }
            Err(error) => error!(%error, "reload: cannot create a thread"),
        }
        manager::ready();
    }
}

/// Reopens the file of the access log at every signal. Runs until the runtime ends.
pub async fn reopen_log_on_signal(reload: Arc<Reload>, signal: OpenSignal, timers: Rc<Timers>) {
    while signal.wait(&timers, NEVER).await {
        (reload.reopen_log)();
    }
}

impl Reload {
    /// Reloads the configuration. Blocks the calling thread.
    pub fn run(self: &Arc<Self>) -> ReloadOutcome {
        let outcome = self.attempt();
        self.last.note(matches!(outcome, ReloadOutcome::Applied | ReloadOutcome::Unchanged));
        outcome
    }

    fn attempt(self: &Arc<Self>) -> ReloadOutcome {
        (self.reopen_log)();
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let Lowered { config: wanted, warnings } = match (self.load)() {
            Ok(lowered) => lowered,
            Err(mistakes) => return refused(&mistakes.to_string()),
        };
        warnings.iter().for_each(|warning| warn!("{warning}"));
        let running = self.running.get();
        let changes = config::difference(&running, &wanted);
        for change in &changes {
            match change.needs_restart {
                true => warn!("reload: {change}, which takes a restart or an upgrade"),
                false => info!("reload: {change}"),
            }
        }
        let config = Arc::new(config::settle(&running, wanted));
        let before = self.cores.configuration();
        let tls = match load_tls(&config.tls, &before) {
            Ok(tls) => tls,
            Err(mistakes) => return refused(&mistakes.join("\n")),
        };
        let originations = match Origination::load_all(&config) {
            Ok(originations) => originations,
            Err(mistakes) => return refused(&mistakes.join("\n")),
        };
        let is_trust_renewed = *before.originations != originations;
        if is_trust_renewed {
            info!("reload: the authorities or certificates for upstreams are other ones");
        }
        let is_tls_renewed = !Termination::is_same(tls.as_deref(), before.tls.as_deref());
        if let Some(tls) = tls.as_deref().filter(|_| is_tls_renewed) {
            log_certificates(tls);
        }
        if changes.iter().all(|change| change.needs_restart) && !is_tls_renewed && !is_trust_renewed {
            if self.behind().is_empty() {
                info!("reload: nothing to take over");
                return ReloadOutcome::Unchanged;
            }
            self.cores.wake();
            return self.wait_until_applied();
        }
        match RouteTable::new(&config.routes) {
            Ok(routes) => self.publish(config, routes, tls, originations),
            Err(mistakes) => refused(&mistakes.join("\n")),
        }
    }

    /// Looks at what the cores have seen of the members of upstreams. Never blocks. Returns whether an upstream that
    /// readiness requires has no usable member.
    pub fn look_at_members(&self, now_ms: u64) -> bool {
        let failed = self.rosters.look(now_ms);
        // While another watch begins, every name is asked anyway.
        if let Ok(watch) = self.members.try_lock() {
            watch.iter().for_each(|watch| failed.iter().for_each(|target| watch.hurry(target)));
        }
        self.rosters.misses(&self.running.get().ready_requires)
    }

    fn publish(
        self: &Arc<Self>,
        config: Arc<Config>,
        routes: RouteTable,
        tls: Option<Arc<Termination>>,
        originations: Originations,
    ) -> ReloadOutcome {
        let (mut key_sets, warnings) = match KeySets::of_files(&config.jwt) {
            Ok(read) => read,
            Err(mistakes) => return refused(&mistakes.join("\n")),
        };
        let before = self.cores.configuration();
        key_sets.keep(&config.jwt, before.keys.sets(), &before.config.jwt);
        let keys = Arc::new(Keys::new(&config.jwt, &key_sets));
        warnings.iter().chain(keys.left_out()).for_each(|warning| warn!("{warning}"));
        let challenges = self.cores.configuration().challenges.clone();
        let (routes, originations) = (Arc::new(routes), Arc::new(originations));
        let replacement = Replacement { config: config.clone(), routes, keys, challenges, tls, originations };
        let services = Service::all((self.redis)(&config).as_ref(), &config);
        self.rosters.enrol(&services);
        // New services get members first, because the first requests would fail without them.
        self.watch_members(&config, services.clone());
        self.watch_masters(&config, &replacement.originations);
        self.rosters.configure(replacement, &services);
        self.running.set(config);
        self.keep_keys();
        self.wait_until_applied()
    }

    /// Starts the keeper of key sets if an issuer has one and there is no keeper yet.
    pub fn keep_keys(self: &Arc<Self>) {
        let mut keeper = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let config = self.running.get();
        if keeper.is_some() || config.jwt.issuers.iter().all(|issuer| issuer.key_set.is_none()) {
            return;
        }
        let registry: Weak<dyn KeyRegistry> = Arc::<Self>::downgrade(self);
        match KeyKeeper::start(registry, self.key_requests.clone(), config.io_driver.into()) {
            Ok(started) => *keeper = Some(started),
            Err(error) => error!(%error, "cannot create the keys thread: key sets are not fetched"),
        }
    }

    /// Waits until every issuer was asked for its key set once, up to a bound.
    pub fn wait_for_keys(&self) {
        if let Some(keeper) = &*self.keys.lock().unwrap_or_else(PoisonError::into_inner) {
            keeper.wait_for_first();
        }
    }

    /// Reads the files of certificates again and puts them in force if they are other ones. Blocks the calling thread.
    ///
    /// # Errors
    /// What is wrong with them, a line each. Nothing has changed.
    pub fn renew_certificates(&self) -> Result<(), Vec<String>> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.cores.configuration();
        let tls = load_tls(&before.config.tls, &before)?;
        if !Termination::is_same(tls.as_deref(), before.tls.as_deref()) {
            tls.as_deref().into_iter().for_each(log_certificates);
            self.configure_anew(Replacement { tls, ..(*before).clone() });
        }
        Ok(())
    }

    /// Puts a new ticket key in force if it is time for one.
    pub fn rotate_ticket_keys(&self, now_unix_s: u64) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.cores.configuration();
        if let Some(rotated) = before.tls.as_ref().and_then(|tls| tls.rotated(now_unix_s)) {
            self.configure_anew(Replacement { tls: Some(rotated), ..(*before).clone() });
        }
    }

    /// Reads the folder of challenges again and puts them in force if they are other ones. Blocks the calling thread.
    pub fn renew_challenges(&self) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.cores.configuration();
        let Some(folder) = &before.config.https.challenges else { return };
        let challenges = Challenges::read(folder);
        if challenges != *before.challenges {
            self.configure_anew(Replacement { challenges: Arc::new(challenges), ..(*before).clone() });
        }
    }

    /// Puts the same configuration with other certificates or challenges in force. The services keep their addresses.
    fn configure_anew(&self, configuration: Replacement) {
        let config = &configuration.config;
        let services = Service::all((self.redis)(config).as_ref(), config);
        let services = services.into_iter().map(|service| (service.target, None)).collect();
        self.cores.configure(configuration, services);
    }

    /// Waits up to [`RELOAD_TAKEN_MS`] until no core is behind, and says what came of it.
    fn wait_until_applied(&self) -> ReloadOutcome {
        if self.wait_for_cores() {
            info!("reload: in force on every core");
            return ReloadOutcome::Applied;
        }
        let (cores, version) = (self.behind(), self.cores.version().get());
        error!(?cores, version, "reload: these cores have not applied the configuration yet");
        ReloadOutcome::Incomplete
    }

    /// Waits up to [`RELOAD_TAKEN_MS`] until no core is behind. Whether that came to pass.
    fn wait_for_cores(&self) -> bool {
        for _ in 0..RELOAD_TAKEN_MS {
            if self.behind().is_empty() {
                return true;
            }
            thread::sleep(Duration::from_millis(1));
        }
        false
    }

    /// The cores that have not applied the latest configuration.
    fn behind(&self) -> Vec<usize> {
        let wanted = self.cores.version().get();
        let is_behind = |core: &Metrics| core.core.config_version.get() != wanted;
        self.metrics.iter().enumerate().filter(|(_, core)| is_behind(core)).map(|(index, _)| index).collect()
    }

    /// Replaces the watch over the masters of Redis by one for the new configuration, and waits until it has looked.
    fn watch_masters(&self, config: &Config, originations: &Originations) {
        let mut masters = self.masters.lock().unwrap_or_else(PoisonError::into_inner);
        if masters.as_ref().is_some_and(|watch| watch.is_over(config, originations)) {
            return;
        }
        *masters = None;
        match MasterWatch::begin((config, originations), &self.cores, &self.rosters, self.redis_bell.clone())
        {
            Ok(watch) => *masters = watch,
            Err(error) => {
                error!(%error, "cannot create the masters thread: the masters of Redis stay unknown")
            }
        }
        masters.iter().for_each(MasterWatch::wait_for_first);
    }

    /// Replaces the watch over members by one for the services of the new configuration.
    fn watch_members(&self, config: &Config, services: Vec<Service>) {
        let mut watch = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        if watch.as_ref().is_some_and(|watch| watch.is_over(&services, config)) {
            return;
        }
        *watch = None;
        match MemberWatch::begin(services, config, &self.rosters) {
            Ok(members) => *watch = members,
            Err(error) => {
                error!(%error, "cannot create the name resolution thread: names are no longer resolved")
            }
        }
    }
}

impl KeyRegistry for Reload {
    fn config(&self) -> Arc<Config> {
        self.running.get()
    }

    fn key_sets(&self) -> KeySets {
        self.cores.configuration().keys.sets().clone()
    }

    fn renew_keys(&self, issuer: &Issuer, state: KeySetState) -> bool {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.cores.configuration();
        let index = before.config.jwt.issuers.iter().position(|known| known == issuer);
        let Some(index) = index.filter(|index| *before.keys.sets().get(*index) != state) else {
            return false;
        };
        let mut sets = before.keys.sets().clone();
        sets.set(index, state);
        let keys = Keys::new(&before.config.jwt, &sets);
        keys.left_out().iter().for_each(|warning| warn!("{warning}"));
        self.configure_anew(Replacement { keys: Arc::new(keys), ..(*before).clone() });
        self.wait_for_cores();
        true
    }

    fn key_states(&self) -> &KeyStates {
        &self.key_states
    }
}

/// The TLS of a configuration, with the ticket secrets of the one before if they are the process's own.
fn load_tls(tls: &Tls, before: &Replacement) -> Result<Option<Arc<Termination>>, Vec<String>> {
    Termination::load(tls, before.tls.as_deref().map(Termination::ticket_secrets))
}

/// Tells which certificates are in force from now on.
fn log_certificates(tls: &Termination) {
    for Certificate { subject, facts, .. } in tls.certificates() {
        info!(names = facts.names(), expires = facts.expiry_date(), "certificates: {subject} is in force");
    }
}

/// Logs each mistake on its own line.
fn refused(mistakes: &str) -> ReloadOutcome {
    mistakes.lines().for_each(|mistake| error!("reload: {mistake}"));
    error!("reload: refused, the running configuration stays");
    ReloadOutcome::Refused
}
