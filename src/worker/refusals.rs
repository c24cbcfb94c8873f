//! Connections over a bound: answered as far as there is a reserve for that, counted, and told to the operator once a
//! minute.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use tracing::warn;

use crate::clock;
use crate::downstream::clients::Network;
use crate::gateway::answer::failure::Failure;
use crate::gateway::connection;
use crate::gateway::core::{Beginning, Core};
use crate::http::Scheme;
use crate::limits::{
    ADDRESS_REFUSALS_AT_ONCE, REFUSALS_AT_ONCE, REFUSALS_LEAST, REFUSALS_LINGERING_MAX, REFUSALS_PER_ADDRESS,
};
use crate::net::Transport;

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The core has as many connections as it may have, and none of them gives way.
    Full,
    /// The client's address has as many as it may have.
    Address,
}

/// The clients that are being answered, once for each connection.
type Places = Rc<RefCell<Vec<Network>>>;

/// The refusals of one listener.
#[derive(Default)]
pub(super) struct Refusals {
    /// The clients whose connections are being answered because the core is full.
    full: Places,
    /// The same for those that have too many.
    address: Places,
    /// Connections whose answer is on its way to a client that may still be sending.
    lingering: Rc<Cell<usize>>,
    log: RefusalLog,
}

impl Refusals {
    /// Refuses a connection: with an answer if the reserve allows it. Over TLS that takes a handshake, which has to
    /// wait in line like any other. Behind a load balancer's own header there is none.
    pub(super) fn refuse(
        &self,
        core: Rc<Core>,
        stream: Transport,
        peer: SocketAddr,
        scheme: Scheme,
        refusal: Refusal,
    ) {
        core.resources.metrics.connections.refused.add(1);
        self.log.count(&core, refusal);
        if core.beginning(peer.ip(), scheme) != Beginning::Direct {
            return;
        }
        let (answered, max, failure) = match refusal {
            // Where the limit of open files is small, the reserve is.
            Refusal::Full => {
                let reserve = core.connections_max().clamp(REFUSALS_LEAST, REFUSALS_AT_ONCE);
                (&self.full, reserve, Failure::Overloaded)
            }
            Refusal::Address => (&self.address, ADDRESS_REFUSALS_AT_ONCE, Failure::TooManyConnections),
        };
        // Nobody alone takes all of these places: somebody else may be asking for the health.
        let client = Network::of(peer.ip());
        let own = answered.borrow().iter().filter(|other| **other == client).count();
        if answered.borrow().len() >= max || (own >= REFUSALS_PER_ADDRESS && !core.trusts(peer.ip())) {
            return;
        }
        answered.borrow_mut().push(client);
        let (answered, lingering) = (answered.clone(), self.lingering.clone());
        monoio::spawn(async move {
            let told = connection::turn_away(&core, stream, (peer, scheme), failure).await;
            // While the client reads the answer, the place is free for the next one.
            leave(&answered, client);
            let Some(mut connection) = told.filter(|_| lingering.get() < REFUSALS_LINGERING_MAX) else {
                return;
            };
            lingering.set(lingering.get() + 1);
            connection.linger(&core.resources.io).await;
            lingering.set(lingering.get() - 1);
        });
    }
}

fn leave(places: &Places, client: Network) {
    let mut places = places.borrow_mut();
    let place = places.iter().position(|other| *other == client);
    place.map(|place| places.swap_remove(place));
}

/// Logs refused connections: the first one, then once a minute as long as there are any.
#[derive(Default)]
struct RefusalLog {
    logged_ms: Cell<Option<u64>>,
    full: Cell<u64>,
    address: Cell<u64>,
}

impl RefusalLog {
    fn count(&self, core: &Core, refusal: Refusal) {
        let count = match refusal {
            Refusal::Full => &self.full,
            Refusal::Address => &self.address,
        };
        count.set(count.get() + 1);
        let now_ms = clock::now_ms();
        if self.logged_ms.get().is_some_and(|logged_ms| now_ms - logged_ms < LOG_INTERVAL_MS) {
            return;
        }
        self.logged_ms.set(Some(now_ms));
        let (full, address) = (self.full.take(), self.address.take());
        let fullest = core.resources.clients.fullest(FULLEST_LOGGED).into_iter();
        let fullest: Vec<String> =
            fullest.map(|(network, count): (Network, _)| format!("{network}: {count}")).collect();
        let fullest = fullest.join(", ");
        // A proxy that is no client belongs in TRUSTED_PROXIES.
        warn!(core_full = full, address_full = address, fullest, "connections are refused");
    }
}

/// Interval between two log lines, in milliseconds.
const LOG_INTERVAL_MS: u64 = 60_000;
/// Clients that a log line names.
const FULLEST_LOGGED: usize = 3;
