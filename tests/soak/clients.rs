//! The well-behaved clients, each with an address and a user of its own, and the upstream that all of them use. What
//! goes wrong for one of them is remembered.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::field::{Dice, connect};
use crate::harness::*;

/// So many clients with requests, and so many with a WebSocket.
const HTTP: u8 = 40;
const SOCKETS: u8 = 10;

/// All of them; none has more than one connection.
pub const COUNT: u64 = HTTP as u64 + SOCKETS as u64;

/// A client pauses this long between two exchanges, on the average.
const PAUSE_MS: usize = 100;

/// A client of a kind that takes a new connection after so many requests.
const REQUESTS_PER_CONNECTION: u64 = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Nothing is asked; the connections stay.
    Resting,
    /// What is asked does not count.
    Warming,
    Quiet,
    Attacked,
    Over,
}

/// Running clients.
pub struct Clients {
    seen: Arc<Seen>,
    threads: Vec<JoinHandle<()>>,
}

/// What the clients saw.
pub struct Seen {
    phase: AtomicU8,
    /// Clients that are in the middle of something.
    busy: AtomicUsize,
    /// Microseconds of each exchange, by phase.
    took_us: [Mutex<Vec<u32>>; 5],
    failed: AtomicU64,
    /// How often each kind of failure was met.
    failures: Mutex<BTreeMap<String, u64>>,
}

impl Clients {
    pub fn start(address: SocketAddr, seed: u64) -> Clients {
        let seen = Arc::new(Seen {
            phase: AtomicU8::new(Phase::Resting as u8),
            busy: AtomicUsize::new(0),
            took_us: Default::default(),
            failed: AtomicU64::new(0),
            failures: Mutex::default(),
        });
        let client = |nth: u8| {
            let seen = seen.clone();
            let client =
                Client { address, nth, connection: None, asked: 0, dice: Dice(seed + u64::from(nth)) };
            thread::spawn(move || seen.run(client))
        };
        let threads = (0..HTTP + SOCKETS).map(client).collect();
        Clients { seen, threads }
    }

    pub fn enter(&self, phase: Phase) {
        self.seen.phase.store(phase as u8, Ordering::SeqCst);
    }

