//! A stream socket as the gateway uses it: polls on the ring, bytes by direct calls that never block.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use monoio::net::TcpStream;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

pub struct Socket(TcpStream);

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self(stream)
    }
}

impl Socket {
    /// Waits until there is something to read.
    pub async fn readable(&self) -> io::Result<()> {
        self.0.readable(false).await
    }

    /// Reads what has arrived, or waits for it. 0: the peer has closed.
    pub async fn recv(&self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::net::recv(self.fd(), &mut *into, RecvFlags::DONTWAIT) {
                Err(Errno::AGAIN) => self.readable().await?,
                received => return Ok(received?.0),
            }
        }
    }

    pub async fn send_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match rustix::net::send(self.fd(), bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Err(Errno::AGAIN) => self.0.writable(false).await?,
                sent => bytes = &bytes[sent?..],
            }
        }
        Ok(())
    }

    /// The peer has neither sent anything nor closed.
    pub fn is_quiet(&self) -> bool {
        let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
        matches!(rustix::net::recv(self.fd(), &mut [0; 1][..], flags), Err(Errno::AGAIN))
    }

    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the stream owns its descriptor and closes it no earlier than its own drop, and it is borrowed for as
        // long as the result lives.
        unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) }
    }
}
