//! The length of a socket's send queue.

use std::os::fd::AsFd;

use rustix::io;
use rustix::ioctl::{Getter, ioctl};

/// Bytes in a TCP socket's send queue that the peer has not acknowledged (tcp(7), `SIOCOUTQ`).
pub fn unacknowledged(socket: impl AsFd) -> io::Result<u32> {
    // SAFETY: `SIOCOUTQ` writes one `int` to the address in its argument and changes nothing else. The address is a
    // buffer of the getter, which has the size of an `int`.
    unsafe { ioctl(socket, Getter::<SIOCOUTQ, u32>::new()) }
}

/// From `linux/sockios.h`. The number equals `TIOCOUTQ` of terminals.
const SIOCOUTQ: rustix::ioctl::Opcode = 0x5411;
