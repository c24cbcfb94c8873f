//! I/O buffers, lent by the core's pool while there are bytes to move.
//!
//! ```text
//! 0        start         end              the block's size
//! | consumed | filled      | room          |
//! ```
//!
//! All blocks have one size, and a core needs few of them: those of the tasks that move bytes this moment. What has to
//! wait (a part of a head, bytes that the peer does not take) is *parked* in memory of just its size. The pool counts
//! both, so that a core knows how much its slow peers make it hold.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::limits::{
    BUFFER_BYTES, BUFFERS_KEPT_MIN, BUFFERS_POOLED_MAX, HELD_BYTES_DEFAULT, TIGHT_READ_BYTES,
};
use crate::spare::Spare;

/// The buffer memory of one core.
pub struct BufferPool {
    free: RefCell<Spare<Box<[u8]>>>,
    /// Bytes in blocks that are lent, and in memory that parked bytes are in.
    held: Cell<usize>,
    held_max: Cell<usize>,
    /// The size of a block, in bytes.
    block: Cell<usize>,
}

impl Default for BufferPool {
    fn default() -> BufferPool {
        BufferPool {
            free: RefCell::new(Spare::new(BUFFERS_POOLED_MAX)),
            held: Cell::new(0),
            held_max: Cell::new(HELD_BYTES_DEFAULT),
            block: Cell::new(BUFFER_BYTES),
        }
    }
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

    /// Changes how many bytes the core's peers should make it hold at most.
    pub fn set_held_max(&self, bytes: usize) {
        self.held_max.set(bytes);
    }

    /// From now on a block has this many bytes, or as many as before if those were more: what was begun with a larger
    /// one may still need it.
    pub fn grow_blocks(&self, bytes: usize) {
        if bytes > self.block.get() {
            self.block.set(bytes);
            self.free.replace(Spare::new(BUFFERS_POOLED_MAX));
        }
    }

    /// Bytes that the core holds for its peers: blocks that are lent, and parked bytes.
    pub fn held(&self) -> usize {
        self.held.get()
    }

    /// How many bytes more than it should the core holds.
    pub fn excess(&self) -> usize {
        self.held.get().saturating_sub(self.held_max.get())
    }

    /// The core holds more than half of what it should: from now on it reads in small steps, so that a peer that takes
    /// nothing leaves little behind.
    fn is_tight(&self) -> bool {
        self.held.get() > self.held_max.get() / 2
    }

    /// Frees the blocks that nobody needed since the last call, but for a few. Called at intervals.
    pub fn tidy(&self) {
        self.free.borrow_mut().tidy(BUFFERS_KEPT_MIN);
    }

    fn take(&self) -> Box<[u8]> {
        let block = self.block.get();
        self.held.set(self.held.get() + block);
        self.free.borrow_mut().take().unwrap_or_else(|| vec![0; block].into_boxed_slice())
    }

    /// Takes back a block, or frees the memory of parked bytes.
    fn give_back(&self, bytes: Box<[u8]>) {
        self.held.set(self.held.get() - bytes.len());
        if bytes.len() == self.block.get() {
            self.free.borrow_mut().give_back(bytes);
        }
    }

    /// Memory for parked bytes.
    fn park(&self, bytes: &[u8]) -> Box<[u8]> {
        self.held.set(self.held.get() + bytes.len());
        bytes.into()
    }

    /// The number of free buffers.
    #[cfg(test)]
    fn free(&self) -> usize {
        self.free.borrow().len()
    }
}

/// A buffer. It borrows memory from the pool while it holds bytes.
pub struct Buffer {
    /// A block; shorter: parked bytes, or a block of before they grew; longer: bytes of elsewhere; empty: nothing.
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
    /// Another buffer of the same core.
    pub fn sibling(&self) -> Buffer {
        self.pool.buffer()
    }

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

    /// The same bytes, for who changes them in place.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
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

