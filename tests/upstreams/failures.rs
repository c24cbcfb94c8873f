//! Members that refuse, say nothing, stand still, break off or are late: no GET is lost, and no POST goes out twice.

use std::time::Instant;

use super::*;

const ALL_WELL: u16 = 200;

#[test]
fn a_member_that_refuses_loses_nothing_and_is_passed_over() {
    let origin = Origin::echo();
    let gateway = gateway(&[refusing(), refusing(), refusing(), refusing(), origin.address], "");
    assert_eq!(statuses(&gateway, "GET", 50), BTreeMap::from([(ALL_WELL, 50)]));
    assert_eq!(statuses(&gateway, "POST", 50), BTreeMap::from([(ALL_WELL, 50)]));
    assert_eq!(most_often(&[&origin]), 1);
    assert_eq!(gateway.metric("upstream_retries_total"), 0, "what was never sent is no retry");
}

#[test]
fn a_member_that_swallows_connections_costs_the_first_request_a_moment() {
    let (silent, origin) = (Silent::new(), Origin::echo());
    let keys = "balance = 'round_robin'\nconnect_timeout = '30s'";
    let gateway = gateway(&[silent.address, origin.address], keys);
    let begun = Instant::now();
    assert_eq!(statuses(&gateway, "POST", 20), BTreeMap::from([(ALL_WELL, 20)]));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert_eq!(most_often(&[&origin]), 1);
}

#[test]
fn a_handshake_fails_over_like_a_request() {
    let (silent, origin) = (Silent::new(), echoing());
    let route = "kind = 'websocket'";
    let keys = "balance = 'round_robin'";
    let toml = file(&[silent.address, refusing(), origin.address], keys, route);
    let gateway = Gateway::builder().config(&toml).start();
    for _ in 0..4 {
        let mut client = gateway.client();
        client.send(handshake_on("/x").bearer(&token("ann")).bytes());
        Socket::opened(client).expect_echo("hello");
    }
}

#[test]
fn a_handshake_that_is_broken_off_goes_to_another_member() {
    let breaking = Origin::new(|exchange| drop(exchange.read_request()));
    let origin = echoing();
    let toml = file(&[breaking.address, origin.address], "balance = 'round_robin'", "kind = 'websocket'");
    let gateway = Gateway::builder().config(&toml).start();
    for _ in 0..4 {
        let mut client = gateway.client();
        client.send(handshake_on("/x").bearer(&token("ann")).bytes());
        Socket::opened(client).expect_echo("hello");
    }
    assert!(!breaking.requests().is_empty());
}

#[test]
fn a_handshake_that_nobody_answers_goes_to_another_member() {
    let mute = Origin::new(|exchange| while exchange.read_request().is_some() {});
    let origin = echoing();
    let keys = "balance = 'round_robin'\nhead_timeout = '1s'";
    let toml = file(&[mute.address, origin.address], keys, "kind = 'websocket'");
    let gateway = Gateway::builder().config(&toml).env("WS_HANDSHAKE_TIMEOUT", "60s").start();
    for _ in 0..2 {
        let mut client = gateway.client();
        client.send(handshake_on("/x").bearer(&token("ann")).bytes());
        Socket::opened(client).expect_echo("hello");
    }
    assert!(!mute.requests().is_empty());
}

#[test]
fn a_member_whose_responses_break_off_is_ejected() {
    let breaking = Origin::new(|exchange| {
        if exchange.read_request().is_some() {
            exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
        }
    });
    let origin = Origin::echo();
    let gateway = gateway(&[breaking.address, origin.address], "balance = 'round_robin'");
    eventually("it is ejected", || {
        let mut client = gateway.client();
        client.send(Request::new("GET", "/x").bytes()).read_head();
        gateway.metric("upstream_ejections_total{upstream=\"all\"}") == 1
    });
    let before = breaking.heads();
    assert_eq!(statuses(&gateway, "GET", 10), BTreeMap::from([(ALL_WELL, 10)]));
    assert_eq!(breaking.heads(), before);
}

