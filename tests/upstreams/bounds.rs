//! What one upstream may have going on: requests, connections that open, long responses, idle connections.

use std::io::Write;
use std::time::Instant;

use super::*;

#[test]
fn an_upstream_has_bounds_of_its_own() {
    let (origin, release) = Origin::held();
    let gateway = gateway(&[origin.address], "in_flight = 1");
    let mut busy = gateway.client();
    busy.send(Request::new("GET", "/x").bytes());
    eventually("the request is in flight", || origin.heads() == 1);
    assert_eq!(gateway.ask(Request::new("GET", "/x")).code(), "overloaded");
    drop(release);
    assert_eq!(busy.read_response().status, 200);
}

#[test]
fn few_requests_wait_for_a_connection() {
    let silent = Silent::new();
    let keys = "pending_connects = 2\nconnect_timeout = '5s'";
    let gateway = builder(&[silent.address], keys).env("ACCESS_LOG", "stdout").start();
    let mut waiting: Vec<Client> = (0..2).map(|_| gateway.client()).collect();
    for client in &mut waiting {
        client.send(Request::new("GET", "/x").bytes());
    }
    eventually("both wait", || gateway.metric("requests_in_flight") == 2);
    assert_eq!(gateway.ask(Request::new("GET", "/x")).code(), "overloaded");
    gateway.wait_stdout("upstream_pending_connects");
}

#[test]
fn streams_of_events_did_not_leave_room_for_requests() {
    let origin = Origin::new(|exchange| {
        while let Some(request) = exchange.read_request() {
            match request.target() {
                "/x/events" => {
                    exchange.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
                    exchange.wait_closed();
                    return;
                }
                _ => exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            }
        }
    });
    let gateway =
        builder(&[origin.address], "in_flight = 1\nstreams = 3").env("ACCESS_LOG", "stdout").start();
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut client = gateway.client();
        client.send(Request::new("GET", "/x/events").bytes());
        assert_eq!(client.read_head().word(1), "200");
        streams.push(client);
    }
    assert_eq!(gateway.ask(Request::new("GET", "/x/other")).status, 200);
    assert_eq!(gateway.ask(Request::new("GET", "/x/events")).code(), "overloaded");
    gateway.wait_stdout("upstream_streams");
    streams.pop().expect("a stream").reset();
    eventually("a place is free again", || {
        let mut client = gateway.client();
        client.send(Request::new("GET", "/x/events").bytes());
        client.read_head().word(1) == "200"
    });
}

#[test]
fn a_connection_carries_so_many_requests() {
    let origin = Origin::echo();
    let gateway = builder(&[origin.address], "").env("UPSTREAM_CONNECTION_REQUESTS", "3").start();
    assert_eq!(statuses(&gateway, "GET", 9), BTreeMap::from([(200, 9)]));
    assert_eq!(origin.connections(), 3);
}

#[test]
fn other_bounds_leave_the_connections_as_they_are() {
    let origin = Origin::echo();
    let toml = |keys: &str| file(&[origin.address], keys, "access = 'public'");
    let gateway = Gateway::builder().config(&toml("")).start();
    assert_eq!(statuses(&gateway, "GET", 3), BTreeMap::from([(200, 3)]));
    gateway.rewrite_config(&toml("in_flight = 5\nbalance = 'round_robin'\nhead_timeout = '7s'"));
    let told = gateway.reload().join("\n");
    assert!(told.contains("in_flight = 5") && told.contains("head_timeout = 7s"), "{told}");
    assert_eq!(statuses(&gateway, "GET", 3), BTreeMap::from([(200, 3)]));
    assert_eq!(origin.connections(), 1);
}

#[test]
fn full_pools_of_idle_connections_left_no_descriptor_for_another_upstream() {
    let many = 130;
    let origins: Vec<(Origin, _)> = (0..2).map(|_| Origin::held()).collect();
    let last = Origin::echo();
    let mut toml = format!(
        "[upstreams.last]\nurl = 'http://{}'\n[[route]]\nname = 'last'\npaths = ['/x']\nupstream = 'last'\n\
         access = 'public'\n",
        last.address
    );
    for (nth, (origin, _)) in origins.iter().enumerate() {
        toml.push_str(&format!(
            "[upstreams.u{nth}]\nurl = 'http://{}'\n[[route]]\nname = 'r{nth}'\npaths = ['/{nth}']\n\
             upstream = 'u{nth}'\naccess = 'public'\n",
            origin.address
        ));
    }
    let gateway = Gateway::builder().config(&toml).env("MAX_CONNECTIONS", "4096").open_files(512).start();
    for (nth, (origin, release)) in origins.into_iter().enumerate() {
        let mut clients: Vec<Client> = (0..many).map(|_| gateway.client()).collect();
        clients.iter_mut().for_each(|client| {
            client.send(Request::new("GET", &format!("/{nth}")).bytes());
        });
        eventually("all are in flight", || origin.heads() == many);
        drop(release);
        for client in &mut clients {
            assert_eq!(client.read_response().status, 200);
        }
        // Their sockets take no part in what follows.
        drop(clients);
        eventually("the clients are gone", || gateway.metric("connections_open") == 0);
        assert_eq!(gateway.ask(Request::new("GET", "/x")).status, 200);
    }
    // Half of the files, at most.
    assert!(gateway.metric("upstream_idle") <= 256, "{}", gateway.metric("upstream_idle"));
    assert!(gateway.metric("upstream_idle") > 50, "no more than needed is closed");
}

#[test]
fn a_response_in_two_small_writes_took_forty_milliseconds() {
    let origin = Origin::new(|exchange| {
        exchange.stream().set_nodelay(false).expect("a TCP socket");
        while exchange.read_request().is_some() {
            let mut stream = exchange.stream();
            let sent = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
            let _ = sent.and_then(|()| stream.write_all(b"body"));
        }
    });
    let gateway = gateway(&[origin.address], "");
    // A new connection acknowledges at once anyway.
    assert_eq!(statuses(&gateway, "GET", 40), BTreeMap::from([(200, 40)]));
    let begun = Instant::now();
    assert_eq!(statuses(&gateway, "GET", 40), BTreeMap::from([(200, 40)]));
    assert_eq!(origin.connections(), 1);
    assert!(begun.elapsed() < Duration::from_millis(40 * 20), "{:?} for 40 requests", begun.elapsed());
}
