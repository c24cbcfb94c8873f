//! A file descriptor borrowed from a stream of the runtime, for system calls of our own.

use std::os::fd::{AsRawFd, BorrowedFd};

use monoio::net::TcpStream;

/// The stream's file descriptor. monoio 0.2 implements `AsRawFd` alone, which says nothing about how long
/// the number is good for; here it is good for as long as the stream is borrowed.
pub fn fd_of(stream: &TcpStream) -> BorrowedFd<'_> {
    // SAFETY: the stream owns its descriptor and closes it no earlier than its own drop, and it is borrowed
    // for as long as the result lives.
    unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) }
}
