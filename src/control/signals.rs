//! Unix signals as bytes on sockets (self-pipe trick), so that the control thread's runtime can wait for them.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};

use crate::net::{StreamSocket, Timers};

/// The signals that the process handles. The handlers are installed as long as the process runs.
pub struct Signals {
    /// SIGTERM and SIGINT: graceful shutdown.
    pub end: Signal,
    /// SIGHUP: reload the configuration.
    pub reload: Signal,
    /// SIGUSR2: hot upgrade to a new process of the binary at the same path.
    pub upgrade: Signal,
    /// SIGUSR1: reopen the file of the access log.
    pub reopen: Signal,
}

/// Signals with the same meaning.
pub struct Signal {
    socket: UnixStream,
}

/// Signals with the same meaning, registered with the control thread's runtime.
pub struct OpenSignal {
    stream: StreamSocket,
}

impl Signals {
    /// Installs the signal handlers. Call this function before the process accepts the first connection: until then,
    /// a signal ends the process without a drain.
    ///
    /// # Errors
    /// Returns the errors of `socketpair(2)` and `sigaction(2)`.
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
    ///
    /// # Errors
    /// The runtime cannot register the socket.
    pub fn open(self) -> io::Result<OpenSignal> {
        Ok(OpenSignal { stream: StreamSocket::new(OwnedFd::from(self.socket))? })
    }
}

impl OpenSignal {
    /// Waits for a signal. Returns false if none arrives before the deadline.
    pub async fn wait(&self, timers: &Timers, deadline_ms: u64) -> bool {
        // The buffer holds one byte, so that one call consumes one signal.
        loop {
            if self.stream.arrival(timers, deadline_ms).await.is_err() {
                return false;
            }
            if let Ok(Some(1..)) = self.stream.try_recv(&mut [0]) {
                return true;
            }
        }
    }

    /// Discards the pending signals, because their request has just been handled or has failed.
    pub fn discard_pending(&self) {
        while let Ok(Some(1..)) = self.stream.try_recv(&mut [0; 64]) {}
    }
}
