//! Requests follow the verdicts on members.

use super::health::{HEALTH, pair};
use super::{Fleet, ask, config, eventually_answered_by};
use crate::harness::{DnsServer, Exchange, Gateway, Origin, eventually};

#[test]
fn a_member_that_is_out_gets_no_requests_until_it_is_back() {
    let (one, two) = pair();
    let upstream = format!("urls = [{}, {}]\n{HEALTH}", one.url(), two.url());
    let gateway = Gateway::builder().config(&config(&upstream)).start();
    eventually_answered_by(&gateway, "23");
    one.says(503);
    eventually_answered_by(&gateway, "3");
    one.says(200);
    eventually_answered_by(&gateway, "23");
}

#[test]
fn if_over_half_of_the_members_are_out_all_of_them_are_used() {
    let (one, two) = pair();
    [&one, &two].iter().for_each(|patient| patient.says(503));
    let upstream = format!("urls = [{}, {}]\n{HEALTH}", one.url(), two.url());
    let gateway = Gateway::builder().config(&config(&upstream)).start();
    eventually_answered_by(&gateway, "23");
}

#[test]
fn a_member_that_is_ill_at_the_start_gets_no_request() {
    let (one, two) = pair();
    one.says(500);
    let upstream = format!("urls = [{}, {}]\n{HEALTH}", one.url(), two.url());
    let gateway = Gateway::builder().config(&config(&upstream)).start();
    for _ in 0..10 {
        assert_eq!(ask(&gateway), (200, "3".to_owned()));
    }
}

#[test]
fn a_member_that_fails_is_told_when_it_begins_and_when_it_has_gone() {
    let (fleet, dns) = (Fleet::new(1), DnsServer::start());
    dns.lead("chat.test", &[9]);
    let gateway = fleet.gateway(&dns, &format!("url = 'http://chat.test:{}'", fleet.port)).start();
    eventually("requests fail", || ask(&gateway).0 == 502);
    let line = gateway.wait_log("a member fails");
    for part in ["WARN", "upstream=\"chat\"", "address=\"127.0.0.9:", "cause=\"ECONNREFUSED\""] {
        assert!(line.contains(part), "{part}: {line}");
    }
    for _ in 0..10 {
        ask(&gateway);
    }
    dns.lead("chat.test", &[2]);
    let line = gateway.wait_log("a member that failed is gone");
    assert!(line.contains("INFO") && line.contains("127.0.0.9"), "{line}");
    let said = gateway.log().iter().filter(|line| line.contains("a member fails")).count();
    assert_eq!(said, 1, "{:#?}", gateway.log());
}

/// How a member fails, and what the log says of it.
fn fails_as(upstream: &str, status: u16, cause: &str) {
    let gateway = Gateway::builder().config(&config(upstream)).start();
    assert_eq!(ask(&gateway).0, status, "{cause}");
    let line = gateway.wait_log("a member fails");
    for part in ["WARN", "upstream=\"chat\"", "address=\"127.0.0.1:", &format!("cause=\"{cause}")] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[test]
fn the_log_says_in_which_way_a_member_fails() {
    let answering = |answer: &'static str| {
        Origin::new(move |exchange: &mut Exchange| {
            while exchange.read_request().is_some() {
                exchange.write(answer);
            }
        })
    };
    let resetting = Origin::new(|exchange: &mut Exchange| {
        exchange.read_request();
        exchange.reset();
    });
    let closing = Origin::new(|exchange: &mut Exchange| drop(exchange.read_request()));
    let mute = Origin::new(|exchange: &mut Exchange| while exchange.read_request().is_some() {});
    let malformed = answering("HTTP/1.1 200 OK\nx: y\n\n");
    let plain = Origin::new(|exchange: &mut Exchange| {
        exchange.write("HTTP/1.1 400 Bad Request\r\n\r\n");
        exchange.wait_closed();
    });
    let at = |origin: &Origin| format!("url = 'http://{}'", origin.address);
    fails_as(&at(&malformed), 502, "bare_lf");
    fails_as(&at(&resetting), 502, "closed_before_response");
    fails_as(&at(&closing), 502, "closed_before_response");
    fails_as(&format!("{}\nhead_timeout = '100ms'", at(&mute)), 504, "no_response");
    let https = format!("url = 'https://{}'", plain.address);
    fails_as(&https, 502, "tls_");
}

#[test]
fn a_member_that_fails_is_told_again_while_it_lasts_and_when_it_is_well() {
    let well = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_well = well.clone();
    let origin = Origin::new(move |exchange: &mut Exchange| {
        while exchange.read_request().is_some() {
            match is_well.load(std::sync::atomic::Ordering::Relaxed) {
                true => exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
                false => return exchange.reset(),
            }
        }
    });
    let gateway = Gateway::builder().config(&config(&format!("url = 'http://{}'", origin.address))).start();
    let said = |what: &str| gateway.log().into_iter().filter(|line| line.contains(what)).collect::<Vec<_>>();
    eventually("it still fails", || {
        ask(&gateway);
        !said("a member still fails").is_empty()
    });
    let line = said("a member still fails").remove(0);
    let number = |line: &str, name: &str| {
        let word = line.split_whitespace().find_map(|word| word.strip_prefix(name)).map(str::to_owned);
        word.and_then(|word| word.parse::<u64>().ok()).unwrap_or_else(|| panic!("{name} {line}"))
    };
    assert!(line.contains("WARN") && (10_000..15_000).contains(&number(&line, "for_ms=")), "{line}");
    assert!(number(&line, "failures=") > 10 && line.contains("closed_before_response"), "{line}");
    well.store(true, std::sync::atomic::Ordering::Relaxed);
    eventually("it is well", || {
        ask(&gateway);
        !said("a member is well again").is_empty()
    });
    let line = said("a member is well again").remove(0);
    assert!(line.contains("INFO") && number(&line, "for_ms=") >= 10_000, "{line}");
    assert_eq!(said("a member fails").len(), 1);
}

#[test]
fn an_idle_connection_that_was_closed_and_retried_is_no_failure() {
    // The first connection answers one request, and closes as the second one arrives.
    let origin = Origin::new(move |exchange: &mut Exchange| {
        if exchange.read_request().is_some() {
            exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            exchange.read_request();
        }
    });
    let upstream = format!("url = 'http://{}'", origin.address);
    let reused = config(&upstream).replace("connection_reuse = false\n", "");
    let gateway = Gateway::builder().config(&reused).start();
    for _ in 0..6 {
        assert_eq!(ask(&gateway).0, 200);
    }
    assert!(gateway.metric("upstream_retries_total") > 0);
    // The next look at what the cores have seen is over when this one's failure is told.
    let other = Gateway::builder().config(&config("url = 'http://127.0.0.9:1'")).start();
    ask(&other);
    other.wait_log("a member fails");
    assert!(!gateway.log().iter().any(|line| line.contains("fails")), "{:#?}", gateway.log());
}

#[test]
fn the_page_of_upstreams_counts_what_the_cores_have_seen() {
    let fleet = Fleet::new(1);
    let gateway =
        Gateway::builder().config(&config(&format!("url = 'http://127.0.0.2:{}'", fleet.port))).start();
    for _ in 0..3 {
        assert_eq!(ask(&gateway), (200, "2".to_owned()));
    }
    // What a core sees is counted a moment after the client has the response.
    eventually("all three are counted", || {
        let text = gateway.admin("/upstreams").text();
        text.contains("in flight 0, idle 0, successes 3, failures 0, failed connections 0")
    });
}
