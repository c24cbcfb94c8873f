//! What becomes of the trailer fields behind a body.

/// Whether trailer fields pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trailers {
    /// Those that may be trailers pass.
    Forward,
    /// None passes.
    Drop,
}
