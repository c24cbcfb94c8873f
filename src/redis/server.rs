//! Where Redis is: its addresses, round robin over them, and TLS to them.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::clock;
use crate::limits::{REDIS_ADDRESSES_TRIED_MAX, REDIS_CONNECT_MS};
use crate::net::{self, ConnectError, Endpoint, Io, RoundRobin, Transport, tls};

/// The addresses of Redis.
pub(super) struct Server {
    endpoints: RefCell<Arc<[Endpoint]>>,
    turns: RoundRobin,
    tls: Option<ServerTls>,
}

/// TLS to a server.
#[derive(Clone)]
pub(super) struct ServerTls {
    /// What sessions are made with.
    pub(super) client: Arc<ClientConfig>,
    /// What the server has to prove that it is.
    pub(super) name: ServerName<'static>,
}

impl Server {
    /// A server whose name is not resolved yet.
    pub(super) fn unresolved(tls: Option<ServerTls>) -> Server {
        Server { endpoints: RefCell::new(Arc::new([])), turns: RoundRobin::default(), tls }
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
    pub(super) async fn connect(&self, io: &Io) -> Result<Transport, ConnectError> {
        let endpoints = self.endpoints();
        let order = self.turns.order(&endpoints, REDIS_ADDRESSES_TRIED_MAX);
        let deadline_ms = || clock::now_ms() + REDIS_CONNECT_MS;
        let secure = async |transport, deadline_ms| match &self.tls {
            // Boxed: it is large, and most do without.
            Some(ServerTls { client, name }) => {
                Box::pin(tls::secure(transport, client.clone(), name.clone(), io, deadline_ms)).await
            }
            None => Ok(transport),
        };
        net::connect_any(order, &io.timers, deadline_ms, secure).await.map(|(transport, _)| transport)
    }
}
