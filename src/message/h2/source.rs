//! The receiving side of one stream: the body of its request.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use super::link::Link;
use super::stream::StreamId;
use crate::clock;
use crate::message::error::BodyError;
use crate::message::piece::Piece;
use crate::net::buffer::Mark;
use crate::net::{Buffer, Pace, Timers};

/// The body of one request, and how far it has come.
pub struct H2Body {
    /// What was taken of the connection, in pieces of what had come each time.
    taken: Buffer,
    /// How many pieces: what was taken before the last one is gone.
    pieces: u32,
    trailers: Vec<u8>,
    at: Position,
    /// Up to here the windows were opened again.
    freed: u64,
    bytes_max: u64,
}

/// How far a body has come.
#[derive(Debug, Clone, Copy)]
pub struct Position {
    /// Bytes that were handed out.
    bytes: u64,
    /// Of the last piece: bytes that have not left.
    torn: usize,
    is_complete: bool,
}

impl H2Body {
    /// A body that has not begun.
    pub fn new(taken: Buffer, bytes_max: u64) -> H2Body {
        let at = Position { bytes: 0, torn: 0, is_complete: false };
        H2Body { taken, pieces: 0, trailers: Vec::new(), at, freed: 0, bytes_max }
    }

    /// The bound of the body, in bytes.
    pub fn set_bytes_max(&mut self, bytes_max: u64) {
        self.bytes_max = bytes_max;
    }

    /// Body bytes so far.
    pub fn bytes(&self) -> u64 {
        self.at.bytes
    }

    /// Where it stands, to begin there once more.
    pub fn mark(&self) -> (Position, u32, Mark) {
        (self.at, self.pieces, self.taken.mark())
    }

    /// Goes back. False: what was taken since is gone.
    pub fn rewind(&mut self, (at, pieces, mark): (Position, u32, Mark)) -> bool {
        let is_there = self.pieces == pieces && self.trailers.is_empty() && self.taken.rewind(mark);
        if is_there {
            self.at = at;
        }
        is_there
    }

    /// What was taken keeps no more memory than it needs.
    pub fn park(&mut self) {
        self.taken.park();
    }
}

/// The receiving side of one body.
pub struct H2Source<'s> {
    /// The connection.
    pub link: &'s Link,
    /// The stream on it.
    pub id: StreamId,
    /// The waits with a deadline.
    pub timers: &'s Timers,
    /// How far the body has come.
    pub body: &'s mut H2Body,
    /// The slowest pace that is accepted of the client.
    pub pace: Pace,
}

impl H2Source<'_> {
    pub(crate) fn next_piece(&mut self) -> Result<Piece<'_>, BodyError> {
        let H2Body { taken, pieces, trailers, at, bytes_max, .. } = &mut *self.body;
        if at.is_complete {
            return Ok(Piece::End);
        }
        if taken.is_empty() {
            let mut state = self.link.state.borrow_mut();
            let Some(stream) = state.streams.get(self.id) else { return Err(closed()) };
            let part = &mut stream.part;
            if part.gone.is_some() {
                return Err(closed());
            }
            if part.incoming.is_empty() {
                if stream.receives {
                    return Ok(Piece::Pending);
                }
                at.is_complete = true;
                *trailers = std::mem::take(&mut part.trailers);
                return Ok(if trailers.is_empty() { Piece::End } else { Piece::Trailers(trailers) });
            }
            std::mem::swap(taken, &mut part.incoming);
            part.incoming.release_if_empty();
            *pieces += 1;
        }
        at.torn = taken.len();
        at.bytes += at.torn as u64;
        if at.bytes > *bytes_max {
            return Err(BodyError::TooLarge);
        }
        Ok(Piece::Data(taken.filled()))
    }

    pub(crate) fn accept(&mut self) {
        let torn = std::mem::take(&mut self.body.at.torn);
        self.leave(torn);
    }

    pub(crate) fn accept_part(&mut self, bytes: usize) {
        self.body.at.torn -= bytes;
        self.leave(bytes);
        self.park();
    }

    /// So many bytes have left, for the first time or once more.
    fn leave(&mut self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.body.taken.consume(bytes);
        let gone = self.body.at.bytes - self.body.at.torn as u64;
        let freed = gone.saturating_sub(self.body.freed);
        self.body.freed += freed;
        let mut state = self.link.state.borrow_mut();
        if let Some(stream) = state.streams.get(self.id) {
            stream.part.freed += freed;
        }
        state.free(self.id, freed as usize);
    }

    pub(crate) fn rest(&self) -> &[u8] {
        &self.body.taken.filled()[..self.body.at.torn]
    }

    pub(crate) fn park(&mut self) {
        self.body.park();
    }

    pub(crate) async fn receive(&mut self) -> Result<Piece<'static>, BodyError> {
        let since = clock::now_ms();
        self.body.taken.release_if_empty();
        let (link, id) = (self.link, self.id);
        let arrived = poll_fn(|context| {
            let mut state = link.state.borrow_mut();
            let Some(stream) = state.streams.get(id) else { return Poll::Ready(Err(closed())) };
            stream.part.register(context);
            match &stream.part {
                part if part.gone.is_some() => Poll::Ready(Err(closed())),
                part if part.incoming.is_empty() && stream.receives => Poll::Pending,
                part => Poll::Ready(Ok(part.incoming.len())),
            }
        });
        let waited = self.timers.until(self.pace.deadline(since), arrived).await;
        self.pace.waited_since(since);
        let bytes = waited.map_err(|_| BodyError::SourceTimedOut)??;
        self.pace.moved(bytes);
        Ok(Piece::Pending)
    }
}

fn closed() -> BodyError {
    BodyError::SourceClosed(io::ErrorKind::ConnectionReset.into())
}