    /// Gives the memory back if the buffer is empty.
    pub fn release_if_empty(&mut self) {
        if self.is_empty() && !self.bytes.is_empty() {
            self.generation = self.generation.wrapping_add(1);
            self.pool.give_back(std::mem::take(&mut self.bytes));
        }
    }

    /// To be called before a wait, which may be long: gives the block back, and keeps the bytes that are left in memory
    /// of just their size. If they are most of a block, they stay where they are.
    pub fn park(&mut self) {
        if self.is_empty() {
            return self.release_if_empty();
        }
        let block = self.pool.block.get();
        // More than most of a block is not parked: the copy would save little.
        if self.bytes.len() >= block && self.len() <= block / 4 * 3 {
            let parked = self.pool.park(self.filled());
            self.replace(parked);
        }
    }

    /// Makes `bytes`, which begin with the bytes that are left, the memory of the buffer.
    fn replace(&mut self, bytes: Box<[u8]>) {
        (self.start, self.end) = (0, self.len());
        self.generation = self.generation.wrapping_add(1);
        self.pool.give_back(std::mem::replace(&mut self.bytes, bytes));
    }

    /// Makes the memory a block. Bytes of the buffer that are already in a block stay where they are.
    fn borrow(&mut self) {
        if self.bytes.len() < self.pool.block.get() {
            self.unpark();
        }
    }

    #[cold]
    fn unpark(&mut self) {
        let mut block = self.pool.take();
        block[..self.len()].copy_from_slice(self.filled());
        self.replace(block);
    }

