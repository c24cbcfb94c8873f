//! Traces: what a service and a collector get of them, with the collector's messages read by those who define them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::harness::*;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn collector() -> Origin {
    Origin::fixed("HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n")
}

fn routes(origin: &Origin) -> String {
    format!(
        "[upstreams.a]\nurl = 'http://{}'\n[upstreams.dead]\nurl = 'http://{NOBODY}'\n\
         [[route]]\nname = 'users'\npaths = ['/users/{{id}}']\nupstream = 'a'\naccess = 'public'\n\
         [[route]]\nname = 'dead'\npaths = ['/dead']\nupstream = 'dead'\naccess = 'public'\n\
         [[route]]\nname = 'live'\npaths = ['/live']\nkind = 'websocket'\nupstream = 'a'\n",
        origin.address
    )
}

fn traced(origin: &Origin, collector: &Origin) -> Builder {
    let builder = Gateway::builder().config(&routes(origin)).env("TRUSTED_PROXIES", "127.0.0.0/8");
    let endpoint = format!("http://{}/", collector.address);
    builder.env("TRACE_SAMPLE", "1").env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
}

fn requests(collector: &Origin) -> Vec<ExportTraceServiceRequest> {
    let bodies = collector.requests().into_iter().map(|request| request.body);
    bodies.map(|body| ExportTraceServiceRequest::decode(&body[..]).expect("a message")).collect()
}

fn spans(collector: &Origin) -> Vec<Span> {
    let resources = requests(collector).into_iter().flat_map(|request| request.resource_spans);
    resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
}

/// The spans, once there are as many as this.
#[track_caller]
fn awaited(collector: &Origin, count: usize) -> Vec<Span> {
    eventually("the spans arrive", || spans(collector).len() >= count);
    let spans = spans(collector);
    assert_eq!(spans.len(), count, "{spans:#?}");
    spans
}

fn attributes(span: &Span) -> BTreeMap<String, String> {
    let text = |value: Option<Value>| match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{other:?}"),
    };
    let pair = |one: &opentelemetry_proto::tonic::common::v1::KeyValue| {
        (one.key.clone(), text(one.value.clone().and_then(|value| value.value)))
    };
    span.attributes.iter().map(pair).collect()
}

