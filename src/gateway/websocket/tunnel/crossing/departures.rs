//! The tunnels of a core that leave for the new process: which are called, and which wait for the verdict on them.

use std::cell::{Cell, RefCell};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::record::put_entry;
use crate::limits::RECORD_FILE_BYTES;

/// The departures of one core.
#[derive(Default)]
pub struct Departures {
    /// Tunnels of this core move, or are still asked whether they do.
    is_under_way: Cell<bool>,
    /// So many more may come into the record that is being filled.
    wanted: Cell<usize>,
    filled: RefCell<Filled>,
}

/// A record that is being filled.
#[derive(Default)]
pub(super) struct Filled {
    pub(super) leavers: Vec<Box<dyn Leaver>>,
    /// Their entries.
    pub(super) bytes: Vec<u8>,
}

/// A tunnel that has stopped, and waits for the verdict on it.
pub trait Leaver {
    /// Its sockets: the client's, the upstream's.
    fn sockets(&self) -> Option<[BorrowedFd<'_>; 2]>;
    /// It lives in the new process now.
    fn forget(self: Box<Self>);
    /// It goes on here. `why`: it is not to be called again; `None`: nothing was decided.
    fn go_on(self: Box<Self>, why: Option<Stay>);
}

/// Why a tunnel stays in the old process, and gets its goodbye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// One of its connections is encrypted by the gateway.
    Tls,
    /// It is on its way to its end.
    Closing,
    /// The new process has no such route.
    NoRoute,
    /// The new process does not know such states.
    OtherVersion,
    /// Its state cannot be written, sent or read.
    Untaken,
}

/// What has become of the tunnels of one core, for the control thread.
#[derive(Debug, Default)]
pub struct Departed {
    /// They live in the new process.
    moved: AtomicU64,
    /// Those that were called and stay, by reason.
    stayed: [AtomicU64; Stay::ALL.len()],
    /// Those that were open at the end.
    left: AtomicU64,
    is_over: AtomicBool,
}

impl Departures {
    /// From now on no tunnel of this core is told to say goodbye.
    pub(super) fn begin(&self) {
        self.is_under_way.set(true);
    }

    /// Whoever is left may be told.
    pub(super) fn end(&self) {
        self.is_under_way.set(false);
    }

    /// Whether tunnels are still to move.
    pub fn is_under_way(&self) -> bool {
        self.is_under_way.get()
    }

    /// So many tunnels may come that are woken until [`Departures::close`].
    pub(super) fn call(&self, count: usize) {
        self.wanted.set(count);
    }

    /// A tunnel that is woken is to come.
    pub fn calls(&self) -> bool {
        self.wanted.get() > 0
    }

    /// Nobody else may come into this record.
    pub(super) fn close(&self) -> Filled {
        self.wanted.set(0);
        self.filled.take()
    }

    /// A tunnel comes. Its state and its registration are written by these.
    ///
    /// # Errors
    /// That of `state`: the tunnel stays.
    pub fn board<E, L: Leaver + 'static>(
        &self,
        leaver: Box<L>,
        state: impl FnOnce(&L, &mut Vec<u8>) -> Result<(), E>,
        registration: impl FnOnce(&L, &mut Vec<u8>),
    ) -> Result<(), (Box<L>, E)> {
        let mut filled = self.filled.borrow_mut();
        let Filled { leavers, bytes } = &mut *filled;
        if let Err(error) = put_entry(bytes, |out| state(&leaver, out), |out| registration(&leaver, out)) {
            return Err((leaver, error));
        }
        leavers.push(leaver);
        let left = if bytes.len() > RECORD_FILE_BYTES { 0 } else { self.wanted.get().saturating_sub(1) };
        self.wanted.set(left);
        Ok(())
    }
}

impl Stay {
    /// All of them, in their order.
    pub const ALL: [Stay; 5] = [Stay::Tls, Stay::Closing, Stay::NoRoute, Stay::OtherVersion, Stay::Untaken];
}

impl Departed {
    /// One more tunnel has moved.
    pub(super) fn moves(&self) {
        self.moved.fetch_add(1, Ordering::Relaxed);
    }

    /// How many have moved.
    pub fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// How many were open when the core was done.
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    /// One more tunnel stays.
    pub fn stays(&self, why: Stay) {
        self.stayed[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many stay for this reason.
    pub fn stayed(&self, why: Stay) -> u64 {
        self.stayed[why as usize].load(Ordering::Relaxed)
    }

    /// The core is done, with so many tunnels left.
    pub(super) fn finish(&self, left: u64) {
        self.left.store(left, Ordering::Relaxed);
        self.is_over.store(true, Ordering::Release);
    }

    /// Whether the core is done.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}
