//! Bounds of what the status page shows of this moment.

/// Clients that one core counts apart, to tell who asks most and who is limited most. Over it: whoever has come least
/// gives its place.
pub const HEAVY_ENTRIES: usize = 64;
/// How often these counts are halved, in milliseconds.
pub const HEAVY_HALVED_MS: u64 = 15_000;
/// The longest name of a user that is kept there, in bytes. Over it: it is cut.
pub const HEAVY_NAME_BYTES: usize = 64;
/// Of how many requests one is counted there, for all of them.
pub const HEAVY_SAMPLED: u32 = 16;
/// How many of these clients the status page shows.
pub const HEAVY_SHOWN_MAX: usize = 10;
/// How many requests in flight a core names: the oldest ones.
pub const PRESENT_MAX: usize = 20;
/// How long after a look at the status page the cores go on to say what is in flight, in milliseconds.
pub const LOOKED_AT_MS: u64 = 3_000;
/// How often they do, in milliseconds.
pub const LOOK_EVERY_MS: u64 = 1_000;
/// Waits of a core that are woken for it. Over it: the core does not say.
pub const WAITS_WOKEN_MAX: usize = 20_000;
