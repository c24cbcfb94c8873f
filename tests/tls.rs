//! TLS towards clients: its listener, its certificates and who gets which.

mod files;
mod listener;
mod renewal;
