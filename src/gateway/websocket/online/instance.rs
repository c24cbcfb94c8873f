//! What the cores of one process have in common: its number, and which sockets were replaced by newer ones.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::rand::{GetRandomFlags, getrandom};

use super::socket_id::{INSTANCE_BITS, SocketId};
use crate::limits::REPLACED_QUEUED_MAX;

/// One process among all that share a Redis.
#[derive(Debug)]
pub struct Instance {
    /// Drawn when the process starts.
    pub number: u64,
    replaced: Box<[Replaced]>,
}

/// Sockets that one core has to close, if they are its own.
#[derive(Debug, Default)]
struct Replaced {
    is_any: AtomicBool,
    ids: Mutex<Vec<SocketId>>,
}

impl Instance {
    /// A new number, for so many cores.
    pub fn new(cores: usize) -> Instance {
        let mut bytes = [0; 8];
        // So few bytes never come short and never wait after boot (getrandom(2)).
        let _ = getrandom(&mut bytes, GetRandomFlags::empty());
        let number = u64::from_ne_bytes(bytes) & ((1 << INSTANCE_BITS) - 1);
        Instance { number, replaced: (0..cores).map(|_| Replaced::default()).collect() }
    }

    /// Tells every core that this socket has lost its place. Tunnels move, so its name does not say whose it is. A lock
    /// is held for a push, and only when a bound closes sockets.
    pub fn replace(&self, id: SocketId) {
        for core in &self.replaced {
            let mut ids = core.ids.lock().unwrap_or_else(PoisonError::into_inner);
            if ids.len() < REPLACED_QUEUED_MAX {
                ids.push(id);
            }
            core.is_any.store(true, Ordering::Release);
        }
    }

    /// What this core was told since the last look.
    pub fn take_replaced(&self, core: usize) -> Vec<SocketId> {
        let Some(replaced) = self.replaced.get(core) else { return Vec::new() };
        if !replaced.is_any.swap(false, Ordering::Acquire) {
            return Vec::new();
        }
        std::mem::take(&mut *replaced.ids.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_core_is_told_once_and_no_more_than_fit() {
        let instance = Instance::new(2);
        let id = |number| SocketId { opened_ms: 1, instance: instance.number, core: 0, number };
        assert_eq!(instance.take_replaced(0), []);
        (0..2_000).for_each(|number| instance.replace(id(number)));
        assert_eq!(instance.take_replaced(1).len(), REPLACED_QUEUED_MAX);
        assert_eq!((instance.take_replaced(0)[5], instance.take_replaced(0).len()), (id(5), 0));
        assert_eq!(instance.take_replaced(7), []);
        assert!(Instance::new(1).number != Instance::new(1).number);
    }
}
