//! Errors at start: a mistake of the operator, or a missing resource of the machine.

use std::io;
use std::path::Path;

use crate::config::{AccessLog, Config};

/// The reason why the gateway did not start.
#[derive(Debug)]
pub enum LaunchError {
    /// Mistakes of the operator, one line each. Exit code 2.
    Mistakes(Vec<String>),
    /// The machine lacks a required resource. Exit code 1.
    Machine(String),
}

impl LaunchError {
    /// Converts an I/O error into [`LaunchError::Machine`], with `what` as prefix.
    pub(super) fn machine(what: &str) -> impl FnOnce(io::Error) -> LaunchError {
        let what = what.to_owned();
        move |error| LaunchError::Machine(format!("{what}: {error}"))
    }

    /// The path in the setting `key` cannot be written.
    pub(super) fn not_writable(key: &str, path: &Path, error: &io::Error) -> LaunchError {
        LaunchError::Mistakes(vec![format!("{key}: {} cannot be written: {error}", path.display())])
    }

    /// The access log cannot be started. With a file, the path is the cause, which is a mistake of the operator.
    /// Otherwise the writer's thread could not be created, which is an error of the machine.
    pub(super) fn access_log(config: &Config, error: &io::Error) -> LaunchError {
        match &config.access_log {
            AccessLog::File(path) => LaunchError::not_writable("ACCESS_LOG", path, error),
            AccessLog::Off | AccessLog::Stdout => LaunchError::Machine(format!("ACCESS_LOG: {error}")),
        }
    }
}
