//! One line per exchange, whatever the client sent and whatever becomes of the sink.

use std::path::PathBuf;
use std::sync::{Mutex, mpsc};
use std::time::Instant;

use serde_json::Value;

use crate::harness::*;

fn logging(origin: &Origin) -> Builder {
    Gateway::builder().everywhere(origin).env("ACCESS_LOG", "stdout")
}

/// The record of the exchange with this request id.
#[track_caller]
fn record_of(gateway: &Gateway, response: &Response) -> Value {
    let id = response.field("x-request-id").expect("a request id");
    let line = gateway.wait_stdout(id);
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))
}

fn names(record: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = record.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// A file of this test, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("realchat-it-{}-{name}.log", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Scratch(path)
    }

    fn lines(&self) -> Vec<String> {
        std::fs::read_to_string(&self.0).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_line_tells_everything_about_an_exchange() {
    let origin = Origin::echo();
    let gateway = logging(&origin).start();
    let mut client = gateway.client();
    let request = Request::new("POST", "/api/v1/messages/7?secret=hunter2").token("ann").body("hello");
    let response = client.send(request.bytes()).read_response();
    let record = record_of(&gateway, &response);
    let time = record["time"].as_str().expect("a time");
    assert!(time.len() == 27 && time.starts_with("20") && time.ends_with('Z'), "{time}");
    assert_eq!((&time[4..5], &time[10..11], &time[19..20]), ("-", "T", "."));
    for (name, expected) in [
        ("client", Value::from("127.0.0.1")),
        ("method", "POST".into()),
        ("path", "/api/v1/messages/7".into()),
        ("route", "messages".into()),
        ("user", "ann".into()),
        ("status", 200.into()),
        ("upstream", origin.address.to_string().into()),
        ("reused", false.into()),
    ] {
        assert_eq!(record[name], expected, "{name} in {record}");
    }
    let number = |name: &str| record[name].as_u64().unwrap_or_else(|| panic!("no {name}: {record}"));
    assert_eq!(number("bytes_in"), request.bytes().len() as u64);
    assert!(number("bytes_out") > response.body.len() as u64);
    assert!(number("connect_us") + number("upstream_head_us") <= number("total_us"), "{record}");
    assert_eq!(record.get("code"), None);

    let again = client.send(request.bytes()).read_response();
    let record = record_of(&gateway, &again);
    assert_eq!((&record["reused"], record.get("connect_us")), (&true.into(), None));
}

#[test]
fn our_own_answers_carry_their_code() {
    let gateway = Gateway::builder().env("ACCESS_LOG", "stdout").start();
    let me = || Request::new("GET", "/api/v1/users/me");
    let cut_off = Request::new("GET", "/healthz").raw("X: y\n");
    for (request, status, code) in [
        (me(), 401, "token_missing"),
        (me().bearer("x"), 401, "token_invalid"),
        (me().token("ann"), 502, "upstream_unreachable"),
        (Request::new("GET", "/nowhere").token("ann"), 404, "no_route"),
        (Request::new("GET", "/api/v1/auth/login"), 405, "method_not_allowed"),
        (cut_off, 400, ""),
    ] {
        let response = gateway.ask(request);
        assert_eq!(response.status, status);
        let record = record_of(&gateway, &response);
        assert_eq!(record["status"], status, "{record}");
        assert_eq!(record["code"], response.code(), "{record}");
        assert!(code.is_empty() || record["code"] == code, "{record}");
        assert_eq!(record.get("upstream_head_us"), None);
        assert!(record["bytes_out"].as_u64() > Some(0), "{record}");
        assert!(record["bytes_in"].as_u64().is_some() && record["total_us"].as_u64().is_some(), "{record}");
    }
    let healthy = gateway.ask(Request::new("GET", "/healthz"));
    let record = record_of(&gateway, &healthy);
    assert_eq!((&record["route"], record.get("code"), record.get("user")), (&"gateway".into(), None, None));
}

#[test]
fn a_head_that_is_refused_is_recorded_too() {
    let gateway = Gateway::builder().env("ACCESS_LOG", "stdout").start();
    for (raw, method, path) in [
        ("\x01\x02\r\n\r\n", "", "/"),
        ("GET /a\\\"b?access_token=hunter2 HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/a\\\"b"),
        ("POST /a#hunter2 HTTP/1.1\r\nHost: a\r\n\r\n", "POST", "/a"),
        ("GET //a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "GET", "//a"),
        ("G@T http://u:hunter2@h/b HTTP/1.1\r\nHost: a\r\n\r\n", "G@T", "http://h/b"),
        ("AUTH hunter2\r\n", "", "/"),
    ] {
        let response = gateway.client().send(raw).read_response();
        let record = record_of(&gateway, &response);
        assert_eq!(
            (record["status"].as_u64(), &record["client"]),
            (Some(400), &"127.0.0.1".into()),
            "{raw:?}"
        );
        assert_eq!(record["code"], response.code());
        assert_eq!((&record["method"], &record["path"]), (&method.into(), &path.into()), "{raw:?}");
    }
    let long = format!("GET /long/{} HTTP/1.1\r\n", "a".repeat(20_000));
    let response = gateway.client().send(long).read_response();
    let record = record_of(&gateway, &response);
    assert_eq!((&record["method"], &record["code"]), (&"GET".into(), &"request_line_too_long".into()));
    let path = record["path"].as_str().unwrap_or_default();
    assert!(path.starts_with("/long/aaa") && path.len() == 1024, "{path}");
    assert!(!gateway.stdout().join("\n").contains("hunter2"));
}

#[test]
fn with_debug_the_log_says_why_and_without_it_nothing() {
    let why = |level: &str| {
        let gateway = Gateway::builder().env("RUST_LOG", level).start();
        let malformed = gateway.client().send("GET /a\\hunter2 HTTP/1.1\r\nHost: a\r\n\r\n").read_response();
        let refused = gateway.ask(Request::new("GET", "/api/v1/users/me").bearer("hunter2"));
        assert_eq!((malformed.status, refused.status), (400, 401));
        (gateway, [malformed, refused].map(|answer| answer.field("x-request-id").expect("an id").to_owned()))
    };
    let (gateway, [malformed, refused]) = why("debug");
    assert!(gateway.wait_log(&malformed).contains("path_backslash"));
    let line = gateway.wait_log(&refused);
    assert!(line.contains("token_invalid") && line.contains("malformed"), "{line}");
    assert!(!gateway.log().join("\n").contains("hunter2"));
    let (gateway, [malformed, refused]) = why("info");
    let log = gateway.log().join("\n");
    assert!(!log.contains(&malformed) && !log.contains(&refused), "{log}");
}

#[test]
fn a_filter_that_is_none_is_a_mistake_of_one_line() {
    for filter in ["debgu", "info,loud", "realchat_gateway=loud"] {
        let (code, _, stderr) = Gateway::builder().env("RUST_LOG", filter).run(&["run"]);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.starts_with("RUST_LOG: ") && stderr.lines().count() == 1, "{stderr}");
    }
}

#[test]
fn a_client_that_vanishes_leaves_a_line() {
    let origin = Origin::new(|exchange| {
        exchange.read_request();
        exchange.wait_closed();
    });
    let gateway = logging(&origin).start();
    let mut client = gateway.client();
    client.send(Request::new("GET", "/api/v1/users/gone").token("ann").bytes());
    eventually("the request is in flight", || origin.requests().len() == 1);
    client.reset();
    let record: Value = serde_json::from_str(&gateway.wait_stdout("/api/v1/users/gone")).expect("JSON");
    assert!(record["code"].as_str().is_some(), "{record}");
    assert_eq!(record["user"], "ann");
}

#[test]
fn nothing_a_client_sends_breaks_the_line_or_leaks_a_secret() {
    let origin = Origin::echo();
    let gateway = logging(&origin).env("TRUSTED_PROXIES", "127.0.0.1").start();
    let claims = format!(r#"{{"sub":"a\"b\\c","exp":{}}}"#, now() + 60);
    let token = token_with(claims, r#"{"alg":"HS256"}"#, SECRET);
    let request = Request::new("GET", "/api/v1/users/%22%5B2J%C2%A0?token=hunter2")
        .bearer(&token)
        .field("X-Request-Id", "id-\"},{\"forged\":1,\"x\":\"")
        .field("Cookie", "hunter2");
    let response = gateway.ask(request);
    assert_eq!(response.status, 200);
    let line = gateway.wait_stdout("forged");
    let record: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(record["request_id"], "id-\"},{\"forged\":1,\"x\":\"");
    assert_eq!(record["user"], "a\"b\\c");
    assert_eq!(record["path"], "/api/v1/users/%22%5B2J%C2%A0");
    assert!(!names(&record).contains(&"forged"));
    assert!(!line.chars().any(char::is_control));
    gateway.ask(Request::new("GET", "/api/v1/users/me?token=hunter2").bearer(&format!("{token}x")));
    gateway.wait_stdout("token_invalid");
    let all = gateway.stdout().join("\n");
    assert!(!all.contains("hunter2") && !all.contains(&token) && !all.contains('?'), "{all}");
    let log = gateway.log().join("\n");
    assert!(!log.contains("hunter2") && !log.contains(&token) && !log.contains(SECRET), "{log}");
}

#[test]
fn a_line_is_written_soon() {
    let gateway = Gateway::builder().env("ACCESS_LOG", "stdout").start();
    let response = gateway.ask(Request::new("GET", "/healthz"));
    // Without a full buffer, another request or the end of the process. It takes 100 ms in the core's buffer and a tick
    // of 50 ms; what the machine adds is not a test's to bound.
    record_of(&gateway, &response);
}

#[test]
fn a_file_is_appended_to() {
    let scratch = Scratch::new("append");
    std::fs::write(&scratch.0, "before\n").expect("a file");
    for lines in [2, 3] {
        let gateway = Gateway::builder().env("ACCESS_LOG", scratch.0.to_str().expect("UTF-8")).start();
        gateway.ask(Request::new("GET", "/healthz"));
        // The end of the process writes what is left.
        assert_eq!(gateway.stop().code(), Some(0));
        assert_eq!(scratch.lines().len(), lines);
    }
    assert_eq!(scratch.lines()[0], "before");
}

#[test]
fn every_exchange_of_every_core_has_its_line() {
    let (scratch, origin) = (Scratch::new("all"), Origin::echo());
    let path = scratch.0.to_str().expect("UTF-8");
    let gateway = Gateway::builder().everywhere(&origin).cores("2").env("ACCESS_LOG", path).start();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = gateway.client();
                for _ in 0..100 {
                    let request = Request::new("GET", "/api/v1/users/me").token("ann");
                    assert_eq!(client.send(request.bytes()).read_response().status, 200);
                }
            });
        }
    });
    assert_eq!(gateway.stop().code(), Some(0));
    let lines = scratch.lines();
    assert_eq!(lines.len(), 400);
    let mut ids = std::collections::HashSet::new();
    for line in lines {
        let record: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(ids.insert(record["request_id"].to_string()), "{line}");
    }
}

