//! Clients and servers of other projects, with the gateway between them: tus in a browser, Tornado, EventSource.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stacks")
}

/// A server of another project, which ends with the test.
struct Stack {
    /// The numbers that it says first: its ports.
    ports: Vec<u16>,
    child: Child,
    /// It ends when this is closed.
    stdin: Option<ChildStdin>,
    _stdout: BufReader<ChildStdout>,
}

impl Stack {
    #[track_caller]
    fn start(program: &str, script: &str) -> Stack {
        let mut command = Command::new(program);
        command.arg(folder().join(script)).env("PYTHONPATH", folder().join("site"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
        let (mut stdout, mut line) = (BufReader::new(child.stdout.take().expect("a pipe")), String::new());
        stdout.read_line(&mut line).expect("a line");
        let ports: Vec<u16> = line.split_whitespace().filter_map(|port| port.parse().ok()).collect();
        assert!(
            !ports.is_empty(),
            "{script} says {line:?}: is all of tests/stacks installed (scripts/test)?"
        );
        Stack { ports, stdin: child.stdin.take(), child, _stdout: stdout }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.child.wait();
    }
}

/// One upstream at this port, and one route to it.
fn config(port: u16, upstream: &str, route: &str) -> String {
    format!(
        "[upstreams.app]\nurl = 'http://127.0.0.1:{port}'\n{upstream}\n\
         [[route]]\nname = 'app'\nupstream = 'app'\n{route}\n"
    )
}

#[test]
fn a_page_of_another_origin_uploads_with_tus_and_goes_on_after_an_interruption() {
    let tus = Stack::start("node", "tus.js");
    let page_origin = format!("http://127.0.0.1:{}", tus.ports[1]);
    let route = "paths = ['/files', '/files/*']\nbody_max_bytes = 10485760";
    let gateway = Gateway::builder()
        .env("CORS_ALLOWED_ORIGINS", &page_origin)
        .config(&config(tus.ports[0], "", route))
        .start();
    let browser = Browser::start();
    let page = browser.open(&format!("{page_origin}/"));
    let (size, public) = (1 << 20, gateway.public);
    page.run(&format!("upload('http://{public}/files', '{}', {size})", token("ann")));
    page.shows("state", "done in two parts");
    let url = page.text("state").split_whitespace().last().expect("a URL").to_owned();
    let path = url.strip_prefix(&format!("http://{public}")).unwrap_or_else(|| panic!("{url} is elsewhere"));
    // What the page could read: the service's own names beside the gateway's.
    let asked = Request::new("HEAD", path).token("ann").field("Tus-Resumable", "1.0.0");
    let mut client = gateway.client();
    let head = client.send(asked.field("Origin", &page_origin).bytes()).read_head();
    assert_eq!(head.field("upload-offset"), Some(size.to_string().as_str()), "{head:?}");
    assert_eq!(head.field("access-control-allow-origin"), Some(page_origin.as_str()), "{head:?}");
    for name in ["Upload-Offset", "Location", "X-Request-Id"] {
        assert!(head.lists("access-control-expose-headers", name), "{name}: {head:?}");
    }
    // A page of another origin, and no token.
    page.run(&format!("upload('http://{public}/files', 'a.b.c', {size})"));
    page.shows("state", "response code: 401");
}

#[test]
fn tornado_compares_the_origin_with_the_clients_host() {
    let tornado = Stack::start("python3", "tornado_server.py");
    let route = "paths = ['/*']\nkind = 'both'";
    let gateway =
        |upstream: &str| Gateway::builder().config(&config(tornado.ports[0], upstream, route)).start();
    let handshake = |origin: &str| handshake_on("/ws").bearer(&token("ann")).field("Origin", origin);
    let told = gateway("host = 'client'");
    let mut socket = Socket::open_with(&told, &handshake("http://chat.test"));
    socket.send(Frame::text("hello"));
    assert_eq!(socket.read(), Frame::text("ann says hello"));
    // The check is still one.
    assert_eq!(told.ask(handshake("http://evil.test")).status, 403);
    let here = told.ask(Request::new("GET", "/here").token("ann"));
    assert_eq!((here.status, here.field("location")), (302, Some("http://chat.test/there")));
    // Told the upstream's own name it refuses every page, and names itself; that is mended on the way back.
    let untold = gateway("");
    assert_eq!(untold.ask(handshake("http://chat.test")).status, 403);
    let here = untold.ask(Request::new("GET", "/here").token("ann"));
    assert_eq!((here.status, here.field("location")), (302, Some("http://chat.test/there")));
}

#[test]
fn an_event_source_has_the_cookie_of_its_session_and_reconnects() {
    let (streams, last_id) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (begun, seen) = (streams.clone(), last_id.clone());
    let session = token("ann");
    let app = Origin::new(move |exchange: &mut Exchange| {
        while let Some(request) = exchange.read_request() {
            if request.target() != "/events" {
                let html = "<!doctype html><p id='events'></p>";
                exchange.write(format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\
                     Set-Cookie: session={session}; HttpOnly; SameSite=Lax; Path=/\r\n\r\n{html}",
                    html.len()
                ));
                continue;
            }
            let nth = begun.fetch_add(1, Ordering::SeqCst) + 1;
            let id = request.head.field("last-event-id").and_then(|id| id.parse().ok()).unwrap_or_default();
            seen.store(id, Ordering::SeqCst);
            let user = request.head.field("x-internal-user-id").unwrap_or("nobody").to_owned();
            let cookie = request.head.field("cookie").unwrap_or("no cookie").to_owned();
            exchange.write(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n\
                 retry: 20\nid: {nth}\ndata: {user}, {cookie}, stream {nth}\n\n"
            ));
            if nth == 2 {
                exchange.wait_closed();
            }
            return;
        }
    });
    let text = format!(
        "{}[[route]]\nname = 'page'\nupstream = 'app'\npaths = ['/']\naccess = 'public'\n",
        config(app.address.port(), "", "paths = ['/events']\ntokens_from = ['cookie:session']")
    );
    let gateway = Gateway::builder().config(&text).start();
    let browser = Browser::start();
    let page = browser.open(&format!("http://{}/", gateway.public));
    assert_eq!(page.run("return document.cookie"), "", "the page itself cannot read it");
    page.run(
        "window.source = new EventSource('/events');\
         source.onmessage = (event) => document.getElementById('events').append(event.data + '; ')",
    );
    page.shows("events", "ann, no cookie, stream 1; ann, no cookie, stream 2;");
    assert_eq!((streams.load(Ordering::SeqCst), last_id.load(Ordering::SeqCst)), (2, 1));
    // Without the cookie the same stream is nobody's.
    assert_eq!(gateway.ask(Request::new("GET", "/events")).code(), "token_missing");
}
