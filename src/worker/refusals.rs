//! Connections over a bound: answered as far as there is a reserve for that, and counted.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use crate::clock;
use crate::downstream::clients::Network;
use crate::gateway::answer::failure::Failure;
use crate::gateway::connection;
use crate::gateway::core::{Beginning, Core, Resources};
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
        count(&core, refusal);
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
        // Nobody alone takes more than half of these places: somebody else may be asking for the health.
        let client = Network::of(peer.ip());
        let own = answered.borrow().iter().filter(|other| **other == client).count();
        let own_max = REFUSALS_PER_ADDRESS.min(max / 2);
        if answered.borrow().len() >= max || (own >= own_max && !core.trusts(peer.ip())) {
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

fn count(core: &Core, refusal: Refusal) {
    let Resources { metrics, clients, .. } = &*core.resources;
    metrics.connections.refused.add(1);
    match refusal {
        Refusal::Full => metrics.refusal_notes.full.add(1),
        Refusal::Address => metrics.connections.refused_per_address.add(1),
    }
    metrics.refusal_notes.look(clients, clock::now_ms());
}

fn leave(places: &Places, client: Network) {
    let mut places = places.borrow_mut();
    let place = places.iter().position(|other| *other == client);
    place.map(|place| places.swap_remove(place));
}
