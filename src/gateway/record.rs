//! The record of one exchange: what is remembered of it, for the metrics and the access log.

use std::net::IpAddr;

use crate::auth::User;
use crate::clock;
use crate::config::FieldEdits;
use crate::downstream::Outcome;
use crate::gateway::core::Core;
use crate::gateway::core::request_id::RequestId;
use crate::gateway::forward::trace::{End, Trace};
use crate::gateway::websocket::tunnel::AccessContext;
use crate::http::Request;
use crate::http::path::before_parameters;
use crate::limit::Quota;
use crate::limits::{HOST_AND_PORT_BYTES_MAX, USER_AGENT_BYTES_MAX};
use crate::net::Endpoint;
use crate::net::tls::TlsStream;
use crate::route::Match;
use crate::telemetry::AccessRecord;
use crate::upstream::{Lease, Upstream};

/// What is remembered of one exchange while it runs.
pub struct Record<'c> {
    /// When it began, in µs of the monotonic clock.
    begun_us: u64,
    /// The client's address, after `X-Forwarded-For` of trusted proxies.
    pub client: IpAddr,
    /// The request's id.
    pub id: &'c RequestId,
    /// The route's name.
    pub route: Option<&'c str>,
    /// Its index among the routes.
    route_index: Option<usize>,
    /// Who asked.
    pub user: Option<User>,
    /// What the client may know of its limit; `None`: nothing.
    pub quota: Option<Quota>,
    /// The `Strict-Transport-Security` of its response; `None`: there is none.
    pub hsts: Option<&'c str>,
    /// What its route changes in the response; `None`: nothing, or the client must not learn yet that there is a route.
    pub edits: Option<&'c FieldEdits>,
    /// The trace that it is part of; `None`: requests are not traced.
    pub trace: Option<Box<Trace>>,
    /// The final status sent; 0: none.
    pub status: u16,
    /// The cause of a refusal that the configuration names: a claim that the user lacks.
    pub refused_for: Option<&'c str>,
    /// The limit that has refused it.
    pub limited_by: Option<&'c str>,
    failure: Option<Failed>,
    conclusion: Conclusion,
    /// Head and body bytes from the client.
    pub bytes_in: u64,
    /// Head and body bytes to the client.
    pub bytes_out: u64,
    /// How long connecting to the upstream took.
    connect_us: Option<u64>,
    /// From the request's first byte upstream to the response's head.
    pub upstream_head_us: Option<u64>,
    /// Where the request went.
    endpoint: Option<Endpoint>,
    /// The index of the upstream that it went to.
    upstream_index: Option<usize>,
    /// Whether it went on a connection used before.
    is_reused: Option<bool>,
    is_finished: bool,
}

/// Why an exchange failed.
#[derive(Debug, Clone, Copy)]
struct Failed {
    code: &'static str,
    cause: Option<&'static str>,
}

/// What the record of an exchange ends as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conclusion {
    /// A final response, or nothing at all.
    Response,
    /// The client did not get a response, or got only a part of one.
    Aborted,
    /// A tunnel, which writes the access-log line when it ends.
    Tunnel,
}

