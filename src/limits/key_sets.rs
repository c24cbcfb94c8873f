//! Bounds of issuers and their key sets.

/// Issuers of one configuration. Over it: the configuration is refused.
pub const ISSUERS_MAX: usize = 16;
/// Bytes of a key set. Over it: the set is refused as a whole.
pub const KEY_SET_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of all key sets that a successor process gets. Over it: it fetches them.
pub const KEY_SETS_HANDED_BYTES_MAX: u64 = 2 * (ISSUERS_MAX * KEY_SET_BYTES_MAX) as u64;
/// Keys of one key set. Over it: the other keys are left out.
pub const KEY_SET_KEYS_MAX: usize = 100;
/// How long a key set is fresh whose server does not say, in milliseconds.
pub const KEYS_FRESH_MS: u64 = 5 * 60_000;
/// The shortest time that a key set is fresh for, whatever its server says, in milliseconds.
pub const KEYS_FRESH_MS_MIN: u64 = 60_000;
/// The longest time that a key set is fresh for, whatever its server says, in milliseconds.
pub const KEYS_FRESH_MS_MAX: u64 = 60 * 60_000;
/// The time after a failed fetch of a key set to the next one, in milliseconds. It doubles each time.
pub const KEYS_RETRY_MS_MIN: u64 = 1_000;
/// The longest time from one failed fetch of a key set to the next one, in milliseconds.
pub const KEYS_RETRY_MS_MAX: u64 = 30_000;
/// The shortest time between two fetches of a key set for tokens that name unknown keys, in milliseconds.
pub const KEYS_WANTED_MS: u64 = 10_000;
/// How long a key set stays in force while its issuer is away, in milliseconds. Over it: its tokens are answered 503.
pub const KEYS_STALE_MS_MAX: u64 = 24 * 3_600_000;
/// How long a key set may take to come, with the document that names it, in milliseconds.
pub const KEYS_FETCH_MS: u64 = 5_000;
/// How long the start waits for the first key sets, in milliseconds. Over it: it goes on, and tokens of issuers without
/// keys are answered 503.
pub const FIRST_KEYS_MS: u64 = 6_000;
/// How often the keeper of key sets looks for something to do, in milliseconds.
pub const KEYS_LOOK_MS: u64 = 20;
/// How often files of key sets are looked at, in milliseconds.
pub const KEY_FILES_LOOK_MS: u64 = 1_000;
/// Names of unknown keys that a core remembers. Over it: all are forgotten, and asked for again.
pub const UNKNOWN_KEYS_MAX: usize = 1_024;
/// Requests of a core that wait for a newer key set at one time. Over it: a request is answered 503 at once.
pub const UNKNOWN_KEY_WAITERS_MAX: usize = 256;
/// How long a request waits for a newer key set, in milliseconds. Over it: it is answered 503.
pub const UNKNOWN_KEY_WAIT_MS: u64 = 500;
