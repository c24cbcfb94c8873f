//! Resolving the names of upstreams and Redis, again and again, on a thread of its own: `getaddrinfo` takes as
//! long as it likes.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use tracing::{error, info};

use crate::config::UpstreamAddress;
use crate::control::{Order, Postbox, Target};
use crate::upstream::{Endpoint, resolve};

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

/// Starts the thread. What comes back is closed when every name has been asked for once.
/// Errors: no thread.
pub fn start(
    services: Vec<Service>,
    refresh_every: Duration,
    cores: Arc<[Postbox]>,
) -> std::io::Result<Receiver<()>> {
    let (first_round, is_over) = bounded(0);
    thread::Builder::new().name("names".to_owned()).spawn(move || {
        let mut known = vec![Known::default(); services.len()];
        refresh(&services, &cores, &mut known);
        drop(first_round);
        loop {
            thread::sleep(refresh_every.max(REFRESH_MIN));
            refresh(&services, &cores, &mut known);
        }
    })?;
    Ok(is_over)
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
                let told =
                    cores.iter().all(|core| core.send(Order::Endpoints(service.target, endpoints.clone())));
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
