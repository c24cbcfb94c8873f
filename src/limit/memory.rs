//! Token buckets in this process, shared by all cores: governor's clock and its maps of cells, with a bound on the
//! number of cells.

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering;

use governor::clock::{Clock, DefaultClock, Reference};
use governor::nanos::Nanos;
use governor::state::StateStore;

use super::arithmetic::{Decision, Limit, UNITS_PER_TOKEN};
use super::bucket::KeyBuf;
use super::charge::{Charge, Charges};
use super::shard::{self, Shard};
use crate::limits::{BURST_MAX, MEMORY_BUCKETS_MAX, ROUTE_LIMITS_MAX};

/// The buckets of this process.
///
/// There are at most [`MEMORY_BUCKETS_MAX`], in several maps of equal bounds, plus those that other cores add
/// during a sweep. A map at its bound is swept: the buckets that are full again go, which changes nothing for any
/// client. If too few of them are, those go that miss the smallest part of their burst, until a quarter of the map
/// is free. So a flood of new clients, each of which has taken little, forgets itself and not the clients that have
/// used up their limits. A sweep looks at some 4,000 buckets, which takes a fraction of a millisecond.
///
/// A bucket is kept as one number: the time at which it will be full, in nanoseconds (the virtual scheduling
/// algorithm, ITU-T I.371 appendix I, which is also governor's). It is a cell of 64 bits that cores swap without
/// waiting for each other. A map's lock is held for a few instructions. This is the only place where cores share
/// memory on a request's path; the Redis store has none.
///
/// The limits of one request are in several cells, so the cells are read first and charged afterwards. If another core
/// was faster in between, the charges already made are refunded: for some nanoseconds those buckets had one request's
/// cost too little.
pub struct MemoryLimiter<C: Clock = DefaultClock> {
    shards: Box<[Shard]>,
    names: [RandomState; 2],
    clock: C,
    begun: C::Instant,
}

impl MemoryLimiter {
    /// A limiter whose buckets are all full.
    pub fn new() -> Self {
        Self::with_clock(MEMORY_BUCKETS_MAX, SHARDS, DefaultClock::default())
    }
}

impl Default for MemoryLimiter {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: Clock> MemoryLimiter<C> {
    fn with_clock(buckets_max: usize, shards: usize, clock: C) -> Self {
        Self {
            shards: (0..shards).map(|_| Shard::new(buckets_max / shards)).collect(),
            names: [RandomState::new(), RandomState::new()],
            begun: clock.now(),
            clock,
        }
    }

    /// Charges every bucket of a request, or none.
    ///
    /// # Panics
    /// If there is no bucket to charge, or a rate is 0.
    pub fn charge(&self, charges: &Charges<'_>) -> Decision {
        let now_ns = self.now_ns();
        let all = charges.all();
        assert!(!all.is_empty() && all.len() <= CHARGES_MAX);
        let mut meters = [Meter::default(); CHARGES_MAX];
        for (meter, charge) in meters.iter_mut().zip(all) {
            *meter = self.meter(charges.prefix(), charge);
        }
        let meters = &meters[..all.len()];
        if meters.len() > 1
            && let Some(denied) = most_restrictive_denial(meters, now_ns, |m| self.full_ns(m))
        {
            return denied;
        }
        self.charge_all(meters, now_ns)
    }

    /// Whether one of the buckets does not have enough tokens now. It charges nothing. No rate may be 0.
    pub fn would_deny(&self, charges: &Charges<'_>) -> bool {
        let (now_ns, prefix) = (self.now_ns(), charges.prefix());
        let mut meters = charges.all().iter().map(|charge| self.meter(prefix, charge));
        meters.any(|meter| meter.wait_ns(self.full_ns(&meter), now_ns) > 0)
    }

    /// Charges one bucket after the other. The first denial refunds those before it.
    fn charge_all(&self, meters: &[Meter], now_ns: u64) -> Decision {
        let mut decision: Option<Decision> = None;
        for (index, meter) in meters.iter().enumerate() {
            match self.charge_one(meter, now_ns) {
                Ok(full_ns) => {
                    let admitted = meter.decision(index, full_ns, now_ns, 0);
                    decision =
                        decision.filter(|other| other.remaining <= admitted.remaining).or(Some(admitted));
                }
                Err(full_ns) => {
                    meters[..index].iter().for_each(|meter| self.refund(meter));
                    return meter.decision(index, full_ns, now_ns, meter.wait_ns(full_ns, now_ns));
                }
            }
        }
        decision.unwrap_or_else(|| unreachable!("there is a bucket"))
    }

    /// Removes buckets that are full again.
    pub fn tidy(&self) {
        let now_ns = self.now_ns();
        self.shards.iter().for_each(|shard| shard.sweep(now_ns));
    }