#[test]
fn a_full_disk_costs_lines_and_nothing_else() {
    let origin = Origin::echo();
    let gateway = Gateway::builder().everywhere(&origin).env("ACCESS_LOG", "/dev/full").start();
    for _ in 0..3 {
        assert_eq!(gateway.get("/api/v1/users/me", "ann").status, 200);
    }
    eventually("the lost lines are counted", || gateway.metric("access_log_lines_refused_total") == 3);
    assert!(gateway.wait_log("access log").contains("ERROR"));
    assert_eq!(gateway.log().iter().filter(|line| line.contains("ERROR")).count(), 1, "said once");
    assert_eq!(gateway.stop().code(), Some(0));
}

#[test]
fn a_reader_that_never_reads_stops_nothing() {
    let origin = Origin::echo();
    let gateway = logging(&origin).cores("2").unread_stdout().start();
    let long = format!("/healthz?{}", "x".repeat(3_000));
    let path = format!("/{}", "y".repeat(6_000));
    assert_eq!(gateway.ask(Request::new("GET", &long)).status, 200);
    let batch: Vec<u8> = (0..50).flat_map(|_| Request::new("GET", &path).bytes()).collect();
    let mut client = gateway.client();
    // Far more than the pipe, the queue and the buffers hold: 64 KiB, 65 and 2 times 64 KiB.
    for round in 0.. {
        assert!(round < 100, "no line was ever dropped");
        // A core that waited for the reader would wait for ever: the client's patience is the bound.
        client.send(&batch);
        for _ in 0..50 {
            assert_eq!(client.read_response().status, 401);
        }
        if round % 10 == 9 && gateway.metric("access_log_lines_dropped_total") > 0 {
            break;
        }
    }
    assert_eq!(gateway.get("/api/v1/users/me", "ann").status, 200);
    let since = Instant::now();
    drop(client);
    assert_eq!(gateway.stop().code(), Some(0));
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
}

