//! A scripted upstream: it answers with the bytes a test gives it and remembers what it was asked.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::PATIENCE;
use super::message::{Body, Framing, Head, Wire};

/// A listener with a script, one thread per connection.
pub struct Origin {
    pub address: SocketAddr,
    memory: Arc<Memory>,
}

impl Origin {
    /// Every connection runs the script, and ends with it.
    pub fn new(script: impl Fn(&mut Exchange) + Send + Sync + 'static) -> Origin {
        Origin::at("127.0.0.1:0".parse().expect("an address"), script)
    }

    /// The same at an address of the test's choice.
    pub fn at(address: SocketAddr, script: impl Fn(&mut Exchange) + Send + Sync + 'static) -> Origin {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("the port");
        let memory = Arc::new(Memory::default());
        let (seen, script) = (memory.clone(), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if seen.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let mut exchange = Exchange::new(stream, seen.clone());
                let script = script.clone();
                thread::spawn(move || script(&mut exchange));
            }
        });
        Origin { address, memory }
    }

    /// Every complete request gets the bytes that `answer` makes of it; the connection stays open.
    pub fn each(answer: impl Fn(&Received) -> Vec<u8> + Send + Sync + 'static) -> Origin {
        Origin::new(move |exchange| {
            while let Some(request) = exchange.read_request() {
                let bytes = answer(&request);
                exchange.write(bytes);
            }
        })
    }

    /// Every request gets these bytes.
    pub fn fixed(bytes: impl AsRef<[u8]>) -> Origin {
        let bytes = bytes.as_ref().to_vec();
        Origin::each(move |_| bytes.clone())
    }

    /// Every connection gets these bytes after its first request, and is closed.
    pub fn once(bytes: impl AsRef<[u8]>) -> Origin {
        let bytes = bytes.as_ref().to_vec();
        Origin::new(move |exchange| {
            if exchange.read_request().is_some() {
                exchange.write(&bytes);
            }
        })
    }

    /// Every request is answered, with `done`, when the test sends a word for it; when the sender is dropped, all are.
    pub fn held() -> (Origin, Sender<()>) {
        let (release, released) = channel();
        let released = Mutex::new(released);
        let origin = Origin::new(move |exchange| {
            while exchange.read_request().is_some() {
                let _ = released.lock().expect("no panic while locked").recv();
                exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
            }
        });
        (origin, release)
    }

    /// 200 and a JSON description of the request.
    pub fn echo() -> Origin {
        Origin::each(|request| {
            let seen = serde_json::json!({
                "method": request.method(),
                "target": request.target(),
                "fields": request.fields,
                "body_length": request.body.len(),
            });
            // The answer to HEAD has the length, not the body.
            let text = seen.to_string();
            let body = if request.method() == "HEAD" { "" } else { &text };
            let length = text.len();
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
            )
            .into_bytes()
        })
    }

    /// The complete requests so far.
    pub fn requests(&self) -> Vec<Received> {
        self.memory.requests.lock().expect("no panic while locked").clone()
    }

    /// The last complete request.
    #[track_caller]
    pub fn last(&self) -> Received {
        self.requests().pop().expect("a request reached the origin")
    }

    /// Request heads so far, whatever became of their bodies.
    pub fn heads(&self) -> usize {
        self.memory.heads.load(Ordering::SeqCst)
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.memory.accepted.load(Ordering::SeqCst)
    }

    /// Connections whose script is still running.
    pub fn open(&self) -> usize {
        self.memory.open.load(Ordering::SeqCst)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.memory.stopped.store(true, Ordering::SeqCst);
        // One more connection, so that the listener's thread looks at the flag.
        let _ = TcpStream::connect(self.address);
    }
}

#[derive(Default)]
struct Memory {
    requests: Mutex<Vec<Received>>,
    heads: AtomicUsize,
    accepted: AtomicUsize,
    open: AtomicUsize,
    stopped: AtomicBool,
}

/// A complete request as the origin got it.
#[derive(Debug, Clone)]
pub struct Received {
    pub head: Head,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// Head and body as they came, framing included.
    pub raw: Vec<u8>,
    /// Which connection it came on, counted from 1.
    pub connection: usize,
}

impl Received {
    pub fn method(&self) -> &str {
        self.head.word(0)
    }

    pub fn target(&self) -> &str {
        self.head.word(1)
    }
}

impl Deref for Received {
    type Target = Head;

    fn deref(&self) -> &Head {
        &self.head
    }
}

/// One connection in the hands of a script.
pub struct Exchange {
    wire: Wire,
    memory: Arc<Memory>,
    /// Which connection this is, counted from 1.
    pub connection: usize,
}

