//! One exchange, from its head to its access-log record.

use crate::auth::{self, Identity};
use crate::gateway::client_address::{accept_request_id, client_address};
use crate::gateway::core::Core;
use crate::gateway::core::heads::{Heads, Request};
use crate::gateway::core::request_id::RequestId;
use crate::gateway::downstream::Downstream;
use crate::gateway::forward::body::{Body, Encoding, Source};
use crate::gateway::forward::headers::Context;
use crate::gateway::record::Record;
use crate::gateway::websocket::tunnel::Handover;
use crate::http1::{FieldKind, Framing, ResponseHead};
use crate::limits::REFUSED_BODY_BYTES_MAX;

/// One request and all that belongs to it while it is served.
pub struct Exchange<'c> {
    /// The core that serves it.
    pub core: &'c Core,
    /// The client's connection.
    pub downstream: &'c mut Downstream,
    /// What was asked.
    pub request: &'c Request,
    /// What the upstream answered.
    pub response: &'c mut ResponseHead,
    /// The request's body.
    pub body: Body,
    /// What will be remembered.
    pub record: Record<'c>,
    /// The connection's other end is a trusted proxy.
    pub is_peer_trusted: bool,
}

impl<'c> Exchange<'c> {
    /// The exchange begins: its head is here.
    pub fn begin(core: &'c Core, downstream: &'c mut Downstream, heads: &'c mut Heads) -> Exchange<'c> {
        let Heads { request, response } = heads;
        let forwarded_for = request.values(FieldKind::XForwardedFor);
        let client =
            client_address(downstream.peer.ip(), &core.snapshot.config.trusted_proxies, forwarded_for);
        let adopted =
            request.only(FieldKind::XRequestId).filter(|id| client.peer_trusted && accept_request_id(id));
        let id = adopted.map_or_else(|| core.resources.ids.next_id(), RequestId::adopted);
        let framing = request.head.framing;
        let encoding = if framing == Framing::Chunked { Encoding::Chunked } else { Encoding::Raw };
        let body = Body::new(framing, encoding, body_bytes_max(core.snapshot.config.sizes.body_bytes), false);
        let record = Record::begin(core, client.address, id);
        let is_peer_trusted = client.peer_trusted;
        Exchange { core, downstream, request, response, body, record, is_peer_trusted }
    }

    /// What the upstream is told besides the request's own head.
    pub fn context<'e>(&'e self, identity: &'e Identity) -> Context<'e> {
        Context {
            core: self.core,
            id: &self.record.id,
            user: identity.user().map(auth::User::as_str),
            peer: self.downstream.peer.ip().to_canonical(),
            is_peer_trusted: self.is_peer_trusted,
        }
    }

    /// The client wants its connection to go on, and so do we.
    pub fn may_keep_alive(&self) -> bool {
        self.request.head.keep_alive && !self.core.resources.io.is_draining()
    }

    /// Reads what is left of the request's body after its response, so that the next request can come.
    pub async fn discard_rest(&mut self) -> After {
        if self.body.is_complete() {
            return After::KeepAlive;
        }
        if !self.body.is_intact() {
            return After::Linger;
        }
        let core = self.core;
        let buffer = &mut self.downstream.buffer;
        let stream = &self.downstream.stream;
        let mut source = Source {
            stream,
            timers: &core.resources.io.timers,
            pace: core.snapshot.client_pace(),
            client: None,
        };
        match source.discard(&mut self.body, buffer, REFUSED_BODY_BYTES_MAX).await {
            Ok(true) => After::KeepAlive,
            Ok(false) | Err(_) => After::Linger,
        }
    }

    /// The exchange is over: recorded.
    pub fn finish(mut self) {
        // An idle connection keeps no buffer; one with the next request in it does.
        self.downstream.buffer.release_if_empty();
        self.record.bytes_in = self.request.bytes().len() as u64 + self.body.bytes();
        self.record.finish(self.core, self.request);
    }
}

/// What a configured bound means: 0 is none.
pub fn body_bytes_max(configured: u64) -> u64 {
    if configured == 0 { u64::MAX } else { configured }
}

/// What becomes of the client's connection after an exchange.
pub enum After {
    /// The next request may come.
    KeepAlive,
    /// Our answer is on its way while the client may still be sending: say that we are done, and read on for
    /// a bounded time, because a reset would eat the answer (RFC 9112 §9.6).
    Linger,
    /// Nothing is left to say.
    Close,
    /// A tunnel goes on with duplicates of both connections.
    Tunnel(Box<Handover>),
}
