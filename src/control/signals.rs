//! The signals of the process as bytes on sockets, which the control thread's ring can wait for.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};

use crate::net::{StreamSocket, Timers};

/// Every signal that means something here, from the moment that this exists.
pub struct Signals {
    /// SIGTERM and SIGINT: drain, then end.
    pub end: Signal,
    /// SIGHUP: read the configuration again.
    pub reload: Signal,
    /// SIGUSR2: hand over to a new process of the binary at the same path.
    pub upgrade: Signal,
    /// SIGUSR1: open the access log's file anew.
    pub reopen: Signal,
}

/// Signals of one meaning.
pub struct Signal {
    socket: UnixStream,
}

/// The same on the control thread's ring.
pub struct OpenSignal {
    stream: StreamSocket,
}

impl Signals {
    /// Takes them over: before the first client is served, or an early one would end the process without a drain.
    /// Errors: no file descriptors.
    pub fn new() -> io::Result<Signals> {
        Ok(Signals {
            end: Signal::of(&[SIGTERM, SIGINT])?,
            reload: Signal::of(&[SIGHUP])?,
            upgrade: Signal::of(&[SIGUSR2])?,
            reopen: Signal::of(&[SIGUSR1])?,
        })
    }
}

impl Signal {
    fn of(signals: &[i32]) -> io::Result<Signal> {
        let (near, far) = UnixStream::pair()?;
        for signal in signals {
            signal_hook::low_level::pipe::register(*signal, near.try_clone()?)?;
        }
        far.set_nonblocking(true)?;
        Ok(Signal { socket: far })
    }

    /// Registers the socket with the runtime of this thread.
    pub fn open(self) -> io::Result<OpenSignal> {
        Ok(OpenSignal { stream: StreamSocket::new(OwnedFd::from(self.socket))? })
    }
}

impl OpenSignal {
    /// Waits for a signal. False: none came until the deadline.
    pub async fn wait(&self, timers: &Timers, deadline_ms: u64) -> bool {
        // One byte per signal: a second signal must not be swallowed together with the first.
        loop {
            if self.stream.arrival(timers, deadline_ms).await.is_err() {
                return false;
            }
            if let Ok(Some(1..)) = self.stream.try_recv(&mut [0]) {
                return true;
            }
        }
    }

    /// Forgets the signals that have come already: what they ask for has just been done, or cannot be.
    pub fn forget(&self) {
        while let Ok(Some(1..)) = self.stream.try_recv(&mut [0; 64]) {}
    }
}
