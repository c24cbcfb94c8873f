//! One exchange, from its head to its access-log record.

use crate::auth::{self, Identity, Refusal, Verified};
use crate::clock;
use crate::config::{self, Access, LimitHeaders, RouteKind};
use crate::gateway::After;
use crate::gateway::body::{Body, Encoding, Source};
use crate::gateway::client::{accept_request_id, client_address};
use crate::gateway::core::Core;
use crate::gateway::downstream::Downstream;
use crate::gateway::error::Failure;
use crate::gateway::forward::forward;
use crate::gateway::handshake;
use crate::gateway::headers::Context;
use crate::gateway::heads::{Heads, Request};
use crate::gateway::local;
use crate::gateway::record::{Record, RequestId};
use crate::gateway::reply;
use crate::gateway::upgrade::upgrade;
use crate::http1::{FieldKind, Framing, ResponseHead};
use crate::limit::{Ask, Client, Permit, Refused};
use crate::limits::REFUSED_BODY_BYTES_MAX;
use crate::route::{Match, RouteEntry};
use crate::upstream::{ConnectError, LeaseError};

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

/// Serves the request whose head has arrived.
pub async fn exchange<'c>(core: &'c Core, downstream: &'c mut Downstream, heads: &'c mut Heads) -> After {
    let mut exchange = Exchange::begin(core, downstream, heads);
    let after = match exchange.serve().await {
        Ok(after) => after,
        Err(failure) => reply::refuse(&mut exchange, failure).await,
    };
    exchange.finish();
    after
}

/// Answers what came instead of a valid head.
pub async fn refuse_head<'c>(
    core: &'c Core,
    downstream: &'c mut Downstream,
    heads: &'c mut Heads,
    failure: Failure,
) -> After {
    let mut exchange = Exchange::begin(core, downstream, heads);
    let after = reply::refuse(&mut exchange, failure).await;
    exchange.finish();
    after
}

impl<'c> Exchange<'c> {
    /// The steps in their order. Each one's evidence is the next one's argument.
    async fn serve(&mut self) -> Result<After, Failure> {
        if let Some(answered) = local::answer(self).await {
            return Ok(answered);
        }
        let found = self.core.routes.find(self.request.method(), self.request.path());
        self.record.route = found.name();
        let identified = self.identify(&found);
        let permit = self.permit(&found, &identified).await?;
        let identity = auth::authorize(found.access(), identified).map_err(Failure::Credential)?;
        let route = &self.route(found)?.route;
        match route.kind {
            RouteKind::Http => self.forward(route, &identity, &permit).await,
            RouteKind::WebSocket => upgrade(self, route, &identity, &permit).await,
        }
    }

    /// On a connection that was used before, if there is one; if it proves stale, once more on a new one.
    async fn forward(
        &mut self,
        route: &config::Route,
        identity: &Identity,
        permit: &Permit,
    ) -> Result<After, Failure> {
        let upstream = &self.core.upstreams[route.upstream];
        let lease = upstream.lease(&self.core.timers, &self.core.counters).await.map_err(unreachable)?;
        match forward(self, route, identity, permit, lease).await {
            Err(Failure::Stale) => self.core.counters.upstream_retries.add(1),
            ended => return ended,
        }
        let lease = upstream.lease_new(&self.core.timers, &self.core.counters).await.map_err(unreachable)?;
        forward(self, route, identity, permit, lease).await
    }

