//! The buffers of one core. A connection has one from the first byte of a request to the last of its answer.

use std::cell::RefCell;

#[derive(Default)]
pub struct Buffers(RefCell<Vec<Box<[u8]>>>);

impl Buffers {
    pub fn take(&self) -> Box<[u8]> {
        self.0.borrow_mut().pop().unwrap_or_else(|| vec![0; BUFFER_BYTES].into())
    }

    pub fn give_back(&self, buffer: Box<[u8]>) {
        let mut free = self.0.borrow_mut();
        if free.len() < FREE_MAX {
            free.push(buffer);
        }
    }
}

/// As the gateway's.
const BUFFER_BYTES: usize = 64 * 1024;
/// As the gateway's.
const FREE_MAX: usize = 64;
