//! The metrics: each incident moves the figure that tells of it, the text is what Prometheus reads, and the manual has
//! every name.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::signer::{Signer, key_set};
use crate::harness::*;

/// The value of the samples with this beginning, added up.
fn value(text: &str, sample: &str) -> f64 {
    let values = text.lines().filter_map(|line| line.strip_prefix(sample)?.rsplit_once(' '));
    values.map(|(_, value)| value.parse::<f64>().expect("a number")).sum()
}

fn scrape(gateway: &Gateway) -> String {
    gateway.admin("/metrics").text()
}

/// A gateway with everything that has metrics.
fn with_everything(origin: &Origin, redis: &Redis) -> Gateway {
    let set = key_set(&[&Signer::new("one")]);
    let keys = Origin::each(move |_| {
        let length = set.len();
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{set}")
            .into()
    });
    let toml = format!(
        "[[issuer]]\nname = 'id'\nissuer = 'https://id.example'\njwks_url = 'http://{}/'\n\
         [upstreams.a]\nurl = 'http://{}'\n\
         [[route]]\nname = 'all'\npaths = ['/*']\nupstream = 'a'\naccess = 'public'\n",
        keys.address, origin.address
    );
    let builder = Gateway::builder().over_tls().env("ACCESS_LOG", "/dev/null");
    let builder = builder.env("REDIS_ADDR", &redis.addr()).env("REVOCATION_STREAM", "{rc}:control");
    let builder = builder.env("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{NOBODY}"));
    builder.env("JWT_MAX_LIFETIME", "24h").cores("2").config(&toml).start()
}

#[test]
fn prometheus_finds_no_fault_with_the_text() {
    let Ok(mut promtool) = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    else {
        eprintln!("left out: there is no promtool");
        return;
    };
    let (origin, redis) = (Origin::echo(), Redis::start());
    let gateway = with_everything(&origin, &redis);
    assert_eq!(gateway.ask(Request::new("GET", "/")).status, 200);
    promtool.stdin.take().expect("a pipe").write_all(scrape(&gateway).as_bytes()).expect("it reads");
    let judged = promtool.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&[judged.stdout, judged.stderr].concat()).into_owned();
    assert!(judged.status.success() && told.is_empty(), "{told}");
}

#[test]
fn openmetrics_is_there_for_who_asks_for_it() {
    let gateway = Gateway::builder().start();
    let ask = |accept: &str| {
        let request = Request::new("GET", "/metrics").field("Accept", accept);
        Client::connect(gateway.admin).send(request.bytes()).read_response()
    };
    let prometheus = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
    let open = ask(prometheus);
    let its = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(open.field("content-type"), Some(its));
    let text = open.text();
    assert!(
        text.ends_with("# EOF\n") && text.contains("\n# TYPE realchat_gateway_requests counter\n"),
        "{text}"
    );
    assert!(text.contains("\nrealchat_gateway_requests_total 0\n"), "{text}");
    for accept in ["text/plain", "*/*"] {
        let plain = ask(accept);
        assert_eq!(plain.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"), "{accept}");
        assert!(!plain.text().contains("# EOF"), "{accept}");
    }
}

#[test]
fn every_metric_is_in_the_manual_and_every_metric_of_the_manual_is_there() {
    let (origin, redis) = (Origin::echo(), Redis::start());
    let gateway = with_everything(&origin, &redis);
    let text = scrape(&gateway);
    let shown: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .map(|name| {
            name.strip_prefix("realchat_gateway_").unwrap_or(name).trim_end_matches("_total").to_owned()
        })
        .collect();
    let manual = include_str!("../docs/metrics.md");
    let rows = manual.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    let told: BTreeSet<String> = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|name| {
            name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        })
        .map(str::to_owned)
        .collect();
    assert_eq!(shown.difference(&told).collect::<Vec<_>>(), Vec::<&String>::new(), "not in docs/metrics.md");
    assert_eq!(told.difference(&shown).collect::<Vec<_>>(), Vec::<&String>::new(), "in docs/metrics.md only");
}

#[test]
fn a_route_and_an_upstream_that_are_slow_can_be_told_from_the_others() {
    let quick = Origin::echo();
    let slow = Origin::each(|_| {
        std::thread::sleep(Duration::from_millis(120));
        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_vec()
    });
    let toml = format!(
        "[upstreams.quick]\nurl = 'http://{}'\n[upstreams.slow]\nurl = 'http://{}'\n\
         [[route]]\nname = 'a'\npaths = ['/a']\nupstream = 'quick'\naccess = 'public'\n\
         [[route]]\nname = 'b'\npaths = ['/b']\nupstream = 'slow'\naccess = 'public'\n",
        quick.address, slow.address
    );
    let gateway = Gateway::builder().cores("2").config(&toml).start();
    for _ in 0..3 {
        assert_eq!(gateway.ask(Request::new("GET", "/a")).status, 200);
    }
    for _ in 0..2 {
        assert_eq!(gateway.ask(Request::new("GET", "/b")).status, 503);
    }
    assert_eq!(gateway.ask(Request::new("GET", "/healthz")).status, 200);
    eventually("all are counted", || gateway.metric("responses_total") == 6);
    let text = scrape(&gateway);
    for (sample, expected) in [
        ("realchat_gateway_responses_total{route=\"a\",class=\"2xx\"}", 3.0),
        ("realchat_gateway_responses_total{route=\"b\",class=\"5xx\"}", 2.0),
        ("realchat_gateway_responses_total{route=\"\",class=\"2xx\"}", 1.0),
        ("realchat_gateway_request_duration_seconds_count{route=\"a\"}", 3.0),
        ("realchat_gateway_request_duration_seconds_bucket{route=\"b\",le=\"0.1\"}", 0.0),
        ("realchat_gateway_request_duration_seconds_bucket{route=\"b\",le=\"+Inf\"}", 2.0),
        ("realchat_gateway_upstream_response_seconds_count{upstream=\"quick\"}", 3.0),
        ("realchat_gateway_upstream_response_seconds_bucket{upstream=\"slow\",le=\"0.1\"}", 0.0),
        ("realchat_gateway_upstream_response_seconds_count{upstream=\"slow\"}", 2.0),
        ("realchat_gateway_upstream_in_flight{upstream=\"slow\"}", 0.0),
    ] {
        assert_eq!(value(&text, sample), expected, "{sample}\n{text}");
    }
    assert!(value(&text, "realchat_gateway_request_duration_seconds_sum{route=\"b\"}") >= 0.24);
}

