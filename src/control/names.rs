//! Resolving the names of upstreams and Redis, again and again, on a thread of its own: `getaddrinfo` takes as
//! long as it likes.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tracing::{error, info};

use crate::config::{Config, UpstreamAddress};
use crate::control::{Order, Postbox, Target};
use crate::limits::FIRST_RESOLUTION_MS;
use crate::net::Endpoint;
use crate::upstream::resolve;

/// A service whose address may have to be resolved.
#[derive(Debug, Clone)]
pub struct Service {
    /// Whose address it is.
    pub target: Target,
    /// What it is called in the log.
    pub name: String,
    /// As written.
    pub address: UpstreamAddress,
}

impl Service {
    /// What tells a core its addresses.
    pub fn order(&self, endpoints: Arc<[Endpoint]>) -> Order {
        Order::Endpoints(self.target.clone(), endpoints)
    }

    /// Redis, if it is in use, and the upstreams of a configuration. Redis first: a core takes no client before it
    /// has tried it.
    pub fn all(redis: Option<&Service>, config: &Config) -> Vec<Service> {
        let upstreams = config.upstreams.iter().map(|upstream| Service {
            target: Target::Upstream(upstream.address.clone()),
            name: upstream.name.clone(),
            address: upstream.address.clone(),
        });
        redis.cloned().into_iter().chain(upstreams).collect()
    }
}

/// A thread that resolves. Dropped, it ends, at the latest when the name server has answered it.
pub struct Names {
    _ends_with: Sender<()>,
    first_round: Receiver<()>,
}

impl Names {
    /// Gives the cores the addresses that are written, and the others a moment to be found. `None`: there are no
    /// others. Errors: no thread.
    pub fn begin(
        services: Vec<Service>,
        refresh_every: Duration,
        cores: &Arc<[Postbox]>,
    ) -> std::io::Result<Option<Names>> {
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
        let names = Names::start(unresolved, refresh_every, cores.clone())?;
        // The channel closes when the round is over; a slow name server does not hold up the start.
        let _ = names.first_round.recv_timeout(Duration::from_millis(FIRST_RESOLUTION_MS));
        Ok(Some(names))
    }

    /// Starts the thread. Errors: no thread.
    pub fn start(
        services: Vec<Service>,
        refresh_every: Duration,
        cores: Arc<[Postbox]>,
    ) -> std::io::Result<Names> {
        let (over, first_round) = bounded(0);
        let (ends_with, end) = bounded::<()>(0);
        thread::Builder::new().name("names".to_owned()).spawn(move || {
            let mut known = vec![Known::default(); services.len()];
            refresh(&services, &cores, &mut known);
            drop(over);
            // Nothing is ever sent: what comes is the end of the time, or of the other side.
            while end.recv_timeout(refresh_every.max(REFRESH_MIN)) == Err(RecvTimeoutError::Timeout) {
                refresh(&services, &cores, &mut known);
            }
        })?;
        Ok(Names { _ends_with: ends_with, first_round })
    }
}

/// The services whose names have to be resolved: those whose addresses are not written.
pub fn unresolved(services: Vec<Service>) -> Vec<Service> {
    services.into_iter().filter(|service| resolve::known(&service.address).is_none()).collect()
}

/// What the cores were told last about one service.
#[derive(Clone, Default)]
struct Known {
    endpoints: Option<Arc<[Endpoint]>>,
    is_failing: bool,
}

fn refresh(services: &[Service], cores: &[Postbox], known: &mut [Known]) {
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
                let told = cores.iter().all(|core| core.send(service.order(endpoints.clone())));
                // A core that did not take the order is told again next time.
                known.endpoints = told.then_some(endpoints);
            }
            // The old addresses, if any, stay in use: a name server that is down is no reason to stop.
            Err(error) if !known.is_failing => {
                known.is_failing = true;
                error!(service = service.name, %error, "the service's name does not resolve");
            }
            Err(_) => {}
        }
    }
}

/// A refresh of 0 would spin.
const REFRESH_MIN: Duration = Duration::from_secs(1);
