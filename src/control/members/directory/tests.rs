//! The directory on a virtual clock.

use super::*;
use crate::config::testing::config;

const REFRESH: Duration = Duration::from_secs(30);

fn directory(upstreams: &str, is_dns_only: bool) -> Directory {
    let names = upstreams.lines().filter_map(|line| line.strip_prefix("[upstreams.")?.strip_suffix(']'));
    let route =
        |name: &str| format!("[[route]]\nname = '{name}'\npaths = ['/{name}']\nupstream = '{name}'\n");
    let routes: String = names.map(route).collect();
    let config = config(&format!("{upstreams}\n{routes}"));
    Directory::new(Service::all(None, &config), REFRESH, is_dns_only)
}

fn ip(last: u8) -> IpAddr {
    [127, 0, 0, last].into()
}

fn addresses(last: &[u8]) -> Found {
    Found::Addresses(last.iter().map(|last| ip(*last)).collect())
}

fn target(priority: u16, weight: u16, host: &str) -> SrvTarget {
    SrvTarget { priority, host: host.to_owned(), port: 7, weight }
}

fn host(name: &str) -> Question {
    Question::Host(name.to_owned())
}

fn dns(name: &str) -> Question {
    Question::DnsHost(name.to_owned())
}

fn srv() -> Question {
    Question::Srv("_a._tcp.b".to_owned())
}

/// The members of the nth service as `address*weight`.
fn members(directory: &Directory, nth: usize) -> Vec<String> {
    let members = directory.members(&directory.services()[nth]).unwrap_or_default();
    members.iter().map(|member| format!("{}*{}", member.endpoint.text(), member.weight)).collect()
}

fn failed(why: &str) -> Turn {
    Turn::Failed(why.to_owned())
}

#[test]
fn what_needs_no_answer_is_known_at_once() {
    let directory = directory(
        "[upstreams.a]\nurls = ['http://127.0.0.2:1', { url = 'http://127.0.0.1:1', weight = 3 }]\n\
         [upstreams.b]\nurl = 'http+unix://%2Frun%2Fa.sock'",
        true,
    );
    assert_eq!(members(&directory, 0), ["127.0.0.1:1*3", "127.0.0.2:1*1"]);
    assert_eq!(members(&directory, 1), ["unix:/run/a.sock*1"]);
    assert!(directory.is_settled() && directory.next_due_ms().is_none());
}

#[test]
fn every_address_of_a_name_is_a_member_with_the_weight_of_its_url() {
    let mut directory =
        directory("[upstreams.a]\nurls = ['http://127.0.0.9:1', { url = 'http://n:1', weight = 3 }]", false);
    assert_eq!(directory.due(0), [host("n")]);
    assert_eq!(members(&directory, 0), ["127.0.0.9:1*1"], "a slow name holds nobody up");
    assert!(directory.due(0).is_empty() && !directory.is_settled());
    assert_eq!(directory.answered(&host("n"), Ok((addresses(&[2, 1, 2]), None)), 5), Turn::None);
    assert_eq!(members(&directory, 0), ["127.0.0.1:1*3", "127.0.0.2:1*3", "127.0.0.9:1*1"]);
    assert!(directory.is_settled());
    assert_eq!(directory.next_due_ms(), Some(5 + 30_000));
}

#[test]
fn an_answer_holds_for_its_time_but_not_below_a_second_and_not_over_the_refresh() {
    let mut directory = directory("[upstreams.a]\nurl = 'http://n'", true);
    let mut now_ms = 0;
    for (ttl_s, due_ms) in [(0, 1_000), (5, 5_000), (300, 30_000)] {
        assert_eq!(directory.due(now_ms), [dns("n")]);
        let answer = Ok((addresses(&[1]), Some(Duration::from_secs(ttl_s))));
        assert_eq!(directory.answered(&dns("n"), answer, now_ms), Turn::None);
        assert_eq!(directory.next_due_ms(), Some(now_ms + due_ms), "{ttl_s}");
        now_ms += due_ms;
    }
}

