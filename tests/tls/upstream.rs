//! TLS to upstreams: what passes, whom the gateway trusts, and what becomes of connections.

use std::io::Write;
use std::net::TcpListener;
use std::thread;

use super::authority::Authority;
use super::files::Folder;
use super::front::{Ending, Front, NEW_KEYS, PART};
use crate::harness::*;

/// The name that the certificates of these tests are for.
const NAME: &str = "orders.internal";

/// A configuration with one upstream: its URL, and what else is written of it.
fn file(url: &str, besides: &str) -> String {
    format!(
        "[upstreams.orders]\nurl = '{url}'\n{besides}\n\
         [[route]]\nname = 'all'\npaths = ['/*']\nupstream = 'orders'\naccess = 'public'\nforward_trailers = true\n\
         [[route]]\nname = 'ws'\npaths = ['/ws']\nupstream = 'orders'\naccess = 'public'\nkind = 'websocket'\n"
    )
}

/// A gateway with this file, and patience with handshakes on a busy machine.
fn with(toml: &str) -> Builder {
    Gateway::builder().config(toml).env("UPSTREAM_CONNECT_TIMEOUT", "20s")
}

/// An authority, and its file.
struct Trust {
    folder: Folder,
    authority: Authority,
}

impl Trust {
    fn new() -> Trust {
        let (folder, authority) = (Folder::new(), Authority::new());
        folder.write("ca.pem", &authority.pem());
        Trust { folder, authority }
    }

    /// A front with a good certificate.
    fn front(&self, origin: &Origin) -> Front {
        Front::before(origin, self.authority.issue(&[NAME]).server())
    }

    /// The file of a gateway that trusts the authority to vouch for what listens there.
    fn file(&self, address: impl std::fmt::Display) -> String {
        let ca = self.folder.path("ca.pem");
        file(&format!("https://{address}"), &format!("tls = {{ ca_file = '{ca}', server_name = '{NAME}' }}"))
    }

    fn gateway(&self, front: &Front) -> Gateway {
        with(&self.file(front.address)).start()
    }
}

/// The code and the cause of the one failed request in the access log.
#[track_caller]
fn told(gateway: &Gateway) -> (String, String) {
    let line = gateway.wait_stdout("\"code\":");
    let record: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let word = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
    (word("code"), word("cause"))
}

#[test]
fn requests_pass_over_one_connection_and_one_handshake() {
    for driver in ["auto", "epoll"] {
        let trust = Trust::new();
        let origin = Origin::echo();
        let front = trust.front(&origin);
        let gateway = with(&trust.file(front.address)).env("IO_DRIVER", driver).start();
        let mut client = gateway.client();
        let large = vec![b'x'; 3 << 20];
        for request in [
            Request::new("GET", "/a"),
            Request::new("POST", "/b").body("hello"),
            Request::new("POST", "/c")
                .field("Transfer-Encoding", "chunked")
                .raw_body("5\r\nhello\r\n0\r\n\r\n"),
            Request::new("PUT", "/d").body(&large),
            Request::new("GET", "/e"),
        ] {
            assert_eq!(client.send(request.bytes()).read_response().status, 200);
        }
        let lengths: Vec<usize> = origin.requests().iter().map(|request| request.body.len()).collect();
        assert_eq!(lengths, [0, 5, 5, large.len(), 0]);
        assert_eq!((front.handshakes(), gateway.metric("upstream_tls_handshakes_total")), (1, 1));
        assert_eq!(gateway.metric("upstream_reuses_total"), 4);
        assert_eq!(origin.last().field("host"), Some(&*front.address.to_string()));
        assert_eq!(origin.last().field("x-forwarded-proto"), Some("http"));
    }
}

#[test]
fn large_responses_pass_whole_whatever_their_framing() {
    let trust = Trust::new();
    let body = "0123456789abcdef".repeat(200_000);
    let chunked: String = body.as_bytes().chunks(50_000).fold(String::new(), |all, chunk| {
        all + &format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk))
    });
    let (length, until_close) = (body.len(), body.clone());
    let origin = Origin::new(move |exchange| {
        while let Some(request) = exchange.read_request() {
            exchange.write("HTTP/1.1 200 OK\r\n");
            match request.target() {
                "/chunked" => exchange.write(format!("Transfer-Encoding: chunked\r\n\r\n{chunked}0\r\n\r\n")),
                "/length" => exchange.write(format!("Content-Length: {length}\r\n\r\n{until_close}")),
                _ => return exchange.write(format!("\r\n{until_close}")),
            }
        }
    });
    let front = trust.front(&origin);
    let gateway = trust.gateway(&front);
    for target in ["/chunked", "/length", "/chunked", "/close"] {
        let response = gateway.ask(Request::new("GET", target));
        assert!(response.status == 200 && response.text() == body, "{target}");
    }
    assert_eq!(front.handshakes(), 1);
}

