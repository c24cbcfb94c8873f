//! Buckets in this process, shared by all cores: governor's token bucket, with a bound on how many.

use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::{DashMapStateStore, ShrinkableKeyedStateStore};
use governor::{Quota, RateLimiter};

use super::{Bucket, KeyBuf, Limited};
use crate::limits::{MEMORY_BUCKETS_MAX, RETRY_AFTER_MAX_S};

/// The buckets of this process.
///
/// At most [`MEMORY_BUCKETS_MAX`] of them, and what comes on other cores while one sweeps. At the bound those
/// that are full again are forgotten, which changes nothing for anybody. If too few of them are, all are
/// forgotten: that many clients in the time that one bucket takes to fill are a flood, and memory is what it
/// must not take. A sweep (tens of milliseconds at the bound) is paid for by the eighth of the bound that may
/// come before the next one.
///
/// A bucket's lock is held for a few instructions. This is the one place where cores meet on a request's
/// path; the shared store has none.
pub struct MemoryLimiter<C: Clock = DefaultClock> {
    /// `None`: nothing ever passes.
    buckets: Option<RateLimiter<u128, Buckets, C, NoOpMiddleware<C::Instant>>>,
    buckets_max: usize,
    names: [RandomState; 2],
    sweeping: AtomicBool,
}

impl MemoryLimiter {
    /// Buckets of `burst` tokens that fill at `rate` tokens per second. With either at 0 nothing ever passes.
    pub fn new(rate: f64, burst: u32) -> Self {
        Self::with_clock(rate, burst, MEMORY_BUCKETS_MAX, DefaultClock::default())
    }
}

impl<C: Clock> MemoryLimiter<C> {
    fn with_clock(rate: f64, burst: u32, buckets_max: usize, clock: C) -> Self {
        let buckets =
            quota(rate, burst).map(|quota| RateLimiter::new(quota, Buckets::new(buckets_max), clock));
        let names = [RandomState::new(), RandomState::new()];
        Self { buckets, buckets_max, names, sweeping: AtomicBool::new(false) }
    }

    /// Takes one token.
    ///
    /// # Errors
    /// [`Limited`] if there is none.
    pub fn take(&self, bucket: &Bucket<'_>) -> Result<(), Limited> {
        let Some(buckets) = &self.buckets else {
            return Err(Limited { retry_after_s: RETRY_AFTER_MAX_S });
        };
        if buckets.len() >= self.buckets_max {
            self.tidy();
        }
        buckets.check_key(&self.name(bucket)).map_err(|until| {
            let wait = until.wait_time_from(buckets.clock().now());
            Limited { retry_after_s: whole_seconds(wait) }
        })
    }

    /// Forgets buckets that are full again. Whoever comes while another sweeps goes on without.
    pub fn tidy(&self) {
        let Some(buckets) = &self.buckets else { return };
        if !self.sweeping.swap(true, Ordering::Acquire) {
            buckets.retain_recent();
            self.sweeping.store(false, Ordering::Release);
        }
    }

    /// Buckets that are kept now.
    pub fn len(&self) -> usize {
        self.buckets.as_ref().map_or(0, RateLimiter::len)
    }

    /// No bucket is kept now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A bucket is kept under 128 bits of its key, hashed with keys that no client knows (SipHash): no
    /// allocation for a name, and no two names that a client could make collide.
    fn name(&self, bucket: &Bucket<'_>) -> u128 {
        let mut out = KeyBuf::default();
        let key = bucket.key(&mut out);
        let [low, high] = [&self.names[0], &self.names[1]].map(|state| u128::from(state.hash_one(key)));
        high << 64 | low
    }
}

/// governor's map of buckets and how many are in it: the map itself would have to lock every shard to say.
struct Buckets {
    map: DashMapStateStore<u128, BuildHasherDefault<LowBits>>,
    kept: AtomicUsize,
    max: usize,
}

impl Buckets {
    fn new(max: usize) -> Self {
        Self { map: DashMapStateStore::default(), kept: AtomicUsize::new(0), max }
    }
}

