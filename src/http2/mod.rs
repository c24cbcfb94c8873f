//! HTTP/2 (RFC 9113) as pure functions over bytes: no I/O, no clock.

pub mod hpack;
