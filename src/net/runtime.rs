//! The async runtime of one thread: the best io_uring that the kernel allows, else epoll.

use std::fmt;
use std::future::Future;
use std::io;

use monoio::time::TimeDriver;
use monoio::{IoUringDriver, LegacyDriver, Runtime, RuntimeBuilder};

use crate::config::IoDriver;
use crate::limits::RING_ENTRIES;

/// How a thread waits for its sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// io_uring with `SINGLE_ISSUER` and `DEFER_TASKRUN` (Linux 6.1): completions are processed when the thread asks for
    /// them, many at a time. Or with `COOP_TASKRUN` (Linux 5.19): completions do not interrupt the thread.
    TunedRing,
    /// io_uring without flags.
    PlainRing,
    /// epoll, because io_uring is not allowed (seccomp, `kernel.io_uring_disabled`, memlock, an old kernel).
    Epoll,
}

impl Driver {
    /// The text in the log, in `/readyz` and in metrics.
    pub fn text(self) -> &'static str {
        match self {
            Driver::TunedRing => "io_uring",
            Driver::PlainRing => "io_uring_plain",
            Driver::Epoll => "epoll",
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// Which drivers to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preference {
    /// io_uring, from the best tuned ring down, then epoll.
    Ring,
    /// epoll only.
    Epoll,
}

impl From<IoDriver> for Preference {
    fn from(driver: IoDriver) -> Preference {
        match driver {
            IoDriver::Epoll => Preference::Epoll,
            IoDriver::Auto | IoDriver::IoUring => Preference::Ring,
        }
    }
}

/// A runtime. Only the thread that built it may use it.
pub enum ThreadRuntime {
    /// On a ring.
    Ring(Box<Runtime<TimeDriver<IoUringDriver>>>),
    /// On epoll.
    Epoll(Box<Runtime<TimeDriver<LegacyDriver>>>),
}

impl ThreadRuntime {
    /// Builds a runtime on the best driver that the kernel allows.
    ///
    /// # Errors
    /// Not even epoll works.
    pub fn build(preference: Preference) -> io::Result<(ThreadRuntime, Driver)> {
        let [mut deferring, mut cooperating, plain] = [(); 3].map(|()| io_uring::IoUring::builder());
        // The runtime asks for completions only when no task is ready. A task that always wakes itself would starve all
        // others; no task of the gateway does.
        deferring.setup_single_issuer().setup_defer_taskrun();
        cooperating.setup_coop_taskrun();
        for (flags, driver) in
            [(deferring, Driver::TunedRing), (cooperating, Driver::TunedRing), (plain, Driver::PlainRing)]
        {
            if preference == Preference::Epoll {
                break;
            }
            let builder = RuntimeBuilder::<TimeDriver<IoUringDriver>>::new();
            if let Ok(runtime) = builder.with_entries(RING_ENTRIES).uring_builder(flags).build() {
                return Ok((ThreadRuntime::Ring(Box::new(runtime)), driver));
            }
        }
        let runtime = RuntimeBuilder::<TimeDriver<LegacyDriver>>::new().build()?;
        Ok((ThreadRuntime::Epoll(Box::new(runtime)), Driver::Epoll))
    }

    /// Runs the future and the tasks that it spawns, until the future ends.
    pub fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        match self {
            ThreadRuntime::Ring(runtime) => runtime.block_on(future),
            ThreadRuntime::Epoll(runtime) => runtime.block_on(future),
        }
    }
}
