//! What has come.

use bytes::Bytes;

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Its status.
    pub status: u16,
    /// How long it is fresh (`max-age` of `Cache-Control`), in seconds. 0: it is to be asked for again each time.
    pub max_age_s: Option<u64>,
    /// Its body.
    pub body: Bytes,
}
