//! Readiness: whether the process should get traffic. The control thread decides it, every core reads it.

use std::sync::atomic::{AtomicU8, Ordering};

/// The readiness of the process. One writer, the control thread; a core's look at it is one plain load.
#[derive(Debug)]
pub struct Readiness(AtomicU8);

/// Readiness with its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Not all cores are running yet.
    Starting = 0,
    /// Send traffic.
    Ready = 1,
    /// The process is going away: send traffic elsewhere.
    Draining = 2,
    /// A core has stalled: nothing moves on it.
    CoreDown = 3,
    /// Send traffic; but Redis is out of reach, so the rate limit is not enforced as configured, or new revocations do
    /// not come.
    Degraded = 4,
    /// A core has not applied the latest configuration: it may still accept a secret that was withdrawn.
    CoreBehind = 5,
    /// An upstream that `READY_REQUIRES` names has no usable member.
    UpstreamDown = 6,
    /// It cannot be said which tokens were revoked, and none is accepted.
    RevocationsStale = 7,
}

impl Default for Readiness {
    fn default() -> Readiness {
        Readiness(AtomicU8::new(Status::Starting as u8))
    }
}

impl Readiness {
    /// Changes the status. Draining is final.
    pub fn set(&self, status: Status) {
        if self.get() != Status::Draining {
            self.0.store(status as u8, Ordering::Relaxed);
        }
    }

    /// The status now.
    pub fn get(&self) -> Status {
        match self.0.load(Ordering::Relaxed) {
            1 => Status::Ready,
            2 => Status::Draining,
            3 => Status::CoreDown,
            4 => Status::Degraded,
            5 => Status::CoreBehind,
            6 => Status::UpstreamDown,
            7 => Status::RevocationsStale,
            _ => Status::Starting,
        }
    }
}

impl Status {
    /// Every status.
    pub const ALL: [Status; 8] = [
        Status::Starting,
        Status::Ready,
        Status::Draining,
        Status::CoreDown,
        Status::Degraded,
        Status::CoreBehind,
        Status::UpstreamDown,
        Status::RevocationsStale,
    ];

    /// Whether traffic should come.
    pub fn is_ready(self) -> bool {
        matches!(self, Status::Ready | Status::Degraded)
    }

    /// As `/readyz` says it.
    pub fn text(self) -> &'static str {
        match self {
            Status::Starting => "starting",
            Status::Ready => "ready",
            Status::Draining => "draining",
            Status::CoreDown => "core_down",
            Status::Degraded => "degraded",
            Status::CoreBehind => "core_behind",
            Status::UpstreamDown => "upstream_down",
            Status::RevocationsStale => "revocations_stale",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draining_is_final() {
        let readiness = Readiness::default();
        assert_eq!(readiness.get(), Status::Starting);
        for status in
            [Status::Ready, Status::CoreDown, Status::CoreBehind, Status::UpstreamDown, Status::Draining]
        {
            readiness.set(status);
            assert_eq!(readiness.get(), status);
        }
        readiness.set(Status::Ready);
        assert_eq!(readiness.get(), Status::Draining);
    }
}
