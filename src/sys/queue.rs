//! What a socket's send queue holds.

use std::os::fd::AsFd;

use rustix::io;
use rustix::ioctl::{Getter, ioctl};

/// Bytes in a TCP socket's send queue that the peer has not acknowledged (tcp(7), `SIOCOUTQ`).
pub fn unacknowledged(socket: impl AsFd) -> io::Result<u32> {
    // SAFETY: `SIOCOUTQ` writes one `int` to where the argument points, which is what the getter provides; it changes
    // nothing else.
    unsafe { ioctl(socket, Getter::<SIOCOUTQ, u32>::new()) }
}

/// `linux/sockios.h`; the same number as the terminals' `TIOCOUTQ`.
const SIOCOUTQ: rustix::ioctl::Opcode = 0x5411;
