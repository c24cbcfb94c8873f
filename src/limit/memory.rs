//! Buckets in this process, shared by all cores: governor's clock and its map of cells, with a bound on how many.

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use governor::clock::{Clock, DefaultClock, Reference};
use governor::nanos::Nanos;
use governor::state::keyed::{DashMapStateStore, ShrinkableKeyedStateStore};
use governor::state::{NotKeyed, StateStore};

use super::arithmetic::{Decision, Limit, UNITS_PER_TOKEN};
use super::{Draw, Draws, KeyBuf};
use crate::limits::{BURST_MAX, MEMORY_BUCKETS_MAX, ROUTE_LIMITS_MAX};

/// The buckets of this process.
///
/// At most [`MEMORY_BUCKETS_MAX`] of them, and what comes on other cores while one sweeps. At the bound those
/// that are full again are forgotten, which changes nothing for anybody. If too few of them are, all are
/// forgotten: that many clients in the time that one bucket takes to fill are a flood, and memory is what it
/// must not take. A sweep (tens of milliseconds at the bound) is paid for by the eighth of the bound that may
/// come before the next one.
///
/// Of a bucket one number is kept: when it will be full, in nanoseconds (the virtual scheduling algorithm, ITU-T
/// I.371 appendix I; governor's own). It is a cell of 64 bits that cores swap without waiting for each other.
/// The map's lock is held for a few instructions. This is the one place where cores meet on a request's path;
/// the shared store has none.
///
/// Several limits of one request lie in several cells, so they are looked at first and taken then. If another
/// core was faster in between, what was taken already is given back: for some nanoseconds those buckets looked
/// emptier by one request than they were.
pub struct MemoryLimiter<C: Clock = DefaultClock> {
    cells: DashMapStateStore<u128, BuildHasherDefault<LowBits>>,
    /// How many there are: the map itself would have to lock every shard to say.
    kept: AtomicUsize,
    buckets_max: usize,
    names: [RandomState; 2],
    clock: C,
    begun: C::Instant,
    sweeping: AtomicBool,
}

impl MemoryLimiter {
    /// Every bucket is full.
    pub fn new() -> Self {
        Self::with_clock(MEMORY_BUCKETS_MAX, DefaultClock::default())
    }
}

impl Default for MemoryLimiter {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: Clock> MemoryLimiter<C> {
    fn with_clock(buckets_max: usize, clock: C) -> Self {
        Self {
            cells: DashMapStateStore::default(),
            kept: AtomicUsize::new(0),
            buckets_max,
            names: [RandomState::new(), RandomState::new()],
            begun: clock.now(),
            clock,
            sweeping: AtomicBool::new(false),
        }
    }

    /// Takes what a request costs from every bucket, or from none.
    ///
    /// # Panics
    /// If it draws from no bucket, or a rate is 0.
    pub fn take(&self, draws: &Draws<'_>) -> Decision {
        if self.len() >= self.buckets_max {
            self.tidy();
        }
        let now_ns = self.now_ns();
        let all = draws.all();
        assert!(!all.is_empty() && all.len() <= DRAWS_MAX);
        let mut meters = [Meter::default(); DRAWS_MAX];
        for (meter, draw) in meters.iter_mut().zip(all) {
            *meter = self.meter(draws.prefix(), draw);
        }
        let meters = &meters[..all.len()];
        if meters.len() > 1
            && let Some(refused) = tightest_refusal(meters, now_ns, |m| self.look(m))
        {
            return refused;
        }
        let mut decision: Option<Decision> = None;
        for (index, meter) in meters.iter().enumerate() {
            match self.take_one(meter, now_ns) {
                Ok(full_ns) => {
                    let admitted = meter.decision(index, full_ns, now_ns, 0);
                    decision =
                        decision.filter(|other| other.remaining <= admitted.remaining).or(Some(admitted));
                }
                Err(full_ns) => {
                    meters[..index].iter().for_each(|meter| self.give_back(meter));
                    return meter.decision(index, full_ns, now_ns, meter.wait_ns(full_ns, now_ns));
                }
            }
        }
        decision.unwrap_or_else(|| unreachable!("there is a bucket"))
    }

