//! Where Redis is: its addresses, and round robin over them.

use std::cell::RefCell;
use std::sync::Arc;

use crate::clock;
use crate::limits::{REDIS_ADDRESSES_TRIED_MAX, REDIS_CONNECT_MS};
use crate::net::{self, ConnectError, Endpoint, RoundRobin, Timers, Transport};

/// The addresses of Redis.
pub(super) struct Server {
    endpoints: RefCell<Arc<[Endpoint]>>,
    turns: RoundRobin,
}

impl Server {
    /// A server whose name is not resolved yet.
    pub(super) fn unresolved() -> Server {
        Server { endpoints: RefCell::new(Arc::new([])), turns: RoundRobin::default() }
    }

    pub(super) fn endpoints(&self) -> Arc<[Endpoint]> {
        self.endpoints.borrow().clone()
    }

    pub(super) fn replace_endpoints(&self, endpoints: Arc<[Endpoint]>) {
        *self.endpoints.borrow_mut() = endpoints;
    }

    pub(super) fn is_resolved(&self) -> bool {
        !self.endpoints.borrow().is_empty()
    }

    /// Connects to the next address in turn, or to the one after it if that refuses.
    pub(super) async fn connect(&self, timers: &Timers) -> Result<Transport, ConnectError> {
        let endpoints = self.endpoints();
        let order = self.turns.order(&endpoints, REDIS_ADDRESSES_TRIED_MAX);
        let deadline_ms = || clock::now_ms() + REDIS_CONNECT_MS;
        let secure = async |transport, _| Ok(transport);
        net::connect_any(order, timers, deadline_ms, secure).await.map(|(transport, _)| transport)
    }
}
