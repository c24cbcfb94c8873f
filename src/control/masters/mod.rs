//! The watch over the masters of Redis: a thread that asks the nodes of a cluster which master has which slots, or
//! sentinels who the master is, and tells the cores.
//!
//! Its connections are its own and block it; neither a core nor the control thread waits for it.

mod dialogue;
mod pace;
mod search;
mod sentinels;
mod slots;

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, select};

use self::dialogue::Introduction;
use self::pace::Pace;
use self::search::Search;
use super::jitter::jitter;
use super::members::Rosters;
use super::{Cores, Target};
use crate::clock;
use crate::config::{Config, RedisAddress};
use crate::limits::{FIRST_RESOLUTION_MS, REDIS_FIRST_ATTEMPT_MS, REDIS_LOOK_IDLE_MS, REDIS_LOOK_LATER_MS};
use crate::net::Endpoint;
use crate::tls::{self, Originations};

/// The thread. Dropping this value stops it after its current look.
pub struct MasterWatch {
    _stop_sender: Sender<()>,
    first_look: Receiver<()>,
    of: Watched,
}

/// What a watch depends on.
#[derive(Clone, PartialEq)]
struct Watched {
    address: RedisAddress,
    introduction: Introduction,
    sentinels: Option<(String, Introduction)>,
    prefix: String,
}

impl Watched {
    /// `None`: there is nothing to watch.
    fn new(config: &Config, originations: &Originations) -> Option<Watched> {
        let tls = originations.get(tls::REDIS);
        let sentinels = match &config.redis.address {
            RedisAddress::Cluster(_) => None,
            RedisAddress::Sentinel { master, .. } => {
                Some((master.clone(), Introduction::of_sentinels(&config.redis, tls)))
            }
            RedisAddress::Tcp { .. } | RedisAddress::Unix(_) => return None,
        };
        config.uses_redis().then(|| Watched {
            address: config.redis.address.clone(),
            sentinels,
            introduction: Introduction::of(&config.redis, tls),
            prefix: config.rate_limit.prefix.clone(),
        })
    }
}

impl MasterWatch {
    /// Starts the thread, if the configuration's Redis has masters to look for. It looks at once, and then whenever it
    /// hears the bell.
    ///
    /// # Errors
    /// The thread cannot be created.
    pub fn begin(
        (config, originations): (&Config, &Originations),
        cores: &Arc<Cores>,
        rosters: &Arc<Rosters>,
        bell: Receiver<()>,
    ) -> io::Result<Option<MasterWatch>> {
        let Some(of) = Watched::new(config, originations) else { return Ok(None) };
        let (stop_sender, stop) = bounded(0);
        let (look_sender, first_look) = bounded(0);
        let watching = Watching {
            search: Search::new(of.introduction.clone(), of.sentinels.clone(), &of.prefix),
            address: of.address.clone(),
            cores: cores.clone(),
            rosters: rosters.clone(),
            stop,
            bell,
            look_sender: Some(look_sender),
        };
        thread::Builder::new().name("masters".to_owned()).spawn(move || watching.run())?;
        Ok(Some(MasterWatch { _stop_sender: stop_sender, first_look, of }))
    }

    /// Waits until the masters were looked for once, up to a bound.
    pub fn wait_for_first(&self) {
        // The channel closes when the first look ends.
        let _ = self.first_look.recv_timeout(Duration::from_millis(REDIS_FIRST_ATTEMPT_MS));
    }

    /// Whether a watch for this configuration would do the same.
    pub fn is_over(&self, config: &Config, originations: &Originations) -> bool {
        Watched::new(config, originations).as_ref() == Some(&self.of)
    }
}

/// What the thread works on.
struct Watching {
    search: Search,
    address: RedisAddress,
    cores: Arc<Cores>,
    rosters: Arc<Rosters>,
    /// Nothing is sent on it: it is disconnected when [`MasterWatch`] is dropped.
    stop: Receiver<()>,
    bell: Receiver<()>,
    /// Dropped after the first look.
    look_sender: Option<Sender<()>>,
}

impl Watching {
    fn run(mut self) {
        let idle_ms = match self.address {
            RedisAddress::Sentinel { .. } => REDIS_LOOK_LATER_MS,
            _ => REDIS_LOOK_IDLE_MS,
        };
        let (mut pace, begun_ms) = (Pace::new(idle_ms), clock::now_ms());
        loop {
            let seeds = self.seeds();
            let is_named = !seeds.is_empty() || clock::now_ms() >= begun_ms + FIRST_RESOLUTION_MS;
            let found = self.search.look(&seeds);
            if self.stop.try_recv() != Err(TryRecvError::Empty) {
                return;
            }
            if let Some(topology) = found {
                self.cores.set_topology(&self.address, &topology);
            }
            pace.looked(clock::now_ms());
            if is_named {
                self.look_sender = None;
            }
            // Until there is a first answer, the search goes on.
            if !self.search.has_found() {
                pace.rung(clock::now_ms());
            }
            if self.wait(&mut pace) == Wait::Stopped {
                return;
            }
        }
    }

    /// Waits until it is time for the next look.
    fn wait(&self, pace: &mut Pace) -> Wait {
        let jitter = jitter();
        loop {
            let left_ms = pace.next_ms(jitter).saturating_sub(clock::now_ms());
            if left_ms == 0 {
                return Wait::Over;
            }
            select! {
                recv(self.stop) -> _ => return Wait::Stopped,
                recv(self.bell) -> rung => match rung {
                    Ok(()) => pace.rung(clock::now_ms()),
                    Err(_) => return Wait::Stopped,
                },
                default(Duration::from_millis(left_ms)) => return Wait::Over,
            }
        }
    }

    fn seeds(&self) -> Vec<std::net::SocketAddr> {
        let endpoints = self.rosters.endpoints(&Target::Redis(self.address.clone()));
        let address = |endpoint: &Endpoint| match endpoint {
            Endpoint::Tcp(address, _) => Some(*address),
            Endpoint::Unix(..) => None,
        };
        endpoints.iter().filter_map(address).collect()
    }
}

#[derive(PartialEq, Eq)]
enum Wait {
    Over,
    Stopped,
}