    /// Forgets buckets that are full again. Whoever comes while another sweeps goes on without.
    pub fn tidy(&self) {
        if self.sweeping.swap(true, Ordering::Acquire) {
            return;
        }
        self.cells.retain_recent(Nanos::from(self.now_ns()));
        if self.cells.len() > self.buckets_max / 8 * 7 {
            self.cells.clear();
        }
        self.kept.store(self.cells.len(), Ordering::Relaxed);
        self.sweeping.store(false, Ordering::Release);
    }

    /// Buckets that are kept now.
    pub fn len(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    /// No bucket is kept now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Since the beginning, and never 0: a cell that holds 0 is a new one.
    fn now_ns(&self) -> u64 {
        self.clock.now().duration_since(self.begun).as_u64() + 1
    }

    /// When a bucket will be full.
    fn look(&self, meter: &Meter) -> u64 {
        let look = |cell: &governor::state::InMemoryState| {
            cell.measure_and_replace(&NotKeyed::NonKey, |full| {
                Err::<((), Nanos), _>(full.map_or(0, Nanos::as_u64))
            })
        };
        self.cells.get(&meter.name).and_then(|cell| look(&cell).err()).unwrap_or(0)
    }

    /// Takes from one bucket: when it will be full then, or (as an error) when it will be without.
    fn take_one(&self, meter: &Meter, now_ns: u64) -> Result<u64, u64> {
        let fresh = Cell::new(false);
        let outcome = self.cells.measure_and_replace(&meter.name, |full| {
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
            self.kept.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    fn give_back(&self, meter: &Meter) {
        let back = |full: Option<Nanos>| {
            Ok::<_, Infallible>((
                (),
                Nanos::from(full.map_or(1, |full| full.as_u64().saturating_sub(meter.cost_ns).max(1))),
            ))
        };
        let Ok(()) = self.cells.measure_and_replace(&meter.name, back);
    }

    /// A bucket is kept under 128 bits of its key, hashed with keys that no client knows (SipHash): no
    /// allocation for a name, and no two names that a client could make collide.
    fn meter(&self, prefix: &str, draw: &Draw<'_>) -> Meter {
        let mut out = KeyBuf::default();
        let key = draw.bucket.key(prefix, &mut out);
        let [low, high] = [&self.names[0], &self.names[1]].map(|state| u128::from(state.hash_one(key)));
        Meter::new(high << 64 | low, &draw.limit)
    }
}

impl<C: Clock> fmt::Debug for MemoryLimiter<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLimiter").field("buckets", &self.len()).finish_non_exhaustive()
    }
}

/// One limit in nanoseconds of refill.
#[derive(Debug, Clone, Copy, Default)]
struct Meter {
    /// Under which its cell is kept.
    name: u128,
    /// The refill of one token: rounded up, so that the rate is never exceeded. By less than a millionth.
    token_ns: u64,
    burst_ns: u64,
    cost_ns: u64,
}

impl Meter {
    fn new(name: u128, limit: &Limit) -> Self {
        let token_ns = (UNITS_PER_TOKEN * 1000).div_ceil(limit.units_per_us);
        let tokens = |units: u64| units / UNITS_PER_TOKEN * token_ns;
        Self { name, token_ns, burst_ns: tokens(limit.capacity), cost_ns: tokens(limit.cost) }
    }

    /// Until a bucket that will be full at `full_ns` can pay.
    fn wait_ns(&self, full_ns: u64, now_ns: u64) -> u64 {
        (full_ns.max(now_ns) + self.cost_ns).saturating_sub(now_ns + self.burst_ns)
    }

    fn decision(&self, index: usize, full_ns: u64, now_ns: u64, wait_ns: u64) -> Decision {
        let missing_ns = full_ns.saturating_sub(now_ns);
        let remaining = self.burst_ns.saturating_sub(missing_ns) / self.token_ns;
        Decision {
            is_admitted: wait_ns == 0,
            tightest: index,
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            wait_us: wait_ns.div_ceil(1000),
            full_us: missing_ns.div_ceil(1000),
        }
    }
}

/// The refusal with the longest wait, if there is one.
fn tightest_refusal(meters: &[Meter], now_ns: u64, look: impl Fn(&Meter) -> u64) -> Option<Decision> {
    let mut longest: Option<Decision> = None;
    for (index, meter) in meters.iter().enumerate() {
        let full_ns = look(meter);
        let wait_ns = meter.wait_ns(full_ns, now_ns);
        if wait_ns > 0 && longest.is_none_or(|other| other.wait_us < wait_ns.div_ceil(1000)) {
            longest = Some(meter.decision(index, full_ns, now_ns, wait_ns));
        }
    }
    longest
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

/// The global bucket and a route's own.
const DRAWS_MAX: usize = 1 + ROUTE_LIMITS_MAX;
/// The slowest bucket of the largest capacity fills in 10^18 ns, some 32 years: two of that and a long uptime
/// fit into 64 bits.
const _: () = assert!(BURST_MAX as u64 * (UNITS_PER_TOKEN * 1000) <= u64::MAX / 8);

#[cfg(test)]
mod tests {
    use super::super::testing::{ask, global, route};
    use super::super::{Ask, Client};
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
        let limiter = MemoryLimiter::with_clock(max, clock.clone());
        Case { limiter, clock, global: global(rate, burst) }
    }

    impl Case {
        fn take(&self, client: Client<'_>) -> Decision {
            self.ask(&ask(client))
        }

        fn ask(&self, ask: &Ask<'_>) -> Decision {
            self.limiter.take(&ask.draws(&self.global))
        }

        fn admitted(&self, client: Client<'_>) -> u32 {
            (0..1000).take_while(|_| self.take(client).is_admitted).count() as u32
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
            case.take(ANN),
            Decision { is_admitted: true, tightest: 0, remaining: 19, wait_us: 0, full_us: 100_000 }
        );
        assert_eq!(case.admitted(ANN), 19);
        assert_eq!(
            case.take(ANN),
            Decision { is_admitted: false, tightest: 0, remaining: 0, wait_us: 100_000, full_us: 2_000_000 }
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
            assert!(case.take(ANN).is_admitted, "{rate} {burst}");
            case.clock.advance(Duration::from_secs(40 * 365 * 86_400));
            case.limiter.tidy();
            assert_eq!((case.limiter.len(), case.take(ANN).remaining), (0, burst - 1));
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
        let shopping = Ask { route: Some(&shop), ..ask(ANN) };
        let first = case.ask(&shopping);
        assert_eq!((first.is_admitted, first.tightest, first.remaining), (true, 1, 2));
        let second = case.ask(&shopping);
        assert_eq!((second.is_admitted, second.tightest, second.remaining), (true, 1, 0));
        let third = case.ask(&shopping);
        assert_eq!((third.is_admitted, third.tightest, third.wait_us), (false, 1, 4_000_000));
        assert_eq!(case.admitted(ANN), 3, "the refused one took nothing from the global bucket");
        case.clock.advance(Duration::from_secs(4));
        assert!(case.ask(&shopping).is_admitted);
    }

    #[test]
    fn cores_that_share_buckets_admit_their_burst_and_no_more() {
        let (limiter, global) = (MemoryLimiter::new(), global("0.001", 1000));
        let limit = RouteLimit { rate: Rate::from_milli(1), burst: 700, per: Per::None, cost: 1 };
        let shop = Route { limits: vec![limit], ..route("shop", Access::Protected) };
        let take =
            |route: Option<&Route>| limiter.take(&Ask { route, ..ask(ANN) }.draws(&global)).is_admitted;
        let admitted = |route: Option<&Route>| -> usize {
            std::thread::scope(|scope| {
                let cores = [0; 4].map(|_| scope.spawn(|| (0..1000).filter(|_| take(route)).count()));
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
            assert!(case.take(address(n)).is_admitted);
        }
        assert_eq!(case.limiter.len(), 100);
        case.clock.advance(Duration::from_secs(2));
        assert!(case.take(address(1000)).is_admitted);
        assert_eq!(case.limiter.len(), 1);
        assert!(!case.take(address(1000)).is_admitted);
    }

    #[test]
    fn a_flood_of_addresses_cannot_grow_the_map() {
        let case = case("0.001", 1, 100);
        for n in 0..10_000 {
            assert!(case.take(address(n)).is_admitted);
            assert!(case.limiter.len() <= 100);
        }
    }

    #[test]
    fn tidying_keeps_the_buckets_that_matter() {
        let case = case("1", 2, 100);
        assert!(case.take(address(1)).is_admitted);
        case.clock.advance(Duration::from_secs(5));
        assert_eq!(case.admitted(address(2)), 2);
        case.limiter.tidy();
        assert_eq!(case.limiter.len(), 1);
        assert_eq!(case.admitted(address(2)), 0);
    }
}
