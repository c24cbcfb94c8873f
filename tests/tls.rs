//! TLS towards clients: its listener, its certificates and who gets which.

mod client;
mod files;
mod handshakes;
mod listener;
mod redirects;
mod renewal;