impl<'c> Record<'c> {
    /// The exchange begins: its head is here.
    pub fn begin(core: &Core, client: IpAddr, id: &'c RequestId) -> Record<'c> {
        let requests = &core.resources.metrics.requests;
        requests.received.add(1);
        requests.in_flight.add(1);
        core.resources.asks(client);
        Record {
            begun_us: core.resources.io.clock.now_us(),
            client,
            id,
            route: None,
            route_index: None,
            user: None,
            quota: None,
            hsts: None,
            edits: None,
            trace: None,
            status: 0,
            refused_for: None,
            limited_by: None,
            failure: None,
            conclusion: Conclusion::Response,
            bytes_in: 0,
            bytes_out: 0,
            connect_us: None,
            upstream_head_us: None,
            endpoint: None,
            upstream_index: None,
            is_reused: None,
            is_finished: false,
        }
    }

    /// What the route table says.
    pub fn found(&mut self, found: &Match<'c>) {
        if let Match::Route(entry) = found {
            self.route = Some(&entry.route.name);
            self.route_index = Some(entry.index);
        }
    }

    /// The index of its route.
    pub fn route_index(&self) -> Option<usize> {
        self.route_index
    }

    /// The request goes out on this connection, to the upstream with this index.
    pub fn leased(&mut self, core: &Core, lease: &Lease<'_>, upstream_index: usize) {
        if let Some(trace) = &mut self.trace {
            trace.call(core, lease.endpoint(), upstream_index);
        }
        self.upstream_index = Some(upstream_index);
        self.endpoint = Some(lease.endpoint().clone());
        self.connect_us = lease.connect_us();
        self.is_reused = Some(lease.is_reused());
    }

    /// The upstream that the request went to.
    pub fn upstream<'u>(&self, core: &'u Core) -> Option<&'u Upstream> {
        self.upstream_index.map(|index| &*core.snapshot.upstreams[index])
    }

    /// The exchange failed with this code, for this cause.
    pub fn failed(&mut self, code: &'static str, cause: Option<&'static str>) {
        self.failure = Some(Failed { code, cause });
    }

    /// The client does not get a whole response.
    pub fn aborted<U>(&mut self) -> Outcome<U> {
        self.conclusion = Conclusion::Aborted;
        Outcome::Aborted
    }

    /// The exchange becomes a tunnel: the access-log line is the tunnel's to write. Without a log there is nothing to
    /// remember.
    pub fn hand_over(
        &mut self,
        core: &Core,
        request: &Request,
        tls: Option<&TlsStream>,
    ) -> Option<Box<AccessContext>> {
        self.conclusion = Conclusion::Tunnel;
        let took_us = core.resources.io.clock.now_us().saturating_sub(self.begun_us);
        core.resources.metrics.tunnels.handshake.observe(took_us);
        core.resources.access_log.as_ref()?;
        let agreed = tls.and_then(TlsStream::agreed);
        Some(Box::new(AccessContext {
            begun_us: self.begun_us,
            client: self.client,
            id: self.id.as_bytes().into(),
            path: loggable(request).into(),
            host: host(request).map(Into::into),
            user_agent: user_agent(request).map(Into::into),
            route: self.route.map(Into::into),
            user: self.user.as_ref().map(|user| user.as_str().into()),
            head_bytes_in: request.received() as u64,
            head_bytes_out: self.bytes_out,
            connect_us: self.connect_us,
            upstream_head_us: self.upstream_head_us,
            upstream_name: self.upstream(core).map(|upstream| (*upstream.terms().name).into()),
            upstream: self.endpoint.as_ref().map(|endpoint| endpoint.text().into()),
            tls_version: agreed.map(|agreed| agreed.version.into()),
            tls_cipher: agreed.map(|agreed| agreed.cipher.into()),
            sni: tls.and_then(TlsStream::server_name).map(Into::into),
        }))
    }

    /// The exchange is cut off where it is.
    pub fn cut(&mut self) {
        self.failure = Some(Failed { code: DRAIN_CUT.1, cause: None });
        self.conclusion = Conclusion::Aborted;
    }

    /// The time for its duration. A short response leaves within the turn in which its head has come; the access log
    /// has every microsecond, and what is long takes more than a turn to copy.
    fn now_us(&self, core: &Core) -> u64 {
        let is_short = self.bytes_out <= TURN_BYTES_MAX;
        match is_short && core.resources.access_log.is_none() {
            true => core.resources.io.clock.now_us(),
            false => clock::now_us(),
        }
    }

    /// Whether it was counted and written.
    pub fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// The exchange is over: counted, and written into the core's log buffer.
    pub fn finish(
        &mut self,
        core: &Core,
        request: &Request,
        (protocol, tls): (Option<&str>, Option<&TlsStream>),
    ) {
        let requests = &core.resources.metrics.requests;
        self.is_finished = true;
        requests.in_flight.subtract(1);
        let now_us = self.now_us(core);
        match (self.conclusion, self.status) {
            (Conclusion::Response | Conclusion::Tunnel, 100..=599) => {
                let route = core.snapshot.route_metrics(self.route_index);
                route.responses.at(usize::from(self.status / 100) - 1).add(1);
                route.duration.observe(now_us.saturating_sub(self.begun_us));
            }
            _ => requests.aborted.add(1),
        }
        if let Some(trace) = &mut self.trace {
            let (route, code) = (self.route, self.failure.map(|failure| failure.code));
            let status =
                if self.conclusion == Conclusion::Aborted && self.status < 400 { 0 } else { self.status };
            trace.over(core, request, &End { status, code, route, begun_us: self.begun_us });
        }
        if self.conclusion == Conclusion::Tunnel {
            return;
        }
        let Some(log) = &core.resources.access_log else { return };
        let is_success =
            self.failure.is_none() && self.conclusion == Conclusion::Response && self.status < 400;
        if is_success && log.borrow_mut().passes_over(core.snapshot.config.access_log_sample) {
            return;
        }
        let agreed = tls.and_then(TlsStream::agreed);
        let trace_id = self.trace.as_ref().map(|trace| trace.hex());
        let line = AccessRecord {
            time_us: clock::unix_us(),
            request_id: self.id.as_bytes(),
            trace_id: trace_id.as_ref().map(|id| &id[..]),
            client: self.client,
            method: request.method_name(),
            path: loggable(request),
            host: host(request),
            user_agent: user_agent(request),
            route: self.route,
            user: self.user.as_ref().map(User::as_str),
            status: self.status,
            code: self.failure.map(|failure| failure.code),
            cause: self.failure.and_then(|failure| failure.cause.or(self.refused_for)),
            limit: self.limited_by,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            total_us: now_us.saturating_sub(self.begun_us),
            connect_us: self.connect_us,
            upstream_head_us: self.upstream_head_us,
            tunnel: None,
            upstream_name: self.upstream(core).map(|upstream| &*upstream.terms().name),
            upstream: self.endpoint.as_ref().map(Endpoint::text),
            reused: self.is_reused,
            protocol,
            tls_version: agreed.map(|agreed| agreed.version),
            tls_cipher: agreed.map(|agreed| agreed.cipher),
            sni: tls.and_then(TlsStream::server_name),
        };
        log.borrow_mut().record(&line);
    }
}

/// A response of this many bytes takes less than 20 µs to copy.
const TURN_BYTES_MAX: u64 = 64 * 1024;

/// The code of what the end of a drain cuts off. The status is that of a response that had begun, or 0.
pub const DRAIN_CUT: (u16, &str) = (0, "drain_cut");

/// The authority that the client asked for, or as much as a name can have.
fn host(request: &Request) -> Option<&[u8]> {
    let host = request.host();
    (!host.is_empty()).then(|| &host[..host.len().min(HOST_AND_PORT_BYTES_MAX)])
}

/// The client's program, as it names itself, or the beginning of that.
fn user_agent(request: &Request) -> Option<&[u8]> {
    let is_it = |name: &[u8]| name.eq_ignore_ascii_case(b"user-agent");
    let field = request.fields.iter().find(|field| is_it(field.name.of(request.bytes())))?;
    let value = field.value.of(request.bytes());
    Some(&value[..value.len().min(USER_AGENT_BYTES_MAX)])
}

/// The path without what may hold a token; of a refused head its target.
fn loggable(request: &Request) -> &[u8] {
    match request.refused_target() {
        [] => before_parameters(request.path()),
        target => target,
    }
}
