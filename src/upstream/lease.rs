//! A lease: a connection to a member for one exchange, and a slot among the requests in flight.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::member::{Member, MemberRequest};
use super::pool::{Connection, Pool};
use super::slot::UpstreamSlot;
use crate::net::{DetachedTransport, Endpoint, Transport};

/// Evidence that there is a connection, good for one exchange, and a slot among the requests in flight. Dropped, it
/// closes the connection; only [`Lease::give_back`] keeps it.
pub struct Lease<'u> {
    pool: &'u Pool,
    _slot: UpstreamSlot<'u>,
    _in_flight: MemberRequest,
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

impl<'u> Lease<'u> {
    pub(super) fn new(
        pool: &'u Pool,
        slot: UpstreamSlot<'u>,
        connection: Box<Connection>,
        use_: Use,
    ) -> Lease<'u> {
        let in_flight = connection.member.begin();
        Lease { pool, _slot: slot, _in_flight: in_flight, connection, use_ }
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

    /// The upstream has sent more than the response.
    pub fn distrust(self) {
        self.pool.distrust();
    }

    /// The exchange is complete in both directions: the next one may use the connection.
    pub fn give_back(self) {
        self.pool.put(self.connection);
    }
}
