//! What an attacker has: where the gateway is, an address of its own, dice, a rate, and a tally.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::harness::*;

/// What an attacker did.
#[derive(Default)]
pub struct Tally {
    pub connects: AtomicU64,
    /// Connections that were not taken, or ended at once.
    pub refused: AtomicU64,
    /// Messages of its kind: requests, pieces, frames, signals.
    pub sent: AtomicU64,
    pub answers: AtomicU64,
}

pub struct Field<'f> {
    pub gateway: &'f Gateway,
    /// Where its connections come from.
    pub from: Ipv4Addr,
    pub dice: Dice,
    is_over: &'f AtomicBool,
    tally: &'f Tally,
}

impl<'f> Field<'f> {
    /// The field of the attacker with this number.
    pub fn new(
        gateway: &'f Gateway,
        is_over: &'f AtomicBool,
        tally: &'f Tally,
        seed: u64,
        nth: u8,
    ) -> Field<'f> {
        let dice = Dice(seed ^ u64::from(nth) << 32);
        Field { gateway, from: Ipv4Addr::new(127, 0, 1, nth + 1), dice, is_over, tally }
    }

    pub fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    /// Waits as long as a rate of so many a second asks for. Whether the attack goes on.
    pub fn paced(&self, per_second: u64) -> bool {
        thread::sleep(Duration::from_micros(1_000_000 / per_second));
        self.goes_on()
    }

    /// A connection to the public port.
    pub fn connect(&self) -> Option<TcpStream> {
        self.connect_to(self.gateway.public)
    }

    pub fn connect_to(&self, to: SocketAddr) -> Option<TcpStream> {
        let stream = connect(self.from, to);
        let count = if stream.is_ok() { &self.tally.connects } else { &self.tally.refused };
        count.fetch_add(1, Ordering::Relaxed);
        stream.ok()
    }

    pub fn count_sent(&self, count: u64) {
        self.tally.sent.fetch_add(count, Ordering::Relaxed);
    }

    pub fn count_answer(&self) {
        self.tally.answers.fetch_add(1, Ordering::Relaxed);
    }

    pub fn count_refused(&self) {
        self.tally.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Holds up to so many connections, `per_second` new ones. Each second every one of them is tended; one that is
    /// over, or that `tend` gives up, is replaced.
    pub fn hold(
        mut self,
        count: usize,
        per_second: u64,
        mut make: impl FnMut(&mut Field<'f>) -> Option<TcpStream>,
        mut tend: impl FnMut(&mut Field<'f>, &mut TcpStream) -> bool,
    ) {
        let mut held: Vec<TcpStream> = Vec::new();
        for step in 1.. {
            if !self.paced(per_second) {
                return;
            }
            if held.len() < count
                && let Some(stream) = make(&mut self)
            {
                let _ = stream.set_nonblocking(true);
                held.push(stream);
            }
            if step % per_second == 0 {
                held.retain_mut(|stream| {
                    let stays = tend(&mut self, stream);
                    if !stays {
                        self.count_refused();
                    }
                    stays
                });
            }
        }
    }
}

/// A connection from this address, on which nothing waits for long.
pub fn connect(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect_timeout(&to.into(), Duration::from_secs(2))?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.set_write_timeout(Some(Duration::from_millis(200)))?;
    Ok(stream)
}

/// The peer has said nothing and has not ended the connection.
pub fn is_quiet(stream: &TcpStream) -> bool {
    matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// The peer has not ended the connection. What it says is not read.
pub fn is_open(stream: &TcpStream) -> bool {
    is_quiet(stream) || matches!(stream.peek(&mut [0]), Ok(1..))
}

/// Reads whatever is there, for a second at most. Whether it was anything.
pub fn read_some(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 1 << 14]), Ok(1..))
}

/// Random numbers that a seed gives again (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) % bound as u64) as usize
    }
}
