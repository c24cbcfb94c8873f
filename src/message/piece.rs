//! One piece of a body, as a source hands it out.

/// What comes next of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'p> {
    /// Body bytes, never empty.
    Data(&'p [u8]),
    /// The trailer section: whole field lines, checked. It ends the body.
    Trailers(&'p [u8]),
    /// The body is complete.
    End,
    /// Nothing more has arrived.
    Pending,
}