#[track_caller]
fn has(span: &Span, expected: &[(&str, &str)]) {
    let found = attributes(span);
    let expected: BTreeMap<String, String> =
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    assert_eq!(found, expected);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The server's span and the client's.
fn both(spans: &[Span]) -> (&Span, &Span) {
    let of = |kind| spans.iter().find(|span| span.kind == kind).expect("a span of each kind");
    (of(2), of(3))
}

#[test]
fn a_trusted_trace_goes_on_through_the_gateway_to_the_service() {
    let (origin, collector) = (Origin::echo(), collector());
    let gateway = traced(&origin, &collector).env("ACCESS_LOG", "stdout").start();
    let request = Request::new("GET", "/users/7?token=secret").field("traceparent", &format!("{PARENT}-01"));
    let request = request.field("tracestate", "vendor=1").field("User-Agent", "app/1");
    assert_eq!(gateway.ask(request).status, 200);
    let spans = awaited(&collector, 2);
    let (server, client) = both(&spans);
    assert_eq!((hex(&server.trace_id), hex(&client.trace_id)), (TRACE.to_owned(), TRACE.to_owned()));
    assert_eq!(hex(&server.parent_span_id), "00f067aa0ba902b7");
    assert_eq!(client.parent_span_id, server.span_id);
    assert_eq!((server.name.as_str(), client.name.as_str()), ("GET /users/{id}", "GET"));
    assert_eq!(server.trace_state, "vendor=1");
    let received = &origin.requests()[0];
    let expected = format!("00-{TRACE}-{}-01", hex(&client.span_id));
    assert_eq!(
        received.field("traceparent"),
        Some(expected.as_str()),
        "the service's parent is the client's span"
    );
    assert_eq!(received.field("tracestate"), Some("vendor=1"));
    has(
        server,
        &[
            ("http.request.method", "GET"),
            ("http.response.status_code", "200"),
            ("http.route", "/users/{id}"),
            ("network.protocol.version", "1.1"),
            ("realchat.route", "users"),
            ("server.address", "chat.test"),
            ("url.path", "/users/7"),
            ("url.scheme", "http"),
            ("user_agent.original", "app/1"),
        ],
    );
    has(
        client,
        &[
            ("http.request.method", "GET"),
            ("http.response.status_code", "200"),
            ("network.protocol.version", "1.1"),
            ("realchat.upstream", "a"),
            ("server.address", "127.0.0.1"),
            ("server.port", &origin.address.port().to_string()),
            ("url.full", &format!("http://{}/users/7", origin.address)),
            ("url.scheme", "http"),
        ],
    );
    assert!(server.status.is_none() && client.status.is_none());
    assert!(server.start_time_unix_nano <= client.start_time_unix_nano);
    assert!(client.end_time_unix_nano <= server.end_time_unix_nano);
    assert!(server.start_time_unix_nano.abs_diff(now() * 1_000_000_000) < 60_000_000_000);
    let line = gateway.wait_stdout(&format!("\"trace_id\":\"{TRACE}\""));
    assert!(line.contains("\"route\":\"users\""), "{line}");
}

#[test]
fn a_collector_learns_who_sends_and_gets_the_fields_that_it_wants() {
    let (origin, collector) = (Origin::echo(), collector());
    let builder =
        traced(&origin, &collector).env("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hunter%202,x-tenant=chat");
    let builder = builder.env("OTEL_SERVICE_NAME", "edge");
    let gateway = builder
        .env("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment.environment.name=staging")
        .start();
    assert_eq!(gateway.ask(Request::new("GET", "/users/7")).status, 200);
    awaited(&collector, 2);
    let request = &collector.requests()[0];
    assert_eq!((request.method(), request.target()), ("POST", "/v1/traces"));
    assert_eq!(request.field("content-type"), Some("application/x-protobuf"));
    assert_eq!((request.field("api-key"), request.field("x-tenant")), (Some("hunter 2"), Some("chat")));
    let message = requests(&collector).remove(0).resource_spans.remove(0);
    let resource: Vec<String> =
        message.resource.expect("a resource").attributes.iter().map(|one| format!("{one:?}")).collect();
    for part in ["\"edge\"", "\"staging\"", "service.version"] {
        assert!(resource.iter().any(|one| one.contains(part)), "{part} in {resource:?}");
    }
    assert!(!resource.iter().any(|one| one.contains("\"other\"")), "{resource:?}");
    assert_eq!(message.scope_spans[0].scope.as_ref().expect("a scope").name, "realchat-gateway");
    eventually("they are counted", || gateway.metric("spans_exported_total") == 2);
    assert_eq!(gateway.metric("spans_dropped_total"), 0);
    assert!(!gateway.log().join("\n").contains("hunter"));
}

#[test]
fn whoever_is_not_trusted_begins_a_trace_of_its_own() {
    let (origin, collector) = (Origin::echo(), collector());
    let gateway = traced(&origin, &collector).without("TRUSTED_PROXIES").start();
    let request = Request::new("GET", "/users/7").field("traceparent", &format!("{PARENT}-01"));
    assert_eq!(gateway.ask(request.field("tracestate", "vendor=1")).status, 200);
    let spans = awaited(&collector, 2);
    let (server, client) = both(&spans);
    assert!(server.parent_span_id.is_empty() && server.trace_state.is_empty());
    assert_eq!(client.trace_id, server.trace_id);
    let received = &origin.requests()[0];
    assert_ne!(hex(&server.trace_id), TRACE);
    assert_eq!(
        received.field("x-request-id"),
        Some(hex(&server.trace_id).as_str()),
        "its id is the request's"
    );
    assert_eq!(received.field("tracestate"), None);
}

#[test]
fn a_parent_decides_whether_it_is_sampled_and_nobody_else_is_by_chance() {
    let (origin, collector) = (Origin::echo(), collector());
    // One in a million.
    let gateway = traced(&origin, &collector).env("TRACE_SAMPLE", "0.000001").start();
    let ask = |parent: &str| gateway.ask(Request::new("GET", "/users/7").field("traceparent", parent)).status;
    for parent in [format!("{PARENT}-00"), "nonsense".to_owned()] {
        assert_eq!(ask(&parent), 200);
    }
    assert_eq!(ask(&format!("{PARENT}-01")), 200);
    awaited(&collector, 2);
    // A proxy may have one id for many requests, so none of it becomes that of a trace.
    let named = gateway.ask(Request::new("GET", "/users/7").field("X-Request-Id", TRACE));
    assert_eq!((named.status, named.field("x-request-id")), (200, Some(TRACE)));
    assert!(!origin.last().field("traceparent").expect("one").contains(TRACE));
    let flags: Vec<String> = origin
        .requests()
        .iter()
        .map(|request| {
            request.field("traceparent").expect("one").rsplit('-').next().expect("flags").to_owned()
        })
        .collect();
    assert_eq!(flags, ["00", "00", "01", "00"]);
    let received = origin.requests();
    assert!(received[0].field("traceparent").expect("one").starts_with(&format!("00-{TRACE}-")));
    assert_ne!(
        received[0].field("traceparent"),
        Some(format!("{PARENT}-00").as_str()),
        "the parent is the gateway"
    );
}

#[test]
fn failures_say_what_failed_and_a_handshake_is_a_span() {
    let (origin, collector) = (echoing(), collector());
    let gateway = traced(&origin, &collector).start();
    assert_eq!(gateway.ask(Request::new("GET", "/dead")).status, 502);
    let spans = awaited(&collector, 1);
    let found = attributes(&spans[0]);
    assert_eq!(
        spans[0].status.as_ref().expect("a status").code,
        2,
        "there was no connection, so there is no call"
    );
    assert_eq!(
        (found["error.type"].as_str(), found["http.route"].as_str()),
        ("upstream_unreachable", "/dead")
    );
    assert_eq!(gateway.ask(Request::new("BREW", "/nowhere")).status, 401);
    let spans = awaited(&collector, 2);
    let found = attributes(&spans[1]);
    assert_eq!(found["http.request.method"], "_OTHER");
    assert_eq!(found["http.request.method_original"], "BREW");
    assert_eq!(
        (spans[1].name.as_str(), spans[1].status.is_none()),
        ("_OTHER", true),
        "a 401 is the client's"
    );
    let mut socket = Socket::open_with(&gateway, &handshake_on("/live").token("ann"));
    socket.expect_echo("hello");
    let spans = awaited(&collector, 4);
    let (server, client) = both(&spans[2..]);
    assert_eq!(attributes(server)["http.response.status_code"], "101");
    assert_eq!(attributes(client)["http.response.status_code"], "101");
}

#[test]
fn a_collector_that_is_busy_gets_the_same_spans_later_and_one_that_is_gone_loses_them() {
    let origin = Origin::echo();
    let count = std::sync::atomic::AtomicUsize::new(0);
    let busy = Origin::each(move |_| match count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 => b"HTTP/1.1 503 Busy\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n".to_vec(),
        1 => b"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n".to_vec(),
        2 => b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
        _ => b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n".to_vec(),
    });
    let gateway = traced(&origin, &busy).start();
    assert_eq!(gateway.ask(Request::new("GET", "/users/7")).status, 200);
    eventually("it is asked", || busy.requests().len() == 1);
    let since = Instant::now();
    eventually("it is asked again", || busy.requests().len() == 2);
    assert!(since.elapsed() > Duration::from_millis(1_500), "Retry-After holds: {:?}", since.elapsed());
    eventually("it takes them", || gateway.metric("spans_exported_total") == 2);
    let bodies: Vec<_> = busy.requests().into_iter().map(|request| request.body).collect();
    assert!(bodies.len() == 3 && bodies.iter().all(|body| *body == bodies[0]));
    gateway.wait_log("the collector does not take spans");
    gateway.wait_log("the collector takes spans again");
    assert_eq!(gateway.ask(Request::new("GET", "/users/7")).status, 200);
    eventually("a 400 is final", || gateway.metric("spans_dropped_total{reason=\"refused\"}") == 2);
    assert_eq!(busy.requests().len(), 4);
}

