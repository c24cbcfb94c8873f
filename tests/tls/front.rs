//! TLS before an origin: what the gateway says goes to a plain origin, and the other way round.
//!
//! ```text
//! gateway ──TLS──▶ front ──plain──▶ origin
//! ```

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustls::{HandshakeKind, ServerConfig, ServerConnection};

use crate::harness::Origin;

/// What an origin writes to make its front change the keys of the session; nothing of it goes to the gateway. What
/// stands behind it goes in a record of its own.
pub(super) const NEW_KEYS: &str = "\0new keys\0";

/// What an origin writes to make its front end here, in the middle of the record that would come next.
pub(super) const PART: &str = "\0part\0";

/// How the front ends a connection that its origin has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// As the protocol wants it.
    CloseNotify,
    /// As one that somebody has cut.
    Cut,
}

/// A listener for TLS before an origin.
pub(super) struct Front {
    pub(super) address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    handshakes: AtomicUsize,
    resumed: AtomicUsize,
    is_over: AtomicBool,
}

impl Front {
    pub(super) fn before(origin: &Origin, config: ServerConfig) -> Front {
        Front::ending(origin, config, Ending::CloseNotify)
    }

    pub(super) fn ending(origin: &Origin, config: ServerConfig, ending: Ending) -> Front {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (seen, config, origin) = (Arc::<Seen>::default(), Arc::new(config), origin.address);
        let counts = seen.clone();
        thread::spawn(move || {
            for gateway in listener.incoming().flatten() {
                if counts.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let (counts, config) = (counts.clone(), config.clone());
                thread::spawn(move || serve(gateway, origin, config, &counts, ending));
            }
        });
        Front { address, seen }
    }

    /// Handshakes that were finished.
    pub(super) fn handshakes(&self) -> usize {
        self.seen.handshakes.load(Ordering::SeqCst)
    }

    /// Those of them that went on with an earlier session.
    pub(super) fn resumed(&self) -> usize {
        self.seen.resumed.load(Ordering::SeqCst)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.seen.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut gateway: TcpStream, origin: SocketAddr, config: Arc<ServerConfig>, seen: &Seen, ending: Ending) {
    gateway.set_nodelay(true).expect("an option");
    let mut session = ServerConnection::new(config).expect("a session");
    while session.is_handshaking() {
        if session.complete_io(&mut gateway).is_err() {
            // The alert has to be read: a close with bytes unread would be a reset.
            let _ = gateway.shutdown(Shutdown::Write);
            let _ = io::copy(&mut gateway, &mut io::sink());
            return;
        }
    }
    // The tickets.
    let _ = flush(&mut session, &mut gateway);
    let is_resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
    seen.resumed.fetch_add(usize::from(is_resumed), Ordering::SeqCst);
    seen.handshakes.fetch_add(1, Ordering::SeqCst);
    let Ok(mut origin) = TcpStream::connect(origin) else { return };
    let _ = carry(&mut session, &mut gateway, &mut origin, ending);
}

fn carry(
    session: &mut ServerConnection,
    gateway: &mut TcpStream,
    origin: &mut TcpStream,
    ending: Ending,
) -> io::Result<()> {
    let (mut is_from_open, mut is_to_open) = (true, true);
    // The first bytes may have come with the end of the handshake.
    take_plain(session, origin)?;
    while is_from_open || is_to_open {
        let flag = |holds| if holds { PollFlags::IN } else { PollFlags::empty() };
        let mut polled =
            [PollFd::new(&*gateway, flag(is_from_open)), PollFd::new(&*origin, flag(is_to_open))];
        poll(&mut polled, None)?;
        let [from, to] = polled.map(|polled| !polled.revents().is_empty());
        if from && is_from_open {
            let n = session.read_tls(gateway)?;
            let state = session.process_new_packets().map_err(io::Error::other)?;
            take_plain(session, origin)?;
            flush(session, gateway)?;
            if n == 0 || state.peer_has_closed() {
                is_from_open = false;
                let _ = origin.shutdown(Shutdown::Write);
            }
        } else if from {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if to && is_to_open {
            let mut space = vec![0; 64 * 1024];
            let n = origin.read(&mut space)?;
            if n == 0 {
                is_to_open = false;
                if ending == Ending::CloseNotify {
                    session.send_close_notify();
                    flush(session, gateway)?;
                }
                let _ = gateway.shutdown(Shutdown::Write);
            }
            say(session, gateway, &space[..n])?;
        } else if to && !is_from_open {
            return Ok(());
        }
    }
    Ok(())
}

fn take_plain(session: &mut ServerConnection, origin: &mut TcpStream) -> io::Result<()> {
    let mut space = vec![0; 16 * 1024];
    loop {
        match session.reader().read(&mut space) {
            Ok(n @ 1..) => origin.write_all(&space[..n])?,
            _ => return Ok(()),
        }
    }
}

/// Sends what the origin says, and does what it asks the front for.
fn say(session: &mut ServerConnection, gateway: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let (now, later) = split_at(bytes, NEW_KEYS);
    let (whole, part) = split_at(now, PART);
    session.writer().write_all(whole)?;
    if let Some(later) = later {
        session.refresh_traffic_keys().map_err(io::Error::other)?;
        session.writer().write_all(later)?;
    }
    if part.is_some() {
        let mut records = Vec::new();
        session.write_tls(&mut records)?;
        let whole_bytes = records.len();
        session.writer().write_all(b"HTTP/1.1 200 OK")?;
        session.write_tls(&mut records)?;
        return gateway.write_all(&records[..whole_bytes + 9]);
    }
    flush(session, gateway)
}

fn split_at<'b>(bytes: &'b [u8], mark: &str) -> (&'b [u8], Option<&'b [u8]>) {
    let at = bytes.windows(mark.len()).position(|window| window == mark.as_bytes());
    at.map_or((bytes, None), |at| (&bytes[..at], Some(&bytes[at + mark.len()..])))
}

fn flush(session: &mut ServerConnection, gateway: &mut TcpStream) -> io::Result<()> {
    while session.wants_write() {
        session.write_tls(gateway)?;
    }
    Ok(())
}