#[test]
fn an_empty_or_failed_answer_keeps_the_members_and_is_said_when_it_begins_and_at_times() {
    let mut directory = directory("[upstreams.a]\nurl = 'http://n:1'", false);
    let mut now_ms = 0;
    let mut ask = |answer: Result<Found, &str>| {
        assert_eq!(directory.due(now_ms).len(), 1, "at {now_ms}");
        let answer = answer.map(|found| (found, None)).map_err(str::to_owned);
        let turn = directory.answered(&host("n"), answer, now_ms);
        let waited_ms = directory.next_due_ms().expect("one question") - now_ms;
        now_ms += waited_ms;
        (turn, members(&directory, 0).len(), waited_ms)
    };
    assert_eq!(ask(Ok(addresses(&[1, 2]))), (Turn::None, 2, 30_000));
    assert_eq!(ask(Ok(addresses(&[]))), (failed("n has no address"), 2, 1_000));
    assert_eq!(ask(Err("no such name")), (Turn::None, 2, 2_000));
    assert_eq!(ask(Err("no such name")), (Turn::None, 2, 4_000));
    assert_eq!(ask(Err("no such name")), (Turn::None, 2, 8_000));
    let still = |for_ms| Turn::StillFailed("no such name".to_owned(), for_ms);
    assert_eq!(ask(Err("no such name")), (still(15_000), 2, 16_000));
    for _ in 0..100 {
        assert_eq!(ask(Err("no such name")).1, 2);
    }
    assert!(matches!(ask(Err("no such name")), (Turn::StillFailed(..), 2, 30_000)), "it gives up never");
    let (turn, 1, 30_000) = ask(Ok(addresses(&[3]))) else { panic!("one address") };
    assert!(matches!(turn, Turn::Recovered(3_000_000..)), "{turn:?}");
}

#[test]
fn a_failed_connection_asks_again_at_once_and_at_most_once_a_second() {
    let mut directory = directory("[upstreams.a]\nurl = 'http://n'\n[upstreams.b]\nurl = 'http://m'", false);
    assert_eq!(directory.due(0), [host("m"), host("n")]);
    for name in ["m", "n"] {
        directory.answered(&host(name), Ok((addresses(&[1]), None)), 0);
    }
    directory.hurry(0, 5_000);
    assert_eq!(directory.due(5_000), [host("n")]);
    directory.answered(&host("n"), Ok((addresses(&[1]), None)), 5_001);
    directory.hurry(0, 5_250);
    assert!(directory.due(5_999).is_empty());
    assert_eq!(directory.due(6_000), [host("n")]);
    directory.hurry(0, 6_250);
    assert!(directory.due(9_000).is_empty(), "the answer is still to come");
}

#[test]
fn srv_records_lead_to_names_and_the_lowest_priority_that_has_members_counts() {
    let mut directory = directory("[upstreams.a]\nsrv = '_a._tcp.b'", false);
    assert_eq!(directory.due(0), [srv()]);
    let targets = vec![target(20, 5, "spare"), target(10, 0, "one"), target(10, 60, "two")];
    directory.answered(&srv(), Ok((Found::Targets(targets), Some(REFRESH))), 0);
    assert!(!directory.is_settled());
    assert_eq!(directory.due(0), [dns("one"), dns("spare"), dns("two")]);
    directory.answered(&dns("spare"), Ok((addresses(&[9]), Some(REFRESH))), 0);
    assert_eq!(members(&directory, 0), ["127.0.0.9:7*5"], "for as long as there is nobody better");
    directory.answered(&dns("one"), Err("it times out".to_owned()), 0);
    directory.answered(&dns("two"), Ok((addresses(&[3, 2]), Some(REFRESH))), 0);
    assert_eq!(members(&directory, 0), ["127.0.0.2:7*60", "127.0.0.3:7*60"]);
    assert!(directory.is_settled());
    directory.answered(&dns("one"), Ok((addresses(&[1]), Some(REFRESH))), 9);
    assert_eq!(members(&directory, 0)[0], "127.0.0.1:7*1", "0 is the smallest weight, and not none");
    // Another answer forgets the names that nobody needs any more.
    directory.due(30_000);
    directory.answered(&srv(), Ok((Found::Targets(vec![target(1, 1, "new")]), Some(REFRESH))), 30_000);
    assert_eq!(directory.known.keys().collect::<Vec<_>>(), [&dns("new"), &srv()]);
}

