//! Borrows the file descriptor of a monoio stream for direct system calls.

use std::os::fd::{AsRawFd, BorrowedFd};

use monoio::net::TcpStream;

/// Borrows the file descriptor of a stream. monoio 0.2 implements only `AsRawFd`, whose result has no lifetime. The
/// result of this function has the lifetime of the borrowed stream.
pub fn fd_of(stream: &TcpStream) -> BorrowedFd<'_> {
    // SAFETY: the stream owns its descriptor and does not close it before its own drop. The result borrows the
    // stream, so the stream outlives the result.
    unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) }
}
