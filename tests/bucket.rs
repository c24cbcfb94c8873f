//! The script that Redis runs against the arithmetic it is written after, on a real Redis.

use realchat_gateway::config::Rate;
use realchat_gateway::limit::arithmetic::{BucketState, UNITS_PER_TOKEN, charge};
use realchat_gateway::limit::{Decision, Limit, SCRIPT};

use crate::harness::*;

/// The script with the clock of the test and without expiry: a key of the test must not vanish by the clock of
/// the machine. What it would expire after is written down instead.
fn script_of_the_test() -> String {
    let mut script = SCRIPT.to_owned();
    for (theirs, ours) in [
        (
            "local time = redis.call('TIME')\nlocal now = time[1] * 1000000 + time[2]\n",
            "local now = tonumber(ARGV[#ARGV])\n",
        ),
        ("redis.call('SET', KEYS[i],", "redis.call('MSET', KEYS[i],"),
        (" 'PX', ", " KEYS[i] .. '/ms', "),
    ] {
        assert_eq!(script.matches(theirs).count(), 1, "{theirs:?} in:\n{script}");
        script = script.replace(theirs, ours);
    }
    script
}

fn limit(milli: u32, burst: u32, cost: u32) -> Limit {
    Limit::new(Rate::from_milli(milli), burst, cost)
}

/// `EVALSHA` over these keys.
fn call(redis: &mut RedisClient, sha: &str, keys: &[String], limits: &[Limit], now: Option<u64>) -> String {
    let count = keys.len().to_string();
    let numbers = limits.iter().flat_map(|limit| [limit.units_per_us, limit.capacity, limit.cost]);
    let numbers: Vec<String> = numbers.chain(now).map(|number| number.to_string()).collect();
    let mut command = vec!["EVALSHA", sha, &count];
    command.extend(keys.iter().chain(&numbers).map(String::as_str));
    redis.ask(&command)
}

fn decision(reply: &str) -> Decision {
    let numbers: Vec<i64> =
        reply.lines().map(|line| line.parse().unwrap_or_else(|_| panic!("{reply}"))).collect();
    Decision::from_reply(numbers.try_into().expect("five numbers")).unwrap_or_else(|| panic!("{reply}"))
}

/// splitmix64 (Steele, Lea and Flood 2014).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % sides
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len() as u64) as usize]
    }

    fn limit(&mut self) -> Limit {
        let milli = self.pick(&[1, 7, 500, 3_333, 10_000, 999_999_999, 1_000_000_000]);
        let burst = self.pick(&[1, 2, 7, 20, 999_999, 1_000_000]);
        let cost = self.pick(&[1, 1, 1, 2.min(burst), burst, burst / 2 + 1]);
        limit(milli, burst, cost)
    }

    /// From standing still to decades, most often about what a token takes; and now and then backwards.
    fn advance(&mut self, now: u64, limit: &Limit) -> u64 {
        let token_us = UNITS_PER_TOKEN / limit.units_per_us;
        let then = match self.roll(12) {
            0 => now - self.roll(7_200_000_000),
            1 => now + self.roll(1_000_000_000_000_000),
            2 => now + limit.full_us(0) + self.roll(3),
            3 | 4 => now,
            5 => now + self.roll(3),
            _ => now + self.roll(token_us * 2 + 2),
        };
        then.clamp(1_000_000_000_000_000, 8_000_000_000_000_000)
    }
}

#[test]
fn redis_and_rust_agree_on_every_history() {
    let redis = Redis::start();
    let mut redis = redis.client();
    let sha = redis.ask(&["SCRIPT", "LOAD", &script_of_the_test()]);
    let mut dice = Dice(now());
    let (seed, mut admitted, mut refused) = (dice.0, 0, 0);
    for history in 0..400 {
        let keys: Vec<_> = (0..1 + dice.roll(5)).map(|i| format!("{{{history}}}{i}")).collect();
        let mut limits: Vec<_> = keys.iter().map(|_| dice.limit()).collect();
        let mut states = vec![None; keys.len()];
        let mut now = 1_800_000_000_000_000;
        for step in 0..30 {
            let which = dice.roll(limits.len() as u64) as usize;
            now = dice.advance(now, &limits[which]);
            // An operator changes a limit; somebody else writes to a key.
            match dice.roll(60) {
                0 => limits[which] = dice.limit(),
                1 => {
                    redis.ask(&["SET", &keys[which], "not ours"]);
                    states[which] = None;
                }
                _ => {}
            }
            let before = states.clone();
            let ours = charge(&limits, &mut states, now);
            let what = format!("seed {seed}, history {history}, step {step}: {limits:?} {before:?} at {now}");
            let theirs = decision(&call(&mut redis, &sha, &keys, &limits, Some(now)));
            assert_eq!(theirs, ours, "{what}");
            for ((key, limit), (state, before)) in keys.iter().zip(&limits).zip(states.iter().zip(before)) {
                let kept = redis.ask(&["GET", key]).parse::<BucketState>().ok();
                assert_eq!(kept, *state, "{key}, {what}");
                if let Some(BucketState { level, .. }) = state.filter(|state| Some(*state) != before) {
                    let expire = redis.ask(&["GET", &format!("{key}/ms")]);
                    assert_eq!(
                        expire,
                        limit.full_us(level).div_ceil(1000).max(1).to_string(),
                        "{key}, {what}"
                    );
                }
            }
            admitted += u32::from(ours.is_admitted);
            refused += u32::from(!ours.is_admitted);
        }
    }
    assert!(admitted > 1000 && refused > 1000, "{admitted} {refused}: the histories prove little");
}

#[test]
fn every_key_expires_when_it_is_full_and_a_refusal_writes_nothing() {
    let redis = Redis::start();
    let mut redis = redis.client();
    let sha = redis.ask(&["SCRIPT", "LOAD", SCRIPT]);
    let (keys, limits) = (["a".to_owned(), "b".to_owned()], [limit(100, 100, 1), limit(50, 1, 1)]);
    let first = decision(&call(&mut redis, &sha, &keys, &limits, None));
    assert_eq!(
        (first.is_admitted, first.most_restrictive, first.remaining, first.full_us),
        (true, 1, 0, 20_000_000)
    );
    // Half of the time may go by until they are asked for.
    let within = |text: String, range: std::ops::RangeInclusive<u64>| range.contains(&text.parse().unwrap());
    assert!(
        within(redis.ask(&["PTTL", "a"]), 5_000..=10_000)
            && within(redis.ask(&["PTTL", "b"]), 10_000..=20_000)
    );
    let kept = redis.ask(&["MGET", "a", "b"]);
    let second = decision(&call(&mut redis, &sha, &keys, &limits, None));
    assert!(
        !second.is_admitted && second.most_restrictive == 1 && second.wait_us <= 20_000_000,
        "{second:?}"
    );
    assert_eq!(redis.ask(&["MGET", "a", "b"]), kept);
}

#[test]
fn the_longest_expiry_is_one_that_redis_takes() {
    let redis = Redis::start();
    let mut redis = redis.client();
    let sha = redis.ask(&["SCRIPT", "LOAD", SCRIPT]);
    let slowest = [limit(1, 1_000_000, 1_000_000)];
    assert!(decision(&call(&mut redis, &sha, &["a".to_owned()], &slowest, None)).is_admitted);
    // Some 32 years.
    let ms: u64 = redis.ask(&["PTTL", "a"]).parse().expect("a number");
    assert!((999_999_000_000..=1_000_000_000_000).contains(&ms), "{ms}");
}
