//! I/O buffers of fixed size, lent by the core's pool while there are bytes to move.
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

    /// A buffer that borrows its memory when the first byte arrives.
    pub fn buffer(self: &Rc<Self>) -> Buffer {
        Buffer { bytes: Box::default(), start: 0, end: 0, generation: 0, pool: self.clone() }
    }

    /// Takes the memory used last, which is most likely still in the CPU's cache.
    fn take(&self) -> Box<[u8]> {
        self.free.borrow_mut().pop().unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice())
    }

    fn give_back(&self, bytes: Box<[u8]>) {
        let mut free = self.free.borrow_mut();
        if free.len() < BUFFERS_POOLED_MAX {
            free.push(bytes);
        }
    }

    /// The number of free buffers.
    #[cfg(test)]
    fn free(&self) -> usize {
        self.free.borrow().len()
    }
}

/// A buffer. It borrows memory from the pool while it holds bytes.
pub struct Buffer {
    /// Empty: nothing is borrowed.
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    /// Changes whenever bytes move or may be overwritten. Bytes consumed before that are gone.
    generation: u32,
    pool: Rc<BufferPool>,
}

/// A position in a buffer to which [`Buffer::rewind`] returns.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    start: usize,
    end: usize,
    generation: u32,
}

impl Buffer {
    /// Remembers the current position.
    pub fn mark(&self) -> Mark {
        Mark { start: self.start, end: self.end, generation: self.generation }
    }

    /// Restores the bytes that were consumed since the mark. False: they are gone, because room was asked for since.
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

    /// Whether no bytes are left to consume.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The number of bytes left to consume.
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

    /// Drops all bytes.
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Gives the memory back if the buffer is empty. To be called before a wait, which may be long.
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

    /// The room to fill. The bytes left move to the front first if more than half of the buffer is consumed, so each
    /// byte moves at most once per half buffer.
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

    /// The number of bytes that [`Buffer::put`] would accept now.
    pub fn free(&self) -> usize {
        BUFFER_BYTES - self.end
    }

    /// Appends bytes. The caller knows that there is room for them (for heads, the assertions in `limits` prove it).
    pub fn put(&mut self, bytes: &[u8]) {
        self.put_all([bytes]);
    }

    /// Appends several pieces with one check of the room. Without room it panics, because that is a bug of the caller.
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
