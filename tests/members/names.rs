//! Members by name: addresses and SRV records that come, go, and are wrong.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::{Fleet, ask, eventually_answered_by};
use crate::harness::{DnsServer, Gateway, NOBODY, SOON, Says, eventually};

fn addresses(last: &[u8], ttl_s: u32) -> Says {
    Says::Addresses(last.iter().map(|last| Ipv4Addr::new(127, 0, 0, *last)).collect(), ttl_s)
}

#[test]
fn an_address_that_comes_gets_its_share_and_one_that_goes_gets_no_more_requests() {
    let (fleet, dns) = (Fleet::new(3), DnsServer::start());
    dns.lead("chat.test", &[2]);
    let url = format!("url = 'http://chat.test:{}'", fleet.port);
    let gateway = fleet.gateway(&dns, &url).start();
    eventually_answered_by(&gateway, "2");
    dns.lead("chat.test", &[2, 3, 4]);
    let came = Instant::now();
    eventually("the new members get requests", || {
        ask(&gateway);
        fleet.heads(3) > 0 && fleet.heads(4) > 0
    });
    assert!(came.elapsed() < SOON, "{:?}", came.elapsed());
    dns.lead("chat.test", &[4]);
    let is_alone = || gateway.admin("/upstreams").text().starts_with("chat: 1 of 1 usable");
    eventually("the gateway knows", is_alone);
    eventually_answered_by(&gateway, "4");
    let before = (fleet.heads(2), fleet.heads(3));
    for _ in 0..20 {
        assert_eq!(ask(&gateway), (200, "4".to_owned()));
    }
    assert_eq!((fleet.heads(2), fleet.heads(3)), before, "they are withdrawn");
}

#[test]
fn a_pooled_connection_to_an_address_that_went_is_not_used_again() {
    let (fleet, dns) = (Fleet::new(2), DnsServer::start());
    dns.lead("chat.test", &[2]);
    let url = format!("url = 'http://chat.test:{}'", fleet.port);
    let config = super::config(&url).replace("connection_reuse = false\n", "");
    let gateway = fleet.gateway(&dns, &url).config(&config).start();
    for _ in 0..5 {
        assert_eq!(ask(&gateway), (200, "2".to_owned()));
    }
    assert_eq!(fleet.origins[0].connections(), 1, "it was pooled");
    dns.lead("chat.test", &[3]);
    eventually_answered_by(&gateway, "3");
    assert_eq!(fleet.origins[0].connections(), 1);
    eventually("the old connection is closed", || fleet.origins[0].open() == 0);
}

#[test]
fn every_request_names_the_service_by_the_first_url_or_by_host() {
    let (fleet, dns) = (Fleet::new(2), DnsServer::start());
    let port = fleet.port;
    let urls = format!("urls = ['http://127.0.0.2:{port}', 'http://127.0.0.3:{port}']");
    let hosts = |gateway: &Gateway| {
        eventually_answered_by(gateway, "23");
        let seen =
            fleet.origins.iter().map(|origin| origin.last().field("host").unwrap_or_default().to_owned());
        seen.collect::<Vec<_>>()
    };
    let first = format!("127.0.0.2:{port}");
    assert_eq!(hosts(&fleet.gateway(&dns, &urls).start()), [first.clone(), first]);
    let named = format!("{urls}\nhost = 'chat.internal'");
    assert_eq!(hosts(&fleet.gateway(&dns, &named).start()), ["chat.internal", "chat.internal"]);
}

#[test]
fn srv_records_name_addresses_and_ports_and_the_lowest_priority_counts() {
    let (fleet, dns) = (Fleet::new(3), DnsServer::start());
    let port = fleet.port;
    let target = |priority, host: &str| (priority, 10, port, format!("{host}.test."));
    for (name, last) in [("one.test", 2), ("two.test", 3), ("spare.test", 4)] {
        dns.lead(name, &[last]);
    }
    let both = vec![target(10, "one"), target(20, "spare"), target(10, "two")];
    dns.set("_chat._tcp.svc.test", Says::Targets(both, 1));
    let gateway = fleet.gateway(&dns, "srv = '_chat._tcp.svc.test'").start();
    eventually_answered_by(&gateway, "23");
    assert_eq!(fleet.heads(4), 0, "the spare one is not needed");
    assert_eq!(fleet.origins[0].last().field("host"), Some("svc.test"));
    dns.set("_chat._tcp.svc.test", Says::Targets(vec![target(20, "spare")], 1));
    eventually_answered_by(&gateway, "4");
    // "." says that there is no such service: nobody is a worse choice than those of before.
    dns.set("_chat._tcp.svc.test", Says::Targets(vec![(0, 0, 0, ".".to_owned())], 1));
    gateway.wait_log("has no SRV record that leads anywhere");
    assert_eq!(ask(&gateway), (200, "4".to_owned()));
}