    /// The number of buckets now.
    pub fn len(&self) -> usize {
        self.shards.iter().map(Shard::len).sum()
    }

    /// There is no bucket now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The time since the start. It is never 0, because a cell with 0 is a new one.
    fn now_ns(&self) -> u64 {
        self.clock.now().duration_since(self.begun).as_u64() + 1
    }

    /// The map that a bucket is in.
    fn shard(&self, meter: &Meter) -> &Shard {
        // Other bits than those by which the map distributes its cells.
        &self.shards[(meter.name >> 64) as usize % self.shards.len()]
    }

    /// The time at which a bucket will be full.
    fn full_ns(&self, meter: &Meter) -> u64 {
        self.shard(meter).cells.get(&meter.name).map_or(0, |cell| shard::full_ns(&cell))
    }

    /// Charges one bucket. `Ok`: when it will be full after the charge. `Err`: it does not have enough tokens, and
    /// when it will be full.
    fn charge_one(&self, meter: &Meter, now_ns: u64) -> Result<u64, u64> {
        let (fresh, shard) = (Cell::new(false), self.shard(meter));
        if shard.len() >= shard.buckets_max && !shard.cells.contains_key(&meter.name) {
            shard.sweep(now_ns);
        }
        let outcome = shard.cells.measure_and_replace(&meter.name, |full| {
            fresh.set(full.is_none());
            let full_ns = full.map_or(0, Nanos::as_u64);
            let then_ns = full_ns.max(now_ns) + meter.cost_ns;
            if meter.wait_ns(full_ns, now_ns) > 0 {
                Err(full_ns)
            } else {
                Ok((then_ns, Nanos::from(then_ns)))
            }
        });
        if fresh.get() {
            shard.kept.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    /// Undoes a charge.
    fn refund(&self, meter: &Meter) {
        let back = |full: Option<Nanos>| {
            Ok::<_, Infallible>((
                (),
                Nanos::from(full.map_or(1, |full| full.as_u64().saturating_sub(meter.cost_ns).max(1))),
            ))
        };
        let Ok(()) = self.shard(meter).cells.measure_and_replace(&meter.name, back);
    }

    /// A bucket is kept under a 128-bit hash of its key, made with keys that no client knows (SipHash). A name needs
    /// no allocation, and a client cannot choose two names that collide.
    fn meter(&self, prefix: &str, charge: &Charge<'_>) -> Meter {
        let mut out = KeyBuf::default();
        let key = charge.bucket.key(prefix, &mut out);
        let [low, high] = [&self.names[0], &self.names[1]].map(|state| u128::from(state.hash_one(key)));
        Meter::new(high << 64 | low, &charge.limit)
    }
}

impl<C: Clock> fmt::Debug for MemoryLimiter<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLimiter").field("buckets", &self.len()).finish_non_exhaustive()
    }
}

/// One limit, in nanoseconds of refill.
#[derive(Debug, Clone, Copy, Default)]
struct Meter {
    /// The name of the bucket's cell. Its upper bits are those of `burst_ns` as a float, so that a sweep of the
    /// cells alone knows which part of its burst a bucket misses. (A limit with another burst or rate has other
    /// buckets.)
    name: u128,
    /// The refill time of one token. It is rounded up, by less than a millionth, so the rate is never exceeded.
    token_ns: u64,
    burst_ns: u64,
    cost_ns: u64,
}

impl Meter {
    fn new(hash: u128, limit: &Limit) -> Self {
        let token_ns = (UNITS_PER_TOKEN * 1000).div_ceil(limit.units_per_us);
        let tokens = |units: u64| units / UNITS_PER_TOKEN * token_ns;
        let (burst_ns, cost_ns) = (tokens(limit.capacity), tokens(limit.cost));
        Self { name: shard::name(hash, burst_ns), token_ns, burst_ns, cost_ns }
    }

    /// Time until a bucket that will be full at `full_ns` has the cost of the request.
    fn wait_ns(&self, full_ns: u64, now_ns: u64) -> u64 {
        (full_ns.max(now_ns) + self.cost_ns).saturating_sub(now_ns + self.burst_ns)
    }

