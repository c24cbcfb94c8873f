//! Resources of the machine: CPUs, and file descriptors for connections.

use core_affinity::CoreId;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::error::LaunchError;
use super::memory;
use crate::config::CoreChoice;
use crate::gateway::core::{ConnectionsBound, Room};
use crate::limits::{CONNECTION_BYTES_PLANNED, FDS_RESERVED, HELD_BYTES_DEFAULT, HELD_BYTES_LEAST};

/// Selects the configured CPUs from those that the process may use (affinity mask, cpuset).
pub(super) fn choose_cpus(choice: &CoreChoice) -> Result<Vec<CoreId>, LaunchError> {
    let allowed = core_affinity::get_core_ids().unwrap_or_default();
    let mistake = |text: String| Err(LaunchError::Mistakes(vec![text]));
    match choice {
        CoreChoice::All if allowed.is_empty() => {
            mistake("CORES: this process may not use any CPU".to_owned())
        }
        CoreChoice::All => Ok(allowed),
        CoreChoice::Count(count) if *count > allowed.len() => {
            mistake(format!("CORES: {count} cores are wanted, the process may use {}", allowed.len()))
        }
        CoreChoice::Count(count) => Ok(allowed.into_iter().take(*count).collect()),
        CoreChoice::List(list) => {
            let is_missing = |cpu: &&usize| !allowed.iter().any(|core| core.id == **cpu);
            let missing: Vec<String> = list.iter().filter(is_missing).map(usize::to_string).collect();
            if !missing.is_empty() {
                return mistake(format!("CORES: the process may not use CPU {}", missing.join(", ")));
            }
            Ok(list.iter().map(|&id| CoreId { id }).collect())
        }
    }
}

/// What each core may hold. `memory`: the budget of the process, in bytes.
pub(super) fn room(cores: usize, memory: u64) -> Room {
    let share = memory / cores as u64;
    let held = (share / HELD_PART).clamp(HELD_BYTES_LEAST as u64, HELD_BYTES_DEFAULT as u64);
    let by_memory = (share / CONNECTIONS_PART / CONNECTION_BYTES_PLANNED).max(1) as usize;
    let by_files = connections_by_files(cores);
    let connections_bound =
        if by_memory < by_files { ConnectionsBound::Memory } else { ConnectionsBound::Files };
    Room {
        connections: by_files.min(by_memory),
        connections_bound,
        upstream_connections: by_files,
        held_bytes: held as usize,
    }
}

/// The memory budget of the process, in bytes: as configured, else what the control group or the machine has.
pub(super) fn memory_budget(configured: Option<u64>) -> u64 {
    configured.or_else(memory::available).unwrap_or(u64::MAX)
}

/// Returns the number of connections of each core that there are file descriptors for, on either side. After a
/// reserve, half of the file descriptors are for clients and half for upstreams. Raises the soft limit of open files
/// to the hard limit.
fn connections_by_files(cores: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    // The soft limit protects programs that use select(2). The gateway does not use select(2).
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let files = getrlimit(Resource::Nofile).current.unwrap_or(FILES_ASSUMED);
    let per_core = (files / cores as u64).saturating_sub(FDS_RESERVED) / 2;
    per_core.max(1) as usize
}

/// Assumed limit of open files if getrlimit(2) reports none.
const FILES_ASSUMED: u64 = 1024;

/// One part in so many of a core's memory is for connections.
const CONNECTIONS_PART: u64 = 2;
/// One part in so many of a core's memory is for buffers of slow peers.
const HELD_PART: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_bounds_connections_and_buffers() {
        let small = room(2, 256 << 20);
        assert_eq!((small.connections.min(4_096), small.held_bytes), (small.connections, 16 << 20));
        let large = room(2, u64::MAX);
        assert_eq!(large.held_bytes, HELD_BYTES_DEFAULT);
        assert_eq!(large.connections, connections_by_files(2));
        let least = room(8, 1);
        assert_eq!((least.connections, least.held_bytes), (1, HELD_BYTES_LEAST));
        assert_eq!(least.connections_bound, ConnectionsBound::Memory);
        assert_eq!(large.connections_bound, ConnectionsBound::Files);
        assert_eq!(least.upstream_connections, connections_by_files(8));
    }
}