#[test]
fn failures_have_their_code_and_a_dead_upstream_its_reason() {
    let origin = Origin::echo();
    let dead = port_for_later();
    let toml = format!(
        "[upstreams.a]\nurl = 'http://{}'\n[upstreams.dead]\nurl = 'http://127.0.0.1:{dead}'\n\
         [[route]]\nname = 'a'\npaths = ['/a']\nupstream = 'a'\n\
         [[route]]\nname = 'dead'\npaths = ['/dead']\nupstream = 'dead'\naccess = 'public'\n",
        origin.address
    );
    let gateway = Gateway::builder().config(&toml).start();
    assert_eq!(gateway.ask(Request::new("GET", "/a")).status, 401);
    assert_eq!(gateway.get("/nowhere", "ann").status, 404);
    for _ in 0..2 {
        assert_eq!(gateway.ask(Request::new("GET", "/dead")).status, 502);
    }
    eventually("all are counted", || gateway.metric("errors_total") == 4);
    for (metric, expected) in [
        ("errors_total{code=\"token_missing\"}", 1),
        ("errors_total{code=\"no_route\"}", 1),
        ("errors_total{code=\"upstream_unreachable\"}", 2),
        ("upstream_connect_failures_total{upstream=\"dead\",reason=\"ECONNREFUSED\"}", 2),
        ("upstream_connect_failures_total{upstream=\"a\"", 0),
        ("upstream_members{upstream=\"a\",state=\"usable\"}", 1),
    ] {
        assert_eq!(gateway.metric(metric), expected, "{metric}\n{}", scrape(&gateway));
    }
}

#[test]
fn what_was_counted_of_a_route_outlives_a_reload_that_keeps_it_and_no_other() {
    let origin = Origin::echo();
    let toml = |second: &str| {
        format!(
            "[upstreams.a]\nurl = 'http://{}'\n\
             [[route]]\nname = 'first'\npaths = ['/first']\nupstream = 'a'\naccess = 'public'\n\
             [[route]]\nname = '{second}'\npaths = ['/second']\nupstream = 'a'\naccess = 'public'\n",
            origin.address
        )
    };
    let gateway = Gateway::builder().cores("2").config(&toml("old")).start();
    for path in ["/first", "/second"] {
        assert_eq!(gateway.ask(Request::new("GET", path)).status, 200);
    }
    eventually("both are counted", || gateway.metric("responses_total") == 2);
    assert!(scrape(&gateway).contains("route=\"old\""));
    let begun_s = gateway.metric("config_last_reload_success_timestamp_seconds");
    gateway.rewrite_config(&toml("new"));
    gateway.reload();
    for (metric, expected) in [
        ("responses_total{route=\"first\",class=\"2xx\"}", 1),
        ("responses_total{route=\"new\",class=\"2xx\"}", 0),
        ("upstream_connects_total", 1),
        ("config_last_reload_successful", 1),
        ("state{state=\"ready\"}", 1),
        ("state{state=\"draining\"}", 0),
    ] {
        assert!(gateway.metric(metric) >= expected, "{metric}");
    }
    assert!(!scrape(&gateway).contains("route=\"old\""), "{}", scrape(&gateway));
    let taken_s = gateway.metric("config_last_reload_success_timestamp_seconds");
    assert!(taken_s >= begun_s);
    gateway.rewrite_config("nonsense");
    gateway.reload();
    eventually("it is refused", || gateway.metric("config_last_reload_successful") == 0);
    assert_eq!(gateway.metric("config_last_reload_success_timestamp_seconds"), taken_s);
}

#[test]
fn a_core_that_works_and_a_process_that_lives_can_be_seen() {
    let origin = Origin::echo();
    let gateway = Gateway::builder().everywhere(&origin).start();
    let token = token("ann");
    let busy = || value(&scrape(&gateway), "realchat_gateway_core_busy_seconds_total{core=");
    let before = busy();
    let mut client = gateway.client();
    eventually("the core's time grows", || {
        for _ in 0..20 {
            let request = Request::new("GET", "/api/v1/users/me").bearer(&token);
            client.send(request.bytes()).read_response();
        }
        busy() > before
    });
    let text = scrape(&gateway);
    let resident = value(&text, "process_resident_memory_bytes");
    assert!((1e6..1e9).contains(&resident), "{resident}");
    assert!(value(&text, "process_open_fds") >= 10.0);
    assert!(value(&text, "process_start_time_seconds") > 1.7e9);
    assert!(value(&text, "process_cpu_seconds_total") >= 0.0);
}