    fn decision(&self, index: usize, full_ns: u64, now_ns: u64, wait_ns: u64) -> Decision {
        let missing_ns = full_ns.saturating_sub(now_ns);
        let remaining = self.burst_ns.saturating_sub(missing_ns) / self.token_ns;
        Decision {
            is_admitted: wait_ns == 0,
            most_restrictive: index,
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            wait_us: wait_ns.div_ceil(1000),
            full_us: missing_ns.div_ceil(1000),
        }
    }
}

/// The denial with the longest wait, if there is one.
fn most_restrictive_denial(
    meters: &[Meter],
    now_ns: u64,
    full_ns: impl Fn(&Meter) -> u64,
) -> Option<Decision> {
    let mut longest: Option<Decision> = None;
    for (index, meter) in meters.iter().enumerate() {
        let full_ns = full_ns(meter);
        let wait_ns = meter.wait_ns(full_ns, now_ns);
        if wait_ns > 0 && longest.is_none_or(|other| other.wait_us < wait_ns.div_ceil(1000)) {
            longest = Some(meter.decision(index, full_ns, now_ns, wait_ns));
        }
    }
    longest
}

/// Maps of buckets. With more of them a sweep is shorter.
const SHARDS: usize = 256;
/// The global bucket and those of a route.
const CHARGES_MAX: usize = 1 + ROUTE_LIMITS_MAX;
/// The slowest bucket with the largest capacity fills in 10^18 ns, some 32 years. Twice that and a long uptime fit
/// into 64 bits.
const _: () = assert!(BURST_MAX as u64 * (UNITS_PER_TOKEN * 1000) <= u64::MAX / 8);

#[cfg(test)]
mod tests {
    use super::super::testing::{global, request, route};
    use super::super::{Client, LimitedRequest};
    use super::*;
    use crate::config::{Access, Per, Rate, RateLimit, Route, RouteLimit};
    use governor::clock::FakeRelativeClock;
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    /// A limiter, its clock and its limit.
    struct Case {
        limiter: MemoryLimiter<FakeRelativeClock>,
        clock: FakeRelativeClock,
        global: RateLimit,
    }

    fn case(rate: &str, burst: u32, max: usize) -> Case {
        let clock = FakeRelativeClock::default();
        let limiter = MemoryLimiter::with_clock(max, 1, clock.clone());
        Case { limiter, clock, global: global(rate, burst) }
    }

    impl Case {
        fn charge(&self, client: Client<'_>) -> Decision {
            self.charge_request(&request(client))
        }

        fn charge_request(&self, request: &LimitedRequest<'_>) -> Decision {
            self.limiter.charge(&request.charges(&self.global))
        }

        fn admitted(&self, client: Client<'_>) -> u32 {
            (0..1000).take_while(|_| self.charge(client).is_admitted).count() as u32
        }
    }

    const ANN: Client<'static> = Client::User("ann");

    fn address(n: u32) -> Client<'static> {
        Client::Address(IpAddr::V4(Ipv4Addr::from_bits(n)))
    }

    #[test]
    fn admits_the_burst_and_then_the_rate() {
        let case = case("10", 20, 100);
        assert_eq!(
            case.charge(ANN),
            Decision { is_admitted: true, most_restrictive: 0, remaining: 19, wait_us: 0, full_us: 100_000 }
        );
        assert_eq!(case.admitted(ANN), 19);
        assert_eq!(
            case.charge(ANN),
            Decision {
                is_admitted: false,
                most_restrictive: 0,
                remaining: 0,
                wait_us: 100_000,
                full_us: 2_000_000
            }
        );
        case.clock.advance(Duration::from_millis(99));
        assert_eq!(case.admitted(ANN), 0);
        case.clock.advance(Duration::from_millis(1));
        assert_eq!(case.admitted(ANN), 1, "a refusal takes nothing");
        case.clock.advance(Duration::from_secs(1));
        assert_eq!(case.admitted(ANN), 10);
        case.clock.advance(Duration::from_secs(3600));
        assert_eq!(case.admitted(ANN), 20);
    }

    #[test]
    fn extreme_limits_stay_within_64_bits() {
        for (rate, burst) in [("0.001", 1), ("0.001", BURST_MAX), ("1000000", BURST_MAX), ("1000000", 1)] {
            let case = case(rate, burst, 100);
            assert!(case.charge(ANN).is_admitted, "{rate} {burst}");
            case.clock.advance(Duration::from_secs(40 * 365 * 86_400));
            case.limiter.tidy();
            assert_eq!((case.limiter.len(), case.charge(ANN).remaining), (0, burst - 1));
        }
    }

    #[test]
    fn buckets_are_apart_and_a_64_is_one() {
        let case = case("1", 1, 100);
        let at = |text: &str| Client::Address(text.parse().unwrap());
        assert_eq!(case.admitted(at("2001:db8::1")), 1);
        assert_eq!(case.admitted(at("2001:db8::ffff:1")), 0, "the same /64");
        assert_eq!(case.admitted(at("2001:db8:0:1::1")), 1);
        assert_eq!(case.admitted(Client::Bad("2001:db8::1".parse().unwrap())), 1);
        assert_eq!(case.admitted(at("192.0.2.1")), 1);
        assert_eq!(case.admitted(at("::ffff:192.0.2.1")), 0, "the same IPv4 address");
        assert_eq!(case.admitted(Client::User("192.0.2.1")), 1);
    }

