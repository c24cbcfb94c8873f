//! A lease: a connection to a member for one exchange, and a slot among the requests in flight.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::announced::announced_ms;
use super::member::{Member, MemberRequest};
use super::pool::Connection;
use super::slot::UpstreamSlot;
use super::terms::Terms;
use crate::http::Field;
use crate::net::{DetachedTransport, Endpoint, Transport};

/// Evidence that there is a connection, good for one exchange, and a slot among the requests in flight. Dropped, it
/// closes the connection; only [`Lease::give_back`] keeps it.
pub struct Lease<'u> {
    terms: &'u Terms,
    slot: RefCell<Option<UpstreamSlot>>,
    request: MemberRequest,
    /// Boxed: a lease moves through every step of a request.
    connection: Box<Connection>,
    use_: Use,
}

/// Whether a leased connection has carried an exchange before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It was opened for this exchange.
    First {
        /// How long connecting took, in µs.
        connect_us: u64,
    },
    /// It comes from the pool: the upstream may be closing it this moment.
    Reused,
}

/// As many long responses as allowed come from the upstream already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyStreams;

impl<'u> Lease<'u> {
    pub(super) fn new(
        terms: &'u Terms,
        slot: UpstreamSlot,
        connection: Box<Connection>,
        use_: Use,
    ) -> Lease<'u> {
        let request = connection.member.begin();
        Lease { terms, slot: RefCell::new(Some(slot)), request, connection, use_ }
    }

    /// What holds for the exchange.
    pub fn terms(&self) -> &'u Terms {
        self.terms
    }

    /// The connection.
    pub fn transport(&self) -> &Transport {
        &self.connection.transport
    }

    /// A second descriptor of the connection's socket.
    ///
    /// # Errors
    /// No file descriptors.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        self.transport().duplicate()
    }

    /// Takes the connection away for good: it goes on elsewhere. `socket`: a second descriptor of its socket.
    pub fn detach(mut self, socket: OwnedFd) -> DetachedTransport {
        self.connection.transport.detach(socket)
    }

    /// Where it leads.
    pub fn member(&self) -> &Rc<Member> {
        &self.connection.member
    }

    /// The address that it leads to.
    pub fn endpoint(&self) -> &Endpoint {
        self.connection.member.endpoint()
    }

    /// The connection has carried an exchange before, so the upstream may be closing it this moment.
    pub fn is_reused(&self) -> bool {
        self.use_ == Use::Reused
    }

    /// How long connecting took, in µs; `None`: the connection is reused.
    pub fn connect_us(&self) -> Option<u64> {
        match self.use_ {
            Use::First { connect_us } => Some(connect_us),
            Use::Reused => None,
        }
    }

    /// The whole request has left, now. The time to its answer is measured.
    pub fn sent(&self, now_us: u64) {
        self.request.sent(now_us);
    }

    /// The head of its response has arrived, now.
    pub fn answered(&self, now_us: u64) {
        if let Some(us) = self.request.answered(now_us) {
            self.terms.metrics().response.observe(us);
        }
    }

    /// Its response has come whole, or goes on for long.
    pub fn succeeded(&self) {
        self.request.succeeded();
    }

    /// The request has failed in a way that is the member's, for this cause.
    pub fn failed(&self, cause: &'static str) {
        self.request.failed(cause);
    }

    /// The response goes on for long: it moves from the requests in flight to the streams.
    ///
    /// # Errors
    /// There are as many as allowed. It stays among the requests in flight.
    pub fn become_stream(&self) -> Result<(), TooManyStreams> {
        let stream = self.terms.stream_slot().ok_or(TooManyStreams)?;
        self.slot.replace(Some(stream));
        self.request.become_stream();
        Ok(())
    }

    /// Takes note of how long the service keeps the connection open, if the head of its response says so.
    pub fn note_keep_alive(&self, head: &[u8], fields: &[Field]) {
        if let Some(idle_ms) = announced_ms(head, fields) {
            self.connection.announce(idle_ms);
        }
    }

    /// The upstream has sent more than the response.
    pub fn distrust(self) {
        self.terms.pool().distrust();
    }

    /// The exchange is complete in both directions: the next one may use the connection.
    pub fn give_back(self) {
        self.terms.pool().put(self.connection);
    }
}
