//! Resources of the machine: CPUs, and file descriptors for connections.

use core_affinity::CoreId;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::error::LaunchError;
use crate::config::CoreChoice;
use crate::limits::FDS_RESERVED;

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

/// Returns the maximum number of client connections of each core. After a reserve, half of the file descriptors are
/// for clients and half for upstreams. Raises the soft limit of open files to the hard limit.
pub(super) fn connections_room(cores: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    // The soft limit protects programs that use select(2). The gateway does not use select(2).
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let files = getrlimit(Resource::Nofile).current.unwrap_or(FILES_ASSUMED);
    let per_core = (files / cores as u64).saturating_sub(FDS_RESERVED) / 2;
    per_core.max(1) as usize
}

/// Assumed limit of open files if getrlimit(2) reports none.
const FILES_ASSUMED: u64 = 1024;
