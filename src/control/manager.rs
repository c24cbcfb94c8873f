//! Notifications to the service manager (`sd_notify`(3)). Without `NOTIFY_SOCKET` in the environment, nothing is
//! sent.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

use crate::gateway::core::readiness::Status;

/// Reports that this process is the main process and accepts connections.
pub fn ready() {
    notify(&[NotifyState::MainPid(process::id()), NotifyState::Ready]);
}

/// Reports that a reload has started. The caller calls [`ready`] when the reload has ended, successful or not.
pub fn reloading() {
    // systemd requires the timestamp to match the next READY=1 with this reload (systemd.service(5),
    // Type=notify-reload).
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        notify(&[NotifyState::Reloading, now]);
    }
}

/// Reports that the process is shutting down.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Reports the process id of the main process: the successor's, or this process's own after a failed upgrade. The
/// service manager accepts notifications from the main process only, so this process stops sending notifications when
/// `pid` is another process.
pub fn announce_main_process(pid: u32) {
    IS_MAIN_PROCESS.store(true, Ordering::Relaxed);
    notify(&[NotifyState::MainPid(pid)]);
    IS_MAIN_PROCESS.store(pid == process::id(), Ordering::Relaxed);
}

/// Sends keep-alive notifications to the service manager's watchdog.
pub struct Watchdog {
    interval_ms: u64,
    notified_ms: u64,
}

impl Watchdog {
    /// Returns `None` if the service manager has not enabled a watchdog for this process.
    pub fn new() -> Option<Watchdog> {
        let timeout: Duration = sd_notify::watchdog_enabled()?;
        // Half of the watchdog timeout, as sd_watchdog_enabled(3) recommends.
        Some(Watchdog { interval_ms: timeout.as_millis() as u64 / 2, notified_ms: 0 })
    }

    /// Sends a keep-alive notification if one is due. The control thread calls this function at every tick. While a
    /// core has stalled, no notification is sent, so that the service manager restarts the process; a core that is only
    /// busy, or behind the configuration, is none.
    pub fn notify_if_due(&mut self, status: Status, now_ms: u64) {
        if status != Status::CoreDown && now_ms.saturating_sub(self.notified_ms) >= self.interval_ms {
            self.notified_ms = now_ms;
            notify(&[NotifyState::Watchdog]);
        }
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if !IS_MAIN_PROCESS.load(Ordering::Relaxed) {
        return;
    }
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "cannot notify the service manager");
    }
}

/// Whether the service manager accepts notifications from this process. The variable is global because
/// `NOTIFY_SOCKET` is: a process has at most one service manager.
static IS_MAIN_PROCESS: AtomicBool = AtomicBool::new(true);