impl StateStore for Buckets {
    type Key = u128;

    fn measure_and_replace<T, F, E>(&self, key: &u128, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let fresh = std::cell::Cell::new(false);
        let outcome = self.map.measure_and_replace(key, |since| {
            fresh.set(since.is_none());
            f(since)
        });
        if fresh.get() {
            self.kept.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }
}

impl ShrinkableKeyedStateStore<u128> for Buckets {
    fn retain_recent(&self, drop_below: Nanos) {
        ShrinkableKeyedStateStore::retain_recent(&self.map, drop_below);
        if self.map.len() > self.max / 8 * 7 {
            self.map.clear();
        }
        self.kept.store(self.map.len(), Ordering::Relaxed);
    }

    fn len(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<C: Clock> fmt::Debug for MemoryLimiter<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLimiter").field("buckets", &self.len()).finish_non_exhaustive()
    }
}

/// The map's hash of a name is its lower half: the name is a hash already.
#[derive(Default)]
struct LowBits(u64);

impl Hasher for LowBits {
    fn write_u128(&mut self, name: u128) {
        self.0 = name as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// `None`: nothing ever passes. A bucket that would take longer than [`FILL_NS_MAX`] to fill is given that
/// long: governor counts in nanoseconds of 64 bits.
fn quota(rate: f64, burst: u32) -> Option<Quota> {
    let burst = NonZeroU32::new(burst)?;
    if rate.is_nan() || rate <= 0.0 {
        return None;
    }
    // The cast saturates, so a rate near 0 is the longest interval.
    let interval_ns = (1e9 / rate) as u64;
    let interval_ns = interval_ns.clamp(1, FILL_NS_MAX / u64::from(burst.get()));
    Quota::with_period(Duration::from_nanos(interval_ns)).map(|quota| quota.allow_burst(burst))
}

fn whole_seconds(wait: Duration) -> u64 {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    seconds.clamp(1, RETRY_AFTER_MAX_S)
}

/// Some 73 years.
const FILL_NS_MAX: u64 = u64::MAX / 8;

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;
    use std::net::{IpAddr, Ipv4Addr};

    fn limiter(rate: f64, burst: u32, max: usize) -> (MemoryLimiter<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (MemoryLimiter::with_clock(rate, burst, max, clock.clone()), clock)
    }

    fn admitted(limiter: &MemoryLimiter<FakeRelativeClock>, bucket: Bucket<'_>) -> u32 {
        (0..1000).take_while(|_| limiter.take(&bucket).is_ok()).count() as u32
    }

    fn address(n: u32) -> Bucket<'static> {
        Bucket::Address(IpAddr::V4(Ipv4Addr::from_bits(n)))
    }

    #[test]
    fn admits_the_burst_and_then_the_rate() {
        let (limiter, clock) = limiter(10.0, 20, 100);
        let user = Bucket::User("a");
        assert_eq!(admitted(&limiter, user), 20);
        assert_eq!(limiter.take(&user), Err(Limited { retry_after_s: 1 }));
        clock.advance(Duration::from_millis(99));
        assert_eq!(admitted(&limiter, user), 0);
        clock.advance(Duration::from_millis(1));
        assert_eq!(admitted(&limiter, user), 1, "a refusal takes nothing");
        clock.advance(Duration::from_secs(1));
        assert_eq!(admitted(&limiter, user), 10);
        clock.advance(Duration::from_secs(3600));
        assert_eq!(admitted(&limiter, user), 20);
    }

    #[test]
    fn a_fraction_of_a_token_per_second_is_told_in_whole_seconds() {
        let (limiter, clock) = limiter(0.4, 1, 100);
        assert!(limiter.take(&Bucket::User("a")).is_ok());
        assert_eq!(limiter.take(&Bucket::User("a")), Err(Limited { retry_after_s: 3 }));
        clock.advance(Duration::from_millis(500));
        assert_eq!(limiter.take(&Bucket::User("a")), Err(Limited { retry_after_s: 2 }));
        clock.advance(Duration::from_millis(2000));
        assert!(limiter.take(&Bucket::User("a")).is_ok());
    }

