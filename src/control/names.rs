//! Resolving the upstreams' names, again and again, on a thread of its own: `getaddrinfo` takes as long as it
//! likes.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use tracing::{error, info};

use crate::config::Config;
use crate::control::{Order, Postbox};
use crate::upstream::{Endpoint, resolve};

/// Starts the thread. What comes back is closed when every name has been asked for once.
/// Errors: no thread.
pub fn start(config: Arc<Config>, cores: Arc<[Postbox]>) -> std::io::Result<Receiver<()>> {
    let (first_round, is_over) = bounded(0);
    thread::Builder::new().name("names".to_owned()).spawn(move || {
        let mut known = vec![Known::default(); config.upstreams.len()];
        refresh(&config, &cores, &mut known);
        drop(first_round);
        let refresh_every = config.timeouts.dns_refresh.max(REFRESH_MIN);
        loop {
            thread::sleep(refresh_every);
            refresh(&config, &cores, &mut known);
        }
    })?;
    Ok(is_over)
}

/// What the cores were told last about one upstream.
#[derive(Clone, Default)]
struct Known {
    endpoints: Option<Arc<[Endpoint]>>,
    is_failing: bool,
}

fn refresh(config: &Config, cores: &[Postbox], known: &mut [Known]) {
    for (index, (upstream, known)) in config.upstreams.iter().zip(known).enumerate() {
        match resolve::resolve(&upstream.address) {
            Ok(endpoints) => {
                if known.is_failing {
                    info!(upstream = upstream.name, "the upstream's name resolves again");
                }
                known.is_failing = false;
                if known.endpoints.as_ref() == Some(&endpoints) {
                    continue;
                }
                let told = cores.iter().all(|core| core.send(Order::Endpoints(index, endpoints.clone())));
                // A core that did not take the order is told again next time.
                known.endpoints = told.then_some(endpoints);
            }
            // The old addresses, if any, stay in use: a name server that is down is no reason to stop.
            Err(error) if !known.is_failing => {
                known.is_failing = true;
                error!(upstream = upstream.name, %error, "the upstream's name does not resolve");
            }
            Err(_) => {}
        }
    }
}

/// A refresh of 0 would spin.
const REFRESH_MIN: Duration = Duration::from_secs(1);
