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

    /// An empty buffer: the one used last, which is most likely still in the CPU's cache.
    pub fn take(self: &Rc<Self>) -> Buffer {
        let bytes = self.free.borrow_mut().pop().unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice());
        Buffer { bytes, start: 0, end: 0, generation: 0, pool: self.clone() }
    }

    /// Free buffers held now.
    pub fn free(&self) -> usize {
        self.free.borrow().len()
    }
}

/// A buffer on loan from its pool. Dropping it gives it back.
pub struct Buffer {
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

    /// Room to fill. What is left moves to the front first if more than half of the buffer lies behind it:
    /// each byte moves at most once per half buffer.
    pub fn room(&mut self) -> &mut [u8] {
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
        self.bytes.len() - self.end
    }

    /// Appends bytes for which the caller knows that there is room (`limits` holds the proof for heads).
    pub fn put(&mut self, bytes: &[u8]) {
        let end = self.end + bytes.len();
        self.bytes[self.end..end].copy_from_slice(bytes);
        self.end = end;
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut free = self.pool.free.borrow_mut();
        if free.len() < BUFFERS_POOLED_MAX {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_lent_again_empty() {
        let pool = BufferPool::new();
        let mut buffer = pool.take();
        buffer.put(b"secret");
        drop(buffer);
        assert_eq!(pool.free(), 1);
        assert!(pool.take().is_empty());
    }

    #[test]
    fn the_pool_keeps_no_more_than_its_bound() {
        let pool = BufferPool::new();
        let many: Vec<Buffer> = (0..BUFFERS_POOLED_MAX + 5).map(|_| pool.take()).collect();
        drop(many);
        assert_eq!(pool.free(), BUFFERS_POOLED_MAX);
    }

    #[test]
    fn what_is_left_moves_to_the_front_when_room_runs_out() {
        let pool = BufferPool::new();
        let mut buffer = pool.take();
        buffer.put(&vec![b'x'; BUFFER_BYTES - 3]);
        buffer.put(b"abc");
        buffer.consume(BUFFER_BYTES - 3);
        assert_eq!(buffer.room().len(), BUFFER_BYTES - 3);
        assert_eq!(buffer.filled(), b"abc");
    }

    #[test]
    fn a_consumed_buffer_starts_over() {
        let pool = BufferPool::new();
        let mut buffer = pool.take();
        buffer.put(b"abc");
        buffer.consume(3);
        assert_eq!(buffer.free(), BUFFER_BYTES);
    }

    #[test]
    fn consumed_bytes_come_back_until_room_is_asked_for() {
        let pool = BufferPool::new();
        let mut buffer = pool.take();
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
        pool.take().consume(1);
    }
}