    #[test]
    fn a_rate_or_burst_of_zero_lets_nothing_pass() {
        for (rate, burst) in [(0.0, 20), (10.0, 0), (-1.0, 5), (f64::NAN, 5)] {
            let (limiter, _) = limiter(rate, burst, 100);
            let limited = limiter.take(&Bucket::User("a"));
            assert_eq!(limited, Err(Limited { retry_after_s: RETRY_AFTER_MAX_S }), "{rate} {burst}");
        }
    }

    #[test]
    fn extreme_quotas_stay_within_64_bits() {
        for (rate, burst) in
            [(1e-300, 1), (1e-300, u32::MAX), (1e300, u32::MAX), (f64::INFINITY, 1), (1e-9, 7)]
        {
            let (limiter, clock) = limiter(rate, burst, 100);
            assert!(limiter.take(&Bucket::User("a")).is_ok(), "{rate} {burst}");
            clock.advance(Duration::from_secs(365 * 86_400));
            limiter.tidy();
            let _ = limiter.take(&Bucket::User("a"));
        }
        let (limiter, _) = limiter(1e-9, 1, 100);
        assert!(limiter.take(&Bucket::User("a")).is_ok());
        assert_eq!(limiter.take(&Bucket::User("a")), Err(Limited { retry_after_s: RETRY_AFTER_MAX_S }));
    }

    #[test]
    fn buckets_are_apart_and_a_64_is_one() {
        let (limiter, _) = limiter(1.0, 1, 100);
        let at = |text: &str| Bucket::Address(text.parse().unwrap());
        assert_eq!(admitted(&limiter, at("2001:db8::1")), 1);
        assert_eq!(admitted(&limiter, at("2001:db8::ffff:1")), 0, "the same /64");
        assert_eq!(admitted(&limiter, at("2001:db8:0:1::1")), 1);
        assert_eq!(admitted(&limiter, Bucket::Bad("2001:db8::1".parse().unwrap())), 1);
        assert_eq!(admitted(&limiter, at("192.0.2.1")), 1);
        assert_eq!(admitted(&limiter, at("::ffff:192.0.2.1")), 0, "the same IPv4 address");
        assert_eq!(admitted(&limiter, Bucket::User("192.0.2.1")), 1);
    }

    #[test]
    fn cores_that_share_a_bucket_admit_its_burst_and_no_more() {
        let limiter = MemoryLimiter::new(1e-6, 1000);
        let admitted: usize = std::thread::scope(|scope| {
            let core = || (0..1000).filter(|_| limiter.take(&Bucket::User("a")).is_ok()).count();
            let cores = [0; 4].map(|_| scope.spawn(core));
            cores.into_iter().map(|core| core.join().unwrap()).sum()
        });
        assert_eq!((admitted, limiter.len()), (1000, 1));
    }

    #[test]
    fn forgets_full_buckets_at_the_bound() {
        let (limiter, clock) = limiter(1.0, 1, 100);
        for n in 0..100 {
            assert!(limiter.take(&address(n)).is_ok());
        }
        assert_eq!(limiter.len(), 100);
        clock.advance(Duration::from_secs(2));
        assert!(limiter.take(&address(1000)).is_ok());
        assert_eq!(limiter.len(), 1);
        assert!(limiter.take(&address(1000)).is_err());
    }

    #[test]
    fn a_flood_of_addresses_cannot_grow_the_map() {
        let (limiter, _) = limiter(0.001, 1, 100);
        for n in 0..10_000 {
            assert!(limiter.take(&address(n)).is_ok());
            assert!(limiter.len() <= 100);
        }
    }

    #[test]
    fn tidying_keeps_the_buckets_that_matter() {
        let (limiter, clock) = limiter(1.0, 2, 100);
        assert!(limiter.take(&address(1)).is_ok());
        clock.advance(Duration::from_secs(5));
        assert_eq!(admitted(&limiter, address(2)), 2);
        limiter.tidy();
        assert_eq!(limiter.len(), 1);
        assert_eq!(admitted(&limiter, address(2)), 0);
    }
}
