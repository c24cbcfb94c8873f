//! How a tunnel is taken out of its task, to move to the process that succeeds this one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::crossing::{Leaver, Stay};
use super::phase::Phase;
use super::task::{Left, Tunnel, run};
use crate::clock;

impl Tunnel {
    /// Takes the tunnel out of its task, if it can move. What its buffers and pipes hold goes into its state.
    pub(super) fn leave(mut self: Box<Self>) -> Left {
        if let Some(why) = self.stay() {
            self.note(why);
            return Left::Stays(self);
        }
        if self.pack().is_err() {
            return Left::Broken(self);
        }
        let (resources, now_ms) = (self.sockets.resources.clone(), clock::now_ms());
        let boarded = resources.departures.board(
            self,
            |tunnel, out| tunnel.state.write(out, now_ms),
            |tunnel, out| tunnel.places.registration.write(out),
        );
        match boarded {
            Ok(()) => Left::Gone,
            Err((mut tunnel, _)) => {
                tunnel.note(Stay::Untaken);
                Left::Stays(tunnel)
            }
        }
    }

    /// Why it cannot move.
    fn stay(&self) -> Option<Stay> {
        let is_plain = self.sockets.client.raw().is_some() && self.sockets.upstream.raw().is_some();
        match self.state.phase {
            _ if !is_plain => Some(Stay::Tls),
            Phase::Open => None,
            Phase::Broken(_) | Phase::PeerClosing { .. } | Phase::Closing(_) | Phase::Over(_) => {
                Some(Stay::Closing)
            }
        }
    }

    fn pack(&mut self) -> io::Result<()> {
        self.up.pack(&mut self.state)?;
        self.down.pack(&mut self.state)
    }

    /// It is not called again.
    fn note(&mut self, why: Stay) {
        self.state.stays = true;
        self.sockets.resources.metrics.departed.stays(why);
    }
}

impl Leaver for Tunnel {
    fn sockets(&self) -> Option<[BorrowedFd<'_>; 2]> {
        Some([self.sockets.client.raw()?.as_fd(), self.sockets.upstream.raw()?.as_fd()])
    }

    /// Closing both descriptors ends neither connection: the new process has its own ones.
    fn forget(self: Box<Self>) {
        self.sockets.count_move();
    }

    fn go_on(mut self: Box<Self>, why: Option<Stay>) {
        if let Some(why) = why {
            self.note(why);
        }
        monoio::spawn(run(self));
    }
}
