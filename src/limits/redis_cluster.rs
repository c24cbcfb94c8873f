//! Bounds of a Redis cluster.

/// Hosts in the address of a Redis cluster. Over it: the configuration is refused.
pub const REDIS_SEEDS_MAX: usize = 64;
/// Nodes of a Redis cluster that are asked at one time which master has which slots. The others are not.
pub const REDIS_ASKED_MAX: usize = 3;
/// How long a node of a cluster may take to be connected to and to say which master has which slots, in milliseconds.
/// Over it: another one is asked.
pub const REDIS_ASK_MS: u64 = 250;
/// Bytes of what a node of a cluster says of the others. Over it: another one is asked.
pub const REDIS_SLOTS_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// How often the masters of Redis are looked for at most, and how often while something is wrong, in milliseconds.
pub const REDIS_LOOK_MS: u64 = 50;
/// How often they are looked for while something has been wrong for long, in milliseconds.
pub const REDIS_LOOK_LATER_MS: u64 = 1_000;
/// How long something has to be wrong for that, in milliseconds.
pub const REDIS_WRONG_LONG_MS: u64 = 30_000;
/// How long it counts as wrong after a core has last said so, in milliseconds: longer than the longest pause between
/// two attempts to connect.
pub const REDIS_WRONG_MS: u64 = 3_000;
/// How often they are looked for while nothing is wrong, in milliseconds.
pub const REDIS_LOOK_IDLE_MS: u64 = 30_000;
/// Masters of a Redis cluster. Over it: the slots of the others have no master, and their limits are open.
pub const REDIS_MASTERS_MAX: usize = 1_000;
/// Connections that one core has to nodes of a Redis cluster. Over it: the one that was not needed for longest is
/// closed.
pub const REDIS_NODES_MAX: usize = 1_024;
/// How long a connection to a node of a cluster that nobody needs stays open, in milliseconds. Over it: it is closed.
pub const REDIS_NODE_IDLE_MS: u64 = 60_000;
/// Nodes that one call is sent to until one answers it. Over it: there is no decision.
pub const REDIS_HOPS_MAX: usize = 4;

const _: () = assert!(REDIS_LOOK_MS < REDIS_LOOK_LATER_MS && REDIS_LOOK_LATER_MS < REDIS_WRONG_MS);
const _: () = assert!(REDIS_MASTERS_MAX < REDIS_NODES_MAX);