#[test]
fn a_cut_response_names_the_side_that_broke() {
    let (gate, breaks) = mpsc::channel::<()>();
    let breaks = Mutex::new(breaks);
    let origin = Origin::new(move |exchange| {
        let Some(request) = exchange.read_request() else { return };
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc");
        match request.target() {
            "/api/v1/users/upstream" => {
                breaks.lock().expect("the gate").recv().expect("the word");
                exchange.reset();
            }
            _ => exchange.wait_closed(),
        }
    });
    let gateway = logging(&origin).start();
    let begin = |side: &str| {
        let mut client = gateway.client();
        client.send(Request::new("GET", &format!("/api/v1/users/{side}")).token("ann").bytes());
        let id = client.read_head().field("x-request-id").expect("a request id").to_owned();
        (client, id)
    };
    let cause = |id: &str| {
        let record: Value = serde_json::from_str(&gateway.wait_stdout(id)).expect("JSON");
        (record["code"].clone(), record["cause"].clone())
    };
    let (client, id) = begin("client");
    client.reset();
    assert_eq!(cause(&id), ("response_cut".into(), "client_gone".into()));
    let (mut client, id) = begin("upstream");
    gate.send(()).expect("the origin waits");
    client.read_until_gone();
    assert_eq!(cause(&id), ("response_cut".into(), "ECONNRESET".into()));
}

