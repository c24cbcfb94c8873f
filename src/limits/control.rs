//! Bounds of what is told to live sessions from outside.

use std::time::Duration;

/// Revocations that the process remembers: 24 bytes each, shared by all cores. Over it: another one still closes
/// WebSockets, but is not remembered, which the log and a metric tell.
pub const REVOCATIONS_MAX: usize = 1_000_000;
/// Longest key of the control stream, in bytes. Over it: a mistake in the configuration.
pub const STREAM_KEY_BYTES_MAX: usize = 128;
/// Entries that one read of the control stream returns. More: they come with the next.
pub const STREAM_ENTRIES_READ: usize = 1_000;
/// Longest reply of Redis to a read of the control stream, in bytes. Over it: fewer entries are asked for, and one that
/// is longer alone keeps the stream from being read, which the log tells.
pub const STREAM_REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Numbers of entries that are remembered, so that those that are read again are not carried out again. Over it: the
/// oldest are forgotten.
pub const STREAM_RECENT_MAX: usize = 20_000;
/// How long a start waits until the control stream was read, in milliseconds. Over it: it goes on without.
pub const STREAM_FIRST_MS: u64 = 5_000;
/// Shortest time between two lists that the cores get, in milliseconds.
pub const LISTS_APART_MS: u64 = 20;
/// How long the control stream may be out of reach before the process counts as degraded, in milliseconds.
pub const STREAM_LATE_MS: u64 = 10_000;
/// How long the control stream may be out of reach, unless an operator says something else.
pub const STREAM_STALE_DEFAULT: Duration = Duration::from_secs(60);
/// The least that may be set: in less time than a reader needs to see that Redis is gone, tokens would be refused for
/// nothing.
pub const STREAM_STALE_LEAST: Duration = Duration::from_secs(10);
/// Instructions that wait for one core. Over it: they are dropped, the core compares all its WebSockets with the list
/// of revocations instead, and what was to be closed or renewed without one is lost, which the log tells.
pub const INSTRUCTIONS_WAITING_MAX: usize = 65_536;
/// Renewals that wait to be written into the control stream. Over it: 503 `overloaded`.
pub const RENEWALS_QUEUED_MAX: usize = 1_024;
/// WebSockets that a core ends in one tick because somebody else wants it. Over it: they end in the next ticks. One
/// costs some 20 µs.
pub const SOCKETS_ENDED_PER_TICK: usize = 1_000;

/// Bytes of the body of a back-channel logout. Over it: 413.
pub const LOGOUT_BODY_BYTES_MAX: u64 = 32 * 1024;
/// Client ids for which a logout token may be.
pub const LOGOUT_CLIENTS_MAX: usize = 16;
/// Bytes of the path of a back-channel logout, and of a client id.
pub const LOGOUT_NAME_BYTES_MAX: usize = 256;
/// How long a logout is tried again while Redis is away, in milliseconds. Over it: it is lost, which is an ERROR.
pub const LOGOUT_RETRIED_MS: u64 = 120_000;
/// The pause between two attempts, in milliseconds.
pub const LOGOUT_PAUSE_MS: u64 = 500;
