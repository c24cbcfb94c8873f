//! Pipes for splicing payloads from socket to socket: a few for each core, lent while bytes move.
//!
//! ```text
//! one socket ──splice──▶ pipe ──splice──▶ other socket     (no byte comes to user space)
//! ```

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use crate::limits::{PIPE_BYTES, PIPES_MAX};
use crate::net::StreamSocket;

/// The pipes of one core.
#[derive(Default)]
pub struct PipePool {
    free: RefCell<Vec<Ends>>,
    /// The number of pipes, free and lent.
    open: Cell<usize>,
}

struct Ends {
    read: OwnedFd,
    write: OwnedFd,
}

/// A lent pipe. Dropped empty, it returns to its pool; dropped with bytes in it, it is closed.
pub struct Pipe {
    ends: Option<Ends>,
    /// The number of bytes in the pipe.
    held: usize,
    pool: Rc<PipePool>,
}

impl PipePool {
    /// Lends an empty pipe. `None`: there are [`PIPES_MAX`] already, or no file descriptors; the caller copies instead.
    pub fn take(self: &Rc<Self>) -> Option<Pipe> {
        let free = self.free.borrow_mut().pop();
        let ends = match free {
            Some(ends) => ends,
            None if self.open.get() < PIPES_MAX => {
                let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).ok()?;
                // If the user's share of the kernel's pipe buffers is used up, the pipe keeps its default size and
                // works.
                let _ = fcntl_setpipe_size(&write, PIPE_BYTES);
                self.open.set(self.open.get() + 1);
                Ends { read, write }
            }
            None => return None,
        };
        Some(Pipe { ends: Some(ends), held: 0, pool: self.clone() })
    }

    /// The number of pipes, free and lent.
    pub fn open(&self) -> usize {
        self.open.get()
    }
}

impl Pipe {
    /// Moves at most `bytes_max` bytes from a socket into the pipe. `None`: nothing has arrived. `Some(0)`: the peer
    /// has sent its last byte.
    pub fn pull(&mut self, from: &StreamSocket, bytes_max: usize) -> io::Result<Option<usize>> {
        let Some(ends) = &self.ends else { return Ok(None) };
        let pulled = from.try_splice_into(&ends.write, bytes_max.min(PIPE_BYTES))?;
        self.held += pulled.unwrap_or(0);
        Ok(pulled)
    }

    /// Moves the pipe's bytes to a socket. `None`: the socket accepts nothing now.
    pub fn push(&mut self, to: &StreamSocket) -> io::Result<Option<usize>> {
        let Some(ends) = &self.ends else { return Ok(None) };
        let pushed = to.try_splice_from(&ends.read, self.held)?;
        self.held -= pushed.unwrap_or(0);
        Ok(pushed)
    }

    /// Takes the pipe's bytes out of it.
    ///
    /// # Errors
    /// They cannot be read. Some may be gone.
    pub fn drain(&mut self) -> io::Result<Vec<u8>> {
        let Some(ends) = &self.ends else { return Ok(Vec::new()) };
        let mut bytes = vec![0; self.held];
        let mut read = 0;
        while read < bytes.len() {
            match rustix::io::read(&ends.read, &mut bytes[read..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => read += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.held = 0;
        Ok(bytes)
    }

    /// Whether the pipe is empty.
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        match self.ends.take() {
            Some(ends) if self.held == 0 => self.pool.free.borrow_mut().push(ends),
            // The bytes left belong to a tunnel that has ended, so the pipe is not lent again.
            Some(_) => self.pool.open.set(self.pool.open.get() - 1),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::runtime::{Preference, ThreadRuntime};
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (StreamSocket, StreamSocket) {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (near, far) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).expect("a pair");
        (StreamSocket::new(near).expect("near"), StreamSocket::new(far).expect("far"))
    }

    fn on_a_core(test: impl FnOnce(&Rc<PipePool>)) {
        let (mut runtime, _) = ThreadRuntime::build(Preference::Ring).expect("a runtime");
        runtime.block_on(async { test(&Rc::default()) });
    }

    #[test]
    fn bytes_go_through_in_order_and_the_pipe_comes_back() {
        on_a_core(|pool| {
            let ((client, here), (there, upstream)) = (pair(), pair());
            client.try_send(b"hello, world").expect("a send");
            let mut pipe = pool.take().expect("a pipe");
            assert_eq!(pipe.pull(&here, 5).expect("a splice"), Some(5));
            assert_eq!(pipe.push(&there).expect("a splice"), Some(5));
            assert_eq!(pipe.pull(&here, 100).expect("a splice"), Some(7));
            assert_eq!(pipe.push(&there).expect("a splice"), Some(7));
            assert_eq!(pipe.pull(&here, 100).expect("a splice"), None);
            let mut read = [0; 20];
            assert_eq!(upstream.try_recv(&mut read).expect("a read"), Some(12));
            assert_eq!(&read[..12], b"hello, world");
            client.shutdown_write();
            assert_eq!(pipe.pull(&here, 100).expect("a splice"), Some(0));
            drop(pipe);
            assert_eq!((pool.open(), pool.free.borrow().len()), (1, 1));
            assert!(pool.take().is_some() && pool.open() == 1);
        });
    }

    #[test]
    fn a_pipe_with_something_in_it_is_never_lent_again() {
        on_a_core(|pool| {
            let (client, here) = pair();
            client.try_send(b"secret").expect("a send");
            let mut pipe = pool.take().expect("a pipe");
            pipe.pull(&here, 100).expect("a splice");
            drop(pipe);
            assert_eq!((pool.open(), pool.free.borrow().len()), (0, 0));
        });
    }

    #[test]
    fn bytes_can_be_taken_out_of_a_pipe() {
        on_a_core(|pool| {
            let ((client, here), (there, upstream)) = (pair(), pair());
            client.try_send(&[7; 100_000]).expect("a send");
            let mut pipe = pool.take().expect("a pipe");
            let pulled = pipe.pull(&here, 100_000).expect("a splice").expect("bytes");
            assert_eq!(pipe.drain().expect("its bytes"), vec![7; pulled]);
            assert!(pipe.is_empty() && pipe.drain().expect("nothing").is_empty());
            client.try_send(b"on").expect("a send");
            while upstream.try_recv(&mut [0; 64]).expect("a read").is_none() {
                pipe.pull(&here, 100_000).expect("a splice");
                pipe.push(&there).expect("a splice");
            }
        });
    }

    #[test]
    fn there_are_no_more_pipes_than_the_bound() {
        on_a_core(|pool| {
            let pipes: Vec<_> = std::iter::from_fn(|| pool.take()).take(PIPES_MAX + 5).collect();
            assert_eq!((pipes.len(), pool.open()), (PIPES_MAX, PIPES_MAX));
        });
    }
}
