//! Requests follow the verdicts on members.

use super::health::{HEALTH, pair};
use super::{Fleet, ask, config, eventually_answered_by};
use crate::harness::{DnsServer, Gateway, eventually};

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
fn an_upstream_that_fails_is_told_when_it_begins_and_when_it_is_over() {
    let (fleet, dns) = (Fleet::new(1), DnsServer::start());
    dns.lead("chat.test", &[9]);
    let gateway = fleet.gateway(&dns, &format!("url = 'http://chat.test:{}'", fleet.port)).start();
    eventually("requests fail", || ask(&gateway).0 == 502);
    gateway.wait_log("the upstream fails");
    for _ in 0..10 {
        ask(&gateway);
    }
    dns.lead("chat.test", &[2]);
    eventually("it is over", || {
        ask(&gateway);
        gateway.log().iter().any(|line| line.contains("the upstream is well again"))
    });
    let said = gateway.log().iter().filter(|line| line.contains("the upstream fails")).count();
    assert_eq!(said, 1, "{:#?}", gateway.log());
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
