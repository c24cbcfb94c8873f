//! A reload: the configuration is read again, judged as at the start, compared and given to every core. One
//! mistake in it, and what runs goes on as it is.
//!
//! It reads files and resolves names, so it has a thread of its own for as long as it takes.

use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::{error, info, warn};

use crate::auth::Keys;
use crate::clock;
use crate::config::{self, Config, Lowered, Mistakes, UpstreamAddress};
use crate::control::names::{self, Names, Service};
use crate::control::running::Running;
use crate::control::signals::OpenSignal;
use crate::control::{Order, Postbox, manager};
use crate::gateway::core::{Metrics, Replacement};
use crate::limits::{RELOAD_TAKEN_MS, TICK_MS};
use crate::net::Endpoint;
use crate::net::{NEVER, Timers};
use crate::route::RouteTable;
use crate::upstream::resolve;

/// Reads the configuration from where the process has it from: flags, environment, file.
pub type Load = Box<dyn Fn() -> Result<Lowered, Mistakes> + Send + Sync>;

/// What a reload needs.
pub struct Reload {
    /// Reads it.
    pub load: Load,
    /// What runs.
    pub running: Arc<Running>,
    /// The cores.
    pub cores: Arc<[Postbox]>,
    /// Their metrics.
    pub metrics: Vec<Metrics>,
    /// The thread that resolves names, if there is one.
    pub names: Mutex<Option<Names>>,
    /// Redis as a configuration has it, whose name is resolved with those of the upstreams.
    pub redis: fn(&Config) -> Option<Service>,
    /// Opens the access log's file anew: a reload is a good moment for that.
    pub reopen_log: Box<dyn Fn() + Send + Sync>,
}

/// How a reload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// There are mistakes: nothing has changed.
    Refused,
    /// There is nothing new that a running process can take over.
    Unchanged,
    /// Every core has it.
    ActiveCore,
    /// A core has not taken it in time. It still may; the others have it.
    Partly,
}

/// Reloads at every signal, for as long as the runtime runs.
pub async fn obey(reload: Arc<Reload>, signal: OpenSignal, timers: Rc<Timers>) {
    while signal.wait(&timers, NEVER).await {
        // Several signals are one: the files are read after the last of them.
        signal.forget();
        manager::reloading();
        let reload = reload.clone();
        match thread::Builder::new().name("reload".to_owned()).spawn(move || reload.run()) {
            Ok(thread) => {
                while !thread.is_finished() {
                    timers.sleep_until(clock::now_ms() + TICK_MS).await;
                }
            }
            Err(error) => error!(%error, "no thread for a reload"),
        }
        manager::ready();
    }
}

/// Opens the access log's file anew at every signal, for as long as the runtime runs.
pub async fn reopen_log(reload: Arc<Reload>, signal: OpenSignal, timers: Rc<Timers>) {
    while signal.wait(&timers, NEVER).await {
        (reload.reopen_log)();
    }
}

impl Reload {
    /// Does it. Blocks.
    pub fn run(&self) -> Outcome {
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
            return Outcome::Unchanged;
        }
        let config = Arc::new(config::settle(&running, wanted));
        match RouteTable::new(&config.routes) {
            Ok(routes) => self.publish(&running, config, routes),
            Err(mistakes) => refused(&mistakes.join("\n")),
        }
    }

    fn publish(&self, running: &Config, config: Arc<Config>, routes: RouteTable) -> Outcome {
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
        self.watch_names(&config);
        self.running.set(config);
        if is_sent && self.is_taken(&before) {
            info!("reload: in force on every core");
            return Outcome::ActiveCore;
        }
        error!("reload: a core has not taken the configuration in time");
        Outcome::Partly
    }

    /// Waits until every core has taken over one configuration more.
    fn is_taken(&self, before: &[u64]) -> bool {
        for _ in 0..RELOAD_TAKEN_MS {
            if self.metrics.iter().zip(before).all(|(core, before)| core.core.reloads.get() != *before) {
                return true;
            }
            thread::sleep(Duration::from_millis(1));
        }
        false
    }

    /// The addresses of Redis, if it is another one.
    fn redis_addresses(&self, running: &Config, wanted: &Config) -> Option<Arc<[Endpoint]>> {
        let (before, after) = ((self.redis)(running), (self.redis)(wanted)?);
        let is_known = before.is_some_and(|before| before.address == after.address);
        if is_known { None } else { found(&after.name, &after.address) }
    }

    /// Names are resolved for the new services from now on.
    fn watch_names(&self, config: &Config) {
        let unknown = names::unresolved(Service::all((self.redis)(config).as_ref(), config));
        let mut watched = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        *watched = None;
        if unknown.is_empty() {
            return;
        }
        match Names::start(unknown, config.timeouts.dns_refresh, self.cores.clone()) {
            Ok(names) => *watched = Some(names),
            Err(error) => error!(%error, "names are not resolved any more"),
        }
    }
}

/// Every mistake is a line of its own.
fn refused(mistakes: &str) -> Outcome {
    mistakes.lines().for_each(|mistake| error!("reload: {mistake}"));
    error!("reload: refused, the running configuration stays");
    Outcome::Refused
}

/// The addresses of an upstream that no core knows yet: without them its first requests would fail.
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
