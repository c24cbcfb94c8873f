//! The trace of one exchange: whose part it is, which span its upstream sees as the parent, and the spans
//! themselves, with the names of the semantic conventions
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>).

use crate::clock;
use crate::config::Route;
use crate::gateway::core::Core;
use crate::gateway::core::request_id::RequestIds;
use crate::http::path::before_parameters;
use crate::http::{FieldKind, Method, Request, Scheme, without_port};
use crate::net::Endpoint;
use crate::telemetry::spans::{Attribute, Span, SpanId, SpanKind, TraceId, TraceParent};

/// What an exchange is in a trace. It exists only where requests are traced at all.
pub struct Trace {
    id: TraceId,
    /// Its caller's span.
    parent: Option<SpanId>,
    own: SpanId,
    is_sampled: bool,
    scheme: Scheme,
    /// The version of HTTP that the client speaks.
    version: &'static [u8],
    call: Option<Call>,
    /// Requests that went to an upstream.
    calls: u32,
}

/// A request to an upstream that is not over.
struct Call {
    id: SpanId,
    begun_us: u64,
    endpoint: Endpoint,
    upstream: usize,
}

/// How a request to an upstream has ended: with a response of this status, or for this cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnd {
    /// A response.
    Response(u16),
    /// None, or not a whole one.
    Failure(&'static str),
}

/// What an exchange has come to.
pub struct End<'e> {
    /// The status that the client got; 0: none.
    pub status: u16,
    /// The code of its failure.
    pub code: Option<&'static str>,
    /// Its route.
    pub route: Option<&'e str>,
    /// When it began, in µs of the monotonic clock.
    pub begun_us: u64,
}

impl Trace {
    /// Whether requests are traced at all.
    pub fn is_on(core: &Core) -> bool {
        core.resources.spans.is_some() && core.snapshot.config.traces.sample.is_on()
    }

    /// Begins. A trusted proxy's trace goes on, and is sampled if the proxy has; any other
    /// request begins one, whose id is the request's own if that is one of ours.
    pub fn begin(core: &Core, request: &Request, client: &TracedClient<'_>) -> Box<Trace> {
        let (ids, sample) = (&core.resources.ids, core.snapshot.config.traces.sample);
        let parent = request.only(FieldKind::Traceparent).filter(|_| client.is_trusted);
        let parent = parent.and_then(TraceParent::read);
        let id = parent.map_or_else(|| fresh(ids, client), |parent| parent.trace);
        Box::new(Trace {
            id,
            parent: parent.map(|parent| parent.parent),
            own: SpanId::of(ids.next_word()),
            is_sampled: parent.map_or_else(|| sample.takes(id.number()), |parent| parent.is_sampled),
            scheme: client.scheme,
            version: client.version.trim_ascii_end(),
            call: None,
            calls: 0,
        })
    }

    /// The id of the trace, in hex.
    pub fn hex(&self) -> [u8; 32] {
        self.id.hex()
    }

    /// The value of `traceparent` that the upstream gets, in pieces.
    pub fn pieces(&self) -> ([u8; 32], [u8; 16], &'static [u8]) {
        let parent = self.call.as_ref().map_or(self.own, |call| call.id);
        (self.id.hex(), parent.hex(), if self.is_sampled { b"01" } else { b"00" })
    }

    /// A request goes to an upstream.
    pub fn call(&mut self, core: &Core, endpoint: &Endpoint, upstream: usize) {
        let id = SpanId::of(core.resources.ids.next_word());
        let begun_us = core.resources.io.clock.now_us();
        self.call = Some(Call { id, begun_us, endpoint: endpoint.clone(), upstream });
        self.calls += 1;
    }

    /// The request to the upstream is over.
    #[cold]
    pub fn call_over(&mut self, core: &Core, request: &Request, route: Option<&Route>, end: CallEnd) {
        let Some(Call { id, begun_us, endpoint, upstream }) = self.call.take() else { return };
        let Some(spans) = core.resources.spans.as_ref().filter(|_| self.is_sampled) else { return };
        let upstream = &core.snapshot.config.upstreams[upstream];
        let (method, original) = method(request);
        let (host, port) = match &endpoint {
            Endpoint::Tcp(address, _) => (address.ip().to_string(), Some(i64::from(address.port()))),
            Endpoint::Unix(path, _) => (path.display().to_string(), None),
        };
        let scheme = if upstream.tls.is_some() { "https" } else { "http" };
        let path = before_parameters(request.path());
        let [prefix, rest] = route.map_or([&b""[..], path], |route| route.prefixes.apply(path));
        let url = [scheme.as_bytes(), b"://", endpoint.text().as_bytes(), prefix, rest].concat();
        let mut attributes = Attributes::new(method, original);
        attributes.text("server.address", host.as_bytes());
        attributes.number("server.port", port);
        attributes.text("url.scheme", scheme.as_bytes());
        if port.is_some() {
            attributes.text("url.full", &url);
        }
        attributes.text("network.protocol.version", b"1.1");
        attributes.text("realchat.upstream", upstream.name.as_bytes());
        attributes
            .number("http.request.resend_count", Some(i64::from(self.calls) - 1).filter(|count| *count > 0));
        let status = match end {
            CallEnd::Response(status) => Some(status),
            CallEnd::Failure(_) => None,
        };
        attributes.number("http.response.status_code", status.map(i64::from));
        let text = status.map(|status| status.to_string()).unwrap_or_default();
        // "For HTTP status codes in the 4xx range span status … SHOULD be set to Error for SpanKind.CLIENT."
        let error = match end {
            CallEnd::Response(400..) => Some(text.as_bytes()),
            CallEnd::Response(_) => None,
            CallEnd::Failure(cause) => Some(cause.as_bytes()),
        };
        attributes.error(error);
        let span = Span {
            trace: self.id,
            id,
            parent: Some(self.own),
            trace_state: b"",
            kind: SpanKind::Client,
            name: (method, None),
            unix_us: since(begun_us),
            is_error: error.is_some(),
        };
        spans.borrow_mut().record(&span, attributes.all());
    }