    /// Ends what is asked now, and keeps the connections.
    pub fn rest(&self) {
        self.enter(Phase::Resting);
        // Who waits for an answer that does not come gives up after its patience.
        let deadline = Instant::now() + 3 * PATIENCE;
        while self.seen.busy.load(Ordering::SeqCst) > 0 {
            assert!(Instant::now() < deadline, "a client does not come to rest");
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn stop(self) -> Arc<Seen> {
        self.enter(Phase::Over);
        self.threads.into_iter().for_each(|thread| thread.join().expect("a client does not panic"));
        self.seen
    }
}

impl Seen {
    /// The durations of a phase.
    pub fn of(&self, phase: Phase) -> Vec<u32> {
        self.took_us[phase as usize].lock().expect("no panic while locked").clone()
    }

    pub fn judge(&self) -> Option<String> {
        let failed = self.failed.load(Ordering::SeqCst);
        println!("failed exchanges of well-behaved clients: {failed}");
        let failures = self.failures.lock().expect("no panic while locked");
        failures.iter().take(20).for_each(|(failure, count)| println!("  {count:>7} {failure}"));
        (failed > 0).then(|| format!("{failed} exchanges of well-behaved clients failed"))
    }

    fn run(&self, mut client: Client) {
        loop {
            self.busy.fetch_add(1, Ordering::SeqCst);
            let phase = self.phase.load(Ordering::SeqCst);
            if phase == Phase::Resting as u8 || phase == Phase::Over as u8 {
                self.busy.fetch_sub(1, Ordering::SeqCst);
                if phase == Phase::Over as u8 {
                    return;
                }
                thread::sleep(Duration::from_millis(5));
                continue;
            }
            let begun = Instant::now();
            match client.exchange() {
                Ok(()) => {
                    let took = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
                    self.took_us[usize::from(phase)].lock().expect("no panic while locked").push(took);
                }
                Err(failure) => {
                    client.connection = None;
                    self.failed.fetch_add(1, Ordering::SeqCst);
                    let kind = if client.is_socket() { "WebSocket" } else { "HTTP" };
                    // Of an answer that is not as it should be, its first line.
                    let failure = format!("{kind}: {}", failure.lines().next().unwrap_or_default());
                    *self.failures.lock().expect("no panic while locked").entry(failure).or_default() += 1;
                }
            }
            self.busy.fetch_sub(1, Ordering::SeqCst);
            let pause = PAUSE_MS / 2 + client.dice.below(PAUSE_MS);
            thread::sleep(Duration::from_millis(pause as u64));
        }
    }
}

struct Client {
    address: SocketAddr,
    nth: u8,
    connection: Option<TcpStream>,
    asked: u64,
    dice: Dice,
}

impl Client {
    fn is_socket(&self) -> bool {
        self.nth >= HTTP
    }

    fn user(&self) -> String {
        format!("user-{}", self.nth)
    }

    fn exchange(&mut self) -> Result<(), String> {
        let is_new = self.connection.is_none();
        let mut stream = match self.connection.take() {
            Some(stream) => stream,
            None => {
                let stream = connect(Ipv4Addr::new(127, 0, 2, self.nth + 1), self.address);
                let stream = stream.map_err(|error| format!("connecting: {error}"))?;
                stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
                stream
            }
        };
        self.asked += 1;
        if self.is_socket() {
            if is_new {
                self.open(&mut stream)?;
            }
            self.echo(&mut stream)?;
            self.connection = Some(stream);
            return Ok(());
        }
        self.ask(&mut stream)?;
        // Every other one keeps its connection for good.
        if self.nth.is_multiple_of(2) || !self.asked.is_multiple_of(REQUESTS_PER_CONNECTION) {
            self.connection = Some(stream);
        }
        Ok(())
    }

    fn ask(&mut self, stream: &mut TcpStream) -> Result<(), String> {
        let request = match self.dice.below(4) {
            0 => Request::new("POST", "/api/v1/messages").body("m".repeat(self.dice.below(4_000))),
            _ => Request::new("GET", "/api/v1/users/me"),
        };
        let bytes = request.token(&self.user()).bytes();
        stream.write_all(&bytes).map_err(|error| format!("sending: {error}"))?;
        match whole_answer(stream)? {
            true => Err("the gateway ends the connection".to_owned()),
            false => Ok(()),
        }
    }

    fn open(&mut self, stream: &mut TcpStream) -> Result<(), String> {
        let bytes = handshake().token(&self.user()).bytes();
        stream.write_all(&bytes).map_err(|error| format!("sending a handshake: {error}"))?;
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).map_err(|error| format!("reading a handshake: {error}"))?;
            head.extend(byte);
        }
        match head.starts_with(b"HTTP/1.1 101 ") {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&head).into_owned()),
        }
    }

    fn echo(&mut self, stream: &mut TcpStream) -> Result<(), String> {
        let frame = Frame::new(0x82, vec![self.nth; self.dice.below(2_000)]);
        stream.write_all(&frame.masked()).map_err(|error| format!("sending a frame: {error}"))?;
        let (mut arrived, mut space) = (Vec::new(), [0; 4096]);
        loop {
            while let Some(got) = Frame::take(&mut arrived) {
                match got.first {
                    0x89 => {
                        let pong = Frame::pong(&got.payload).masked();
                        stream.write_all(&pong).map_err(|error| format!("sending a pong: {error}"))?;
                    }
                    _ if got == frame => return Ok(()),
                    _ => return Err(format!("another frame than was sent: {got:?}")),
                }
            }
            match stream.read(&mut space) {
                Ok(0) => return Err("the tunnel ended".to_owned()),
                Ok(count) => arrived.extend(&space[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("reading a frame: {error}")),
            }
        }
    }
}

/// The upstream of everybody, of the attackers too. It remembers nothing, as it lives long.
pub fn origin() -> Origin {
    Origin::new(|exchange| {
        while let Some(head) = exchange.read_head() {
            let target = head.word(1).to_owned();
            if target == "/ws?silent" {
                return exchange.wait_closed();
            }
            if target.starts_with("/ws") {
                exchange.write(switching(""));
                return match target.as_str() {
                    "/ws?flood" => flood(exchange),
                    _ => ServerSide::switched(exchange).echo(),
                };
            }
            if !exchange.read_body(&head).is_ok_and(|body| !body.truncated) {
                return;
            }
            let length = if target.ends_with("large") { 8 << 20 } else { 200 };
            exchange.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
            exchange.write(vec![b'a'; length]);
        }
    })
}

/// Frames without end, until the gateway ends the tunnel.
fn flood(exchange: &Exchange) {
    let frames = Frame::new(0x82, vec![7; 60_000]).plain();
    let _ = exchange.stream().set_write_timeout(None);
    while exchange.stream().write_all(&frames).is_ok() {}
}
