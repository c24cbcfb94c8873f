//! The thread of a core, pinned to its CPU, with its own runtime.

use std::io;
use std::thread::{self, JoinHandle};

use core_affinity::CoreId;
use crossbeam_channel::bounded;
use tracing::warn;

use super::error::LaunchError;
use crate::config::IoDriver;
use crate::net::runtime::{Driver, ThreadRuntime};
use crate::worker::{self, Assignment};

/// Starts the thread of a core and waits until its runtime is built.
pub(super) fn start(
    index: usize,
    cpu: CoreId,
    assignment: Assignment,
    wanted: IoDriver,
) -> Result<(JoinHandle<()>, Driver), LaunchError> {
    let (built, driver) = bounded(1);
    let thread = thread::Builder::new().name(format!("core-{index}")).spawn(move || {
        if !core_affinity::set_for_current(cpu) {
            warn!(core = index, cpu = cpu.id, "cannot pin the core to its CPU");
        }
        // The runtime must be built on the thread that uses it.
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
            panic!("core {index} has failed: {error}");
        }
    });
    let thread = thread.map_err(LaunchError::machine("core"))?;
    let driver = driver.recv().unwrap_or_else(|_| Err(io::Error::other("the thread ended")));
    let driver = driver.map_err(LaunchError::machine("cannot build the runtime"))?;
    if wanted == IoDriver::IoUring && driver == Driver::Epoll {
        let why = "io_uring is not available (seccomp, kernel.io_uring_disabled, memlock or an old kernel)";
        return Err(LaunchError::Machine(format!("IO_DRIVER: {why}")));
    }
    Ok((thread, driver))
}
