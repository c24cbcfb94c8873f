//! The global rate limit.

use std::fmt;

use super::choice::Choice;
use crate::limits::RATE_MILLI_MAX;

/// The global rate limit, and how all limits are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// Where the buckets are stored.
    pub store: LimitStore,
    /// Refill rate of a bucket. 0: no request passes.
    pub rate: Rate,
    /// Capacity of a bucket, in tokens.
    pub burst: u32,
    /// Prefix of every key, so that several systems can share one Redis.
    pub prefix: String,
    /// What happens to requests while Redis does not answer.
    pub on_failure: OnRedisFailure,
    /// The responses that report the limit to the client.
    pub headers: LimitHeaders,
}

/// Tokens per second, exact to a thousandth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u32);

impl Rate {
    /// A rate in thousandths of a token per second.
    ///
    /// # Panics
    /// If `milli` is over [`RATE_MILLI_MAX`].
    pub const fn from_milli(milli: u32) -> Self {
        assert!(milli <= RATE_MILLI_MAX);
        Self(milli)
    }

    /// Thousandths of a token per second.
    pub const fn milli(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Rate {
    /// The form in which an operator writes it: `10`, `0.5`, `3.333`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, milli) = (self.0 / 1000, self.0 % 1000);
        match milli {
            0 => write!(f, "{whole}"),
            _ => f.write_str(format!("{whole}.{milli:03}").trim_end_matches('0')),
        }
    }
}

/// Where the buckets are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitStore {
    /// In Redis: all instances share them.
    Redis,
    /// In this process.
    Memory,
    /// Nowhere: there is no limit.
    Off,
}

impl Choice for LimitStore {
    const ALL: &'static [Self] = &[Self::Redis, Self::Memory, Self::Off];

    fn word(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Memory => "memory",
            Self::Off => "off",
        }
    }
}

/// What happens to requests while Redis does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRedisFailure {
    /// They pass without a limit.
    Open,
    /// This process limits them with its own buckets.
    Memory,
    /// They are refused with 503.
    Closed,
}

impl Choice for OnRedisFailure {
    const ALL: &'static [Self] = &[Self::Open, Self::Memory, Self::Closed];

    fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Memory => "memory",
            Self::Closed => "closed",
        }
    }
}

/// The responses with `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitHeaders {
    /// Only 429.
    Refused,
    /// Every response to a request that has a limit.
    All,
}

impl Choice for LimitHeaders {
    const ALL: &'static [Self] = &[Self::Refused, Self::All];

    fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::All => "all",
        }
    }
}
