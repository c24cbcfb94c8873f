//! TLS towards clients: its listener, its certificates and who gets which.

mod client;
mod demo;
mod files;
mod handshakes;
mod listener;
mod peer;
mod redirects;
mod renewal;
mod sessions;
