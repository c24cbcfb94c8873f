//! TLS towards clients: its listener, its certificates and who gets which; TLS towards upstreams.

mod authority;
mod client;
mod demo;
mod files;
mod front;
mod handshakes;
mod hostile;
mod identity;
mod keys;
mod listener;
mod misdirected;
mod operators;
mod peer;
mod redirects;
mod redis;
mod renewal;
mod sessions;
mod upstream;
