//! Servers for tests: a real one, a proxy in front of it that causes faults, and one with scripted answers.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use redis::{Cmd, Value};
use rustix::process::{Pid, Signal, kill_process};

use crate::net::Endpoint;
use crate::redis::reply;

/// A Redis of the test's own, with nothing persisted.
pub(super) struct Server {
    child: Child,
    pub(super) port: u16,
    pub(super) folder: PathBuf,
}

impl Server {
    pub(super) fn start(arguments: &[&str]) -> Server {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = std::env::temp_dir().join(format!("gateway-redis-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let child = spawn(port, &folder, arguments);
        let server = Server { child, port, folder };
        server.wait();
        server
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint::tcp(SocketAddr::from(([127, 0, 0, 1], self.port)))
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(super) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
    }

    /// Starts it again on its port, empty.
    pub(super) fn restart(&mut self, arguments: &[&str]) {
        self.kill();
        self.child = spawn(self.port, &self.folder, arguments);
        self.wait();
    }

    /// Says something; what comes back.
    pub(super) fn say(&self, words: &[&str]) -> String {
        self.try_say(words).expect("an answer")
    }

    fn try_say(&self, words: &[&str]) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        let mut command = Cmd::new();
        for word in words {
            command.arg(*word);
        }
        stream.write_all(&command.get_packed_command())?;
        let mut answer = [0; 4096];
        let n = stream.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..n]).into_owned())
    }

    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.try_say(&["PING"]).is_err() {
            assert!(Instant::now() < deadline, "redis-server does not start");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn spawn(port: u16, folder: &PathBuf, arguments: &[&str]) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .arg("--dir")
        .arg(folder)
        .arg("--unixsocket")
        .arg(folder.join("socket"))
        .args(arguments)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}

/// Between us and a server.
#[derive(Clone)]
pub(super) struct Proxy {
    address: SocketAddr,
    delay_ms: Arc<AtomicU64>,
    cut: Arc<AtomicBool>,
}

impl Proxy {
    pub(super) fn before(server: &Server) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = Proxy { address, delay_ms: Arc::default(), cut: Arc::default() };
        let (port, copy) = (server.port, proxy.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(("127.0.0.1", port)).unwrap());
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let (from, to, copy) =
                    (client.try_clone().unwrap(), server.try_clone().unwrap(), copy.clone());
                thread::spawn(move || relay(from, to, &|_| true));
                thread::spawn(move || {
                    relay(server, client, &|to_client| {
                        thread::sleep(Duration::from_millis(copy.delay_ms.load(Relaxed)));
                        if copy.cut.load(Relaxed) {
                            to_client.truncate(to_client.len() / 2);
                        }
                        !copy.cut.load(Relaxed)
                    })
                });
            }
        });
        proxy
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint::tcp(self.address)
    }

    /// Every answer takes so much longer.
    pub(super) fn delay(&self, ms: u64) {
        self.delay_ms.store(ms, Relaxed);
    }

    /// From now on every connection ends in the middle of its next answer.
    pub(super) fn cut(&self, is_on: bool) {
        self.cut.store(is_on, Relaxed);
    }
}

fn relay(mut from: TcpStream, mut to: TcpStream, harm: &dyn Fn(&mut Vec<u8>) -> bool) {
    let mut buffer = [0; 65536];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        let mut piece = buffer[..n].to_vec();
        let goes_on = harm(&mut piece);
        if to.write_all(&piece).is_err() || !goes_on {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// A server that sets up every connection correctly, and answers calls with given bytes.
#[derive(Clone)]
pub(super) struct Fake {
    address: SocketAddr,
    probe: Arc<Mutex<Vec<u8>>>,
    answer: Arc<Mutex<Vec<u8>>>,
}

/// A server that sets up every connection correctly and answers the probe, and then reads nothing.
pub(super) struct Deaf(SocketAddr);

impl Deaf {
    pub(super) fn start(probe: &'static [u8]) -> Deaf {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let mut kept = Vec::new();
            for client in listener.incoming() {
                let mut client = client.unwrap();
                let mut heard = Vec::new();
                for (until, answer) in
                    [("SCRIPT", &b"*2\r\n$5\r\nproto\r\n:2\r\n$4\r\nhash\r\n"[..]), ("EVALSHA", probe)]
                {
                    let mut buffer = [0; 65536];
                    while !heard.windows(until.len()).any(|word| word == until.as_bytes()) {
                        match client.read(&mut buffer) {
                            Ok(n @ 1..) => heard.extend_from_slice(&buffer[..n]),
                            _ => break,
                        }
                    }
                    let _ = client.write_all(answer);
                }
                kept.push(client);
            }
        });
        Deaf(address)
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint::tcp(self.0)
    }
}

impl Fake {
    pub(super) fn start(probe: &[u8], answer: &[u8]) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let told = |bytes: &[u8]| Arc::new(Mutex::new(bytes.to_vec()));
        let fake = Fake { address, probe: told(probe), answer: told(answer) };
        let copy = fake.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let copy = copy.clone();
                thread::spawn(move || copy.serve(client.unwrap()));
            }
        });
        fake
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint::tcp(self.address)
    }

    pub(super) fn probe_answer(&self, bytes: &[u8]) {
        *self.probe.lock().unwrap() = bytes.to_vec();
    }

    fn serve(&self, mut client: TcpStream) {
        let (mut bytes, mut calls) = (Vec::new(), 0);
        let mut buffer = [0; 65536];
        while let Ok(n @ 1..) = client.read(&mut buffer) {
            bytes.extend_from_slice(&buffer[..n]);
            let mut out = Vec::new();
            while let Ok(Some(length)) = reply::length(&bytes) {
                let Ok(Value::Array(words)) = redis::parse_redis_value(&bytes[..length]) else { return };
                bytes.drain(..length);
                let word = |nth: usize| match words.get(nth) {
                    Some(Value::BulkString(word)) => word.as_slice(),
                    _ => b"",
                };
                match word(0) {
                    b"HELLO" => out.extend_from_slice(b"*2\r\n$5\r\nproto\r\n:2\r\n"),
                    b"SCRIPT" => out.extend_from_slice(b"$4\r\nhash\r\n"),
                    b"EVALSHA" if calls == 0 => {
                        calls += 1;
                        out.extend_from_slice(&self.probe.lock().unwrap());
                    }
                    b"EVALSHA" => out.extend_from_slice(&self.answer.lock().unwrap()),
                    _ => out.extend_from_slice(b"+OK\r\n"),
                }
            }
            if client.write_all(&out).is_err() {
                return;
            }
        }
    }
}
