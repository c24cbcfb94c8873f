//! A TLS session on its socket: the receiving and sending, the waiting, and the end of a connection.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};

use super::agreed::{Agreed, may_half_close};
use super::fault::Fault;
use super::gate::InFlight;
use super::hello;
use super::session::{Parted, Session};
use crate::clock;
use crate::limits::TLS_RECORDS_PER_TURN;
use crate::net::{BufferPool, Liveness, StreamSocket};
use crate::tls::client::Verified;

/// A connection that speaks TLS.
pub struct TlsStream {
    socket: StreamSocket,
    session: RefCell<Session>,
    /// Records that may be decrypted before other tasks have a turn.
    records_left: Cell<u32>,
    /// Bytes have left for the peer since somebody asked.
    has_moved: Cell<bool>,
    /// The end must not look orderly.
    is_cut: Cell<bool>,
    /// When the connection was accepted.
    begun_ms: u64,
    in_flight: RefCell<Option<InFlight>>,
    /// What the client asked for by name.
    name: OnceCell<Box<str>>,
    /// Whom the client's certificate names, once somebody has asked.
    verified_client: OnceCell<Box<Verified>>,
}

/// How far a handshake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// The next record is here.
    Step,
    /// What was sealed has to leave first.
    Send,
    /// The peer has the word.
    Receive,
    /// It is over.
    Done,
}

/// A session on its way to another core, without the socket.
pub struct Detached {
    session: Parted,
    name: OnceCell<Box<str>>,
}

impl TlsStream {
    /// The server's side of a connection that was just accepted. `in_flight`: its place among the handshakes. `None`:
    /// the configuration is of no use.
    pub fn server(
        socket: StreamSocket,
        config: Arc<ServerConfig>,
        pool: &Rc<BufferPool>,
        in_flight: InFlight,
    ) -> Option<TlsStream> {
        let session = Session::server(config, pool)?;
        Some(TlsStream::new(socket, session, Some(in_flight), OnceCell::new()))
    }

    /// The client's side of a connection that was just opened, to a server that proves this name.
    ///
    /// # Errors
    /// The configuration is of no use.
    pub fn client(
        socket: StreamSocket,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        pool: &Rc<BufferPool>,
    ) -> Result<TlsStream, Fault> {
        let session = Session::client(config, name, pool).ok_or(Fault::Protocol)?;
        Ok(TlsStream::new(socket, session, None, OnceCell::new()))
    }

    fn new(
        socket: StreamSocket,
        session: Session,
        in_flight: Option<InFlight>,
        name: OnceCell<Box<str>>,
    ) -> TlsStream {
        TlsStream {
            socket,
            session: RefCell::new(session),
            records_left: Cell::new(TLS_RECORDS_PER_TURN),
            has_moved: Cell::new(false),
            is_cut: Cell::new(false),
            begun_ms: clock::now_ms(),
            in_flight: RefCell::new(in_flight),
            name,
            verified_client: OnceCell::new(),
        }
    }

    /// The socket, for its readiness and options.
    pub fn socket(&self) -> &StreamSocket {
        &self.socket
    }

    /// When the connection was accepted, in milliseconds of the coarse clock.
    pub fn begun_ms(&self) -> u64 {
        self.begun_ms
    }

    /// Whether the handshake is still to be finished.
    pub fn is_handshaking(&self) -> bool {
        self.in_flight.borrow().is_some()
    }

    /// What the handshake waits for.
    ///
    /// # Errors
    /// It has failed.
    pub fn handshake(&self) -> Result<Handshake, Fault> {
        let session = self.session.borrow();
        match session.fault() {
            Some(fault) => Err(fault),
            None if session.has_unsent() => Ok(Handshake::Send),
            None if !session.is_handshaking() => {
                drop(session);
                self.in_flight.borrow_mut().take();
                self.park();
                Ok(Handshake::Done)
            }
            None if is_plain(&session) => Err(Fault::PlainHttp),
            None if session.is_readable() => Ok(Handshake::Step),
            None => Ok(Handshake::Receive),
        }
    }

    /// Processes the next record of the handshake. Where that signs, it takes long.
    ///
    /// # Errors
    /// It has failed; the peer was told.
    pub fn step(&self) -> Result<(), Fault> {
        let mut session = self.session.borrow_mut();
        if let Some(name) = hello::server_name(session.undecrypted()) {
            let _ = self.name.set(name.into());
        }
        let stepped = session.advance();
        let _ = self.flush(&mut session);
        stepped.map(|_| ())
    }

    /// Why nothing more is received.
    pub fn fault(&self) -> Option<Fault> {
        self.session.borrow().fault()
    }

