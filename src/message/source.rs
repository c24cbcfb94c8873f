//! The source of a body: the message that it is received in.

use super::error::BodyError;
use super::h1::H1Source;
use super::h2::H2Source;
use super::piece::Piece;

/// The receiving side of one body.
pub enum BodySource<'s> {
    /// The rest of an HTTP/1 message on its connection.
    H1(H1Source<'s>),
    /// The rest of a message on a stream of HTTP/2.
    H2(H2Source<'s>),
}

impl BodySource<'_> {
    /// The next piece of what has arrived. The body is *torn* until [`BodySource::accept`] says that the piece has
    /// left.
    ///
    /// # Errors
    /// The sender broke the framing, or the body is larger than its bound.
    pub fn next_piece(&mut self) -> Result<Piece<'_>, BodyError> {
        match self {
            BodySource::H1(source) => source.next_piece(),
            BodySource::H2(source) => source.next_piece(),
        }
    }

    /// The last piece has left whole: its bytes are done with.
    pub fn accept(&mut self) {
        match self {
            BodySource::H1(source) => source.accept(),
            BodySource::H2(source) => source.accept(),
        }
    }

    /// So many bytes of the last piece have left. What is left of it is kept in no more memory than it needs, because
    /// a wait is next.
    pub fn accept_part(&mut self, bytes: usize) {
        match self {
            BodySource::H1(source) => source.accept_part(bytes),
            BodySource::H2(source) => source.accept_part(bytes),
        }
    }

    /// What has not left of the last piece.
    pub fn rest(&self) -> &[u8] {
        match self {
            BodySource::H1(source) => source.rest(),
            BodySource::H2(source) => source.rest(),
        }
    }

    /// To be called before a wait that is not one for this body: what has arrived is kept in no more memory than it
    /// needs.
    pub fn park(&mut self) {
        match self {
            BodySource::H1(source) => source.park(),
            BodySource::H2(source) => source.park(),
        }
    }

    /// Waits for more bytes. [`Piece::End`]: the sender has sent its last, and the body is complete with it;
    /// [`Piece::Pending`]: there may be a next piece.
    ///
    /// # Errors
    /// The sender is gone, is too slow, or ended in the middle of the body; or the client is gone.
    pub async fn receive(&mut self) -> Result<Piece<'static>, BodyError> {
        match self {
            BodySource::H1(source) => source.receive().await,
            BodySource::H2(source) => source.receive().await,
        }
    }
}
