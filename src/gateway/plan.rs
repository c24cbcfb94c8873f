//! The plan for a request: what its head and the configuration decide without I/O, tokens or buckets. The pipeline
//! follows the plan, and `explain` prints it.

use std::net::IpAddr;

use crate::auth::{self, CredentialError};
use crate::config::{Access, Config, Route, RouteKind};
use crate::gateway::answer::failure::Failure;
use crate::gateway::answer::local::{self, Local};
use crate::gateway::core::body_bytes_max;
use crate::gateway::cors::CorsPolicy;
use crate::gateway::websocket::handshake;
use crate::http::{BodyLength, FieldKind, Request};
use crate::limit::{Client, LimitedRequest};
use crate::route::{Match, RouteTable};

/// What a configuration says about one request.
pub struct Plan<'c> {
    /// The gateway's own answer, if the request is for the gateway itself.
    pub local: Option<Local<'c>>,
    /// What the route table says.
    pub found: Match<'c>,
    has_parameters: bool,
    body: BodyLength,
    config: &'c Config,
}

/// Where a request goes.
#[derive(Debug)]
pub struct Destination<'c> {
    /// The route.
    pub route: &'c Route,
    /// The bound of the request's body, in bytes.
    pub body_bytes_max: u64,
}

impl<'c> Plan<'c> {
    /// The plan for a request.
    pub fn new(
        config: &'c Config,
        routes: &'c RouteTable,
        cors: &'c CorsPolicy,
        request: &'c Request,
    ) -> Plan<'c> {
        Plan {
            local: local::find(cors, request),
            found: routes.find(request.method_name(), request.path()),
            has_parameters: request.target.has_parameters,
            body: request.body,
            config,
        }
    }

    /// Whether the route needs a token.
    pub fn access(&self) -> Access {
        self.found.access()
    }

    /// The route, if there is one for path and method.
    pub fn route(&self) -> Option<&'c Route> {
        match self.found {
            Match::Route(entry) => Some(&entry.route),
            Match::MethodNotAllowed { .. } | Match::Unknown => None,
        }
    }

    /// The route, if it carries WebSockets.
    pub fn websocket(&self) -> Option<&'c Route> {
        self.route().filter(|route| route.kind == RouteKind::WebSocket)
    }

    /// The credential of a request on a protected route.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn token<'r>(&self, request: &'r Request) -> Result<&'r [u8], CredentialError> {
        match self.websocket() {
            Some(route) => handshake::token(request, route.token_sources),
            None => auth::bearer(request.values(FieldKind::Authorization)),
        }
    }

    /// What the rate limiter needs to know of the request, if this client sends it.
    pub fn limited_request<'a>(&self, client: Client<'a>, address: IpAddr) -> LimitedRequest<'a>
    where
        'c: 'a,
    {
        LimitedRequest { client, address, route: self.route() }
    }

    /// Where the request goes. A client learns it only after it was identified.
    ///
    /// # Errors
    /// There is no route for it, or the route does not take it.
    pub fn destination(&self) -> Result<Destination<'c>, Failure> {
        // Also on a public route: a service that drops `;parameters` would read the path of another route, perhaps of a
        // protected one below a public wildcard.
        if self.has_parameters {
            return Err(Failure::PathParameters);
        }
        let route = match self.found {
            Match::Route(entry) => &entry.route,
            Match::MethodNotAllowed { allow, .. } => return Err(Failure::MethodNotAllowed(allow.into())),
            Match::Unknown => return Err(Failure::NoRoute),
        };
        let body_bytes_max = body_bytes_max(self.config, Some(route));
        match self.body {
            BodyLength::Exact(length) if length > body_bytes_max => Err(Failure::BodyTooLarge),
            _ => Ok(Destination { route, body_bytes_max }),
        }
    }
}