    /// The exchange is over.
    #[cold]
    pub fn over(&mut self, core: &Core, request: &Request, end: &End<'_>) {
        self.call_over(core, request, None, CallEnd::Failure(end.code.unwrap_or("aborted")));
        let Some(spans) = core.resources.spans.as_ref().filter(|_| self.is_sampled) else { return };
        let route =
            end.route.and_then(|name| core.snapshot.config.routes.iter().find(|route| route.name == name));
        let template = route.and_then(|route| match &route.paths[..] {
            [path] => Some(path.as_str()),
            _ => None,
        });
        let (method, original) = method(request);
        let mut attributes = Attributes::new(method, original);
        attributes.text("url.path", before_parameters(request.path()));
        attributes.text("url.scheme", self.scheme.name().as_bytes());
        attributes.text("server.address", without_port(request.host()));
        attributes.text("network.protocol.version", self.version);
        attributes.text("user_agent.original", user_agent(request));
        attributes.text("http.route", template.unwrap_or_default().as_bytes());
        attributes.text("realchat.route", end.route.unwrap_or_default().as_bytes());
        attributes
            .number("http.response.status_code", Some(i64::from(end.status)).filter(|status| *status > 0));
        let is_error = !(1..500).contains(&end.status);
        let text = end.status.to_string();
        let unknown = if end.status == 0 { &b"aborted"[..] } else { text.as_bytes() };
        attributes.error(end.code.map(str::as_bytes).or(is_error.then_some(unknown)));
        let tracestate = request.only(FieldKind::Tracestate).filter(|_| self.parent.is_some());
        let span = Span {
            trace: self.id,
            id: self.own,
            parent: self.parent,
            trace_state: tracestate.unwrap_or_default(),
            kind: SpanKind::Server,
            name: (method, template.or(end.route)),
            unix_us: since(end.begun_us),
            is_error,
        };
        spans.borrow_mut().record(&span, attributes.all());
    }
}

/// What the trace of a request needs to know of who sends it.
pub struct TracedClient<'c> {
    /// A trusted proxy.
    pub is_trusted: bool,
    /// The request's id, of which a new trace has its own.
    pub request_id: &'c [u8],
    /// How the client has come.
    pub scheme: Scheme,
    /// The version of HTTP that it speaks, as `Via` has it, with a space behind it.
    pub version: &'static [u8],
}

/// The id of a new trace: that of the request, if it can be one. A proxy's may be the id of many.
fn fresh(ids: &RequestIds, client: &TracedClient<'_>) -> TraceId {
    let own = (!client.is_trusted).then_some(client.request_id);
    let made = || TraceId::read(ids.next_id().as_bytes());
    loop {
        // Of all zeros once in 2^128.
        if let Some(id) = own.and_then(TraceId::read).or_else(made) {
            return id;
        }
    }
}

/// Begin and end, in µs since 1970, of what began at this time of the monotonic clock and ends now.
fn since(begun_us: u64) -> (u64, u64) {
    let (unix_us, now_us) = (clock::unix_us(), clock::now_us());
    (unix_us.saturating_sub(now_us.saturating_sub(begun_us)), unix_us)
}

/// The name of a method, as the conventions have it, and what was sent if that is another.
fn method(request: &Request) -> (&'static str, Option<&[u8]>) {
    let known = match request.method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Patch => "PATCH",
        Method::Delete => "DELETE",
        Method::Options => "OPTIONS",
        Method::Connect => "CONNECT",
        Method::Trace | Method::Other => return ("_OTHER", Some(request.method_name())),
    };
    (known, None)
}

fn user_agent(request: &Request) -> &[u8] {
    let is_it = |name: &[u8]| name.eq_ignore_ascii_case(b"user-agent");
    let field = request.fields.iter().find(|field| is_it(field.name.of(request.bytes())));
    field.map_or(b"", |field| field.value.of(request.bytes()))
}

/// The attributes of one span. What is empty is none.
struct Attributes<'a>(Vec<Attribute<'a>>);

impl<'a> Attributes<'a> {
    fn new(method: &'static str, original: Option<&'a [u8]>) -> Attributes<'a> {
        let mut attributes = Attributes(Vec::with_capacity(ATTRIBUTES));
        attributes.text("http.request.method", method.as_bytes());
        attributes.text("http.request.method_original", original.unwrap_or_default());
        attributes
    }

    fn text(&mut self, name: &'static str, value: &'a [u8]) {
        if !value.is_empty() {
            self.0.push(Attribute::Text(name, value));
        }
    }

    fn number(&mut self, name: &'static str, value: Option<i64>) {
        self.0.extend(value.map(|value| Attribute::Number(name, value)));
    }

    fn error(&mut self, error: Option<&'a [u8]>) {
        self.text("error.type", error.unwrap_or_default());
    }

    fn all(&self) -> &[Attribute<'a>] {
        &self.0
    }
}

/// Room for what a span usually has.
const ATTRIBUTES: usize = 12;