    /// The room to fill. The bytes left move to the front first if more than half of the buffer is consumed, so each
    /// byte moves at most once per half buffer. The room is small while the core holds much already.
    pub fn room(&mut self) -> &mut [u8] {
        self.borrow();
        self.generation = self.generation.wrapping_add(1);
        if self.start > 0 && (self.start > self.bytes.len() / 2 || self.end == self.bytes.len()) {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let room = &mut self.bytes[self.end..];
        if self.pool.is_tight() && room.len() > TIGHT_READ_BYTES {
            return &mut room[..TIGHT_READ_BYTES];
        }
        room
    }

    /// The room behind the bytes, however much the core holds: for bytes that are about to leave.
    pub fn spare(&mut self) -> &mut [u8] {
        self.borrow();
        self.generation = self.generation.wrapping_add(1);
        &mut self.bytes[self.end..]
    }

    /// Counts `n` bytes of the room as filled.
    pub fn fill(&mut self, n: usize) {
        self.end += n;
        assert!(self.end <= self.bytes.len(), "filled more than there was room");
    }

    /// The number of bytes that [`Buffer::put`] would accept now.
    pub fn free(&self) -> usize {
        self.pool.block.get().saturating_sub(self.end)
    }

    /// Makes these the bytes of an empty buffer, also if they are more than a block: they come from where blocks are
    /// longer, or from a pipe. The memory of so many is given back with the last of them.
    pub fn refill(&mut self, bytes: &[u8]) {
        assert!(self.is_empty(), "bytes would be lost");
        if bytes.len() <= self.pool.block.get() {
            return self.put(bytes);
        }
        let bytes = self.pool.park(bytes);
        self.start = 0;
        self.end = 0;
        self.replace(bytes);
        self.end = self.bytes.len();
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
    fn larger_blocks_hold_what_was_begun_with_smaller_ones_and_never_shrink() {
        let pool = BufferPool::new();
        let (mut lent, mut parked) = (pool.buffer(), pool.buffer());
        lent.put(b"lent");
        parked.put(b"parked");
        parked.park();
        pool.grow_blocks(2 * BUFFER_BYTES);
        pool.grow_blocks(BUFFER_BYTES);
        for (buffer, bytes) in [(&mut lent, &b"lent"[..]), (&mut parked, b"parked")] {
            assert_eq!(buffer.free(), 2 * BUFFER_BYTES - bytes.len());
            buffer.put(&vec![b'x'; 2 * BUFFER_BYTES - bytes.len()]);
            assert!(buffer.filled().starts_with(bytes) && buffer.free() == 0);
        }
        assert_eq!(pool.held(), 4 * BUFFER_BYTES);
        drop((lent, parked));
        assert_eq!((pool.held(), pool.free()), (0, 2), "the smaller block is gone");
    }

    #[test]
    fn more_than_a_block_is_taken_in_and_its_memory_goes_with_the_last_byte() {
        let pool = BufferPool::new();
        let mut buffer = pool.buffer();
        buffer.refill(b"short");
        assert_eq!((buffer.filled(), pool.held()), (&b"short"[..], BUFFER_BYTES));
        buffer.consume(5);
        let long: Vec<u8> = (0..4 * BUFFER_BYTES).map(|at| at as u8).collect();
        buffer.refill(&long);
        assert!(buffer.filled() == long && buffer.free() == 0 && pool.held() == long.len());
        buffer.consume(long.len() - 3);
        buffer.park();
        assert_eq!(buffer.filled(), &long[long.len() - 3..]);
        buffer.room()[0] = b'x';
        buffer.fill(1);
        assert_eq!(buffer.len(), 4);
        buffer.consume(4);
        buffer.release_if_empty();
        assert_eq!((pool.held(), pool.free()), (0, 1), "only the block is lent again");
    }

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
    fn parked_bytes_have_memory_of_their_size_and_come_back_into_a_block() {
        let pool = BufferPool::new();
        let mut buffer = pool.buffer();
        buffer.put(b"_partial head");
        buffer.consume(1);
        let mark = buffer.mark();
        buffer.park();
        assert_eq!((buffer.filled(), pool.held(), pool.free()), (&b"partial head"[..], 12, 1));
        assert!(!buffer.rewind(mark), "what was consumed is gone");
        buffer.park();
        buffer.consume(8);
        buffer.put(b"ers");
        assert_eq!((buffer.filled(), pool.held(), pool.free()), (&b"headers"[..], BUFFER_BYTES, 0));
        buffer.park();
        assert_eq!(buffer.room().len(), BUFFER_BYTES - 7);
        assert_eq!(buffer.filled(), b"headers");
        drop(buffer);
        assert_eq!((pool.held(), pool.free()), (0, 1));
    }

    #[test]
    fn most_of_a_block_is_not_parked() {
        let pool = BufferPool::new();
        let mut buffer = pool.buffer();
        buffer.put(&vec![b'x'; BUFFER_BYTES / 4 * 3 + 1]);
        let mark = buffer.mark();
        buffer.park();
        assert_eq!(pool.held(), BUFFER_BYTES);
        assert!(buffer.rewind(mark));
        buffer.consume(1);
        buffer.park();
        assert_eq!(pool.held(), BUFFER_BYTES / 4 * 3);
    }

    #[test]
    fn a_core_that_holds_much_reads_in_small_steps() {
        let pool = BufferPool::new();
        pool.set_held_max(4 * BUFFER_BYTES);
        let mut buffers: Vec<Buffer> = (0..5).map(|_| pool.buffer()).collect();
        let rooms: Vec<usize> = buffers.iter_mut().map(|buffer| buffer.room().len()).collect();
        let (block, step) = (BUFFER_BYTES, TIGHT_READ_BYTES);
        assert_eq!(rooms, [block, block, step, step, step]);
        assert_eq!(pool.excess(), BUFFER_BYTES);
        buffers.truncate(2);
        assert_eq!((buffers[0].room().len(), pool.excess()), (block, 0));
    }

    #[test]
    fn blocks_that_nobody_needed_are_freed() {
        let pool = BufferPool::new();
        let lend = |count: usize| {
            let mut buffers: Vec<Buffer> = (0..count).map(|_| pool.buffer()).collect();
            buffers.iter_mut().for_each(|buffer| buffer.put(b"x"));
        };
        lend(40);
        pool.tidy();
        assert_eq!(pool.free(), 40, "they were needed");
        lend(20);
        pool.tidy();
        assert_eq!(pool.free(), 20);
        pool.tidy();
        assert_eq!(pool.free(), BUFFERS_KEPT_MIN);
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
