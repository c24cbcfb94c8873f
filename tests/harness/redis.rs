//! A real Redis on a free port and a socket of its own, with nothing persisted; and a raw client for it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::PATIENCE;

/// A running server; dropped, it is killed.
pub struct Redis {
    port: u16,
    folder: PathBuf,
    child: Mutex<Option<Child>>,
}

/// One connection to it.
pub struct RedisClient {
    stream: BufReader<TcpStream>,
}

impl Redis {
    #[track_caller]
    pub fn start() -> Redis {
        Redis::start_with(&[])
    }

    /// With further arguments: `&["--requirepass", "x"]`.
    #[track_caller]
    pub fn start_with(arguments: &[&str]) -> Redis {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::SeqCst);
        let folder = std::env::temp_dir().join(format!("realchat-redis-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        // Somebody else may take the port before the server does.
        for _ in 0..5 {
            let redis =
                Redis { port: super::port_for_later(), folder: folder.clone(), child: Mutex::new(None) };
            if redis.spawn(arguments) {
                return redis;
            }
        }
        panic!("redis-server does not start; it is in the package redis-server");
    }

    /// Starts it on the same port after [`Redis::kill`] or [`Redis::stop`]: it is empty.
    #[track_caller]
    pub fn start_again(&self, arguments: &[&str]) {
        assert!(self.spawn(arguments), "redis-server does not start again");
    }

    /// `host:port`, as `REDIS_ADDR` takes it.
    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The path of its socket; `unix:` and this is for `REDIS_ADDR`.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("redis.sock")
    }

    /// A connection of its own.
    #[track_caller]
    pub fn client(&self) -> RedisClient {
        let stream = TcpStream::connect(self.addr()).expect("redis takes connections");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        RedisClient { stream: BufReader::new(stream) }
    }

    /// The reply to one command on a connection of its own, as [`RedisClient::ask`].
    #[track_caller]
    pub fn cli(&self, command: &[&str]) -> String {
        self.client().ask(command)
    }

    /// Forgets every key, and nothing else.
    #[track_caller]
    pub fn flush(&self) {
        assert_eq!(self.cli(&["FLUSHALL"]), "OK");
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&self) {
        self.end(Signal::KILL);
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&self) {
        self.end(Signal::TERM);
    }

    /// Whether it was not killed or stopped.
    pub fn runs(&self) -> bool {
        self.child.lock().expect("no panic").is_some()
    }

    /// SIGSTOP: connections are accepted by the kernel, and nobody answers.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.lock().expect("no panic");
        let child = child.as_ref().expect("redis runs");
        kill_process(Pid::from_child(child), signal).expect("the process takes signals");
    }

    fn end(&self, signal: Signal) {
        self.signal(signal);
        let child = self.child.lock().expect("no panic").take();
        child.expect("redis runs").wait().expect("redis ends");
    }

    fn spawn(&self, arguments: &[&str]) -> bool {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string()]);
        command.arg("--unixsocket").arg(self.socket()).arg("--dir").arg(&self.folder);
        command.args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "warning"]);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(mut child) = command.spawn() else { return false };
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            // With a password it says NOAUTH, which is an answer too.
            let asked = TcpStream::connect(self.addr()).and_then(|stream| {
                stream.set_read_timeout(Some(Duration::from_secs(1)))?;
                RedisClient { stream: BufReader::new(stream) }.try_ask(&["PING"])
            });
            let is_ours = child.try_wait().expect("a child").is_none();
            if !is_ours {
                return false;
            }
            if asked.is_ok_and(|reply| reply == "PONG" || reply.starts_with("-NOAUTH")) {
                *self.child.lock().expect("no panic") = Some(child);
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
        false
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.lock().ok().and_then(|mut child| child.take()) {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl RedisClient {
    /// A connection to any server that speaks like Redis, if it takes one.
    pub fn to(address: impl ToSocketAddrs) -> Option<RedisClient> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        Some(RedisClient { stream: BufReader::new(stream) })
    }

    /// The reply after a password, if there is one.
    pub fn try_ask_after(&mut self, password: &str, command: &[&str]) -> Option<String> {
        let welcome = self.try_ask(&["AUTH", password]).ok()?;
        if welcome == "OK" { self.try_ask(command).ok() } else { None }
    }

    /// The reply as text: an array has one element per line, an error begins with `-`, nothing is `(nil)`.
    #[track_caller]
    pub fn ask(&mut self, command: &[&str]) -> String {
        self.try_ask(command).unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    /// The reply after a password.
    #[track_caller]
    pub fn ask_after(&mut self, password: &str, command: &[&str]) -> String {
        assert_eq!(self.ask(&["AUTH", password]), "OK");
        self.ask(command)
    }

    /// The same where it may fail.
    pub fn try_ask(&mut self, command: &[&str]) -> std::io::Result<String> {
        let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
        for argument in command {
            write!(bytes, "${}\r\n{argument}\r\n", argument.len())?;
        }
        self.stream.get_mut().write_all(&bytes)?;
        self.reply()
    }

    fn reply(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        let count = || line[1..].parse::<i64>().map_err(std::io::Error::other);
        match line.as_bytes().first() {
            Some(b'+' | b':') => Ok(line[1..].to_owned()),
            Some(b'-') => Ok(line.to_owned()),
            Some(b'$' | b'*') if count()? < 0 => Ok("(nil)".to_owned()),
            Some(b'$') => {
                let mut text = vec![0; count()? as usize + 2];
                self.stream.read_exact(&mut text)?;
                text.truncate(text.len() - 2);
                Ok(String::from_utf8_lossy(&text).into_owned())
            }
            Some(b'*') => {
                let items = (0..count()?).map(|_| self.reply());
                Ok(items.collect::<Result<Vec<_>, _>>()?.join("\n"))
            }
            _ => Err(std::io::Error::other(format!("{line:?} is no reply"))),
        }
    }
}
