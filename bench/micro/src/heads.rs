//! Heads: found, parsed and written anew, as they pass through the gateway.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use realchat_gateway::auth::authorize;
use realchat_gateway::config::{Access, IssuerSet, Oddities};
use realchat_gateway::gateway::core::request_id::RequestId;
use realchat_gateway::gateway::forward::headers::{self, Additions, Context};
use realchat_gateway::http::{Method, Request, Response, Scheme, canonicalise, http_date, push_decimal};
use realchat_gateway::http1::{HeadLimits, HeadScan, RequestHead, ResponseHead};
use realchat_gateway::message::HeadWriter;

use crate::{Step, stage};

/// A small head of a browser.
pub fn parse_browser() -> Step {
    parse(browser())
}

/// As many fields as hardly any client sends.
pub fn parse_many() -> Step {
    parse(many())
}

/// Finding its end, keeping its bytes, parsing them.
fn parse(head: String) -> Step {
    let (mut request, limits) = (Request::default(), HeadLimits::default());
    Box::new(move || {
        let bytes = black_box(head.as_bytes());
        let length = HeadScan::default().advance(bytes, &limits).expect("a head").expect("all of it");
        RequestHead::parse(&bytes[..length], &limits, &mut request).expect("a valid head");
        black_box(&request);
    })
}

pub fn path_plain() -> Step {
    canonical("/api/v1/conversations/0192d5a4-9c1e-7d0b-8f6e-3a4b5c6d7e8f/messages")
}

pub fn path_escaped() -> Step {
    canonical("/api/v1/conversations/caf%c3%a9%2dau%2Dlait/messages/%7euser%20one%21")
}

/// Made canonical in a copy, since it is done in place.
fn canonical(path: &'static str) -> Step {
    let mut copy = path.as_bytes().to_vec();
    Box::new(move || {
        copy.copy_from_slice(black_box(path).as_bytes());
        black_box(canonicalise(&mut copy, Oddities::default()).expect("a path"));
    })
}

pub fn compose_browser() -> Step {
    compose_request(browser(), false)
}

pub fn compose_many() -> Step {
    compose_request(many(), false)
}

/// Behind a proxy whose forwarding fields are believed and continued.
pub fn compose_trusted() -> Step {
    let forwarded = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: chat.example\r\n\
        traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n";
    compose_request(browser().replace("\r\n\r\n", &format!("\r\n{forwarded}")), true)
}

/// The head that goes upstream, into a buffer of the pool.
fn compose_request(head: String, is_peer_trusted: bool) -> Step {
    let (core, request) = (stage::core(), parsed(&head));
    let id = core.resources.ids.next_id();
    let verified =
        core.snapshot.authenticator.verify(stage::token().as_bytes(), IssuerSet::ALL, stage::NOW, || false);
    let identity = authorize(Access::Protected, None, verified);
    let identity = identity.unwrap_or_else(|_| panic!("a user"));
    Box::new(move || {
        let route = &core.snapshot.config.routes[0];
        let context = Context {
            ids: &core.resources.ids,
            id: &id,
            identity: &identity,
            claim_fields: &route.claim_fields,
            certified: None,
            peer: CLIENT,
            scheme: Scheme::Http,
            is_peer_trusted,
        };
        let authority = &core.snapshot.upstreams[route.upstream].terms().authority;
        let request = black_box(&request);
        let target = [request.method_name(), request.path(), request.query()];
        let out = core.resources.io.buffers.buffer();
        let mut head = HeadWriter::h1_request(out, target, authority);
        headers::compose_request(&mut head, request, route, &context);
        end(head);
    })
}

/// What ends every head.
fn end(head: HeadWriter) {
    let HeadWriter::H1(mut out) = head;
    out.put(b"\r\n");
    black_box(out.filled());
}

/// A response's head in the buffer that it came in.
pub fn parse_response() -> Step {
    let (mut bytes, mut response, limits) =
        (RESPONSE.as_bytes().to_vec(), Response::default(), HeadLimits::default());
    Box::new(move || {
        let bytes = black_box(&mut bytes);
        let length = HeadScan::response().advance(bytes, &limits).expect("a head").expect("all of it");
        ResponseHead::parse(&bytes[..length], &limits, Method::Get, &mut response).expect("a valid head");
        black_box(&response);
    })
}

/// The head that goes to the client, into a buffer of the pool.
pub fn compose_response() -> Step {
    let (core, request) = (stage::core(), parsed(&browser()));
    let (bytes, mut response) = (RESPONSE.as_bytes(), Response::default());
    ResponseHead::parse(bytes, &HeadLimits::default(), Method::Get, &mut response).expect("a valid head");
    let id: RequestId = core.resources.ids.next_id();
    Box::new(move || {
        let response = black_box(&response);
        let cors = &core.snapshot.cors;
        let additions = Additions { request: &request, id: &id, quota: None, cors, hsts: None };
        let out = core.resources.io.buffers.buffer();
        let mut head = HeadWriter::h1_response(out, response.status, response.reason.of(bytes));
        headers::compose_response(&mut head, response, bytes, &additions);
        // As the responder ends it.
        head.field(b"Content-Length", push_decimal(black_box(200), &mut [0; 20]));
        end(head);
    })
}

pub fn date() -> Step {
    let mut out = [0; 29];
    Box::new(move || {
        http_date(black_box(stage::NOW), &mut out);
        black_box(&out);
    })
}

fn parsed(head: &str) -> Request {
    let mut request = Request::default();
    RequestHead::parse(head.as_bytes(), &HeadLimits::default(), &mut request).expect("a valid head");
    request
}

fn browser() -> String {
    let token = stage::token();
    format!(
        "GET /api/v1/users/me?fields=name HTTP/1.1\r\n\
         Host: chat.example\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
         Accept: application/json\r\n\
         Accept-Language: en-US,en;q=0.5\r\n\
         Accept-Encoding: gzip, deflate, br, zstd\r\n\
         Referer: https://chat.example/rooms\r\n\
         Authorization: Bearer {token}\r\n\
         Connection: keep-alive\r\n\
         Cookie: theme=dark; seen=1\r\n\
         Sec-Fetch-Dest: empty\r\n\
         Sec-Fetch-Mode: cors\r\n\
         Sec-Fetch-Site: same-origin\r\n\
         \r\n"
    )
}

/// Thirty fields: the browser's twelve and eighteen more.
fn many() -> String {
    let more: String = (0..18).map(|nth| format!("X-Field-{nth}: value number {nth}\r\n")).collect();
    browser().replace("\r\n\r\n", &format!("\r\n{more}\r\n"))
}

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77));

const RESPONSE: &str = "HTTP/1.1 200 OK\r\n\
     Server: nginx/1.22.1\r\n\
     Date: Fri, 15 Jan 2027 08:00:00 GMT\r\n\
     Content-Type: application/json\r\n\
     Content-Length: 200\r\n\
     Connection: keep-alive\r\n\
     Cache-Control: no-store\r\n\
     ETag: \"65a5c3f1-c8\"\r\n\
     \r\n";
