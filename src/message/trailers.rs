//! Whether trailer fields are forwarded.

/// Whether the trailer fields of a body are forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trailers {
    /// Those that may be trailers pass.
    Forward,
    /// None passes.
    Drop,
}
