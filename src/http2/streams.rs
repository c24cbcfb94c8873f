//! The streams of one connection: which there are, and what may come on them (RFC 9113 §5.1).

use super::error::{ErrorCode, Fault};
use crate::limits::{RESETS_REMEMBERED, STREAMS_MAX};

/// The streams of a connection, each with what belongs to it.
#[derive(Debug)]
pub struct Streams<T> {
    open: Vec<Stream<T>>,
    /// The last stream that the client has begun.
    last: u32,
    /// Streams that this side has reset lately, in a ring: frames that were on their way are not held against the
    /// client.
    reset: Vec<u32>,
    reset_next: usize,
}

/// One stream, from its head to the end of its exchange.
#[derive(Debug)]
pub struct Stream<T> {
    /// Its number.
    pub id: u32,
    /// The client has more to send.
    pub receives: bool,
    /// What belongs to it.
    pub part: T,
}

/// What a block of fields is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// The head of a request.
    Request,
    /// The trailer section of one whose body has ended.
    Trailers,
    /// Of a request over the bound, which is refused.
    Refused,
    /// Of a stream that was reset.
    Ignored,
}

impl<T> Default for Streams<T> {
    fn default() -> Streams<T> {
        Streams { open: Vec::new(), last: 0, reset: Vec::new(), reset_next: 0 }
    }
}

impl<T> Streams<T> {
    /// What a block of fields on this stream is.
    ///
    /// # Errors
    /// No block may come on it.
    pub fn block(&mut self, id: u32, ends_stream: bool) -> Result<Block, Fault> {
        if id.is_multiple_of(2) {
            return Err(Fault::Connection(ErrorCode::ProtocolError));
        }
        if id > self.last {
            self.last = id;
            return Ok(if self.open.len() < STREAMS_MAX { Block::Request } else { Block::Refused });
        }
        let was_reset = self.was_reset(id);
        match self.get(id) {
            Some(stream) if !stream.receives => Err(Fault::Stream(id, ErrorCode::StreamClosed)),
            // §8.1: "a HEADERS frame without the END_STREAM flag set after receiving the HEADERS frame that opens a
            // request" makes it malformed.
            Some(_) if !ends_stream => Err(Fault::Stream(id, ErrorCode::ProtocolError)),
            Some(_) => Ok(Block::Trailers),
            None if was_reset => Ok(Block::Ignored),
            None => Err(Fault::Connection(ErrorCode::StreamClosed)),
        }
    }

    /// A stream on which more may come. `None`: what comes is ignored, because the stream was reset.
    ///
    /// # Errors
    /// Nothing may come on it.
    pub fn receiving(&mut self, id: u32) -> Result<Option<&mut Stream<T>>, Fault> {
        if self.is_idle(id) {
            return Err(Fault::Connection(ErrorCode::ProtocolError));
        }
        let was_reset = self.was_reset(id);
        match self.get(id) {
            Some(stream) if stream.receives => Ok(Some(stream)),
            _ if was_reset => Ok(None),
            _ => Err(Fault::Stream(id, ErrorCode::StreamClosed)),
        }
    }

    /// Whether the client has never used a stream of this number.
    pub fn is_idle(&self, id: u32) -> bool {
        id.is_multiple_of(2) || id > self.last
    }

    /// A stream whose exchange has not ended.
    pub fn get(&mut self, id: u32) -> Option<&mut Stream<T>> {
        self.open.iter_mut().find(|stream| stream.id == id)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Stream<T>> {
        self.open.iter()
    }

    /// All of them, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream<T>> {
        self.open.iter_mut()
    }

    /// A stream begins.
    pub fn open(&mut self, id: u32, receives: bool, part: T) {
        self.open.push(Stream { id, receives, part });
    }

    /// The exchange of a stream has ended.
    pub fn close(&mut self, id: u32) -> Option<Stream<T>> {
        let at = self.open.iter().position(|stream| stream.id == id)?;
        Some(self.open.swap_remove(at))
    }

    /// This side resets a stream.
    pub fn remember_reset(&mut self, id: u32) {
        if self.was_reset(id) {
            return;
        }
        match self.reset.get_mut(self.reset_next) {
            Some(oldest) => *oldest = id,
            None => self.reset.push(id),
        }
        self.reset_next = (self.reset_next + 1) % RESETS_REMEMBERED;
    }

    fn was_reset(&self, id: u32) -> bool {
        self.reset.contains(&id)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The last stream that the client has begun.
    pub fn last(&self) -> u32 {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(id: u32, receives: bool) -> Streams<()> {
        let mut streams = Streams::default();
        assert_eq!(streams.block(id, !receives), Ok(Block::Request));
        streams.open(id, receives, ());
        streams
    }

    #[test]
    fn numbers_are_odd_and_rise() {
        let mut streams = opened(5, false);
        assert_eq!(streams.block(2, true), Err(Fault::Connection(ErrorCode::ProtocolError)));
        assert_eq!(streams.block(3, true), Err(Fault::Connection(ErrorCode::StreamClosed)));
        assert_eq!(streams.block(5, true), Err(Fault::Stream(5, ErrorCode::StreamClosed)));
        assert_eq!(streams.block(7, true), Ok(Block::Request));
        assert!(streams.is_idle(9) && streams.is_idle(4) && !streams.is_idle(3));
    }

    #[test]
    fn a_second_block_is_the_trailer_section_and_ends_the_stream() {
        let mut streams = opened(1, true);
        assert_eq!(streams.block(1, false), Err(Fault::Stream(1, ErrorCode::ProtocolError)));
        assert_eq!(streams.block(1, true), Ok(Block::Trailers));
    }

    #[test]
    fn data_comes_on_an_open_stream_alone() {
        let mut streams = opened(1, true);
        assert!(streams.receiving(1).unwrap().is_some());
        assert_eq!(streams.receiving(3).map(|_| ()), Err(Fault::Connection(ErrorCode::ProtocolError)));
        streams.get(1).unwrap().receives = false;
        assert_eq!(streams.receiving(1).map(|_| ()), Err(Fault::Stream(1, ErrorCode::StreamClosed)));
        streams.close(1);
        assert_eq!(streams.receiving(1).map(|_| ()), Err(Fault::Stream(1, ErrorCode::StreamClosed)));
    }

    #[test]
    fn what_was_on_its_way_when_we_reset_is_ignored() {
        let mut streams = opened(1, true);
        streams.remember_reset(1);
        streams.close(1);
        assert_eq!(streams.receiving(1).map(|found| found.is_none()), Ok(true));
        assert_eq!(streams.block(1, true), Ok(Block::Ignored));
        for id in 1..=RESETS_REMEMBERED as u32 {
            streams.remember_reset(2 * id + 1);
        }
        assert_eq!(streams.reset.len(), RESETS_REMEMBERED);
        assert_eq!(streams.block(1, true), Err(Fault::Connection(ErrorCode::StreamClosed)));
    }

    #[test]
    fn as_many_streams_as_the_bound_and_no_more() {
        let mut streams = Streams::default();
        for nth in 0..STREAMS_MAX as u32 {
            assert_eq!(streams.block(2 * nth + 1, true), Ok(Block::Request));
            streams.open(2 * nth + 1, false, ());
        }
        let next = 2 * STREAMS_MAX as u32 + 1;
        assert_eq!(streams.block(next, true), Ok(Block::Refused));
        streams.close(1);
        assert_eq!((streams.block(next + 2, true), streams.last()), (Ok(Block::Request), next + 2));
    }
}