#[test]
fn an_answer_that_is_none_keeps_the_members_and_is_said_once() {
    let (fleet, dns) = (Fleet::new(1), DnsServer::start());
    dns.lead("chat.test", &[2]);
    let gateway = fleet.gateway(&dns, &format!("url = 'http://chat.test:{}'", fleet.port)).start();
    let said = |part: &str| gateway.log().iter().filter(|line| line.contains(part)).count();
    // A message whose name is a pointer to itself, an answer to another question, no message at all.
    let header = [0x84, 0, 0, 1, 0, 1, 0, 0, 0, 0];
    let looping =
        [&header[..], &[0xc0, 12, 0, 1, 0, 1, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 127, 0, 0, 3]].concat();
    let other =
        [&header[..], b"\x04evil\x04test\0\0\x01\0\x01\xc0\x0c\0\x01\0\x01\0\0\0\x09\0\x04\x7f\0\0\x03"]
            .concat();
    let none =
        [Says::NoSuchName, Says::Nothing, Says::Bytes(looping), Says::Bytes(other), Says::Bytes(vec![0; 9])];
    for (nth, says) in none.into_iter().enumerate() {
        dns.set("chat.test", says);
        eventually("it is said", || said("the service's name does not resolve") == nth + 1);
        assert_eq!(ask(&gateway), (200, "2".to_owned()));
        let asked = dns.asked("chat.test");
        eventually("it is asked again", || dns.asked("chat.test") > asked);
        assert_eq!(said("the service's name does not resolve"), nth + 1, "once, not with every question");
        dns.lead("chat.test", &[2]);
        eventually("it is over", || said("the service's name resolves again") == nth + 1);
    }
    assert_eq!(ask(&gateway), (200, "2".to_owned()));
}

#[test]
fn a_huge_answer_is_bounded_and_the_same_each_time() {
    let (fleet, dns) = (Fleet::new(1), DnsServer::start());
    // The lowest addresses are kept, whatever the order of the answer.
    let all: Vec<Ipv4Addr> = (0..2_000_u16)
        .rev()
        .map(|nth| {
            let [high, low] = nth.to_be_bytes();
            Ipv4Addr::new(127, 1, high, low)
        })
        .chain([Ipv4Addr::new(127, 0, 0, 2)])
        .collect();
    dns.set("chat.test", Says::Addresses(all, 1));
    let gateway = fleet.gateway(&dns, &format!("url = 'http://chat.test:{}'", fleet.port)).start();
    eventually("the one that is there gets requests", || ask(&gateway).0 == 200);
    let asked = dns.asked("chat.test");
    eventually("it is asked again and again", || dns.asked("chat.test") > asked + 2);
    assert!(!gateway.log().iter().any(|line| line.contains("does not resolve")), "over TCP it comes whole");
}

#[test]
fn a_name_that_is_answered_by_nobody_holds_up_no_other_and_not_the_start() {
    let (fleet, dns) = (Fleet::new(2), DnsServer::start());
    dns.set("slow.test", Says::Silence);
    dns.lead("chat.test", &[2]);
    let port = fleet.port;
    let upstream = format!(
        "urls = ['http://chat.test:{port}']\n[upstreams.slow]\nurls = ['http://slow.test:{port}', 'http://{NOBODY}']\n\
         [[route]]\nname = 's'\npaths = ['/slow']\nupstream = 'slow'\n"
    );
    let begun = Instant::now();
    let gateway = fleet.gateway(&dns, &upstream).start();
    assert!(begun.elapsed() < SOON);
    assert_eq!(ask(&gateway), (200, "2".to_owned()));
    for last in [3, 2, 3] {
        dns.lead("chat.test", &[last]);
        let changed = Instant::now();
        eventually_answered_by(&gateway, &last.to_string());
        assert!(changed.elapsed() < Duration::from_secs(8), "{:?}", changed.elapsed());
    }
}

#[test]
fn another_dns_server_is_asked_after_a_reload() {
    let (fleet, dns, other) = (Fleet::new(2), DnsServer::start(), DnsServer::start());
    dns.set("chat.test", addresses(&[2], 3_600));
    other.set("chat.test", addresses(&[3], 3_600));
    let url = format!("url = 'http://chat.test:{}'", fleet.port);
    let file = |dns: &DnsServer| format!("dns_server = '{}'\n{}", dns.address, super::config(&url));
    let gateway = Gateway::builder().config(&file(&dns)).start();
    eventually_answered_by(&gateway, "2");
    gateway.rewrite_config(&file(&other));
    gateway.reload();
    eventually_answered_by(&gateway, "3");
}
