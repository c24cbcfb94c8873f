//! One TLS session without its socket: records in, plaintext out, and the other way round.
//!
//! ```text
//! socket ──▶ incoming ──open──▶ the caller's memory   (what does not fit: plain)
//! socket ◀── outgoing ◀──seal── the caller's bytes
//! ```
//!
//! Each of the three buffers owns memory only while bytes are in it. The protocol and its cryptography are those of
//! `rustls`, whose unbuffered interface nothing outside `machine.rs` knows.

use std::rc::Rc;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, CommonState, Error, ServerConfig};

use super::fault::Fault;
use super::machine::{Machine, Opened, Stepped, Wish};
use super::record::{Front, front};
use crate::limits::{
    BUFFER_BYTES, TLS_BARREN_RECORDS_MAX, TLS_HANDSHAKE_BYTES_MAX, TLS_RECORD_BYTES_MAX, TLS_SEALED_BYTES_MAX,
};
use crate::net::{Buffer, BufferPool};

/// A session.
pub(super) struct Session {
    machine: Machine,
    /// Records as they came.
    incoming: Buffer,
    /// Bytes at the front of `incoming` that were processed and are still needed: parts of a message that is cut into
    /// several records.
    processed: usize,
    /// Decrypted bytes that did not fit where they were wanted.
    plain: Buffer,
    /// Records that have to be sent. Nothing more is sealed before they have left.
    outgoing: Buffer,
    /// Records in a row without a byte of plaintext.
    barren: u32,
    receiving: Receiving,
}

/// What the peer may still send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Receiving {
    Open,
    /// It has said close_notify.
    Ended,
    Failed(Fault),
}

/// What a session is without its core: it can go to another one.
pub(super) struct Parted {
    machine: Machine,
    incoming: Box<[u8]>,
    processed: usize,
    plain: Box<[u8]>,
    outgoing: Box<[u8]>,
    receiving: Receiving,
}

impl Session {
    /// The server's side of a connection that has just begun. `None`: the configuration is of no use.
    pub(super) fn server(config: Arc<ServerConfig>, pool: &Rc<BufferPool>) -> Option<Session> {
        Some(Session::new(Machine::server(config)?, pool))
    }

