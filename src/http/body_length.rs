//! The length of a body, as far as the head says.

/// The length of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyLength {
    /// There is no body.
    #[default]
    None,
    /// So many bytes, which may be 0.
    Exact(u64),
    /// Unknown until the body ends.
    Unknown,
}
