//! The current configuration, shared between the control thread and its helper threads.

use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Config;

/// The current configuration. The cores do not read it: each core has its own copy.
pub struct RunningConfig(Mutex<Arc<Config>>);

impl RunningConfig {
    /// Starts with the configuration at the start of the process.
    pub fn new(config: Arc<Config>) -> RunningConfig {
        RunningConfig(Mutex::new(config))
    }

    /// Returns the current configuration.
    pub fn get(&self) -> Arc<Config> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the current configuration after a reload.
    pub fn set(&self, config: Arc<Config>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = config;
    }
}
