//! Connections over a bound: answered as far as there is a reserve for that, counted, and told to the operator once a
//! minute.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use tracing::warn;

use crate::clock;
use crate::downstream::clients::Network;
use crate::gateway::answer::failure::Failure;
use crate::gateway::connection;
use crate::gateway::core::Core;
use crate::limits::{ADDRESS_REFUSALS_AT_ONCE, REFUSALS_AT_ONCE, REFUSALS_LEAST};
use crate::net::Transport;

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The core has as many connections as it may have, and none of them gives way.
    Full,
    /// The client's address has as many as it may have.
    Address,
}

/// The refusals of one listener.
#[derive(Default)]
pub(super) struct Refusals {
    /// Connections that are being answered because the core is full.
    full: Rc<Cell<usize>>,
    /// Connections that are being answered because their client has too many.
    address: Rc<Cell<usize>>,
    log: RefusalLog,
}

impl Refusals {
    /// Refuses a connection: with an answer if the reserve allows it.
    pub(super) fn refuse(&self, core: Rc<Core>, stream: Transport, peer: SocketAddr, refusal: Refusal) {
        core.resources.metrics.connections.refused.add(1);
        self.log.count(&core, refusal);
        let (answered, max, failure) = match refusal {
            // Where the limit of open files is small, the reserve is.
            Refusal::Full => {
                let reserve = core.connections_max().clamp(REFUSALS_LEAST, REFUSALS_AT_ONCE);
                (&self.full, reserve, Failure::Overloaded)
            }
            Refusal::Address => (&self.address, ADDRESS_REFUSALS_AT_ONCE, Failure::TooManyConnections),
        };
        if answered.get() >= max {
            return;
        }
        answered.set(answered.get() + 1);
        let answered = answered.clone();
        monoio::spawn(async move {
            connection::turn_away(core, stream, peer, failure).await;
            answered.set(answered.get() - 1);
        });
    }
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