impl Exchange {
    fn new(stream: TcpStream, memory: Arc<Memory>) -> Exchange {
        let connection = memory.accepted.fetch_add(1, Ordering::SeqCst) + 1;
        memory.open.fetch_add(1, Ordering::SeqCst);
        let wire = Wire::new(stream);
        // Pooled connections are idle for longer than a test waits for an answer.
        wire.stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a read timeout");
        Exchange { wire, memory, connection }
    }

    /// The next complete request, remembered; `None` at the end of the connection.
    pub fn read_request(&mut self) -> Option<Received> {
        let head = self.read_head()?;
        let body = self.read_body(&head).ok().filter(|body| !body.truncated)?;
        let received = Received {
            head,
            body: body.bytes,
            trailers: body.trailers,
            raw: self.wire.raw.clone(),
            connection: self.connection,
        };
        self.memory.requests.lock().expect("no panic while locked").push(received.clone());
        Some(received)
    }

    /// The next head; `None` at the end of the connection. A malformed one is the gateway's mistake.
    pub fn read_head(&mut self) -> Option<Head> {
        match self.wire.head() {
            Ok(head) => {
                self.memory.heads.fetch_add(usize::from(head.is_some()), Ordering::SeqCst);
                head
            }
            Err(e) if e.kind() == io::ErrorKind::InvalidData => panic!("the gateway sent a broken head: {e}"),
            Err(_) => None,
        }
    }

    /// The body after that head.
    pub fn read_body(&mut self, head: &Head) -> io::Result<Body> {
        self.wire.body(Framing::of(head, Framing::Empty)?)
    }

    /// Some bytes of what follows; none at the end.
    pub fn read_some(&mut self) -> Vec<u8> {
        self.wire.some(1 << 16).unwrap_or_default()
    }

    /// Reads so many bytes and forgets them. Returns how many came before the end.
    pub fn skip(&mut self, length: u64) -> u64 {
        self.wire.skip(length).unwrap_or_default()
    }

    /// The socket itself.
    pub fn stream(&self) -> &TcpStream {
        &self.wire.stream
    }

    /// Sends bytes; a gateway that has gone away is no error.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.wire.stream.write_all(bytes.as_ref());
    }

    /// Sends bytes and waits until they are in the gateway's socket, where it finds them whenever it looks. That a
    /// write has returned does not say so: on a busy machine the kernel delivers later.
    pub fn write_and_arrive(&mut self, bytes: impl AsRef<[u8]>) {
        self.write(bytes);
        self.eventually_in_kernel("the bytes arrive", |_, unacknowledged| unacknowledged == 0);
    }

    /// Says that nothing more will be sent, and waits until the gateway's kernel knows.
    pub fn end_and_arrive(&mut self) {
        let _ = self.wire.stream.shutdown(Shutdown::Write);
        self.eventually_in_kernel("the end arrives", |state, _| ![ESTABLISHED, FIN_WAIT_1].contains(&state));
    }

    /// Waits until it holds for the state of this socket and the bytes that the other side has not acknowledged. A
    /// socket that the kernel has forgotten is over.
    fn eventually_in_kernel(&self, what: &str, holds: impl Fn(&str, u64) -> bool) {
        let ends = (self.wire.stream.local_addr(), self.wire.stream.peer_addr());
        let (Ok(local), Ok(remote)) = ends else { return };
        let [local, remote] = [local, remote].map(|address| format!(":{:04X}", address.port()));
        let deadline = Instant::now() + PATIENCE;
        loop {
            let sockets = std::fs::read_to_string("/proc/net/tcp").expect("/proc");
            let mut lines = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let this = lines.find(|words| words[1].ends_with(&local) && words[2].ends_with(&remote));
            let Some(words) = this else { return };
            let unacknowledged = words[4].split(':').next().unwrap_or_default();
            let unacknowledged = u64::from_str_radix(unacknowledged, 16).expect("a number");
            if holds(words[3], unacknowledged) {
                return;
            }
            assert!(Instant::now() < deadline, "never happened: {what}: {words:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn sleep_ms(&self, ms: u64) {
        thread::sleep(Duration::from_millis(ms));
    }

    /// Waits until the gateway ends the connection.
    pub fn wait_closed(&mut self) {
        let mut sink = [0; 1 << 14];
        while matches!(self.wire.stream.read(&mut sink), Ok(1..)) {}
    }

    /// The end of the script will be a reset instead of a close.
    pub fn reset(&mut self) {
        linger_zero(&self.wire.stream);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.memory.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// States of a socket as /proc/net/tcp writes them.
const ESTABLISHED: &str = "01";
const FIN_WAIT_1: &str = "04";

/// Makes the close of this socket a reset.
pub fn linger_zero(stream: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).expect("SO_LINGER");
}
