//! At the limits of the machine: too many connections, too few file descriptors.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::*;

const ME: &str = "/api/v1/users/me";

/// Clients whose requests the origin does not answer.
fn busy(gateway: &Gateway, origin: &Origin, count: usize) -> Vec<Client> {
    let before = origin.heads();
    let mut clients: Vec<Client> = (0..count).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.send(Request::new("GET", ME).token("ann").bytes());
    }
    eventually("the requests are in flight", || origin.heads() == before + count);
    clients
}

fn never_answers() -> Origin {
    Origin::new(|exchange| {
        exchange.read_request();
        exchange.wait_closed();
    })
}

#[test]
fn a_connection_over_the_cap_is_told_so_and_closed() {
    let origin = never_answers();
    let gateway = Gateway::builder().everywhere(&origin).env("MAX_CONNECTIONS", "3").start();
    let mut clients = busy(&gateway, &origin, 3);
    for nth in 1..=5 {
        let mut over = gateway.client();
        let response = over.send(Request::new("POST", ME).token("ann").body("x").bytes()).read_response();
        assert_eq!((response.status, response.code().as_str()), (503, "overloaded"));
        assert_eq!(response.field("retry-after"), Some("1"), "{response:?}");
        assert!(response.head.lists("connection", "close"), "{response:?}");
        over.expect_closed();
        assert_eq!(gateway.metric("connections_refused_total"), nth);
    }
    let line = gateway.wait_log("connections are refused");
    for part in ["WARN", "bound=\"MAX_CONNECTIONS\"", "max=3", "refused=", "127.0.0.1: 3"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert_eq!(gateway.metric("requests_in_flight"), 3);
    // One that only closes might still read.
    clients.pop().expect("a client").reset();
    eventually("a place is free again", || gateway.get("/nothing", "ann").status == 404);
}

#[test]
fn a_full_core_tells_its_health_and_forgets_who_says_nothing() {
    let origin = never_answers();
    let gateway = Gateway::builder().everywhere(&origin).env("MAX_CONNECTIONS", "2").start();
    let _clients = busy(&gateway, &origin, 2);
    for path in ["/healthz", "/readyz"] {
        let mut probe = gateway.client();
        assert_eq!(probe.send(Request::new("GET", path).bytes()).read_response().status, 200, "{path}");
        probe.expect_closed();
    }
    let mut silent = gateway.client();
    assert!(silent.read_until_gone().is_empty());
}

#[test]
fn the_log_names_each_bound_over_which_connections_are_refused_once_a_minute() {
    let origin = never_answers();
    let builder = Gateway::builder().cores("2").everywhere(&origin).env("TRUSTED_PROXIES", "127.0.0.9");
    let gateway = builder.env("MAX_CONNECTIONS_PER_ADDRESS", "1").start();
    let mut clients: Vec<Client> = (0..12).map(|_| gateway.client()).collect();
    eventually("connections are refused", || gateway.metric("connections_refused_per_address_total") > 1);
    let line = gateway.wait_log("connections are refused: an address has too many");
    assert!(line.contains("bound=\"MAX_CONNECTIONS_PER_ADDRESS\"") && line.contains("127.0.0.1: "), "{line}");
    clients.extend((0..12).map(|_| gateway.client()));
    let refused = gateway.metric("connections_refused_total");
    eventually("more are refused", || gateway.metric("connections_refused_total") >= refused);
    let said = |gateway: &Gateway| gateway.log().iter().filter(|line| line.contains("are refused")).count();
    assert_eq!(said(&gateway), 1);
    // What the machine has room for has another name.
    let gateway = Gateway::builder().everywhere(&origin).env("MEMORY_BUDGET", "16MiB").start();
    let _many: Vec<Client> = (0..8).flat_map(|_| busy(&gateway, &origin, 64)).collect();
    assert_eq!(gateway.get("/nothing", "ann").code(), "overloaded");
    let line = gateway.wait_log("a core is full");
    assert!(line.contains("bound=\"MEMORY_BUDGET\"") && line.contains("max=512"), "{line}");
}

/// A crowd of one address that asks for nothing else gets through the reserve no more than its share: the others'
/// probes are answered.
#[test]
fn probes_are_no_way_around_the_bound_and_a_crowd_of_them_leaves_room_for_others() {
    let origin = never_answers();
    let builder = Gateway::builder().everywhere(&origin).env("MAX_CONNECTIONS", "2");
    let gateway = builder.start();
    let _clients = busy(&gateway, &origin, 2);
    // Each of these holds its place for a second and says nothing.
    let crowd: Vec<Client> = (0..40).map(|_| Client::connect_from([127, 0, 0, 2], gateway.public)).collect();
    let mut probe = Client::connect_from([127, 0, 0, 3], gateway.public);
    let answer = probe.send(Request::new("GET", "/healthz").bytes()).read_response();
    assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    let mut other = Client::connect_from([127, 0, 0, 3], gateway.public);
    let mut request = Request::new("GET", "/healthz").bytes();
    // A second request behind the first one is not served.
    request.extend(Request::new("GET", "/healthz").bytes());
    assert_eq!(other.send(&request).read_response().status, 200);
    other.expect_closed();
    // Nor is anything else, whatever it looks like.
    for (method, path) in [("POST", "/healthz"), ("GET", "/healthz/x"), ("GET", ME)] {
        let mut other = Client::connect_from([127, 0, 0, 4], gateway.public);
        assert_eq!(
            other.send(Request::new(method, path).bytes()).read_response().code(),
            "overloaded",
            "{path}"
        );
    }
    assert_eq!(gateway.metric("connections_open"), 2);
    drop(crowd);
}

#[test]
fn many_connections_over_the_cap_hold_nothing() {
    let origin = never_answers();
    let gateway = Gateway::builder().everywhere(&origin).env("MAX_CONNECTIONS", "1").start();
    let first = busy(&gateway, &origin, 1);
    let fds = gateway.fd_count();
    let over: Vec<Client> = (0..300).map(|_| gateway.client()).collect();
    // Those that may say something keep their places only for a moment, the others not at all.
    eventually("the others are closed", || gateway.fd_count() <= fds);
    eventually("the first one stays", || gateway.metric("requests_in_flight") == 1);
    assert_eq!(gateway.metric("connections_open"), 1, "nobody made room");
    assert_eq!(origin.open(), 1);
    drop((first, over));
}

/// Each of these has its answer, and stays open without reading on.
#[test]
fn refused_connections_that_linger_are_few() {
    let gateway = Gateway::builder()
        .env("MAX_CONNECTIONS", "100")
        .env("MAX_CONNECTIONS_PER_ADDRESS", "1")
        .cores("1")
        .start();
    let health = Request::new("GET", "/healthz").bytes();
    let mut first = gateway.client();
    assert_eq!(first.send(&health).read_response().status, 200);
    let fds = gateway.fd_count();
    let mut refused = Vec::new();
    for _ in 0..3 * LINGERING_MAX {
        let mut client = gateway.client();
        assert_eq!(client.send(&health).read_response().status, 200);
        refused.push(client);
        // One answer later the core has done with that one what it does.
        assert_eq!(first.send(&health).read_response().status, 200);
    }
    let lingering = gateway.fd_count() - fds;
    assert!(lingering <= LINGERING_MAX, "{lingering} connections are kept behind their answer");
}

/// How many refused connections linger at once.
const LINGERING_MAX: usize = realchat_gateway::limits::REFUSALS_LINGERING_MAX;

#[test]
fn one_address_took_all_connections_of_a_core() {
    let gateway = Gateway::builder()
        .env("MAX_CONNECTIONS", "12")
        .without("MAX_CONNECTIONS_PER_ADDRESS")
        .config("trusted_proxies = ['127.0.0.4']\n")
        .start();
    let from = |last: u8| Client::connect_from([127, 0, 0, last], gateway.public);
    let health = Request::new("GET", "/health").bytes();
    let mut many: Vec<Client> = (0..6).map(|_| from(2)).collect();
    many.iter_mut().for_each(Client::expect_open);
    for _ in 0..3 {
        let refused = from(2).send(&health).read_response();
        assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_connections"));
        assert_eq!(refused.field("retry-after"), Some("10"));
    }
    assert_eq!(from(3).send(&health).read_response().status, 401, "another address has its own");
    gateway.wait_log("127.0.0.2: 6");
    drop(many);
    // A proxy is many clients.
    let mut proxied: Vec<Client> = (0..7).map(|_| from(4)).collect();
    assert!(proxied.iter_mut().all(|client| client.send(&health).read_response().status == 401));
}

#[test]
fn idle_connections_of_the_fullest_address_give_way_on_a_full_core() {
    let gateway = Gateway::builder().env("MAX_CONNECTIONS", "8").start();
    let from = |last: u8| Client::connect_from([127, 0, 0, last], gateway.public);
    let mut idle: Vec<Client> = (0..6).map(|_| from(2)).collect();
    let mut others: Vec<Client> = (0..2).map(|_| from(3)).collect();
    let health = Request::new("GET", "/healthz").bytes();
    for client in idle.iter_mut().chain(&mut others) {
        assert_eq!(client.send(&health).read_response().status, 200);
    }
    let mut newcomer = from(4);
    assert_eq!(newcomer.send(&health).read_response().status, 200);
    others.push(newcomer);
    eventually("they are gone", || gateway.metric("connections_open") == 3);
    eventually("they are counted", || gateway.metric("connections_gave_way_total") == 6);
    assert_eq!(gateway.metric("connections_refused_total"), 0);
    idle.iter_mut().for_each(Client::expect_closed);
    assert!(others.iter_mut().all(|client| client.send(&health).read_response().status == 200));
}

#[test]
fn a_gateway_out_of_file_descriptors_says_so_and_goes_on() {
    let origin = Origin::fixed("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gateway =
        Gateway::builder().everywhere(&origin).open_files(40).env("MAX_CONNECTIONS", "1000").start();
    let mut first = gateway.client();
    let ask = |client: &mut Client| client.send(Request::new("GET", ME).token("ann").bytes()).read_response();
    assert_eq!(ask(&mut first).status, 200);

    let crowd: Vec<TcpStream> =
        (0..100).map(|_| TcpStream::connect(gateway.public).expect("a queue")).collect();
    let is_said = |line: &String| line.contains("cannot accept connections");
    eventually("it says so", || gateway.log().iter().any(is_said));

    let (cpu, begun) = (gateway.cpu_time(), Instant::now());
    while begun.elapsed() < Duration::from_secs(1) {
        assert_eq!(ask(&mut first).status, 200, "a connection that is there is served");
        thread::sleep(Duration::from_millis(50));
    }
    let cpu = gateway.cpu_time() - cpu;
    assert!(cpu < Duration::from_millis(300), "{cpu:?} of processor time in a second of waiting");
    assert_eq!(gateway.log().iter().filter(|line| is_said(line)).count(), 1, "said once");

    drop(crowd);
    eventually("it recovers", || gateway.fd_count() < 35);
    assert_eq!(gateway.get(ME, "ann").status, 200);
}

#[test]
fn a_small_limit_of_files_leaves_room_for_upstreams() {
    let origin = Origin::fixed("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    // No cap is set: it follows from the limit.
    let gateway = Gateway::builder().everywhere(&origin).open_files(256).start();
    let mut clients: Vec<Client> = (0..400).map(|_| gateway.client()).collect();
    let request = Request::new("GET", ME).token("ann").field("Connection", "close").bytes();
    let mut served = 0;
    for client in &mut clients {
        let answer = client.send(&request).read_until_gone();
        let refused = answer.is_empty() || answer.starts_with(b"HTTP/1.1 503 ");
        assert!(refused || answer.starts_with(b"HTTP/1.1 200 "), "{}", show(&answer));
        served += usize::from(!refused);
    }
    assert!(served > 0, "nobody was served");
    assert!(!gateway.log().iter().any(|line| line.contains("cannot accept")), "{:?}", gateway.log());
}
