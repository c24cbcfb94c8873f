//! I/O buffers: fixed size, borrowed from the core while bytes move, given back when they have moved.
//!
//! ```text
//! 0        start         end              BUFFER_BYTES
//! | consumed | filled      | room          |
//! ```

use std::cell::RefCell;
use std::rc::Rc;

use crate::limits::{BUFFER_BYTES, BUFFERS_POOLED_MAX};

/// The free buffers of one core.
#[derive(Default)]
pub struct BufferPool {
    free: RefCell<Vec<Box<[u8]>>>,
}

impl BufferPool {
    /// An empty pool.
    pub fn new() -> Rc<BufferPool> {
        Rc::new(BufferPool::default())
    }

    /// A buffer that borrows its memory when the first byte comes.
    pub fn buffer(self: &Rc<Self>) -> Buffer {
        Buffer { bytes: Box::default(), start: 0, end: 0, generation: 0, pool: self.clone() }
    }

    /// The memory used last: it is most likely still in the CPU's cache.
    fn take(&self) -> Box<[u8]> {
        self.free.borrow_mut().pop().unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice())
    }

    fn give_back(&self, bytes: Box<[u8]>) {
        let mut free = self.free.borrow_mut();
        if free.len() < BUFFERS_POOLED_MAX {
            free.push(bytes);
        }
    }

    /// Free buffers held now.
    pub fn free(&self) -> usize {
        self.free.borrow().len()
    }
}

/// A buffer whose memory is on loan from the pool while there is something in it.
pub struct Buffer {
    /// Empty: nothing is borrowed.
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    /// Changes whenever bytes move or are overwritten: what was consumed before is then gone.
    generation: u32,
    pool: Rc<BufferPool>,
}

/// A place in a buffer to come back to.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    start: usize,
    end: usize,
    generation: u32,
}

impl Buffer {
    /// Remembers what is filled now.
    pub fn mark(&self) -> Mark {
        Mark { start: self.start, end: self.end, generation: self.generation }
    }

    /// Takes back what was consumed since the mark. False: it is gone, because room was asked for since.
    pub fn rewind(&mut self, mark: Mark) -> bool {
        if self.generation != mark.generation {
            return false;
        }
        (self.start, self.end) = (mark.start, mark.end);
        true
    }

    /// The bytes that were filled in and not yet consumed.
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The same, to be rewritten in place.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// Nothing is left to consume.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// How many bytes are left to consume.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Takes `n` bytes off the front.
    pub fn consume(&mut self, n: usize) {
        self.start += n;
        assert!(self.start <= self.end, "consumed more than was filled");
        if self.start == self.end {
            self.clear();
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Gives the memory back if nothing is in it: before a wait, which may be long.
    pub fn release_if_empty(&mut self) {
        if self.is_empty() && !self.bytes.is_empty() {
            self.generation = self.generation.wrapping_add(1);
            self.pool.give_back(std::mem::take(&mut self.bytes));
        }
    }

    fn borrow(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = self.pool.take();
        }
    }

    /// Room to fill. What is left moves to the front first if more than half of the buffer lies behind it:
    /// each byte moves at most once per half buffer.
    pub fn room(&mut self) -> &mut [u8] {
        self.borrow();
        self.generation = self.generation.wrapping_add(1);
        if self.start > 0 && (self.start > self.bytes.len() / 2 || self.end == self.bytes.len()) {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.bytes[self.end..]
    }

    /// Counts `n` bytes of the room as filled.
    pub fn fill(&mut self, n: usize) {
        self.end += n;
        assert!(self.end <= self.bytes.len(), "filled more than there was room");
    }

    /// How many bytes [`Buffer::put`] would take now.
    pub fn free(&self) -> usize {
        BUFFER_BYTES - self.end
    }

    /// Appends bytes for which the caller knows that there is room (`limits` holds the proof for heads).
    pub fn put(&mut self, bytes: &[u8]) {
        self.put_all([bytes]);
    }

    /// The same with several pieces, which need one look at the room and not one each. Without room it panics: our bug.
    #[inline(always)]
    pub fn put_all<const N: usize>(&mut self, pieces: [&[u8]; N]) {
        self.borrow();
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        let mut room = &mut self.bytes[self.end..][..length];
        for piece in pieces {
            let (here, rest) = room.split_at_mut(piece.len());
            here.copy_from_slice(piece);
            room = rest;
        }
        self.end += length;
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.pool.give_back(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_lent_again_empty() {
        let pool = BufferPool::new();
        let mut buffer = pool.buffer();
        buffer.put(b"secret");
        drop(buffer);
        assert_eq!(pool.free(), 1);
        assert!(pool.buffer().filled().is_empty());
    }

    #[test]
    fn a_buffer_borrows_memory_only_while_something_is_in_it() {
        let pool = BufferPool::new();
        let mut buffer = pool.buffer();
        buffer.put(b"a");
        buffer.release_if_empty();
        assert_eq!((pool.free(), buffer.filled()), (0, &b"a"[..]));
        buffer.consume(1);
        buffer.release_if_empty();
        assert_eq!(pool.free(), 1);
        let mark = buffer.mark();
        assert_eq!(buffer.room().len(), BUFFER_BYTES);
        assert!(!buffer.rewind(mark));
    }

    #[test]
    fn the_pool_keeps_no_more_than_its_bound() {
        let pool = BufferPool::new();
        let many: Vec<Buffer> = (0..BUFFERS_POOLED_MAX + 5)
            .map(|_| {
                let mut buffer = pool.buffer();
                buffer.put(b"x");
                buffer
            })
            .collect();
        drop(many);
        assert_eq!(pool.free(), BUFFERS_POOLED_MAX);
    }

    #[test]
    fn what_is_left_moves_to_the_front_when_room_runs_out() {
        let pool = BufferPool::new();
        let mut buffer = pool.buffer();
        buffer.put(&vec![b'x'; BUFFER_BYTES - 3]);
        buffer.put(b"abc");
        buffer.consume(BUFFER_BYTES - 3);
        assert_eq!(buffer.room().len(), BUFFER_BYTES - 3);
        assert_eq!(buffer.filled(), b"abc");
    }

    #[test]
    fn a_consumed_buffer_starts_over() {
        let pool = BufferPool::new();
        let mut buffer = pool.buffer();
        buffer.put(b"abc");
        buffer.consume(3);
        assert_eq!(buffer.free(), BUFFER_BYTES);
    }

    #[test]
    fn consumed_bytes_come_back_until_room_is_asked_for() {
        let pool = BufferPool::new();
        let mut buffer = pool.buffer();
        buffer.put(b"abc");
        let mark = buffer.mark();
        buffer.consume(3);
        assert!(buffer.rewind(mark));
        assert_eq!(buffer.filled(), b"abc");
        buffer.consume(1);
        buffer.room();
        assert!(!buffer.rewind(mark));
        assert_eq!(buffer.filled(), b"bc");
    }

    #[test]
    #[should_panic(expected = "consumed more")]
    fn consuming_more_than_is_there_is_our_bug() {
        let pool = BufferPool::new();
        pool.buffer().consume(1);
    }
}
