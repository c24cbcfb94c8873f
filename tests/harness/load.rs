//! Clients that never rest: some keep their connection, some take a new one for each request. Whatever goes wrong for
//! one of them is remembered.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{PATIENCE, Request, eventually};

/// Running clients; [`Load::stop`] says what they saw.
pub struct Load {
    seen: Arc<Seen>,
    clients: Vec<JoinHandle<()>>,
}

/// What the clients saw.
#[derive(Default)]
pub struct Seen {
    is_over: AtomicBool,
    /// Complete answers with status 200 on connections that were kept.
    pub kept: AtomicUsize,
    /// The same on connections of their own.
    pub own: AtomicUsize,
    /// What was anything else.
    pub failures: Mutex<Vec<String>>,
}

impl Load {
    /// So many clients of either kind, each with one request at a time.
    pub fn start(address: SocketAddr, request: &Request, of_each: usize) -> Load {
        let (seen, bytes) = (Arc::new(Seen::default()), request.bytes());
        let client = |is_kept: bool| {
            let (seen, bytes) = (seen.clone(), bytes.clone());
            thread::spawn(move || {
                while !seen.is_over.load(Ordering::SeqCst) {
                    if let Err(failure) = seen.converse(address, &bytes, is_kept) {
                        seen.failures.lock().expect("no panic while locked").push(failure);
                        thread::sleep(Duration::from_millis(5));
                    }
                }
            })
        };
        let clients = (0..2 * of_each).map(|nth| client(nth % 2 == 0)).collect();
        let load = Load { seen, clients };
        load.goes_on();
        load
    }

    /// Waits until clients of either kind have had answers that began after this moment.
    pub fn goes_on(&self) {
        let Seen { kept, own, .. } = &*self.seen;
        let before = [kept, own].map(|count| count.load(Ordering::SeqCst));
        let enough = self.clients.len();
        eventually("the load goes on", || {
            [kept, own]
                .into_iter()
                .zip(before)
                .all(|(count, before)| count.load(Ordering::SeqCst) > before + enough)
        });
    }

    /// Ends the clients after the request that each of them is at. How many answers there were, and the failures.
    pub fn stop(self) -> (usize, Vec<String>) {
        self.seen.is_over.store(true, Ordering::SeqCst);
        self.clients.into_iter().for_each(|client| client.join().expect("a client does not panic"));
        let answers = self.seen.kept.load(Ordering::SeqCst) + self.seen.own.load(Ordering::SeqCst);
        let failures = std::mem::take(&mut *self.seen.failures.lock().expect("no panic while locked"));
        (answers, failures)
    }
}

impl Seen {
    /// One connection to its end.
    fn converse(&self, address: SocketAddr, request: &[u8], is_kept: bool) -> Result<(), String> {
        let mut stream = TcpStream::connect(address).map_err(|error| told("connecting", &error))?;
        stream.set_nodelay(true).map_err(|error| told("connecting", &error))?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|error| told("connecting", &error))?;
        let count = if is_kept { &self.kept } else { &self.own };
        loop {
            stream.write_all(request).map_err(|error| told("sending", &error))?;
            let closes = answer(&mut stream)?;
            count.fetch_add(1, Ordering::SeqCst);
            if closes || !is_kept || self.is_over.load(Ordering::SeqCst) {
                return Ok(());
            }
            // Requests at every possible moment, and some of the processor for the gateways.
            thread::sleep(Duration::from_micros(500));
        }
    }
}

/// Reads one answer with a length, whose status must be 200. Whether the connection ends with it.
pub fn answer(stream: &mut TcpStream) -> Result<bool, String> {
    let (mut bytes, mut space) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
            let length: usize = length.and_then(|length| length.parse().ok()).ok_or("no length")?;
            if bytes.len() == end + 4 + length {
                let is_good = head.starts_with("http/1.1 200");
                return if is_good { Ok(head.contains("connection: close")) } else { Err(head) };
            }
        }
        match stream.read(&mut space) {
            Ok(0) => return Err(format!("closed after {} bytes of an answer", bytes.len())),
            Ok(count) => bytes.extend(&space[..count]),
            Err(error) => return Err(told("reading", &error)),
        }
    }
}

fn told(step: &str, error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionReset => format!("{step}: reset"),
        ErrorKind::ConnectionRefused => format!("{step}: refused"),
        _ => format!("{step}: {error}"),
    }
}
