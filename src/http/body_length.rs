//! How long a body is, as far as its head says.

/// The length of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyLength {
    /// There is no body.
    #[default]
    None,
    /// So many bytes, which may be 0.
    Exact(u64),
    /// Only its end tells.
    Unknown,
}
