//! The plan for a request: what its head and the configuration decide without I/O, tokens or buckets. The pipeline
//! follows the plan, and `explain` prints it.

use std::net::IpAddr;

use crate::auth::credentials::{self, Credential};
use crate::auth::{CredentialError, cross_site};
use crate::config::{Access, Config, IssuerSet, Oddities, Route};
use crate::gateway::answer::failure::Failure;
use crate::gateway::answer::local::{self, Local};
use crate::gateway::core::body_bytes_max;
use crate::gateway::cors::CorsPolicy;
use crate::http::{BodyLength, ProtocolError, Request, Scheme};
use crate::limit::{Client, LimitedRequest};
use crate::route::{Match, RouteTable};

/// What a configuration says about one request.
pub struct Plan<'c> {
    /// The gateway's own answer, if the request is for the gateway itself.
    pub local: Option<Local<'c>>,
    /// What the route table says.
    pub found: Match<'c>,
    request: &'c Request,
    config: &'c Config,
    routes: &'c RouteTable,
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
    /// The plan for a request that its client has sent by this scheme.
    pub fn new(
        config: &'c Config,
        routes: &'c RouteTable,
        cors: &'c CorsPolicy,
        request: &'c Request,
        scheme: Scheme,
    ) -> Plan<'c> {
        let (local, found) = (local::find(config, cors, request, scheme), routes.find(request.into()));
        Plan { local, found, request, config, routes }
    }

    /// Checks that the path has nothing that its route does not take, or the gateway, where there is no route.
    ///
    /// # Errors
    /// As if the head had been refused for it.
    pub fn check_path(&self) -> Result<(), ProtocolError> {
        let refused = self.oddities_refused();
        match (refused.empty_segments, refused.encoded_slash) {
            (true, _) => Err(ProtocolError::PathEmptySegment),
            (false, true) => Err(ProtocolError::PathEncodedSlash),
            (false, false) => Ok(()),
        }
    }

    /// What the path has that its route does not take.
    fn oddities_refused(&self) -> Oddities {
        let taken = match &self.found {
            Match::Route(entry) => entry.route.oddities,
            Match::MethodNotAllowed { oddities, .. } => *oddities,
            Match::FieldsMissing | Match::Unknown => self.config.default_oddities(),
        };
        self.request.target.oddities.beyond(taken)
    }

    /// Whether the route needs a token.
    pub fn access(&self) -> Access {
        self.found.access()
    }

    /// The route, if there is one for path and method.
    pub fn route(&self) -> Option<&'c Route> {
        match self.found {
            Match::Route(entry) => Some(&entry.route),
            Match::MethodNotAllowed { .. } | Match::FieldsMissing | Match::Unknown => None,
        }
    }

    /// Whether the route, if there is one, takes clients of this address.
    pub fn takes_client(&self, address: IpAddr) -> bool {
        self.route().is_none_or(|route| route.networks.contain(address))
    }

    /// The issuers whose tokens count. A path without a route takes those of all.
    pub fn issuers(&self) -> IssuerSet {
        self.route().map_or(IssuerSet::ALL, |route| route.issuers)
    }

    /// The credential of a request on a route that looks at credentials, or where there is none.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn token<'r>(&self, request: &'r Request) -> Result<Credential<'r>, CredentialError> {
        match self.route() {
            Some(route) => credentials::token(request, &route.token_sources),
            None => credentials::bearer_token(request),
        }
    }

    /// Whether another site's page may have sent a request that its cookie identifies, and that matters.
    pub fn is_cross_site(&self, request: &Request, cors: &CorsPolicy, scheme: Scheme) -> bool {
        let may_override = self.route().is_some_and(|route| route.method_override_forwarded);
        let is_allowed = |origin: &[u8]| match request.is_websocket {
            true => self.config.websocket.origins.list(origin),
            false => cors.answer(Some(origin)).is_some_and(|allowed| allowed.credentials),
        };
        cross_site::matters(request, may_override) && !cross_site::is_own(request, scheme, is_allowed)
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
        if self.request.target.oddities.any() {
            self.check_readings()?;
        }
        let route = match self.found {
            Match::Route(entry) => &entry.route,
            Match::MethodNotAllowed { allow, .. } => return Err(Failure::MethodNotAllowed(allow.into())),
            Match::FieldsMissing | Match::Unknown => return Err(Failure::NoRoute),
        };
        let body_bytes_max = body_bytes_max(self.config, Some(route));
        match self.request.body {
            BodyLength::Exact(length) if length > body_bytes_max => Err(Failure::BodyTooLarge),
            _ => Ok(Destination { route, body_bytes_max }),
        }
    }

    /// Checks that whoever reads the path in another way reads the path of the same route. Also on a public route: a
    /// service that drops `;parameters` would serve the path of another one, perhaps of a protected one below a public
    /// wildcard.
    #[cold]
    fn check_readings(&self) -> Result<(), Failure> {
        let refused = self.oddities_refused();
        let oddities = self.request.target.oddities;
        let misleading = || self.routes.misleading(self.request.into(), &self.found, oddities);
        // What is refused anyway needs no second look.
        let refused = if refused.any() { refused } else { misleading() };
        match (refused.parameters, refused.encoded_slash) {
            (true, _) => Err(Failure::PathParameters),
            (false, true) => Err(Failure::Request(ProtocolError::PathEncodedSlash)),
            (false, false) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::config::testing::lowered_toml;
    use crate::downstream::client_address::client_address;
    use crate::gateway::forward::headers::passes_upstream;
    use crate::gateway::websocket::handshake;
    use crate::http::FieldKind;
    use crate::http1::{HeadLimits, HeadScan, RequestHead};
    use crate::limits::{
        CONNECTION_OPTION_BYTES_MAX, CONNECTION_OPTIONS_MAX, FIELDS_DEFAULT, HEAD_BYTES_DEFAULT,
        REQUEST_LINE_BYTES_DEFAULT,
    };

    /// A head of this request line and these field lines, filled up to the bound with one field.
    fn filled(line: &str, fields: &str) -> Vec<u8> {
        let head = format!("{line} HTTP/1.1\r\nHost: h\r\n{fields}X-Filler: ");
        let filler = (HEAD_BYTES_DEFAULT - 4).saturating_sub(head.len());
        format!("{head}{}\r\n\r\n", "f".repeat(filler)).into_bytes()
    }

    /// A list in one field that fills the head.
    fn list(name: &str, element: &str) -> Vec<u8> {
        filled("GET /ws", &format!("{name}: {}\r\n", element.repeat(32_000 / element.len())))
    }

    /// Each way to spend a head of 32 KiB on what the gateway reads before it knows the client.
    fn heads() -> Vec<(&'static str, Vec<u8>)> {
        let names = |width: usize| {
            let name = |n: usize| format!("{n:03}{}", "x".repeat(width - 3));
            let options: Vec<_> = (0..CONNECTION_OPTIONS_MAX).map(name).collect();
            let fields: String = (0..FIELDS_DEFAULT - 3).map(|n| name(n) + ":\r\n").collect();
            filled("GET /", &format!("Connection: {}\r\n{fields}", options.join(",")))
        };
        let many = |line: &str| filled("GET /", &line.repeat(FIELDS_DEFAULT - 3));
        let target = |piece: &str| {
            let times = (REQUEST_LINE_BYTES_DEFAULT - "GET / HTTP/1.1".len()) / piece.len();
            filled(&format!("GET /{}", piece.repeat(times)), "")
        };
        let asked = format!(
            "Origin: http://a\r\nAccess-Control-Request-Method: PUT\r\n\
             Access-Control-Request-Headers: {}\r\n",
            "a,".repeat(15_000)
        );
        let upgrade = "Upgrade: websocket\r\nConnection: upgrade\r\n";
        vec![
            ("a plain head", filled("GET /", "")),
            ("nominations", names(CONNECTION_OPTION_BYTES_MAX)),
            ("nominations over their bound", names(250)),
            ("short nominations", names(8)),
            ("equal fields", many("Accept: text/html,application/xhtml+xml\r\n")),
            ("folded names", many(&format!("{}: 1\r\n", "a_".repeat(150)))),
            ("protocols to upgrade to", list("Upgrade", "a,")),
            ("expectations", list("Expect", "100-continue,")),
            ("codings", list("Transfer-Encoding", "gzip,")),
            ("hops", list("X-Forwarded-For", "10.0.0.1,")),
            ("commas of hops", list("X-Forwarded-For", ",")),
            ("proxies", many("Via: 1.1 a\r\n")),
            ("cookies", list("Cookie", "a=b;")),
            ("languages", list("Accept", "a;q=0.1,")),
            (
                "subprotocols",
                filled("GET /ws", &format!("{upgrade}Sec-WebSocket-Protocol: {}\r\n", "a,".repeat(15_000))),
            ),
            (
                "subprotocol fields",
                filled("GET /ws", &(upgrade.to_owned() + &"Sec-WebSocket-Protocol: bearer,b\r\n".repeat(90))),
            ),
            ("requested headers", filled("OPTIONS /", &asked)),
            ("spaces", list("Accept", "\t ")),
            ("empty segments of a path", target("a/")),
            ("escapes", target("%C3%A9")),
            ("escapes of four bytes", target("%F0%9F%98%80")),
            ("percent signs", target("%25x")),
            ("hidden escapes", target("%2541")),
            ("characters to encode", target("[")),
            ("parameters of a path", target(";a")),
            ("question marks of a query", target("?")),
            ("percent signs of a query", target("?%")),
            ("escapes of a query", filled(&format!("GET /?{}", "%61%".repeat(2_000)), "")),
            ("characters to encode of a query", target("?\u{e9}")),
            ("parameters of a query", target("?&a")),
            ("tokens of a query", target("?acces%73_toke")),
        ]
    }

    /// What every request costs before its client is known and limited, whatever becomes of it.
    fn read(config: &Config, routes: &RouteTable, cors: &CorsPolicy, bytes: &[u8], request: &mut Request) {
        let limits = HeadLimits::DEFAULT;
        let Ok(Some(length)) = HeadScan::default().advance(bytes, &limits) else { panic!("no head") };
        if RequestHead::parse(&bytes[..length], &limits, request).is_err() {
            return;
        }
        let hops = request.values(FieldKind::XForwardedFor);
        black_box(client_address([127, 0, 0, 1].into(), &config.trusted_proxies, hops));
        let plan = Plan::new(config, routes, cors, request, Scheme::Http);
        let _ = black_box(plan.token(request));
        if let Some(route) = plan.route() {
            black_box(request.fields.iter().filter(|field| passes_upstream(field, route, false)).count());
            let _ = black_box(handshake::check(request, &config.websocket.origins));
        }
    }

    #[test]
    fn no_head_costs_much_more_than_a_plain_one_of_its_size() {
        let config = lowered_toml("cors_allowed_origins = ['http://a']\n")
            .map_err(|mistakes| mistakes.to_string())
            .unwrap()
            .config;
        let routes = RouteTable::new(&config.routes).unwrap();
        let cors = CorsPolicy::new(&config.cors);
        let mut request = Request::default();
        let mut cost = |bytes: &[u8]| {
            let once = || {
                let begun = Instant::now();
                (0..4).for_each(|_| read(&config, &routes, &cors, bytes, &mut request));
                begun.elapsed()
            };
            std::iter::repeat_with(once).take(20).min().unwrap_or_default()
        };
        let heads = heads();
        let plain = cost(&heads[0].1).max(Duration::from_micros(1));
        for (name, head) in &heads {
            assert!(head.len() <= HEAD_BYTES_DEFAULT, "{name}: {} bytes", head.len());
            let cost = cost(head);
            println!("{name}: {cost:?}");
            // The dearest takes some 15 times as long; what else the machine does must not matter.
            assert!(cost < plain * 25, "{name}: {cost:?}, a plain head {plain:?}");
        }
    }
}