#[test]
fn a_member_that_stands_still_loses_no_get() {
    let (one, two) = (Origin::echo(), Origin::echo());
    // A gateway is a process that can be stopped: its kernel goes on and takes what is sent.
    let stopped = gateway(&[one.address], "");
    let gateway = gateway(&[stopped.public, two.address], "balance = 'round_robin'\nhead_timeout = '300ms'");
    assert_eq!(statuses(&gateway, "GET", 10), BTreeMap::from([(ALL_WELL, 10)]));
    assert!(!one.requests().is_empty() && !two.requests().is_empty());
    stopped.pause();
    assert_eq!(statuses(&gateway, "GET", 20), BTreeMap::from([(ALL_WELL, 20)]));
    assert!((1..=6).contains(&gateway.metric("upstream_retries_total")), "it is passed over soon");
    stopped.resume();
}

#[test]
fn a_post_is_never_sent_twice() {
    let breaking = Origin::new(|exchange| {
        exchange.read_request();
        exchange.reset();
    });
    let late = Origin::new(|exchange| {
        while exchange.read_request().is_some() {
            exchange.sleep_ms(900);
            exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let origin = Origin::echo();
    let members = [breaking.address, late.address, origin.address];
    let gateway = gateway(&members, "balance = 'round_robin'\nhead_timeout = '300ms'");
    let posts = statuses(&gateway, "POST", 9);
    assert_eq!(posts.values().sum::<usize>(), 9);
    assert!(posts.keys().all(|status| [200, 502, 504].contains(status)), "{posts:?}");
    assert!(posts[&502] >= 1 && posts[&504] >= 1 && posts[&200] >= 3, "{posts:?}");
    assert_eq!(most_often(&[&breaking, &late, &origin]), 1);
    assert_eq!(gateway.metric("upstream_retries_total"), 0);
}

#[test]
fn a_member_that_breaks_off_or_is_late_loses_no_get() {
    let breaking = Origin::new(|exchange| {
        exchange.read_request();
        exchange.reset();
    });
    let late = Origin::new(|exchange| {
        exchange.read_request();
        exchange.wait_closed();
    });
    let origin = Origin::echo();
    for failing in [&breaking, &late] {
        let members = [failing.address, origin.address];
        let gateway = gateway(&members, "balance = 'round_robin'\nhead_timeout = '300ms'");
        assert_eq!(statuses(&gateway, "GET", 12), BTreeMap::from([(ALL_WELL, 12)]));
        assert!(gateway.metric("upstream_retries_total") >= 1);
    }
}

#[test]
fn a_request_with_a_body_goes_out_once_more_with_its_body() {
    let breaking = Origin::new(|exchange| drop(exchange.read_request()));
    let origin = Origin::echo();
    let gateway = gateway(&[breaking.address, origin.address], "balance = 'round_robin'");
    for _ in 0..4 {
        let answer = gateway.ask(Request::new("PUT", "/x").body("twelve bytes"));
        assert_eq!((answer.status, answer.json()["body_length"].as_u64()), (200, Some(12)));
    }
    assert!(!breaking.requests().is_empty());
}

#[test]
fn a_response_that_has_begun_is_never_asked_for_again() {
    let breaking = || Origin::once("HTTP/1.1 200 OK\r\nContent-Le");
    let (one, two) = (breaking(), breaking());
    let gateway = gateway(&[one.address, two.address], "");
    assert_eq!(gateway.ask(Request::new("GET", "/x")).status, 502);
    assert_eq!(one.requests().len() + two.requests().len(), 1);
}

#[test]
fn retries_have_a_budget() {
    let breaking = || Origin::new(|exchange| drop(exchange.read_request()));
    let (one, two) = (breaking(), breaking());
    let gateway = gateway(&[one.address, two.address], "");
    assert_eq!(statuses(&gateway, "GET", 300), BTreeMap::from([(502, 300)]));
    let (retries, denied) =
        (gateway.metric("upstream_retries_total"), gateway.metric("upstream_retries_denied_total"));
    // At most ten a second for ten seconds, a fifth of the requests, and what is forgotten meanwhile. How many there
    // are depends on how soon one of the members is ejected: then there is no other one.
    assert!((1..=220).contains(&retries) && retries + denied <= 300, "{retries}, {denied}");
}
