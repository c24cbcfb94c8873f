//! The keys of an upstream that say how its members are chosen, and its own bounds.

use std::time::Duration;

use super::report::Report;
use crate::config::keys::upstreams::IN_FLIGHT_MAX;
use crate::config::meaning::{BalancePolicy, Balancing, HashOn, UpstreamBounds};
use crate::config::value::{DAY, Parsed, TICK, choice, count, duration, quoted};
use crate::config::written::WrittenUpstream;
use crate::limits::{FIELD_NAME_BYTES_MAX, SLOW_START_MAX_S};

/// How the members are chosen.
pub(super) fn balancing(written: &WrittenUpstream, report: &mut Report<'_>) -> Balancing {
    let mut read = Reader { report };
    let slow_start_max = Duration::from_secs(SLOW_START_MAX_S);
    let slow_start = |text: &str| duration(text, Duration::ZERO, slow_start_max);
    let balancing = Balancing {
        policy: read.value("balance", written.balance.as_deref(), choice).unwrap_or_default(),
        hash_on: read.value("hash_on", written.hash_on.as_deref(), hash_on).unwrap_or_default(),
        slow_start: read.value("slow_start", written.slow_start.as_deref(), slow_start).unwrap_or_default(),
    };
    if written.hash_on.is_some() && balancing.policy != BalancePolicy::Hash {
        report.add("hash_on needs balance = \"hash\"");
    }
    balancing
}

/// The upstream's own bounds.
pub(super) fn bounds(written: &WrittenUpstream, report: &mut Report<'_>) -> UpstreamBounds {
    let mut read = Reader { report };
    let requests = |text: &str| count(text, 1, IN_FLIGHT_MAX);
    let timeout = |text: &str| duration(text, TICK, DAY);
    UpstreamBounds {
        in_flight: read.value("in_flight", written.in_flight.as_deref(), requests),
        pending_connects: read.value("pending_connects", written.pending_connects.as_deref(), requests),
        streams: read.value("streams", written.streams.as_deref(), requests),
        connect_timeout: read.value("connect_timeout", written.connect_timeout.as_deref(), timeout),
        head_timeout: read.value("head_timeout", written.head_timeout.as_deref(), timeout),
        idle_timeout: read.value("idle_timeout", written.idle_timeout.as_deref(), timeout),
    }
}

/// `user`, `address` or `header:NAME`.
fn hash_on(text: &str) -> Parsed<HashOn> {
    let is_name = |name: &str| {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        (1..=FIELD_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_token)
    };
    match text {
        "user" => Ok(HashOn::User),
        "address" => Ok(HashOn::Address),
        _ => match text.strip_prefix("header:") {
            Some(name) if is_name(name) => Ok(HashOn::Header(name.to_ascii_lowercase().into())),
            _ => Err(format!("{} is none of user, address, header:NAME", quoted(text))),
        },
    }
}

struct Reader<'r, 'a> {
    report: &'r mut Report<'a>,
}

impl Reader<'_, '_> {
    fn value<T>(
        &mut self,
        name: &str,
        text: Option<&str>,
        parse: impl FnOnce(&str) -> Parsed<T>,
    ) -> Option<T> {
        parse(text?).map_err(|why| self.report.add(&format!("{name} {why}"))).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::meaning::Upstream;
    use crate::config::testing::lowered_toml;

    fn file(keys: &str) -> String {
        format!(
            "[upstreams.a]\nurl = 'http://a'\n{keys}\n\
             [[route]]\nname = 'r'\npaths = ['/']\nupstream = 'a'\n"
        )
    }

    fn upstream(keys: &str) -> Upstream {
        let lowered = lowered_toml(&file(keys)).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        lowered.config.upstreams[0].clone()
    }

    #[test]
    fn each_key_has_its_meaning() {
        let plain = upstream("");
        assert_eq!((plain.balancing, plain.bounds), (Balancing::default(), UpstreamBounds::default()));
        let own = upstream(
            "balance = 'hash'\nhash_on = 'header:X-Room'\nslow_start = '30s'\nin_flight = 10\n\
             pending_connects = 5\nstreams = 20\nconnect_timeout = '1s'\nhead_timeout = '2s'\nidle_timeout = '3s'",
        );
        let s = Duration::from_secs;
        let (policy, hash_on) = (BalancePolicy::Hash, HashOn::Header("x-room".into()));
        assert_eq!(own.balancing, Balancing { policy, hash_on, slow_start: s(30) });
        let bounds = UpstreamBounds {
            in_flight: Some(10),
            pending_connects: Some(5),
            streams: Some(20),
            connect_timeout: Some(s(1)),
            head_timeout: Some(s(2)),
            idle_timeout: Some(s(3)),
        };
        assert_eq!(own.bounds, bounds);
        assert_eq!(upstream("balance = 'round_robin'").balancing.policy, BalancePolicy::RoundRobin);
        let address = upstream("balance = 'hash'\nhash_on = 'address'").balancing.hash_on;
        assert_eq!(address, HashOn::Address);
    }

    #[test]
    fn a_wrong_value_is_named_with_its_key_and_place() {
        for (keys, mistake) in [
            ("balance = 'random'", "balance \"random\" is none of p2c, round_robin, hash"),
            (
                "balance = 'hash'\nhash_on = 'header:'",
                "hash_on \"header:\" is none of user, address, header:NAME",
            ),
            ("balance = 'hash'\nhash_on = 'header:a b'", "hash_on \"header:a b\" is none of"),
            ("hash_on = 'user'", "hash_on needs balance = \"hash\""),
            ("slow_start = '2h'", "slow_start \"2h\" is not from"),
            ("in_flight = 0", "in_flight"),
            ("pending_connects = -1", "pending_connects"),
            ("streams = 'many'", "streams"),
            ("connect_timeout = '1ms'", "connect_timeout"),
            ("head_timeout = '49ms'", "head_timeout"),
            ("idle_timeout = 'never'", "idle_timeout"),
        ] {
            let mistakes = lowered_toml(&file(keys)).expect_err(keys).to_string();
            assert!(mistakes.contains("upstream \"a\"") && mistakes.contains(mistake), "{keys}: {mistakes}");
        }
    }
}