#[test]
fn an_answer_as_large_as_one_can_be_is_cut() {
    let mut directory = directory("[upstreams.a]\nsrv = '_a._tcp.b'", false);
    directory.due(0);
    let targets = (0..5_000).rev().map(|nth| target(nth, 1, &format!("n{nth}"))).collect();
    directory.answered(&srv(), Ok((Found::Targets(targets), None)), 0);
    assert_eq!(directory.known.len(), SRV_TARGETS_MAX + 1);
    assert_eq!(directory.due(0).len(), QUESTIONS_AT_ONCE_MAX);
    assert_eq!((directory.due(0), directory.next_due_ms()), (vec![], None), "the others wait for an answer");
    let all: Vec<u8> = (0..=255).collect();
    directory.answered(&dns("n0"), Ok((addresses(&all), None)), 0);
    assert_eq!(members(&directory, 0).len(), ADDRESSES_MAX);
    assert_eq!(directory.due(0).len(), 1);
}

#[test]
fn a_file_lists_addresses_and_names_and_each_of_its_mistakes_is_said() {
    let mut directory = directory("[upstreams.a]\nmembers_file = '/m'", false);
    let file = Question::File("/m".into(), false);
    let listed = |hosts: &[&str]| {
        let address = |host: &&str| UpstreamAddress::Tcp { host: (*host).to_owned(), port: 1 };
        let listed = hosts.iter().map(|host| WeightedAddress { address: address(host), weight: 2 });
        Ok((Found::Listed(listed.collect()), None))
    };
    assert_eq!(directory.due(0), std::slice::from_ref(&file));
    directory.answered(&file, listed(&["127.0.0.1", "n"]), 0);
    assert_eq!(directory.due(0), [host("n")]);
    directory.answered(&host("n"), Ok((addresses(&[2]), None)), 0);
    assert_eq!(members(&directory, 0), ["127.0.0.1:1*2", "127.0.0.2:1*2"]);
    let answers = [
        (Err("/m:1: half of it".to_owned()), Turn::None),
        (Err("/m:3: no URL".to_owned()), failed("/m:3: no URL")),
        (Err("/m:3: no URL".to_owned()), Turn::None),
        (Err("/m:4: no URL".to_owned()), failed("/m:4: no URL")),
        (listed(&[]), failed("/m lists no member")),
        (listed(&["127.0.0.1"]), Turn::Recovered(4_000)),
    ];
    for (nth, (answer, turn)) in answers.into_iter().enumerate() {
        let now_ms = 1_000 * (nth as u64 + 1);
        assert_eq!(directory.due(now_ms), std::slice::from_ref(&file));
        assert_eq!(members(&directory, 0).len(), 2);
        assert_eq!(directory.answered(&file, answer, now_ms), turn, "{nth}");
    }
    assert_eq!(members(&directory, 0), ["127.0.0.1:1*2"]);
}

#[test]
fn one_address_is_one_member_by_whichever_names() {
    let mut directory =
        directory("[upstreams.a]\nurls = ['http://n:1', { url = 'http://m:1', weight = 4 }]", false);
    directory.due(0);
    directory.answered(&host("n"), Ok((addresses(&[1]), None)), 0);
    directory.answered(&host("m"), Ok((addresses(&[1]), None)), 0);
    assert_eq!(members(&directory, 0), ["127.0.0.1:1*4"]);
}
