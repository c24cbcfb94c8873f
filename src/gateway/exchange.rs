//! One exchange: a request, its response, and everything that belongs to them while they are served.

use std::cell::{Cell, OnceCell};
use std::net::IpAddr;

use crate::config::ClientHeaders;
use crate::downstream::client_address::client_address;
use crate::downstream::clients::{Network, RequestSlot};
use crate::downstream::h1::Connection;
use crate::downstream::h2::Way;
use crate::downstream::{ClientStream, Outcome};
use crate::gateway::answer::failure::Failure;
use crate::gateway::core::Core;
use crate::gateway::core::request_id::RequestId;
use crate::gateway::forward::trace::{Trace, TracedClient};
use crate::gateway::record::Record;
use crate::gateway::websocket::tunnel::Handover;
use crate::http::{ClaimedScheme, FieldKind, Heads, Request, Response, Scheme, claimed_scheme, without_port};
use crate::http1::RequestHead;
use crate::route::Match;
use crate::tls::client::Verified;

/// How an exchange ends: complete, aborted, or as a tunnel.
pub type ExchangeOutcome = Outcome<Box<Handover>>;

/// One exchange.
pub struct Exchange<'c> {
    /// The core that serves it.
    pub core: &'c Core,
    about: &'c About,
    /// The client's side.
    pub client: ClientStream<'c>,
    /// What was asked.
    pub request: &'c Request,
    /// What the upstream answered.
    pub response: &'c mut Response,
    /// What will be remembered.
    pub record: Record<'c>,
    /// The connection's other end is a trusted proxy.
    pub is_peer_trusted: bool,
}

/// What is known of an exchange while it is served, for those who look at it from outside.
#[derive(Default)]
pub struct About {
    begun_ms: Cell<u64>,
    id: OnceCell<RequestId>,
    /// The route's place among those of the configuration.
    route: Cell<Option<usize>>,
}

impl About {
    /// Answers the roll call of a core that drains.
    pub fn answer(&self, core: &Core) {
        let routes = &core.snapshot.config.routes;
        let route = self.route.get().and_then(|index| routes.get(index)).map(|route| &*route.name);
        if let Some(id) = self.id.get() {
            core.resources.roll_call.answer(self.begun_ms.get(), false, route, id.as_bytes());
        }
    }
}

