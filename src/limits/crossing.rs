//! Bounds of live tunnels on their way to another process.

/// Descriptors that one message between two processes carries. The kernel takes 253 at most (unix(7), `SCM_MAX_FD`).
/// Over it: the other cores of the old process have no way to the new one, and their tunnels get the goodbye.
pub const DESCRIPTORS_AT_ONCE_MAX: usize = 250;
/// Tunnels that go to the new process in one record. They stand still until it has answered: some 2 ms. With more of
/// them each would stand still for longer; with fewer, the turns between the processes count.
pub const TUNNELS_PER_RECORD: usize = 64;
/// Bytes of a record behind its header. Over it: they go in a file in memory. The kernel takes records of some 200 KiB
/// (`net.core.wmem_default`).
pub const RECORD_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a record that goes in a file in memory: after this many, the next tunnel goes in another record.
pub const RECORD_FILE_BYTES: usize = 1024 * 1024;
/// Bytes of a record with its last tunnel. Over it: it is refused, and its tunnels stay. Each tunnel has at most one
/// block of bytes at hand, or one pipe, for either direction.
pub const RECORD_FILE_BYTES_MAX: usize = 2 * RECORD_FILE_BYTES;
/// Windows of the timers' table in a row without a tunnel that leaves, after which the core waits a moment: so that it
/// comes to what others of it wait for.
pub const EMPTY_WINDOWS_MAX: u32 = 16;
/// How long the new process waits for room for its answer, in milliseconds. Over it: it has not taken the tunnels.
pub const VERDICT_MS: u64 = 1_000;
/// Records that are looked at for a last answer when the old process takes tunnels back: the error of an end, the
/// answer, the end itself.
pub const LAST_LOOKS: u32 = 4;

const _: () = assert!(2 * TUNNELS_PER_RECORD < DESCRIPTORS_AT_ONCE_MAX);
