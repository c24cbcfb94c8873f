//! Borrows the file descriptor of a stream of the runtime, for direct system calls.

use std::os::fd::{AsRawFd, BorrowedFd};

use monoio::net::TcpStream;

/// The stream's file descriptor. monoio 0.2 implements only `AsRawFd`, which does not say how long the number is valid.
/// Here it is valid as long as the stream is borrowed.
pub fn fd_of(stream: &TcpStream) -> BorrowedFd<'_> {
    // SAFETY: the stream owns its descriptor and closes it no earlier than its own drop, and it is borrowed
    // for as long as the result lives.
    unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) }
}