#[test]
fn of_successes_every_third_is_written_and_every_error() {
    let origin = Origin::echo();
    let gateway = Gateway::builder()
        .everywhere(&origin)
        .env("ACCESS_LOG", "stdout")
        .env("ACCESS_LOG_SAMPLE", "3")
        .start();
    for _ in 0..9 {
        assert_eq!(gateway.get("/api/v1/users/me", "ann").status, 200);
    }
    for _ in 0..2 {
        assert_eq!(gateway.ask(Request::new("GET", "/api/v1/users/me")).status, 401);
    }
    eventually("all are counted", || gateway.metric("responses_total") == 11);
    let with = |status: &str| {
        let part = format!("\"status\":{status},");
        gateway.stdout().iter().filter(|line| line.contains(&part)).count()
    };
    eventually("the errors are written", || with("401") == 2);
    assert_eq!(with("200"), 3, "{:#?}", gateway.stdout());
}

#[test]
fn a_line_says_who_was_asked_by_what_program_and_which_upstream_answered() {
    let origin = Origin::echo();
    let gateway = Gateway::builder().everywhere(&origin).env("ACCESS_LOG", "stdout").start();
    let long = format!("probe/1 \"{}\"", "x".repeat(300));
    let request = Request::new("GET", "/api/v1/users/me").token("ann").field("User-Agent", &long);
    assert_eq!(gateway.ask(request).status, 200);
    let line: serde_json::Value =
        serde_json::from_str(&gateway.wait_stdout("\"status\":200")).expect("a line of JSON");
    assert_eq!(line["upstream_name"], "profile");
    assert_eq!(line["user_agent"].as_str().map(str::len), Some(256));
    assert!(line["user_agent"].as_str().is_some_and(|agent| agent.starts_with("probe/1 \"xxx")));
    assert!(line["host"].as_str().is_some_and(|host| !host.is_empty()), "{line}");
}

#[test]
fn the_programs_log_is_json_if_it_should_be() {
    let gateway = Gateway::builder().env("LOG_FORMAT", "json").start();
    let pid = gateway.pid();
    let lines = gateway.log();
    assert!(!lines.is_empty());
    for line in &lines {
        let value: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(value["pid"], pid, "{line}");
        assert!(value["timestamp"].is_string() && value["level"].is_string(), "{line}");
    }
    assert!(lines.iter().any(|line| line.contains("\"message\":\"gateway is listening\"")), "{lines:#?}");
}
