//! Periodic name resolution for upstreams and Redis. It runs on its own thread, because `getaddrinfo` blocks for an
//! unbounded time.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tracing::{error, info};

use crate::config::{Config, UpstreamAddress};
use crate::control::{Order, OrderSender, Target};
use crate::limits::FIRST_RESOLUTION_MS;
use crate::net::Endpoint;
use crate::upstream::resolve;

/// A service with a configured address, which is a name or an IP address.
#[derive(Debug, Clone)]
pub struct Service {
    /// The target of the orders for this service.
    pub target: Target,
    /// The name of the service in the log.
    pub name: String,
    /// The configured address.
    pub address: UpstreamAddress,
}

impl Service {
    /// Returns the order that gives a core the addresses of this service.
    pub fn order(&self, endpoints: Arc<[Endpoint]>) -> Order {
        Order::Endpoints(self.target.clone(), endpoints)
    }

    /// Returns Redis, if configured, and the upstreams of a configuration. Redis comes first, because a core accepts
    /// no connection before its first attempt to connect to Redis.
    pub fn all(redis: Option<&Service>, config: &Config) -> Vec<Service> {
        let upstreams = config.upstreams.iter().map(|upstream| Service {
            target: Target::Upstream(upstream.address.clone()),
            name: upstream.name.clone(),
            address: upstream.address.clone(),
        });
        redis.cloned().into_iter().chain(upstreams).collect()
    }
}

/// A thread that resolves names periodically. Dropping this value stops the thread after the current call to
/// `getaddrinfo`.
pub struct NameResolver {
    _stop_sender: Sender<()>,
    first_round: Receiver<()>,
}

impl NameResolver {
    /// Sends the cores the addresses that need no resolution, and starts a thread for the others. Waits up to
    /// [`FIRST_RESOLUTION_MS`] for the first round of that thread. Returns `None` if no address needs resolution.
    ///
    /// # Errors
    /// The thread cannot be created.
    pub fn begin(
        services: Vec<Service>,
        refresh_every: Duration,
        cores: &Arc<[OrderSender]>,
    ) -> std::io::Result<Option<NameResolver>> {
        for service in &services {
            let Some(endpoints) = resolve::known(&service.address) else { continue };
            for core in cores.iter() {
                core.send(service.order(endpoints.clone()));
            }
        }
        let unresolved = unresolved(services);
        if unresolved.is_empty() {
            return Ok(None);
        }
        let names = NameResolver::start(unresolved, refresh_every, cores.clone())?;
        // The channel closes when the first round ends. The timeout keeps a slow name server from delaying the start.
        let _ = names.first_round.recv_timeout(Duration::from_millis(FIRST_RESOLUTION_MS));
        Ok(Some(names))
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// The thread cannot be created.
    pub fn start(
        services: Vec<Service>,
        refresh_every: Duration,
        cores: Arc<[OrderSender]>,
    ) -> std::io::Result<NameResolver> {
        let (round_sender, first_round) = bounded(0);
        let (stop_sender, stop) = bounded::<()>(0);
        thread::Builder::new().name("names".to_owned()).spawn(move || {
            let mut known = vec![LastResolution::default(); services.len()];
            refresh(&services, &cores, &mut known);
            drop(round_sender);
            // Nothing is sent on this channel: the call ends with the timeout or when `NameResolver` is dropped.
            while stop.recv_timeout(refresh_every.max(REFRESH_MIN)) == Err(RecvTimeoutError::Timeout) {
                refresh(&services, &cores, &mut known);
            }
        })?;
        Ok(NameResolver { _stop_sender: stop_sender, first_round })
    }
}

/// Returns the services whose addresses need name resolution.
pub fn unresolved(services: Vec<Service>) -> Vec<Service> {
    services.into_iter().filter(|service| resolve::known(&service.address).is_none()).collect()
}

/// The latest result for one service that was sent to the cores.
#[derive(Clone, Default)]
struct LastResolution {
    endpoints: Option<Arc<[Endpoint]>>,
    is_failing: bool,
}

fn refresh(services: &[Service], cores: &[OrderSender], known: &mut [LastResolution]) {
    for (service, known) in services.iter().zip(known) {
        match resolve::resolve(&service.address) {
            Ok(endpoints) => {
                if known.is_failing {
                    info!(service = service.name, "the service's name resolves again");
                }
                known.is_failing = false;
                if known.endpoints.as_ref() == Some(&endpoints) {
                    continue;
                }
                let is_sent = cores.iter().all(|core| core.send(service.order(endpoints.clone())));
                // If a core did not take the order, the next round sends the addresses again.
                known.endpoints = is_sent.then_some(endpoints);
            }
            // The previous addresses, if any, stay in use, so that an outage of the name server does not interrupt
            // the service.
            Err(error) if !known.is_failing => {
                known.is_failing = true;
                error!(service = service.name, %error, "the service's name does not resolve");
            }
            Err(_) => {}
        }
    }
}

/// Lower bound of the refresh interval: with an interval of 0 the thread would run in a busy loop.
const REFRESH_MIN: Duration = Duration::from_secs(1);