    fn begin(core: &'c Core, downstream: &'c mut Downstream, heads: &'c mut Heads) -> Exchange<'c> {
        let Heads { request, response } = heads;
        let forwarded_for = request.values(FieldKind::XForwardedFor);
        let client = client_address(downstream.peer.ip(), &core.config.trusted_proxies, forwarded_for);
        let adopted =
            request.only(FieldKind::XRequestId).filter(|id| client.peer_trusted && accept_request_id(id));
        let id = adopted.map_or_else(|| core.ids.next_id(), RequestId::adopted);
        let framing = request.head.framing;
        let encoding = if framing == Framing::Chunked { Encoding::Chunked } else { Encoding::Raw };
        let body = Body::new(framing, encoding, body_bytes_max(core.config.sizes.body_bytes), false);
        let record = Record::begin(core, client.address, id);
        let is_peer_trusted = client.peer_trusted;
        Exchange { core, downstream, request, response, body, record, is_peer_trusted }
    }

    /// Who is asking. On a public route nobody looks.
    fn identify(&mut self, found: &Match<'c>) -> Result<Verified, Refusal> {
        if found.access() == Access::Public {
            return Err(Refusal::Missing);
        }
        let token = match found.websocket() {
            Some(route) => handshake::token(self.request, route.token_sources),
            None => auth::bearer(self.request.values(FieldKind::Authorization)),
        };
        let verified = self.core.authenticator.verify(token?, clock::unix_s(), &self.core.counters)?;
        self.record.user = Some(verified.user.clone());
        Ok(verified)
    }

    /// May they: tokens from every bucket that applies.
    async fn permit(
        &mut self,
        found: &Match<'c>,
        identified: &Result<Verified, Refusal>,
    ) -> Result<Permit, Failure> {
        let address = self.record.client;
        let client = match (found.access(), identified) {
            (Access::Public, _) => Client::Address(address),
            (Access::Protected, Ok(verified)) => Client::User(verified.user.as_str()),
            (Access::Protected, Err(_)) => Client::Bad(address),
        };
        let route = if let Match::Route(found) = found { Some(&found.route) } else { None };
        let global = &self.core.config.rate_limit;
        let taken = self.core.limiter.take(&Ask { client, address, route }, global).await;
        self.record.quota = match &taken {
            Ok(permit) if global.headers == LimitHeaders::All => permit.quota(),
            Err(Refused::Limited(limited)) => Some(limited.quota),
            Ok(_) | Err(Refused::Unavailable) => None,
        };
        let permit = taken.map_err(Failure::Refused)?;
        self.core.counters.requests_admitted.add(1);
        Ok(permit)
    }

    /// Where to: only now may the client learn what there is.
    fn route(&mut self, found: Match<'c>) -> Result<&'c RouteEntry, Failure> {
        // Also on a public route: a service that drops `;parameters` would read the path of another route, perhaps
        // of a protected one below a public wildcard.
        if self.request.head.target.has_parameters {
            return Err(Failure::PathParameters);
        }
        let route = match found {
            Match::Route(route) => route,
            Match::MethodNotAllowed { allow, .. } => return Err(Failure::MethodNotAllowed(allow.into())),
            Match::Unknown => return Err(Failure::NoRoute),
        };
        let bytes_max =
            body_bytes_max(route.route.body_bytes_max.unwrap_or(self.core.config.sizes.body_bytes));
        if matches!(self.request.head.framing, Framing::Length(length) if length > bytes_max) {
            return Err(Failure::BodyTooLarge);
        }
        self.body.set_bytes_max(bytes_max);
        self.body.set_trailers(route.route.trailers_forwarded);
        Ok(route)
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
        self.request.head.keep_alive && !self.core.draining.get()
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
        let mut source = Source { stream, timers: &core.timers, pace: core.client_pace(), client: None };
        match source.discard(&mut self.body, buffer, REFUSED_BODY_BYTES_MAX).await {
            Ok(true) => After::KeepAlive,
            Ok(false) | Err(_) => After::Linger,
        }
    }

    fn finish(mut self) {
        // An idle connection keeps no buffer; one with the next request in it does.
        self.downstream.buffer.release_if_empty();
        self.record.bytes_in = self.request.bytes().len() as u64 + self.body.bytes();
        self.record.finish(self.core, self.request);
    }
}

fn body_bytes_max(configured: u64) -> u64 {
    if configured == 0 { u64::MAX } else { configured }
}

/// There is no connection to the upstream.
pub fn unreachable(error: LeaseError) -> Failure {
    match error {
        LeaseError::Overloaded => Failure::UpstreamFull,
        LeaseError::Connect(ConnectError::TimedOut) => Failure::ConnectTimeout,
        LeaseError::Connect(ConnectError::NoAddress | ConnectError::Failed(_)) => Failure::Unreachable,
    }
}