impl<'c> Exchange<'c> {
    /// Begins with a request whose head was read from an HTTP/1 connection.
    pub fn h1(
        core: &'c Core,
        about: &'c About,
        connection: &'c mut Connection,
        head: RequestHead,
        heads: &'c mut Heads,
    ) -> Exchange<'c> {
        let body_bytes_max = core.snapshot.body_bytes_max(None);
        let settings = &core.snapshot.downstream;
        let client = ClientStream::h1(&core.resources.io, settings, connection, head, body_bytes_max);
        Exchange::begin(core, about, client, heads)
    }

    /// Begins with a request that has come on a stream.
    pub fn h2(core: &'c Core, about: &'c About, way: Way<'c>, heads: &'c mut Heads) -> Exchange<'c> {
        let body_bytes_max = core.snapshot.body_bytes_max(None);
        let settings = &core.snapshot.downstream;
        let client = ClientStream::h2(&core.resources.io, settings, way, body_bytes_max);
        Exchange::begin(core, about, client, heads)
    }

    fn begin(
        core: &'c Core,
        about: &'c About,
        client: ClientStream<'c>,
        heads: &'c mut Heads,
    ) -> Exchange<'c> {
        let Heads { request, response } = heads;
        let trusted = &core.snapshot.config.trusted_proxies;
        let forwarded_for = request.values(FieldKind::XForwardedFor);
        let found = client_address(client.peer().ip(), trusted, forwarded_for);
        let is_peer_trusted = found.is_peer_trusted;
        let given = request.only(FieldKind::XRequestId).filter(|_| is_peer_trusted);
        let adopted = given.and_then(RequestId::adopt);
        let id = about.id.get_or_init(|| adopted.unwrap_or_else(|| core.resources.ids.next_id()));
        about.begun_ms.set(core.resources.io.timers.ticked_ms());
        let record = Record::begin(core, found.address, id);
        let mut exchange = Exchange { core, about, client, request, response, record, is_peer_trusted };
        if Trace::is_on(core) {
            let (scheme, version) = (exchange.client_scheme(), exchange.client.version());
            let client =
                TracedClient { is_trusted: is_peer_trusted, request_id: id.as_bytes(), scheme, version };
            exchange.record.trace = Some(Trace::begin(core, exchange.request, &client));
        }
        let hsts = core.snapshot.config.https.hsts.as_deref();
        // RFC 6797 §7.2: never over HTTP.
        exchange.record.hsts = hsts.filter(|_| exchange.client_scheme() == Scheme::Https);
        exchange
    }

    /// The address of the connection's other end.
    pub fn peer(&self) -> IpAddr {
        self.client.peer().ip().to_canonical()
    }

    /// How the client reaches the gateway.
    pub fn scheme(&self) -> Scheme {
        match self.client.tls() {
            Some(_) => Scheme::Https,
            None => Scheme::Http,
        }
    }

    /// How the client has come: as a trusted proxy says, or as this connection does.
    pub fn client_scheme(&self) -> Scheme {
        match claimed_scheme(self.request) {
            ClaimedScheme::Known(claimed) if self.is_peer_trusted => claimed,
            _ => self.scheme(),
        }
    }

    /// Checks that the connection is one for the host of the request: a browser uses one connection for every host that
    /// leads to the same address and that, as it believes, the certificate covers. "A client that receives a 421
    /// (Misdirected Request) response MAY retry the request … over a different connection" (RFC 9110 §15.5.20). A
    /// trusted proxy sends whatever it has on any connection.
    ///
    /// # Errors
    /// [`Failure::Misdirected`].
    pub fn check_host(&self) -> Result<(), Failure> {
        let Some(tls) = self.client.tls().filter(|_| !self.is_peer_trusted) else { return Ok(()) };
        let (asked, termination) = (tls.server_name(), self.core.snapshot.tls.as_ref());
        let (Some(asked), Some(termination)) = (asked, termination) else { return Ok(()) };
        match termination.is_misdirected(asked, without_port(self.request.host())) {
            true => Err(Failure::Misdirected),
            false => Ok(()),
        }
    }

    /// Whom the client's certificate names, if upstreams are to learn it.
    pub fn certified(&self) -> Option<&Verified> {
        let tls =
            self.client.tls().filter(|_| self.core.snapshot.config.tls.client_headers == ClientHeaders::On);
        tls?.verified_client()
    }

    /// A place among the requests that the client may have in flight. A trusted proxy that names no client may have any
    /// number.
    ///
    /// # Errors
    /// The client has as many as allowed.
    pub fn request_slot(&self) -> Result<RequestSlot<'c>, Failure> {
        let (clients, max) =
            (&self.core.resources.clients, self.core.snapshot.config.requests_per_address_max());
        let slot = match self.is_peer_trusted {
            true if self.record.client == self.peer() => {
                clients.begin_request_at(self.client.client(), usize::MAX)
            }
            true => clients.begin_request(Network::of(self.record.client), max),
            false => clients.begin_request_at(self.client.client(), max),
        };
        slot.ok_or(Failure::TooManyRequests)
    }

    /// A proxy's connections have no bound of their own, so the tunnels of a client behind it are looked at one by one.
    ///
    /// # Errors
    /// The client has as many connections as allowed.
    pub fn check_client_of_proxy(&self) -> Result<(), Failure> {
        let is_named = self.is_peer_trusted && self.record.client != self.peer();
        let held = || self.core.resources.clients.connections(Network::of(self.record.client));
        match is_named && held() >= self.core.connections_per_address_max() {
            true => Err(Failure::TooManyConnections),
            false => Ok(()),
        }
    }

    /// What is known of it to those outside.
    pub fn about(&self) -> &'c About {
        self.about
    }

    /// The request has this route.
    pub fn found(&mut self, found: &Match<'c>) {
        self.record.found(found);
        self.about.route.set(found.index());
    }

    /// The exchange is over: counted and logged.
    pub fn finish(mut self) {
        self.record_end();
    }

    fn record_end(&mut self) {
        self.record.bytes_in = self.request.received() as u64 + self.client.body_bytes();
        let connection = (self.client.protocol(), self.client.tls());
        self.record.finish(self.core, self.request, connection);
    }
}

/// An exchange that is dropped before it is over was cut off, at the end of a drain.
impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        if !self.record.is_finished() {
            self.client.cut();
            self.record.cut();
            self.record_end();
        }
    }
}
