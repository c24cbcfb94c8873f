//! Whether this process should get traffic: decided by the control thread, read by every core.

use std::sync::atomic::{AtomicU8, Ordering};

/// The process's readiness. One writer, the control thread; a core's look at it is one plain load.
#[derive(Debug)]
pub struct Health(AtomicU8);

/// Readiness and its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Readiness {
    /// Not all cores are running yet.
    Starting = 0,
    /// Send traffic.
    Ready = 1,
    /// The process is going away: send traffic elsewhere.
    Draining = 2,
    /// A core has stopped turning.
    CoreDown = 3,
    /// Send traffic; but Redis is out of reach, so the rate limit is not enforced as configured.
    Degraded = 4,
}

impl Default for Health {
    fn default() -> Health {
        Health(AtomicU8::new(Readiness::Starting as u8))
    }
}

impl Health {
    /// Changes the readiness. Draining is final.
    pub fn set(&self, readiness: Readiness) {
        if self.get() != Readiness::Draining {
            self.0.store(readiness as u8, Ordering::Relaxed);
        }
    }

    /// The readiness now.
    pub fn get(&self) -> Readiness {
        match self.0.load(Ordering::Relaxed) {
            1 => Readiness::Ready,
            2 => Readiness::Draining,
            3 => Readiness::CoreDown,
            4 => Readiness::Degraded,
            _ => Readiness::Starting,
        }
    }
}

impl Readiness {
    /// Whether traffic should come.
    pub fn is_ready(self) -> bool {
        matches!(self, Readiness::Ready | Readiness::Degraded)
    }

    /// As it stands in `/readyz`.
    pub fn text(self) -> &'static str {
        match self {
            Readiness::Starting => "starting",
            Readiness::Ready => "ready",
            Readiness::Draining => "draining",
            Readiness::CoreDown => "core_down",
            Readiness::Degraded => "degraded",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draining_is_final() {
        let health = Health::default();
        assert_eq!(health.get(), Readiness::Starting);
        for readiness in [Readiness::Ready, Readiness::CoreDown, Readiness::Draining] {
            health.set(readiness);
            assert_eq!(health.get(), readiness);
        }
        health.set(Readiness::Ready);
        assert_eq!(health.get(), Readiness::Draining);
    }
}
