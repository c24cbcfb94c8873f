//! The steps of a request in their order: route, identify, limit, authorize, forward.

use crate::auth::{self, CredentialError, Identity, Verified};
use crate::clock;
use crate::config::{self, Access, LimitHeaders, RouteKind};
use crate::gateway::answer::failure::Failure;
use crate::gateway::answer::{local, reply};
use crate::gateway::core::Core;
use crate::gateway::core::heads::Heads;
use crate::gateway::downstream::Downstream;
use crate::gateway::exchange::{After, Exchange, body_bytes_max};
use crate::gateway::forward::{forward, unreachable};
use crate::gateway::websocket::handshake;
use crate::gateway::websocket::upgrade::upgrade;
use crate::http1::{FieldKind, Framing};
use crate::limit::{Client, Denied, LimitedRequest, Permit};
use crate::route::{Match, RouteEntry};

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
        let found = self.core.snapshot.routes.find(self.request.method(), self.request.path());
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
        let upstream = &self.core.snapshot.upstreams[route.upstream];
        let lease = upstream.lease(&self.core.resources.io.timers).await.map_err(unreachable)?;
        match forward(self, route, identity, permit, lease).await {
            Err(Failure::Stale) => self.core.resources.metrics.upstream.retries.add(1),
            ended => return ended,
        }
        let lease = upstream.lease_new(&self.core.resources.io.timers).await.map_err(unreachable)?;
        forward(self, route, identity, permit, lease).await
    }

    /// Who is asking. On a public route nobody looks.
    fn identify(&mut self, found: &Match<'c>) -> Result<Verified, CredentialError> {
        if found.access() == Access::Public {
            return Err(CredentialError::Missing);
        }
        let token = match found.websocket() {
            Some(route) => handshake::token(self.request, route.token_sources),
            None => auth::bearer(self.request.values(FieldKind::Authorization)),
        };
        let verified = self.core.snapshot.authenticator.verify(token?, clock::unix_s())?;
        self.record.user = Some(verified.user.clone());
        Ok(verified)
    }

    /// May they: tokens from every bucket that applies.
    async fn permit(
        &mut self,
        found: &Match<'c>,
        identified: &Result<Verified, CredentialError>,
    ) -> Result<Permit, Failure> {
        let address = self.record.client;
        let client = match (found.access(), identified) {
            (Access::Public, _) => Client::Address(address),
            (Access::Protected, Ok(verified)) => Client::User(verified.user.as_str()),
            (Access::Protected, Err(_)) => Client::Bad(address),
        };
        let route = if let Match::Route(found) = found { Some(&found.route) } else { None };
        let global = &self.core.snapshot.config.rate_limit;
        let request = LimitedRequest { client, address, route };
        let taken = self.core.snapshot.limiter.charge(&request, global).await;
        self.record.quota = match &taken {
            Ok(permit) if global.headers == LimitHeaders::All => permit.quota(),
            Err(Denied::Limited(limited)) => Some(limited.quota),
            Ok(_) | Err(Denied::Unavailable) => None,
        };
        let permit = taken.map_err(Failure::Refused)?;
        self.core.resources.metrics.requests.admitted.add(1);
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
            body_bytes_max(route.route.body_bytes_max.unwrap_or(self.core.snapshot.config.sizes.body_bytes));
        if matches!(self.request.head.framing, Framing::Length(length) if length > bytes_max) {
            return Err(Failure::BodyTooLarge);
        }
        self.body.set_bytes_max(bytes_max);
        self.body.set_trailers(route.route.trailers_forwarded);
        Ok(route)
    }
}
