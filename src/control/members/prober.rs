//! Probes the members of upstreams with a `health`: one probe per member and process, by the control thread.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::rosters::Rosters;
use crate::clock;
use crate::config::{self, Health};
use crate::control::fetch::{self, Get};
use crate::control::jitter::jitter;
use crate::control::{Cores, Target};
use crate::limits::{HEALTH_BODY_BYTES_MAX, HEALTH_FIRST_MS, PROBES_AT_ONCE_MAX, TICK_MS};
use crate::net::{Endpoint, Io};
use crate::upstream::{TlsClient, UpstreamMetrics};

/// The probes of all upstreams.
pub struct Prober {
    io: Rc<Io>,
    cores: Arc<Cores>,
    rosters: Arc<Rosters>,
    /// Of this version of the configuration.
    version: Cell<u64>,
    upstreams: RefCell<Vec<Rc<Probed>>>,
    due: RefCell<HashMap<(String, String), Due>>,
    in_flight: Cell<usize>,
}

/// An upstream that is probed.
struct Probed {
    name: String,
    target: Target,
    authority: String,
    health: Health,
    tls: Option<TlsClient>,
}

/// The probe of one member.
#[derive(Clone, Copy)]
struct Due {
    at_ms: u64,
    is_in_flight: bool,
    is_answered: bool,
}

impl Prober {
    /// Nothing is probed yet.
    pub fn new(io: Rc<Io>, cores: Arc<Cores>, rosters: Arc<Rosters>) -> Rc<Prober> {
        Rc::new(Prober {
            io,
            cores,
            rosters,
            version: Cell::new(0),
            upstreams: RefCell::default(),
            due: RefCell::default(),
            in_flight: Cell::new(0),
        })
    }

    /// Waits until every member was probed once, for [`HEALTH_FIRST_MS`] at most. Returns at once if nothing is probed.
    pub async fn first_round(&self) {
        let deadline_ms = clock::now_ms() + HEALTH_FIRST_MS;
        while self.due.borrow().values().any(|due| !due.is_answered) && clock::now_ms() < deadline_ms {
            monoio::time::sleep(Duration::from_millis(TICK_MS / 5)).await;
        }
    }

    /// Starts the probes whose time has come. To be called with every tick.
    pub fn step(self: Rc<Self>, now_ms: u64) {
        self.look_at_configuration();
        let upstreams = self.upstreams.borrow().clone();
        if upstreams.is_empty() {
            return self.due.borrow_mut().clear();
        }
        let mut known = HashMap::new();
        for probed in upstreams {
            for endpoint in self.rosters.endpoints(&probed.target) {
                let key = (probed.name.clone(), endpoint.text().to_owned());
                let new = Due { at_ms: now_ms, is_in_flight: false, is_answered: false };
                let mut due = self.due.borrow().get(&key).copied().unwrap_or(new);
                if due.at_ms <= now_ms && !due.is_in_flight && self.in_flight.get() < PROBES_AT_ONCE_MAX {
                    due.is_in_flight = true;
                    self.in_flight.set(self.in_flight.get() + 1);
                    let (prober, probed, key) = (self.clone(), probed.clone(), key.clone());
                    monoio::spawn(async move {
                        let result = probe(&prober.io, &probed, &endpoint, now_ms).await;
                        prober.rosters.probed(&probed.target, &endpoint, result, &probed.health);
                        prober.answered(&key, now_ms, probed.health.interval);
                    });
                }
                known.insert(key, due);
            }
        }
        self.due.replace(known);
    }

    fn answered(&self, key: &(String, String), began_ms: u64, interval: Duration) {
        self.in_flight.set(self.in_flight.get() - 1);
        if let Some(due) = self.due.borrow_mut().get_mut(key) {
            // A fifth earlier or later, so that the probes of many gateways and members do not come together.
            let wait_ms = (interval.as_millis() as f64 * (1.0 + 2.0 * jitter())) as u64;
            *due = Due { at_ms: began_ms + wait_ms, is_in_flight: false, is_answered: true };
        }
    }

    /// Takes over the upstreams of another configuration. A probe that is under way goes on.
    fn look_at_configuration(&self) {
        let version = self.cores.version().get();
        if self.version.replace(version) == version {
            return;
        }
        let configuration = self.cores.configuration();
        let mut tls: BTreeMap<&str, TlsClient> = configuration
            .originations
            .iter()
            .map(|(name, one)| (name.as_str(), TlsClient::new(one, Arc::<UpstreamMetrics>::default())))
            .collect();
        let probed = |upstream: &config::Upstream| {
            Some(Rc::new(Probed {
                name: upstream.name.clone(),
                target: Target::upstream(upstream),
                authority: upstream.authority.clone(),
                health: upstream.health.clone()?,
                tls: tls.remove(upstream.name.as_str()),
            }))
        };
        self.upstreams.replace(configuration.config.upstreams.iter().filter_map(probed).collect());
    }
}

/// Asks one member. `Err`: what is wrong with it.
async fn probe(io: &Io, probed: &Probed, endpoint: &Endpoint, now_ms: u64) -> Result<(), String> {
    let Probed { authority, health, tls, .. } = probed;
    let get = Get {
        endpoints: std::slice::from_ref(endpoint),
        tls: tls.as_ref(),
        authority,
        target: &health.path,
        accept: "*/*",
        deadline_ms: now_ms + health.timeout.as_millis() as u64,
        body_bytes_max: HEALTH_BODY_BYTES_MAX,
    };
    // Boxed, because it is larger than what waits for it.
    match Box::pin(fetch::get(io, &get)).await {
        Ok(fetched) if health.expect.contains(&fetched.status) => Ok(()),
        Ok(fetched) => Err(format!("status {}", fetched.status)),
        Err(error) => Err(error.to_string()),
    }
}
