//! Periodic name resolution for upstreams and Redis. It runs on its own thread, because `getaddrinfo` blocks for an
//! unbounded time.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tracing::{error, info};

use crate::config::{Config, UpstreamAddress};
use crate::control::{Cores, Target};
use crate::limits::FIRST_RESOLUTION_MS;
use crate::upstream::resolve;

/// A service with a configured address, which is a name or an IP address.
#[derive(Debug, Clone)]
pub struct Service {
    /// The service for the cores.
    pub target: Target,
    /// The name of the service in the log.
    pub name: String,
    /// The configured address.
    pub address: UpstreamAddress,
}

impl Service {
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
    /// Gives the cores the addresses that need no resolution, and starts a thread for the others. Waits up to
    /// [`FIRST_RESOLUTION_MS`] for the first round of that thread. Returns `None` if no address needs resolution.
    ///
    /// # Errors
    /// The thread cannot be created.
    pub fn begin(
        services: Vec<Service>,
        refresh_every: Duration,
        cores: &Arc<Cores>,
    ) -> std::io::Result<Option<NameResolver>> {
        for service in &services {
            let Some(endpoints) = resolve::known(&service.address) else { continue };
            cores.set_addresses(&service.target, &endpoints);
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
        cores: Arc<Cores>,
    ) -> std::io::Result<NameResolver> {
        let (round_sender, first_round) = bounded(0);
        let (stop_sender, stop) = bounded::<()>(0);
        thread::Builder::new().name("names".to_owned()).spawn(move || {
            let mut are_failing = vec![false; services.len()];
            refresh(&services, &cores, &mut are_failing);
            drop(round_sender);
            // Nothing is sent on this channel: the call ends with the timeout or when `NameResolver` is dropped.
            while stop.recv_timeout(refresh_every.max(REFRESH_MIN)) == Err(RecvTimeoutError::Timeout) {
                refresh(&services, &cores, &mut are_failing);
            }
        })?;
        Ok(NameResolver { _stop_sender: stop_sender, first_round })
    }
}

/// Returns the services whose addresses need name resolution.
pub fn unresolved(services: Vec<Service>) -> Vec<Service> {
    services.into_iter().filter(|service| resolve::known(&service.address).is_none()).collect()
}

/// One round. What it finds is compared with what the cores should have, not with the round before: the thread of an
/// earlier configuration may still be in a call to `getaddrinfo` and give them its older result afterwards.
fn refresh(services: &[Service], cores: &Cores, are_failing: &mut [bool]) {
    for (service, is_failing) in services.iter().zip(are_failing) {
        match resolve::resolve(&service.address) {
            Ok(endpoints) => {
                if *is_failing {
                    info!(service = service.name, "the service's name resolves again");
                }
                *is_failing = false;
                cores.set_addresses(&service.target, &endpoints);
            }
            // The previous addresses, if any, stay in use, so that an outage of the name server does not interrupt
            // the service.
            Err(error) if !*is_failing => {
                *is_failing = true;
                error!(service = service.name, %error, "the service's name does not resolve");
            }
            Err(_) => {}
        }
    }
}

/// Lower bound of the refresh interval: with an interval of 0 the thread would run in a busy loop.
const REFRESH_MIN: Duration = Duration::from_secs(1);
