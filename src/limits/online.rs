//! Bounds of what a core tells Redis of its WebSockets.

/// Events of one core that wait for Redis. Over it: they are dropped and counted, and a `gap` says how many are
/// missing.
pub const EVENTS_QUEUED_MAX: usize = 8 * 1024;
/// Events in one call of the script. Over it: the rest goes into the next call.
pub const EVENTS_PER_CALL: usize = 64;
/// Calls with events that one core makes in one tick. Over it: the rest waits for the next tick.
pub const EVENT_CALLS_PER_TICK: usize = 4;
/// Users whose time is over, and who are told of in one call. Over it: the rest is told of by the next.
pub const LAPSED_PER_CALL: u64 = 64;
/// Calls about single sockets that one core has under way at once. Over it: the rest follows when they are answered.
pub const ATTENDANCE_CALLS_AT_ONCE: usize = 64;
/// Rounds of such calls that one core makes in one tick. Over it: the rest waits for the next tick.
pub const ATTENDANCE_ROUNDS_PER_TICK: usize = 4;
/// Sockets of one core that have closed and still have their places in Redis. Over it: they lapse with their leases.
pub const LEAVES_QUEUED_MAX: usize = 8 * 1024;
/// Sockets of one core that have to be closed for a newer one and are not told yet. Over it: they learn it when they
/// next renew their lease.
pub const REPLACED_QUEUED_MAX: usize = 1024;
/// How long a core leaves Redis alone after a call that failed, in milliseconds.
pub const ONLINE_RETRY_MS: u64 = 1_000;
/// How long the end of a core waits until its last events are with Redis, in milliseconds. Over it: they are lost, and
/// leases end by themselves.
pub const ONLINE_FINISH_MS: u64 = 500;
/// From one line in the log about what Redis refuses to the next, in milliseconds.
pub const ONLINE_LOG_MS: u64 = 60_000;
/// The longest name of a stream of events, in bytes. Over it: the configuration is refused.
pub const STREAM_BYTES_MAX: usize = 128;