    #[test]
    fn of_several_limits_all_are_charged_or_none() {
        let case = case("1", 5, 100);
        let limit = |burst, cost| RouteLimit { rate: Rate::from_milli(500), burst, per: Per::User, cost };
        let shop = Route { limits: vec![limit(4, 2), limit(3, 1)], ..route("shop", Access::Protected) };
        let shopping = LimitedRequest { route: Some(&shop), ..request(ANN) };
        let first = case.charge_request(&shopping);
        assert_eq!((first.is_admitted, first.most_restrictive, first.remaining), (true, 1, 2));
        let second = case.charge_request(&shopping);
        assert_eq!((second.is_admitted, second.most_restrictive, second.remaining), (true, 1, 0));
        let third = case.charge_request(&shopping);
        assert_eq!((third.is_admitted, third.most_restrictive, third.wait_us), (false, 1, 4_000_000));
        assert_eq!(case.admitted(ANN), 3, "the refused one took nothing from the global bucket");
        case.clock.advance(Duration::from_secs(4));
        assert!(case.charge_request(&shopping).is_admitted);
    }

    #[test]
    fn cores_that_share_buckets_admit_their_burst_and_no_more() {
        let (limiter, global) = (MemoryLimiter::new(), global("0.001", 1000));
        let limit = RouteLimit { rate: Rate::from_milli(1), burst: 700, per: Per::None, cost: 1 };
        let shop = Route { limits: vec![limit], ..route("shop", Access::Protected) };
        let charge = |route: Option<&Route>| {
            limiter.charge(&LimitedRequest { route, ..request(ANN) }.charges(&global)).is_admitted
        };
        let admitted = |route: Option<&Route>| -> usize {
            std::thread::scope(|scope| {
                let cores = [0; 4].map(|_| scope.spawn(|| (0..1000).filter(|_| charge(route)).count()));
                cores.into_iter().map(|core| core.join().unwrap()).sum()
            })
        };
        assert_eq!((admitted(Some(&shop)), limiter.len()), (700, 2));
        assert_eq!(admitted(None), 300, "what was given back is there");
    }

    #[test]
    fn forgets_full_buckets_at_the_bound() {
        let case = case("1", 1, 100);
        for n in 0..100 {
            assert!(case.charge(address(n)).is_admitted);
        }
        assert_eq!(case.limiter.len(), 100);
        case.clock.advance(Duration::from_secs(2));
        assert!(case.charge(address(1000)).is_admitted);
        assert_eq!(case.limiter.len(), 1);
        assert!(!case.charge(address(1000)).is_admitted);
    }

    #[test]
    fn a_flood_of_addresses_cannot_grow_the_map() {
        let case = case("0.001", 1, 100);
        for n in 0..10_000 {
            assert!(case.charge(address(n)).is_admitted);
            assert!(case.limiter.len() <= 100);
        }
    }

    #[test]
    fn a_limited_client_stays_limited_whatever_floods_the_map() {
        // Each of the flood's buckets takes six times as long to fill up as the limited client's.
        let case = case("10", 20, 1_000);
        assert_eq!(case.admitted(ANN), 20);
        let limit = RouteLimit { rate: Rate::from_milli(167), burst: 10, per: Per::Ip, cost: 2 };
        let login =
            Route { limits: vec![limit], is_limited_globally: false, ..route("login", Access::Public) };
        for n in 0..100_000_u32 {
            let (address, client) = (IpAddr::V4(Ipv4Addr::from_bits(n)), address(n));
            let request = LimitedRequest { client, address, route: Some(&login) };
            assert!(case.charge_request(&request).is_admitted);
            assert!(case.limiter.len() <= 1_000);
        }
        assert!(!case.charge(ANN).is_admitted, "the flood has emptied the map");
        case.clock.advance(Duration::from_millis(100));
        assert_eq!(case.admitted(ANN), 1);
    }

    #[test]
    fn of_many_buckets_those_that_miss_most_are_kept() {
        let case = case("1", 20, 1_000);
        let clients = |from: u32, count: u32| (from..from + count).map(address);
        clients(0, 700).for_each(|client| assert_eq!(case.admitted(client), 20));
        clients(10_000, 300).for_each(|client| assert!(case.charge(client).is_admitted));
        assert_eq!(case.limiter.len(), 1_000);
        assert!(case.charge(address(20_000)).is_admitted);
        assert_eq!(case.limiter.len(), 751);
        assert!(clients(0, 700).all(|client| !case.charge(client).is_admitted));
    }

    #[test]
    fn tidying_keeps_the_buckets_that_matter() {
        let case = case("1", 2, 100);
        assert!(case.charge(address(1)).is_admitted);
        case.clock.advance(Duration::from_secs(5));
        assert_eq!(case.admitted(address(2)), 2);
        case.limiter.tidy();
        assert_eq!(case.limiter.len(), 1);
        assert_eq!(case.admitted(address(2)), 0);
    }
}
