//! Who the gateway is to Redis, and how it tries out a new connection.

/// Whether Redis is one server, or a cluster of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Arrangement {
    /// One server has every key.
    #[default]
    Single,
    /// Each master has some slots.
    Cluster,
    /// One master has every key, and another server takes its place when it fails.
    Replicated,
}

/// How to speak with one Redis.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The user of an access list; `None`: Redis's default user.
    pub username: Option<String>,
    /// The password, if Redis requires one.
    pub password: Option<Vec<u8>>,
    /// The number of the database.
    pub database: u32,
    /// The budget of one call, in milliseconds.
    pub timeout_ms: u64,
    /// Whether it is one server, or a cluster of them.
    pub arrangement: Arrangement,
    /// The beginning of every key.
    pub prefix: String,
    /// The keys of the probe, the call that tries out a new connection: buckets that no client has. Each node of a
    /// cluster has its own.
    pub probe_keys: Vec<Vec<u8>>,
    /// The arguments of the probe.
    pub probe_args: Vec<u64>,
}