    /// Bytes that have come and are not decrypted.
    pub fn held(&self) -> usize {
        self.session.borrow().undecrypted().len()
    }

    /// What was agreed on.
    pub fn agreed(&self) -> Option<Agreed> {
        Agreed::of(self.session.borrow().agreed()?)
    }

    /// The name that the client asked for, if it did.
    pub fn server_name(&self) -> Option<&str> {
        self.name.get().map(|name| &**name)
    }

    /// Whom the client's certificate names. `None`: it has shown none, neither here nor on the connection whose session
    /// goes on here.
    pub fn verified_client(&self) -> Option<&Verified> {
        if let Some(known) = self.verified_client.get() {
            return Some(known);
        }
        let session = self.session.borrow();
        let certificate = session.agreed()?.peer_certificates()?.first()?;
        Some(self.verified_client.get_or_init(|| Box::new(Verified::read(certificate))))
    }

    /// Receives records, without decrypting them. `Some(0)`: the peer's last byte has come.
    ///
    /// # Errors
    /// The peer is gone, or has sent too much.
    pub fn receive(&self) -> io::Result<Option<usize>> {
        self.receive_into(&mut self.session.borrow_mut())
    }

    fn receive_into(&self, session: &mut Session) -> io::Result<Option<usize>> {
        let room = session.room();
        if room.is_empty() {
            session.fail(Fault::Protocol);
            return Err(Fault::Protocol.into());
        }
        let received = self.socket.try_recv(room)?;
        session.received(received.unwrap_or(0));
        if received == Some(0) && !session.has_ended() {
            // RFC 8446 §6.1: without a close_notify, what is missing may have been taken away by somebody else.
            session.fail(Fault::Closed);
        }
        Ok(received)
    }

    /// As [`Transport::try_recv`](crate::net::Transport::try_recv).
    pub fn try_recv(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        let mut session = self.session.borrow_mut();
        let mut records_left = self.records_left.get();
        let taken = self.take(&mut session, into, &mut records_left);
        self.records_left.set(records_left);
        if session.has_unsent() {
            // Answers of the protocol's own, and alerts. If they do not fit now, they leave with the next send.
            let _ = self.flush(&mut session);
        }
        match self.socket.may_read_on() {
            true => session.release(),
            false => session.park(),
        }
        taken
    }

    fn take(
        &self,
        session: &mut Session,
        into: &mut [u8],
        records_left: &mut u32,
    ) -> io::Result<Option<usize>> {
        let taken = session.take(into, records_left)?;
        if taken > 0 {
            return Ok(Some(taken));
        }
        if session.has_ended() {
            return Ok(Some(0));
        }
        // Records that wait for the next turn are taken before others are received.
        if session.is_readable() || self.receive_into(session)?.is_none() {
            return Ok(None);
        }
        match session.take(into, records_left)? {
            0 if session.has_ended() => Ok(Some(0)),
            0 => Ok(None),
            taken => Ok(Some(taken)),
        }
    }

    /// As [`Transport::try_send_both`](crate::net::Transport::try_send_both). Bytes count as sent when they are sealed:
    /// [`TlsStream::try_flush`] says when they have left.
    pub fn try_send_both(&self, first: &[u8], second: &[u8]) -> io::Result<Option<usize>> {
        let mut session = self.session.borrow_mut();
        if !self.flush(&mut session)? {
            return Ok(None);
        }
        let sealed = session.seal(first, second)?;
        self.flush(&mut session)?;
        Ok(Some(sealed))
    }

