//! The configuration that the process runs with, as the control thread and its helpers know it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Config;

/// The configuration in force. No core asks it: each has its own.
pub struct Running(Mutex<Arc<Config>>);

impl Running {
    /// What the start made of it.
    pub fn new(config: Arc<Config>) -> Running {
        Running(Mutex::new(config))
    }

    /// What is in force now.
    pub fn get(&self) -> Arc<Config> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A reload has put this in force.
    pub fn set(&self, config: Arc<Config>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = config;
    }
}