#[test]
fn another_connection_goes_on_with_the_keys_of_the_first() {
    let trust = Trust::new();
    let origin = Origin::fixed("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    let front = trust.front(&origin);
    let gateway = trust.gateway(&front);
    for _ in 0..4 {
        assert_eq!(gateway.ask(Request::new("GET", "/")).text(), "ok");
    }
    assert_eq!((front.handshakes(), front.resumed()), (4, 3));
    assert_eq!(gateway.metric("upstream_tls_handshakes_resumed_total"), 3);
}

#[test]
fn new_keys_on_an_idle_connection_leave_it_as_it_was() {
    let trust = Trust::new();
    let origin = Origin::new(|exchange| {
        while exchange.read_request().is_some() {
            exchange.write(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{NEW_KEYS}"));
        }
    });
    let front = trust.front(&origin);
    let gateway = trust.gateway(&front);
    for _ in 0..5 {
        assert_eq!(gateway.ask(Request::new("GET", "/")).text(), "ok");
    }
    assert_eq!((front.handshakes(), gateway.metric("upstream_surplus_answers_total")), (1, 0));
}

#[test]
fn a_surplus_answer_reaches_nobody_also_in_a_record_of_its_own() {
    let trust = Trust::new();
    for between in ["", NEW_KEYS] {
        let origin = Origin::each(move |request| {
            let answer = |text: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{text}");
            match request.target() {
                "/a" => format!("{}{between}{}", answer("good"), answer("evil")).into_bytes(),
                _ => answer("fine").into_bytes(),
            }
        });
        let front = trust.front(&origin);
        let gateway = trust.gateway(&front);
        assert_eq!(gateway.ask(Request::new("GET", "/a")).text(), "good");
        eventually("the surplus is seen", || gateway.metric("upstream_surplus_answers_total") == 1);
        assert_eq!(gateway.ask(Request::new("GET", "/b")).text(), "fine");
        assert_eq!(front.handshakes(), 2);
    }
}

#[test]
fn a_connection_with_a_part_of_a_record_on_it_is_not_used_again() {
    let trust = Trust::new();
    let origin = Origin::new(|exchange| {
        if exchange.read_request().is_some() {
            exchange.write(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{PART}"));
            exchange.wait_closed();
        }
    });
    let front = trust.front(&origin);
    let gateway = trust.gateway(&front);
    for _ in 0..3 {
        assert_eq!(gateway.ask(Request::new("GET", "/")).text(), "ok");
    }
    assert_eq!((front.handshakes(), gateway.metric("upstream_surplus_answers_total")), (3, 0));
}

#[test]
fn a_server_that_cannot_prove_who_it_is_gets_no_request() {
    let trust = Trust::new();
    let origin = Origin::echo();
    let mut speaks_h2_alone = trust.authority.issue(&[NAME]).server();
    speaks_h2_alone.alpn_protocols = vec![b"h2".to_vec()];
    for (server, cause) in [
        (trust.authority.issue(&["other.internal"]).server(), "tls_certificate_name"),
        (trust.authority.issue_until(2001, &[NAME]).server(), "tls_certificate_expired"),
        (Authority::new().issue(&[NAME]).server(), "tls_certificate_issuer"),
        (speaks_h2_alone, "tls_no_shared_parameters"),
    ] {
        let front = Front::before(&origin, server);
        let gateway = with(&trust.file(front.address)).env("ACCESS_LOG", "stdout").start();
        let response = gateway.ask(Request::new("GET", "/"));
        assert_eq!((response.status, response.code().as_str()), (502, "upstream_unreachable"));
        assert!(!response.text().contains("tls") && !response.text().contains("certificate"));
        assert_eq!(told(&gateway), ("upstream_unreachable".to_owned(), cause.to_owned()));
        assert_eq!(gateway.metric("upstream_tls_handshake_failures_total"), 1);
    }
    assert_eq!(origin.heads(), 0);
}

#[test]
fn a_server_that_speaks_no_tls_or_nothing_is_told_by_its_cause() {
    let trust = Trust::new();
    let speaking = TcpListener::bind("127.0.0.1:0").expect("a port");
    let closing = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addresses = [&speaking, &closing, &silent].map(|one| one.local_addr().expect("its address"));
    thread::spawn(move || {
        for mut stream in speaking.incoming().flatten() {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    thread::spawn(move || {
        for mut stream in closing.incoming().flatten() {
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    for (address, timeout, status, expected) in [
        (addresses[0], "10s", 502, ("upstream_unreachable", "tls_plain_http")),
        (addresses[1], "10s", 502, ("upstream_unreachable", "tls_closed")),
        (addresses[2], "300ms", 504, ("upstream_connect_timeout", "")),
    ] {
        let builder = with(&trust.file(address)).env("ACCESS_LOG", "stdout");
        let gateway = builder.env("UPSTREAM_CONNECT_TIMEOUT", timeout).start();
        let response = gateway.ask(Request::new("GET", "/"));
        assert_eq!((response.status, response.code().as_str()), (status, expected.0));
        assert_eq!(told(&gateway), (expected.0.to_owned(), expected.1.to_owned()));
    }
}

#[test]
fn a_server_that_asks_for_a_certificate_gets_it() {
    let trust = Trust::new();
    let origin = Origin::echo();
    let config = trust.authority.issue(&[NAME]).server_for_clients_of(&trust.authority);
    let front = Front::before(&origin, config);
    let own = trust.authority.issue(&["gateway.internal"]);
    trust.folder.write("own.pem", &own.pem());
    trust.folder.write("own.key", &own.key_pem());
    let [ca, cert, key] = ["ca.pem", "own.pem", "own.key"].map(|name| trust.folder.path(name));
    let besides = format!(
        "[upstreams.orders.tls]\nca_file = '{ca}'\nserver_name = '{NAME}'\ncert_file = '{cert}'\nkey_file = '{key}'"
    );
    let gateway = with(&file(&format!("https://{}", front.address), &besides)).start();
    assert_eq!(gateway.ask(Request::new("GET", "/")).status, 200);

    let builder = with(&trust.file(front.address)).env("ACCESS_LOG", "stdout");
    let without = builder.start();
    assert_eq!(without.ask(Request::new("GET", "/")).status, 502);
    let expected = ("upstream_protocol_error".to_owned(), "tls_client_certificate".to_owned());
    assert_eq!(told(&without), expected);
    assert_eq!(origin.heads(), 1);
}

#[test]
fn a_response_that_ends_without_close_notify_is_cut_for_the_client_too() {
    let trust = Trust::new();
    let origin = Origin::new(|exchange| {
        let Some(request) = exchange.read_request() else { return };
        match request.target() {
            "/length" => exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
            _ => exchange.write("HTTP/1.1 200 OK\r\n\r\nhello"),
        }
    });
    let certificate = trust.authority.issue(&[NAME]);
    for (ending, is_cut) in [(Ending::CloseNotify, false), (Ending::Cut, true)] {
        let front = Front::ending(&origin, certificate.server(), ending);
        let gateway = trust.gateway(&front);
        let until_close = gateway.client().send(Request::new("GET", "/").bytes()).read_partial_response();
        assert_eq!((until_close.truncated, until_close.text().as_str()), (is_cut, "hello"), "{ending:?}");
        let with_length = gateway.ask(Request::new("GET", "/length"));
        assert_eq!((with_length.truncated, with_length.text().as_str()), (false, "hello"), "{ending:?}");
    }
}

#[test]
fn a_websocket_passes_and_says_goodbye() {
    for driver in ["auto", "epoll"] {
        let trust = Trust::new();
        let origin = echoing();
        let front = trust.front(&origin);
        let gateway = with(&trust.file(front.address)).env("IO_DRIVER", driver).cores("2").start();
        // So many that some go on at the other core.
        let mut sockets: Vec<Socket> = (0..40).map(|_| Socket::open(&gateway, "ann")).collect();
        for (number, socket) in sockets.iter_mut().enumerate() {
            socket.expect_echo(&format!("hello {number}"));
        }
        let socket = &mut sockets[0];
        socket.expect_echo(&"large ".repeat(100_000));
        socket.send(Frame::close(1000, ""));
        socket.expect_goodbye(1000);
        assert_eq!((front.handshakes(), gateway.metric("tunnels_opened_total")), (40, 40));
        eventually("the closed one is gone", || gateway.metric("tunnels_open") == 39);
    }
}

#[test]
fn a_reload_keeps_connections_while_the_files_say_the_same_and_trusts_nobody_else_afterwards() {
    let trust = Trust::new();
    let origin = Origin::echo();
    let front = trust.front(&origin);
    let gateway = trust.gateway(&front);
    let ask = || gateway.ask(Request::new("GET", "/")).status;
    assert_eq!(ask(), 200);
    let told = gateway.reload();
    assert!(told.iter().any(|line| line.contains("nothing to take over")), "{told:#?}");
    assert_eq!((ask(), front.handshakes()), (200, 1));

    trust.folder.write("ca.pem", "no PEM");
    let told = gateway.reload();
    let expected = "upstream \"orders\": tls.ca_file: ";
    assert!(told.iter().any(|line| line.contains(expected)), "{told:#?}");
    assert_eq!((ask(), front.handshakes()), (200, 1));

    trust.folder.write("ca.pem", &Authority::new().pem());
    let told = gateway.reload();
    assert!(told.iter().any(|line| line.contains("for upstreams are other ones")), "{told:#?}");
    assert_eq!((ask(), front.handshakes()), (502, 1));

    trust.folder.write("ca.pem", &trust.authority.pem());
    gateway.reload();
    assert_eq!((ask(), front.handshakes(), front.resumed()), (200, 2, 0));
}

#[test]
fn the_authorities_of_the_system_count_where_no_file_is_named() {
    let trust = Trust::new();
    let origin = Origin::echo();
    let front = Front::before(&origin, trust.authority.issue(&["127.0.0.1"]).server());
    let url = format!("https://{}", front.address);
    let builder = Gateway::builder().without("SSL_CERT_DIR").env("UPSTREAM_CONNECT_TIMEOUT", "20s");
    let trusting = builder.clone().env("SSL_CERT_FILE", &trust.folder.path("ca.pem")).config(&file(&url, ""));
    assert_eq!(trusting.start().ask(Request::new("GET", "/")).status, 200);
    let service = builder.clone().env("SSL_CERT_FILE", &trust.folder.path("ca.pem"));
    let service = service.upstream_url("profile", &url).start();
    assert_eq!(service.get("/api/v1/users/me", "ann").status, 200);

    let none = builder.env("SSL_CERT_FILE", &trust.folder.path("none.pem")).config(&file(&url, ""));
    let (code, _, told) = none.run(&["run"]);
    assert_eq!((code, told.lines().count()), (Some(2), 1), "{told}");
    assert!(told.starts_with("upstream \"orders\": tls.ca_file is missing: the system has no"), "{told}");
}

#[test]
fn a_file_that_cannot_be_used_refuses_the_start() {
    let folder = Folder::new();
    let authority = Authority::new();
    let (own, other) = (authority.issue(&["gateway.internal"]), authority.issue(&["other.internal"]));
    folder.write("ca.pem", &authority.pem());
    folder.write("own.pem", &own.pem());
    folder.write("own.key", &own.key_pem());
    folder.write("other.key", &other.key_pem());
    folder.write("broken.pem", "-----BEGIN CERTIFICATE-----\n!hunter2\n-----END CERTIFICATE-----\n");
    folder.write("odd.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let [ca, cert, key, other, broken, odd, none] =
        ["ca.pem", "own.pem", "own.key", "other.key", "broken.pem", "odd.pem", "none.pem"]
            .map(|name| folder.path(name));
    let own = |cert: &str, key: &str| format!("cert_file = '{cert}'\nkey_file = '{key}'");
    for (besides, expected) in [
        (format!("ca_file = '{none}'"), format!("tls.ca_file: {none} cannot be read: ")),
        (format!("ca_file = '{broken}'"), format!("tls.ca_file: {broken} is not a PEM")),
        (format!("ca_file = '{key}'"), format!("tls.ca_file: {key} has no certificate in it")),
        (format!("ca_file = '{odd}'"), format!("tls.ca_file: {odd} has a certificate in it that cannot")),
        (own(&key, &key), format!("tls.cert_file: {key} has no certificate in it")),
        (own(&cert, &cert), format!("tls.key_file: {cert} has no private key in it")),
        (own(&cert, &other), format!("tls.key_file: {other} is not the key of {cert}")),
    ] {
        let besides = match besides.starts_with("ca_file") {
            true => format!("[upstreams.orders.tls]\n{besides}"),
            false => format!("[upstreams.orders.tls]\nca_file = '{ca}'\n{besides}"),
        };
        for command in ["run", "check"] {
            let builder = with(&file("https://orders.internal", &besides));
            let (code, _, told) = builder.run(&[command]);
            assert_eq!((code, told.lines().count()), (Some(2), 1), "{told}");
            assert!(told.starts_with(&format!("upstream \"orders\": {expected}")), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}

#[test]
fn a_health_check_is_made_over_tls_and_trusts_nobody_else() {
    let (trust, stranger) = (Trust::new(), Trust::new());
    let origin = Origin::echo();
    let (known, unknown) = (trust.front(&origin), stranger.front(&origin));
    let urls = format!("urls = ['https://{}', 'https://{}']", known.address, unknown.address);
    let besides = format!(
        "tls = {{ ca_file = '{}', server_name = '{NAME}' }}\n\
         health = {{ path = '/h', interval = '20s', timeout = '20s' }}",
        trust.folder.path("ca.pem")
    );
    let gateway = with(&file("", &besides).replace("url = ''", &urls)).start();
    let state = |address: std::net::SocketAddr| {
        let text = gateway.admin("/upstreams").text();
        let line = text.lines().find(|line| line.contains(&address.to_string())).expect("a member");
        line.split_whitespace().nth(1).expect("a state").to_owned()
    };
    eventually("the other one is out", || state(unknown.address) == "out");
    assert_eq!(state(known.address), "usable");
    eventually("it is asked", || origin.requests().iter().any(|request| request.target() == "/h"));
}
