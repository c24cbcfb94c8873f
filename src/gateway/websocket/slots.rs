//! How many tunnels each user has in this process.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The tunnels of every user. One for all cores: a user's tunnels are on any of them. A lock is held for a look into a
/// map, when a tunnel begins and when it ends, and only if there is a bound at all.
pub struct UserSlots {
    shards: [Mutex<HashMap<Box<str>, u32>>; SHARDS],
    hasher: RandomState,
}

/// Evidence that a user may have one more tunnel. Dropped, it gives the place back.
pub struct UserSlot {
    seats: Arc<UserSlots>,
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
        Some(UserSlot { seats: self.clone(), user: user.into() })
    }

    fn shard(&self, user: &str) -> MutexGuard<'_, HashMap<Box<str>, u32>> {
        let shard = self.hasher.hash_one(user) as usize % SHARDS;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UserSlot {
    fn drop(&mut self) {
        let mut shard = self.seats.shard(&self.user);
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
    fn a_user_has_so_many_and_each_that_ends_makes_room() {
        let seats = Arc::new(UserSlots::default());
        let taken: Vec<_> = (0..3).map(|_| seats.take("ann", 2)).collect();
        assert_eq!(taken.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false]);
        assert!(seats.take("bob", 2).is_some());
        drop(taken);
        assert!(seats.take("ann", 1).is_some());
        assert!(seats.shards.iter().all(|shard| shard.lock().unwrap().is_empty()), "nobody is left behind");
    }
}
