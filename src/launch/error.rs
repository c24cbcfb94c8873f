//! Why the gateway did not start: the operator's mistake, or the machine's refusal.

use std::io;
use std::path::Path;

use crate::config::{AccessLog, Config};

/// Why the gateway did not start.
#[derive(Debug)]
pub enum LaunchError {
    /// The operator's mistakes, one line each: exit code 2.
    Mistakes(Vec<String>),
    /// The machine does not give what is needed: exit code 1.
    Machine(String),
}

impl LaunchError {
    /// The machine refused something that belongs to `what`.
    pub(super) fn machine(what: &str) -> impl FnOnce(io::Error) -> LaunchError {
        let what = what.to_owned();
        move |error| LaunchError::Machine(format!("{what}: {error}"))
    }

    /// The path in a setting cannot be written.
    pub(super) fn not_writable(key: &str, path: &Path, error: &io::Error) -> LaunchError {
        LaunchError::Mistakes(vec![format!("{key}: {} cannot be written: {error}", path.display())])
    }

    /// The access log cannot be started. The operator wrote where its lines go; that there is no thread for them is the
    /// machine's fault.
    pub(super) fn access_log(config: &Config, error: &io::Error) -> LaunchError {
        match &config.access_log {
            AccessLog::File(path) => LaunchError::not_writable("ACCESS_LOG", path, error),
            AccessLog::Off | AccessLog::Stdout => LaunchError::Machine(format!("ACCESS_LOG: {error}")),
        }
    }
}
