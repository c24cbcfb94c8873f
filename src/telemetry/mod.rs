//! What a core tells about itself: counters, and one access-log line per exchange.

pub mod counters;

pub use counters::{Counter, Counters};