    /// Sends what is sealed, as far as the kernel takes it. True: all of it has left.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn try_flush(&self) -> io::Result<bool> {
        self.flush(&mut self.session.borrow_mut())
    }

    fn flush(&self, session: &mut Session) -> io::Result<bool> {
        while session.has_unsent() {
            match self.socket.try_send(session.unsent()) {
                Ok(Some(sent)) => session.sent(sent),
                Ok(None) => {
                    session.park();
                    return Ok(false);
                }
                Err(error) => {
                    // They will never leave.
                    session.sent(session.unsent().len());
                    session.fail(Fault::Closed);
                    return Err(error);
                }
            }
            self.has_moved.set(true);
        }
        Ok(true)
    }

    /// Whether sealed bytes wait to leave.
    pub fn has_unsent(&self) -> bool {
        self.session.borrow().has_unsent()
    }

    /// Whether bytes have left for the peer since the last call.
    pub fn take_moved(&self) -> bool {
        self.has_moved.take()
    }

    /// Bytes that the peer's kernel has not acknowledged, or that have not left yet.
    pub fn unacknowledged(&self) -> u64 {
        self.session.borrow().unsent().len() as u64 + self.socket.unacknowledged()
    }

    /// Whether there is something to take without a wait. If that is to be in another turn of the core, waits for it.
    pub fn is_readable(&self) -> impl Future<Output = bool> {
        // Boxed, because it would be part of every wait, and is rare. Only a sleep leaves a turn on every driver.
        let is_late = self.has_readable() && self.records_left.get() == 0;
        let turn = is_late.then(|| Box::pin(monoio::time::sleep(Duration::from_millis(1))));
        async move {
            if let Some(turn) = turn {
                turn.await;
                self.begin_turn();
            }
            let is_readable = self.has_readable();
            if !is_readable {
                // What waits from now on has no block.
                self.park();
            }
            is_readable
        }
    }

    fn has_readable(&self) -> bool {
        self.session.borrow().is_readable()
    }

    /// Every other task has had a turn.
    pub fn begin_turn(&self) {
        self.records_left.set(TLS_RECORDS_PER_TURN);
    }

    /// Whether another read may follow before other tasks have a turn.
    pub fn may_read_on(&self) -> bool {
        match self.has_readable() {
            true => self.records_left.get() > 0,
            false => self.socket.may_read_on(),
        }
    }

    /// To be called before a wait that is not one for the peer: what has come has memory of just its size.
    pub fn park(&self) {
        self.session.borrow_mut().park();
    }

    /// Whether the connection is open and plaintext has come. What the protocol itself has sent is processed: it is
    /// neither.
    pub fn liveness(&self) -> Liveness {
        let mut session = self.session.borrow_mut();
        let seen = self.socket.peek();
        let has_bytes = matches!(seen, Liveness::Bytes | Liveness::Ended);
        if has_bytes && !session.is_readable() && self.receive_into(&mut session).is_err() {
            return Liveness::Closed;
        }
        let mut records_left = TLS_RECORDS_PER_TURN;
        while !session.has_plain() && records_left > 0 && matches!(session.advance(), Ok(true)) {
            records_left -= 1;
        }
        session.park();
        let has_ended = session.has_ended();
        let is_half_closed = has_ended && session.agreed().is_some_and(may_half_close);
        // Without a close_notify, an end may be anybody's work.
        let is_over = session.fault().is_some()
            || seen == Liveness::Closed
            || (seen == Liveness::HalfClosed && !has_ended)
            || (has_ended && !is_half_closed);
        match (session.has_plain(), is_over) {
            (true, true) => Liveness::Ended,
            (true, false) if is_half_closed || seen == Liveness::Ended => Liveness::Ended,
            (true, false) => Liveness::Bytes,
            (false, true) => Liveness::Closed,
            (false, false) if is_half_closed => Liveness::HalfClosed,
            // A second look, because what stood before the end may have been received.
            (false, false) => match self.socket.peek() {
                Liveness::Bytes if session.is_readable() => Liveness::Bytes,
                Liveness::Bytes => Liveness::Quiet,
                Liveness::HalfClosed => Liveness::Closed,
                looked => looked,
            },
        }
    }

    /// Makes the end look like one that came too early: without a close_notify.
    pub fn cut(&self) {
        self.is_cut.set(true);
    }

    /// Says close_notify and half-closes, as far as the kernel takes it.
    pub fn shutdown_write(&self) {
        self.say_close();
        self.socket.shutdown_write();
    }

    fn say_close(&self) {
        let mut session = self.session.borrow_mut();
        if !self.is_cut.replace(true) && session.close() {
            let _ = self.flush(&mut session);
        }
    }

    /// Takes the session off its socket, for another core. `socket`: a second descriptor. The stream is of no further
    /// use.
    pub fn detach(&mut self) -> Detached {
        self.is_cut.set(true);
        Detached { session: self.session.borrow_mut().part(), name: std::mem::take(&mut self.name) }
    }

    /// Goes on with a session on this core.
    ///
    /// # Errors
    /// The runtime cannot register the socket.
    pub fn attach(detached: Detached, socket: OwnedFd, pool: &Rc<BufferPool>) -> io::Result<TlsStream> {
        let session = Session::join(detached.session, pool);
        Ok(TlsStream::new(StreamSocket::new(socket)?, session, None, detached.name))
    }
}

/// Says goodbye, unless the end has to look cut: a connection that just ends could have been cut by anybody.
impl Drop for TlsStream {
    fn drop(&mut self) {
        if !self.is_handshaking() {
            self.say_close();
        }
    }
}

/// Whether the peer speaks HTTP where the handshake is due.
fn is_plain(session: &Session) -> bool {
    let is_http = if session.is_client() { hello::is_http_response } else { hello::is_http };
    is_http(session.undecrypted())
}
