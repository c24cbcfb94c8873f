//! What the service manager is told (`sd_notify`(3)). Without `NOTIFY_SOCKET` there is none, and nothing is said.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

use crate::gateway::core::readiness::Status;

/// The process is in charge and takes clients.
pub fn ready() {
    say(&[NotifyState::MainPid(process::id()), NotifyState::Ready]);
}

/// The configuration is being read again; [`ready`] comes when that is over, whatever came of it.
pub fn reloading() {
    // Without a time, systemd takes the next READY for an older one (systemd.service(5), Type=notify-reload).
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        say(&[NotifyState::Reloading, now]);
    }
}

/// The process has begun to end.
pub fn stopping() {
    say(&[NotifyState::Stopping]);
}

/// This process is in charge from now on: another one, or after all still this one. Only the one that was in
/// charge until now is believed, so another one leaves this one with nothing to say.
pub fn in_charge(pid: u32) {
    IS_HEARD.store(true, Ordering::Relaxed);
    say(&[NotifyState::MainPid(pid)]);
    IS_HEARD.store(pid == process::id(), Ordering::Relaxed);
}

/// The manager's watchdog, if it has one for this process: it wants to hear of us again and again.
pub struct Watchdog {
    every_ms: u64,
    said_ms: u64,
}

impl Watchdog {
    /// `None`: nobody watches.
    pub fn new() -> Option<Watchdog> {
        let patience: Duration = sd_notify::watchdog_enabled()?;
        // Half of its patience (sd_watchdog_enabled(3)).
        Some(Watchdog { every_ms: patience.as_millis() as u64 / 2, said_ms: 0 })
    }

    /// For the control thread's clockwork. A process of which a core stands still says nothing, and so is started
    /// anew.
    pub fn look(&mut self, status: Status, now_ms: u64) {
        if status != Status::CoreDown && now_ms.saturating_sub(self.said_ms) >= self.every_ms {
            self.said_ms = now_ms;
            say(&[NotifyState::Watchdog]);
        }
    }
}

fn say(what: &[NotifyState<'_>]) {
    if !IS_HEARD.load(Ordering::Relaxed) {
        return;
    }
    if let Err(error) = sd_notify::notify(what) {
        warn!(%error, "the service manager cannot be told");
    }
}

/// The manager believes this process. The manager is one for the whole process, as its address in the environment is.
static IS_HEARD: AtomicBool = AtomicBool::new(true);
