//! How many tunnels each core and each user has in this process: counted slots, given back on drop.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The slots of each core that are taken, by tunnels and by handshakes. Shared by all cores and exact, so that no bound
/// is passed while handshakes are under way; written when one begins and when a tunnel ends.
#[derive(Clone)]
pub struct TunnelSlots {
    taken: Arc<[AtomicU64]>,
}

/// Evidence that a core has a slot for a tunnel, from its handshake on. Dropped, it gives the slot back.
pub struct TunnelSlot {
    slots: TunnelSlots,
    core: usize,
}

impl TunnelSlots {
    /// No slot is taken yet.
    pub fn new(cores: usize) -> TunnelSlots {
        TunnelSlots { taken: (0..cores).map(|_| AtomicU64::default()).collect() }
    }

    /// Takes a slot of this core. `None`: `max` of them are taken. Two cores may try at once: the one that finds too
    /// many steps back.
    pub fn take(&self, core: usize, max: u64) -> Option<TunnelSlot> {
        let before = self.taken[core].fetch_add(1, Ordering::Relaxed);
        // Made in any case: dropped, it gives back what was taken.
        let slot = TunnelSlot { slots: self.clone(), core };
        (before < max).then_some(slot)
    }

    /// Takes a slot of this core, however many are taken.
    pub fn take_any(&self, core: usize) -> TunnelSlot {
        self.taken[core].fetch_add(1, Ordering::Relaxed);
        TunnelSlot { slots: self.clone(), core }
    }

    /// How many slots of this core are taken.
    pub fn taken(&self, core: usize) -> u64 {
        self.taken[core].load(Ordering::Relaxed)
    }
}

impl TunnelSlot {
    /// The core whose slot it is.
    pub fn core(&self) -> usize {
        self.core
    }
}

impl Drop for TunnelSlot {
    fn drop(&mut self) {
        self.slots.taken[self.core].fetch_sub(1, Ordering::Relaxed);
    }
}

/// The tunnels of every user. One for all cores: a user's tunnels are on any of them. A lock is held for a look into a
/// map, when a tunnel begins and when it ends, and only if there is a bound at all.
pub struct UserSlots {
    shards: [Mutex<HashMap<Box<str>, u32>>; SHARDS],
    hasher: RandomState,
}

/// Evidence that a user may have one more tunnel. Dropped, it gives the slot back.
pub struct UserSlot {
    slots: Arc<UserSlots>,
    user: Box<str>,
}

impl Default for UserSlots {
    fn default() -> UserSlots {
        UserSlots { shards: Default::default(), hasher: RandomState::new() }
    }
}

impl UserSlots {
    /// One more tunnel for this user. `None`: there are `max` of them.
    pub fn take(self: &Arc<UserSlots>, user: &str, max: u32) -> Option<UserSlot> {
        let mut shard = self.shard(user);
        let count = shard.get(user).copied().unwrap_or(0);
        if count >= max {
            return None;
        }
        shard.insert(user.into(), count + 1);
        Some(UserSlot { slots: self.clone(), user: user.into() })
    }

    fn shard(&self, user: &str) -> MutexGuard<'_, HashMap<Box<str>, u32>> {
        let shard = self.hasher.hash_one(user) as usize % SHARDS;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UserSlot {
    fn drop(&mut self) {
        let mut shard = self.slots.shard(&self.user);
        match shard.get_mut(&self.user) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(shard.remove(&self.user)),
        }
    }
}

/// Parts of the map, so that cores seldom want the same one.
const SHARDS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_at_most_so_many_slots_and_a_dropped_one_is_free_again() {
        let slots = Arc::new(UserSlots::default());
        let taken: Vec<_> = (0..3).map(|_| slots.take("ann", 2)).collect();
        assert_eq!(taken.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false]);
        assert!(slots.take("bob", 2).is_some());
        drop(taken);
        assert!(slots.take("ann", 1).is_some());
        assert!(slots.shards.iter().all(|shard| shard.lock().unwrap().is_empty()), "nobody is left behind");
    }
}