#[test]
fn the_end_of_the_process_sends_what_is_left() {
    let (origin, collector) = (Origin::echo(), collector());
    let gateway = traced(&origin, &collector).start();
    assert_eq!(gateway.ask(Request::new("GET", "/users/7")).status, 200);
    assert_eq!(gateway.stop().code(), Some(0));
    assert_eq!(spans(&collector).len(), 2);
}

#[test]
fn a_collector_that_is_stuck_holds_nobody_up() {
    let origin = Origin::echo();
    let (stuck, _release) = Origin::held();
    let gateway = traced(&origin, &stuck).env("SHUTDOWN_TIMEOUT", "1s").start();
    let mut client = gateway.client();
    let request = Request::new("GET", "/users/7").bytes();
    assert_eq!(client.send(&request).read_response().status, 200);
    eventually("the collector has it", || stuck.heads() == 1);
    // Both spans of each request: more than fit the queue and the core.
    for _ in 0..5_000 {
        assert_eq!(client.send(&request).read_response().status, 200);
    }
    eventually("some are dropped", || gateway.metric("spans_dropped_total{reason=\"queue_full\"}") > 0);
    drop(client);
    let since = Instant::now();
    assert_eq!(gateway.stop().code(), Some(0));
    assert!(since.elapsed() < Duration::from_secs(8), "{:?}", since.elapsed());
}

#[test]
fn what_is_off_sends_nothing_and_changes_nothing_and_a_reload_switches_it() {
    let (origin, collector) = (Origin::echo(), collector());
    let gateway = traced(&origin, &collector).without("TRACE_SAMPLE").start();
    let request = || Request::new("GET", "/users/7").field("traceparent", &format!("{PARENT}-01"));
    assert_eq!(gateway.ask(request()).status, 200);
    assert_eq!(origin.requests()[0].field("traceparent"), Some(format!("{PARENT}-01").as_str()));
    assert_eq!(gateway.metric("spans_exported_total"), 0);
    gateway.rewrite_config(&format!("trace_sample = 1\n{}", routes(&origin)));
    gateway.reload();
    assert_eq!(gateway.ask(request()).status, 200);
    assert_eq!(awaited(&collector, 2).len(), 2, "those of the second request");
}

#[test]
fn a_part_that_has_nowhere_to_go_is_a_mistake() {
    let (code, _, told) = Gateway::builder().env("TRACE_SAMPLE", "0.1").run(&["check"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("TRACE_SAMPLE: is over 0, but OTEL_EXPORTER_OTLP_ENDPOINT is missing"), "{told}");
}
