//! Configuration reload: read the configuration, validate it as at the start, compare it with the current
//! configuration and send it to every core. A single mistake rejects the new configuration, and the current one
//! stays.
//!
//! A reload reads files and resolves names, both of which block, so each reload runs on its own thread.

use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::{error, info, warn};

use crate::auth::Keys;
use crate::clock;
use crate::config::{self, Config, Lowered, Mistakes, UpstreamAddress};
use crate::control::names::{self, NameResolver, Service};
use crate::control::running::RunningConfig;
use crate::control::signals::OpenSignal;
use crate::control::{Order, OrderSender, manager};
use crate::gateway::core::{Metrics, Replacement};
use crate::limits::{RELOAD_TAKEN_MS, TICK_MS};
use crate::net::Endpoint;
use crate::net::{NEVER, Timers};
use crate::route::RouteTable;
use crate::upstream::resolve;

/// Reads the configuration from the sources of the process: flags, environment and file.
pub type Load = Box<dyn Fn() -> Result<Lowered, Mistakes> + Send + Sync>;

/// The state for reloads.
pub struct Reload {
    /// Reads the configuration.
    pub load: Load,
    /// The current configuration.
    pub running: Arc<RunningConfig>,
    /// The order channels of the cores.
    pub cores: Arc<[OrderSender]>,
    /// The metrics of the cores.
    pub metrics: Vec<Metrics>,
    /// The thread that resolves names, if there is one.
    pub names: Mutex<Option<NameResolver>>,
    /// Returns the Redis service of a configuration. Its name is resolved together with the names of the upstreams.
    pub redis: fn(&Config) -> Option<Service>,
    /// Reopens the file of the access log.
    pub reopen_log: Box<dyn Fn() + Send + Sync>,
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
    /// A core has not applied the new configuration in time, but may still do so. The other cores have applied it.
    Incomplete,
}

/// Reloads the configuration at every signal. Runs until the runtime ends.
pub async fn on_signal(reload: Arc<Reload>, signal: OpenSignal, timers: Rc<Timers>) {
    while signal.wait(&timers, NEVER).await {
        // Pending signals need only one reload, because the files are read after the last signal.
        signal.discard_pending();
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
    pub fn run(&self) -> ReloadOutcome {
        (self.reopen_log)();
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
        if changes.iter().all(|change| change.needs_restart) {
            info!("reload: nothing to take over");
            return ReloadOutcome::Unchanged;
        }
        let config = Arc::new(config::settle(&running, wanted));
        match RouteTable::new(&config.routes) {
            Ok(routes) => self.publish(&running, config, routes),
            Err(mistakes) => refused(&mistakes.join("\n")),
        }
    }

    fn publish(&self, running: &Config, config: Arc<Config>, routes: RouteTable) -> ReloadOutcome {
        let replacement = Arc::new(Replacement {
            routes: Arc::new(routes),
            keys: Arc::new(Keys::new(&config.jwt)),
            endpoints: config.upstreams.iter().map(|upstream| addresses(running, upstream)).collect(),
            redis_endpoints: self.redis_addresses(running, &config),
            config: config.clone(),
        });
        let before: Vec<u64> = self.metrics.iter().map(|core| core.core.reloads.get()).collect();
        let mut is_sent = true;
        for core in self.cores.iter() {
            is_sent &= core.send(Order::Reload(replacement.clone()));
        }
        self.restart_resolver(&config);
        self.running.set(config);
        if is_sent && self.wait_until_applied(&before) {
            info!("reload: in force on every core");
            return ReloadOutcome::Applied;
        }
        error!("reload: a core has not applied the configuration in time");
        ReloadOutcome::Incomplete
    }

    /// Waits until the reload counter of every core has changed. Returns false after [`RELOAD_TAKEN_MS`].
    fn wait_until_applied(&self, before: &[u64]) -> bool {
        for _ in 0..RELOAD_TAKEN_MS {
            if self.metrics.iter().zip(before).all(|(core, before)| core.core.reloads.get() != *before) {
                return true;
            }
            thread::sleep(Duration::from_millis(1));
        }
        false
    }

    /// Resolves the address of Redis. Returns `None` if the address has not changed.
    fn redis_addresses(&self, running: &Config, wanted: &Config) -> Option<Arc<[Endpoint]>> {
        let (before, after) = ((self.redis)(running), (self.redis)(wanted)?);
        let is_known = before.is_some_and(|before| before.address == after.address);
        if is_known { None } else { found(&after.name, &after.address) }
    }

    /// Replaces the resolver thread by one for the services of the new configuration.
    fn restart_resolver(&self, config: &Config) {
        let unknown = names::unresolved(Service::all((self.redis)(config).as_ref(), config));
        let mut watched = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        *watched = None;
        if unknown.is_empty() {
            return;
        }
        match NameResolver::start(unknown, config.timeouts.dns_refresh, self.cores.clone()) {
            Ok(names) => *watched = Some(names),
            Err(error) => {
                error!(%error, "cannot create the name resolution thread: names are no longer resolved")
            }
        }
    }
}

/// Logs each mistake on its own line.
fn refused(mistakes: &str) -> ReloadOutcome {
    mistakes.lines().for_each(|mistake| error!("reload: {mistake}"));
    error!("reload: refused, the running configuration stays");
    ReloadOutcome::Refused
}

/// Resolves the addresses of a new upstream, because the first requests would fail without them. Returns `None` for
/// an upstream of the current configuration: the cores already have its addresses.
fn addresses(running: &Config, upstream: &config::Upstream) -> Option<Arc<[Endpoint]>> {
    if running.upstreams.contains(upstream) {
        return None;
    }
    found(&upstream.name, &upstream.address)
}

fn found(service: &str, address: &UpstreamAddress) -> Option<Arc<[Endpoint]>> {
    match resolve::resolve(address) {
        Ok(endpoints) => Some(endpoints),
        Err(error) => {
            error!(service, %error, "the service's name does not resolve");
            None
        }
    }
}
