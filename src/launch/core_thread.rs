//! The thread of one core: pinned, with a runtime of its own.

use std::io;
use std::thread::{self, JoinHandle};

use core_affinity::CoreId;
use crossbeam_channel::bounded;
use tracing::warn;

use super::error::LaunchError;
use crate::config::IoDriver;
use crate::net::runtime::{Driver, ThreadRuntime};
use crate::worker::{self, Assignment};

/// Starts a core's thread and waits until it has a runtime.
pub(super) fn start(
    index: usize,
    cpu: CoreId,
    assignment: Assignment,
    wanted: IoDriver,
) -> Result<(JoinHandle<()>, Driver), LaunchError> {
    let (built, driver) = bounded(1);
    let thread = thread::Builder::new().name(format!("core-{index}")).spawn(move || {
        if !core_affinity::set_for_current(cpu) {
            warn!(core = index, cpu = cpu.id, "the core could not be pinned to its CPU");
        }
        // The ring belongs to the thread that builds it.
        let mut runtime = match ThreadRuntime::build(wanted.into()) {
            Ok((runtime, driver)) => {
                let _ = built.send(Ok(driver));
                runtime
            }
            Err(error) => {
                let _ = built.send(Err(error));
                return;
            }
        };
        if let Err(error) = runtime.block_on(worker::run(assignment)) {
            panic!("core {index} cannot work: {error}");
        }
    });
    let thread = thread.map_err(LaunchError::machine("core"))?;
    let driver = driver.recv().unwrap_or_else(|_| Err(io::Error::other("the thread ended")));
    let driver = driver.map_err(LaunchError::machine("no runtime"))?;
    if wanted == IoDriver::IoUring && driver == Driver::Epoll {
        let why = "io_uring is refused here (seccomp, kernel.io_uring_disabled, memlock or an old kernel)";
        return Err(LaunchError::Machine(format!("IO_DRIVER: {why}")));
    }
    Ok((thread, driver))
}
