//! One of the maps of buckets in memory: their number is bounded, and at the bound those go that miss least.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use governor::nanos::Nanos;
use governor::state::keyed::{DashMapStateStore, ShrinkableKeyedStateStore};
use governor::state::{InMemoryState, NotKeyed, StateStore};

/// One map of buckets.
pub(super) struct Shard {
    pub(super) cells: DashMapStateStore<u128, BuildHasherDefault<LowBits>>,
    /// The number of cells. The map itself would have to lock its parts to count them.
    pub(super) kept: AtomicUsize,
    pub(super) buckets_max: usize,
    sweeping: AtomicBool,
}

impl Shard {
    /// An empty map for so many buckets.
    pub(super) fn new(buckets_max: usize) -> Self {
        let cells =
            DashMapStateStore::with_capacity_and_hasher_and_shard_amount(0, BuildHasherDefault::default(), 2);
        Self { cells, kept: AtomicUsize::new(0), buckets_max, sweeping: AtomicBool::new(false) }
    }

    /// The number of buckets now.
    pub(super) fn len(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    /// Removes the buckets that are full, and at the bound those that are closest to it. Does nothing while another
    /// thread sweeps.
    pub(super) fn sweep(&self, now_ns: u64) {
        if self.sweeping.swap(true, Ordering::Acquire) {
            return;
        }
        self.cells.retain_recent(Nanos::from(now_ns));
        if self.cells.len() > self.buckets_max / 8 * 7 {
            self.evict(now_ns, self.cells.len() - self.buckets_max / 4 * 3);
        }
        self.kept.store(self.cells.len(), Ordering::Relaxed);
        self.sweeping.store(false, Ordering::Release);
    }

    /// Removes so many buckets: first those that miss the smallest part of their burst.
    fn evict(&self, now_ns: u64, mut surplus: usize) {
        let part = |name: &u128, full_ns: u64| missing_part(*name, full_ns.saturating_sub(now_ns));
        let mut goes = [0_usize; PARTS];
        for cell in &self.cells {
            goes[part(cell.key(), full_ns(&cell))] += 1;
        }
        for goes in &mut goes {
            *goes = surplus.min(*goes);
            surplus -= *goes;
        }
        self.cells.retain(|name, cell| {
            let goes = &mut goes[part(name, full_ns(cell))];
            let stays = *goes == 0;
            *goes = goes.saturating_sub(1);
            stays
        });
    }
}

/// The time at which the bucket of a cell will be full.
pub(super) fn full_ns(cell: &InMemoryState) -> u64 {
    let read = |full: Option<Nanos>| Err::<((), Nanos), _>(full.map_or(0, Nanos::as_u64));
    cell.measure_and_replace(&NotKeyed::NonKey, read).err().unwrap_or(0)
}

/// The upper bits of the names of buckets that take so long to fill up from empty, and the lower bits of `hash`.
pub(super) fn name(hash: u128, burst_ns: u64) -> u128 {
    let span = u128::from((burst_ns as f32).to_bits() >> SPAN_BITS_CUT) << SPAN_SHIFT;
    span | hash << SPAN_BITS >> SPAN_BITS
}

/// Which part of its burst a bucket misses, in steps of a [`PARTS`]th: 0 is nearly full. The name says how long the
/// bucket takes to fill.
fn missing_part(name: u128, missing_ns: u64) -> usize {
    let burst_ns = f32::from_bits(((name >> SPAN_SHIFT) as u32) << SPAN_BITS_CUT);
    ((missing_ns as f32 / burst_ns * PARTS as f32) as usize).min(PARTS - 1)
}

/// The map's hash of a name is the lower half of the name, which is a hash already.
#[derive(Default)]
pub(super) struct LowBits(u64);

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

/// How finely a sweep tells buckets apart by what they miss.
const PARTS: usize = 64;
/// The bits of a positive `f32` that a name has: exponent and seven bits of the fraction.
const SPAN_BITS: u32 = 16;
const SPAN_BITS_CUT: u32 = 32 - SPAN_BITS;
const SPAN_SHIFT: u32 = 128 - SPAN_BITS;