    /// The client's side, to a server that proves this name. It has its first word ready. `None`: the configuration is
    /// of no use.
    pub(super) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        pool: &Rc<BufferPool>,
    ) -> Option<Session> {
        let mut session = Session::new(Machine::client(config, name)?, pool);
        session.open(0, &mut []).ok()?;
        Some(session)
    }

    fn new(machine: Machine, pool: &Rc<BufferPool>) -> Session {
        Session {
            machine,
            incoming: pool.buffer(),
            processed: 0,
            plain: pool.buffer(),
            outgoing: pool.buffer(),
            barren: 0,
            receiving: Receiving::Open,
        }
    }

    /// Takes the session away from its core. What is left here is of no further use.
    pub(super) fn part(&mut self) -> Parted {
        let take = |buffer: &mut Buffer| {
            let bytes = buffer.filled().into();
            buffer.clear();
            buffer.release_if_empty();
            bytes
        };
        Parted {
            machine: std::mem::replace(&mut self.machine, Machine::Gone),
            incoming: take(&mut self.incoming),
            processed: std::mem::take(&mut self.processed),
            plain: take(&mut self.plain),
            outgoing: take(&mut self.outgoing),
            receiving: std::mem::replace(&mut self.receiving, Receiving::Failed(Fault::Closed)),
        }
    }

    /// Goes on with a session on the core with this pool.
    pub(super) fn join(parted: Parted, pool: &Rc<BufferPool>) -> Session {
        let mut session = Session::new(parted.machine, pool);
        session.processed = parted.processed;
        session.receiving = parted.receiving;
        for (buffer, bytes) in [
            (&mut session.incoming, parted.incoming),
            (&mut session.plain, parted.plain),
            (&mut session.outgoing, parted.outgoing),
        ] {
            if !bytes.is_empty() {
                buffer.put(&bytes);
                buffer.park();
            }
        }
        session
    }

    /// What both sides have agreed on. `None`: the session is gone.
    pub(super) fn agreed(&self) -> Option<&CommonState> {
        self.machine.agreed()
    }

    /// Whether this is the client's side.
    pub(super) fn is_client(&self) -> bool {
        matches!(self.machine, Machine::Client(_))
    }

    /// Whether the handshake is still to be finished.
    pub(super) fn is_handshaking(&self) -> bool {
        self.agreed().is_some_and(CommonState::is_handshaking)
    }

    /// Why nothing more is received.
    pub(super) fn fault(&self) -> Option<Fault> {
        match self.receiving {
            Receiving::Failed(fault) => Some(fault),
            Receiving::Open | Receiving::Ended => None,
        }
    }

    /// Nothing more is received, for this reason.
    pub(super) fn fail(&mut self, fault: Fault) {
        if self.receiving == Receiving::Open {
            self.receiving = Receiving::Failed(fault);
        }
        self.incoming.clear();
        self.incoming.release_if_empty();
        self.processed = 0;
    }

    /// The peer has said close_notify.
    pub(super) fn has_ended(&self) -> bool {
        self.receiving == Receiving::Ended
    }

    /// Whether there is something to take without receiving anything.
    pub(super) fn is_readable(&self) -> bool {
        !self.plain.is_empty() || self.receiving != Receiving::Open || self.record().is_some()
    }

    /// Whether decrypted bytes are here.
    pub(super) fn has_plain(&self) -> bool {
        !self.plain.is_empty()
    }

    /// What came and is not decrypted.
    pub(super) fn undecrypted(&self) -> &[u8] {
        &self.incoming.filled()[self.processed..]
    }

    /// Where the next record ends in `incoming`, if it is here whole or is none.
    fn record(&self) -> Option<usize> {
        match front(self.undecrypted()) {
            Front::Whole(length) => Some(self.processed + length),
            Front::Partial => None,
            Front::Wrong => Some(self.incoming.len()),
        }
    }

    /// Room for what comes from the peer. Empty: it has sent more than one message may have.
    pub(super) fn room(&mut self) -> &mut [u8] {
        let bytes_max = if self.is_handshaking() { TLS_HANDSHAKE_BYTES_MAX } else { BUFFER_BYTES };
        let left = bytes_max.saturating_sub(self.incoming.len());
        let room = self.incoming.room();
        let room_bytes = room.len().min(left);
        &mut room[..room_bytes]
    }

    /// Counts `n` bytes of the room as received.
    pub(super) fn received(&mut self, n: usize) {
        self.incoming.fill(n);
    }

    /// To be called before a wait: what waits too has memory of just its size.
    pub(super) fn park(&mut self) {
        self.incoming.park();
        self.plain.park();
        self.outgoing.park();
    }

    /// Gives back the memory in which nothing waits.
    pub(super) fn release(&mut self) {
        self.incoming.release_if_empty();
        self.plain.release_if_empty();
    }

    /// Takes plaintext: what was decrypted before, then that of whole records, as far as `into` has room for them.
    /// At most `records_left` of them, which it counts down.
    ///
    /// # Errors
    /// The peer broke the protocol. What it sent before that was taken by an earlier call.
    pub(super) fn take(&mut self, into: &mut [u8], records_left: &mut u32) -> Result<usize, Fault> {
        let mut taken = self.take_plain(into);
        while taken < into.len() && *records_left > 0 && self.receiving == Receiving::Open {
            let Some(end) = self.record() else { break };
            if taken > 0 && end - self.processed > into.len() - taken {
                break;
            }
            *records_left -= 1;
            match self.open(end, &mut into[taken..]) {
                Ok(opened) => taken += opened,
                Err(_) if taken > 0 => break,
                Err(fault) => return Err(fault),
            }
        }
        match self.receiving {
            Receiving::Failed(fault) if taken == 0 => Err(fault),
            _ => Ok(taken),
        }
    }

    fn take_plain(&mut self, into: &mut [u8]) -> usize {
        let n = self.plain.len().min(into.len());
        if n > 0 {
            into[..n].copy_from_slice(&self.plain.filled()[..n]);
            self.plain.consume(n);
            self.plain.release_if_empty();
        }
        n
    }

    /// Decrypts the next record and keeps what is in it. False: there is none.
    ///
    /// # Errors
    /// The peer broke the protocol.
    pub(super) fn advance(&mut self) -> Result<bool, Fault> {
        match self.receiving {
            Receiving::Failed(fault) => return Err(fault),
            Receiving::Ended => return Ok(false),
            Receiving::Open => {}
        }
        let Some(end) = self.record().filter(|_| self.plain.is_empty()) else { return Ok(false) };
        self.open(end, &mut [])?;
        Ok(true)
    }

    /// Processes the record that ends at `end` in `incoming`. Returns how much plaintext is in `into`.
    fn open(&mut self, end: usize, into: &mut [u8]) -> Result<usize, Fault> {
        let mut end = end;
        let mut opened = 0;
        for _ in 0..STEPS_PER_RECORD_MAX {
            let (discard, stepped) = self.step(end, Wish::Nothing, &mut into[opened..], &mut opened);
            self.incoming.consume(discard.min(end));
            end = end.saturating_sub(discard);
            match stepped {
                Ok(Stepped::More | Stepped::Granted) => {}
                Ok(Stepped::Opened) if end > 0 => {}
                Ok(Stepped::Ended) => self.receiving = Receiving::Ended,
                Ok(Stepped::Opened | Stepped::Rest) => {
                    self.processed = end;
                    return self.count(opened);
                }
                Err(error) => {
                    self.processed = end;
                    self.say_alert();
                    let fault = if self.is_client() { Fault::of_server(&error) } else { Fault::of(&error) };
                    self.fail(fault);
                    return Err(fault);
                }
            }
        }
        self.fail(Fault::Protocol);
        Err(Fault::Protocol)
    }

    /// A peer that keeps sending records with nothing in them only costs.
    fn count(&mut self, opened: usize) -> Result<usize, Fault> {
        let is_barren = opened == 0 && self.plain.is_empty() && !self.is_handshaking();
        self.barren = if is_barren { self.barren + 1 } else { 0 };
        if self.barren > TLS_BARREN_RECORDS_MAX {
            self.fail(Fault::Protocol);
            return Err(Fault::Protocol);
        }
        Ok(opened)
    }

    /// An error of ours has an alert, which is the machine's next word.
    fn say_alert(&mut self) {
        let _ = self.step(self.processed.min(self.incoming.len()), Wish::Nothing, &mut [], &mut 0);
    }

    /// One step of the machine with the bytes of `incoming` up to `end`. The number: how many of these are done with.
    fn step(
        &mut self,
        end: usize,
        wish: Wish<'_>,
        into: &mut [u8],
        opened: &mut usize,
    ) -> (usize, Result<Stepped, Error>) {
        let incoming = &mut self.incoming.filled_mut()[..end];
        self.machine.step(incoming, wish, Opened { into, opened, plain: &mut self.plain }, &mut self.outgoing)
    }

    /// Whether sealed bytes wait to be sent.
    pub(super) fn has_unsent(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Sealed bytes that wait to be sent.
    pub(super) fn unsent(&self) -> &[u8] {
        self.outgoing.filled()
    }

    /// So many of them have left.
    pub(super) fn sent(&mut self, n: usize) {
        self.outgoing.consume(n);
        self.outgoing.release_if_empty();
    }

    /// Seals as much of two pieces as one block should hold, into as few records as possible. Nothing may be unsent.
    /// Returns how many bytes of the pieces are sealed.
    ///
    /// # Errors
    /// Nothing can be sent any more.
    pub(super) fn seal(&mut self, first: &[u8], second: &[u8]) -> Result<usize, Fault> {
        if second.is_empty() || first.len() >= TLS_RECORD_BYTES_MAX {
            return self.seal_piece(&first[..first.len().min(TLS_SEALED_BYTES_MAX)]);
        }
        if first.is_empty() {
            return self.seal_piece(&second[..second.len().min(TLS_SEALED_BYTES_MAX)]);
        }
        // A record is sealed from one piece of memory, so that of both is copied together.
        let (along, rest) = second.split_at(second.len().min(TLS_RECORD_BYTES_MAX - first.len()));
        let joined = first.len() + along.len();
        let mut scratch = self.plain.sibling();
        scratch.put_all([first, along]);
        self.seal_piece(scratch.filled())?;
        drop(scratch);
        let rest = &rest[..rest.len().min(TLS_SEALED_BYTES_MAX - joined)];
        if rest.is_empty() {
            return Ok(joined);
        }
        Ok(joined + self.seal_piece(rest)?)
    }

    fn seal_piece(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        self.say(Wish::Seal(bytes))?;
        Ok(bytes.len())
    }

    /// Seals the close_notify, behind what is unsent. False: it cannot be said. A peer that has ended without one still
    /// has to know that what it gets is whole.
    pub(super) fn close(&mut self) -> bool {
        let may_listen = matches!(self.fault(), None | Some(Fault::Closed));
        !self.is_handshaking() && may_listen && self.say(Wish::Close).is_ok()
    }

    fn say(&mut self, wish: Wish<'_>) -> Result<(), Fault> {
        for _ in 0..STEPS_PER_RECORD_MAX {
            match self.step(self.processed, wish, &mut [], &mut 0).1 {
                Ok(Stepped::Granted) => return Ok(()),
                Ok(Stepped::More) => {}
                // Both sides have said their last word, or the handshake is not over.
                Ok(Stepped::Rest | Stepped::Opened | Stepped::Ended) => break,
                Err(_) => break,
            }
        }
        Err(self.fault().unwrap_or(Fault::Closed))
    }
}

/// Steps that one record can take: a flight of the handshake has a few messages, each of one or two records.
const STEPS_PER_RECORD_MAX: u32 = 64;
