//! One connection to Redis for a thread that may wait: a command, its reply, each within a time and a size. In a
//! cluster it goes to the node that the others name.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use redis::{Cmd, Parser, Value};

use super::entry::Written;
use crate::config::{Redis, RedisAddress, RedisHost};
use crate::limits::STREAM_REPLY_BYTES_MAX;

/// A connection that has introduced itself. After an error it is good for nothing.
pub struct Wire {
    socket: Socket,
    parser: Parser,
    config: Redis,
}

/// A socket, and how much of a reply may still come.
struct Socket {
    stream: Stream,
    left: usize,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WireError {
    /// The connection failed, or Redis does not serve. As an operator reads it.
    Broken(String),
    /// Redis refuses this command.
    Refused(String),
    /// The reply is longer than its bound.
    TooLong,
}

impl Wire {
    /// Connects as the configuration says. Blocks, also for a name.
    ///
    /// # Errors
    /// The last address that was tried, or the introduction.
    pub fn connect(config: &Redis) -> Result<Wire, WireError> {
        let stream = Stream::connect(&config.address).map_err(broken)?;
        Wire::introduce(stream, config)
    }

    fn introduce(stream: Stream, config: &Redis) -> Result<Wire, WireError> {
        let (socket, config) = (Socket { stream, left: 0 }, config.clone());
        let mut wire = Wire { socket, parser: Parser::new(), config: config.clone() };
        if let Some(password) = &config.password {
            let mut auth = redis::cmd("AUTH");
            if let Some(username) = &config.username {
                auth.arg(username);
            }
            wire.ask_node(auth.arg(password.0.as_slice()), CONNECT)?;
        }
        if config.database != 0 {
            wire.ask_node(redis::cmd("SELECT").arg(config.database), CONNECT)?;
        }
        // A name for `CLIENT LIST`; a user who may not set it does without.
        match wire.ask_node(redis::cmd("CLIENT").arg("SETNAME").arg("realchat-gateway-control"), CONNECT) {
            Err(error @ (WireError::Broken(_) | WireError::TooLong)) => Err(error),
            Ok(_) | Err(WireError::Refused(_)) => Ok(wire),
        }
    }

    /// Sends a command and waits up to `patience` for each piece of its reply.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn ask(&mut self, command: &Cmd, patience: Duration) -> Result<Value, WireError> {
        let mut told = self.ask_node(command, patience);
        for _ in 0..REDIRECTS_MAX {
            let Err(WireError::Refused(why)) = &told else { break };
            let Some((is_asking, host, port)) = elsewhere(why) else { break };
            let host = if host.is_empty() { self.socket.stream.peer().map_err(broken)? } else { host };
            let address = RedisAddress::Tcp { host, port };
            *self = Wire::introduce(Stream::connect(&address).map_err(broken)?, &self.config)?;
            if is_asking {
                self.ask_node(&redis::cmd("ASKING"), CONNECT)?;
            }
            told = self.ask_node(command, patience);
        }
        told
    }

    /// The same without going elsewhere.
    fn ask_node(&mut self, command: &Cmd, patience: Duration) -> Result<Value, WireError> {
        self.socket.left = STREAM_REPLY_BYTES_MAX;
        self.socket.stream.set_patience(patience).map_err(broken)?;
        self.socket.stream.write_all(&command.get_packed_command()).map_err(broken)?;
        match self.parser.parse_value(&mut self.socket) {
            Ok(Value::ServerError(error)) => {
                let text = format!("{} {}", error.code(), error.details().unwrap_or_default());
                let text: String = text.trim_end().escape_debug().take(ERROR_CHARS_MAX).collect();
                Err(WireError::Refused(text))
            }
            Ok(value) => Ok(value),
            Err(_) if self.socket.left == 0 => Err(WireError::TooLong),
            Err(error) if error.is_timeout() => Err(WireError::Broken(LATE.to_owned())),
            Err(error) => {
                let text: String = error.to_string().escape_debug().take(ERROR_CHARS_MAX).collect();
                Err(WireError::Broken(text))
            }
        }
    }
}

impl Wire {
    /// Appends an entry, and trims those that are older than so many milliseconds since 1970. Returns its number.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn append(&mut self, stream: &str, oldest_ms: u64, fields: &Written) -> Result<String, WireError> {
        let mut command = redis::cmd("XADD");
        command.arg(stream).arg("MINID").arg("~").arg(oldest_ms).arg("*");
        for (name, value) in fields {
            command.arg(name).arg(value);
        }
        match self.ask(&command, PATIENCE)? {
            Value::BulkString(id) => Ok(String::from_utf8_lossy(&id).into_owned()),
            _ => Err(WireError::Broken("the reply has an unexpected form".to_owned())),
        }
    }
}

impl WireError {
    /// As an operator reads it.
    pub fn text(&self) -> &str {
        match self {
            WireError::Broken(why) | WireError::Refused(why) => why,
            WireError::TooLong => "the reply is too long",
        }
    }
}

impl Stream {
    fn connect(address: &RedisAddress) -> io::Result<Stream> {
        match address {
            RedisAddress::Unix(path) => UnixStream::connect(path).map(Stream::Unix),
            // The configuration has refused it.
            RedisAddress::Sentinel { .. } => Err(io::Error::other("no stream is read behind sentinels")),
            RedisAddress::Tcp { host, port } => Stream::connect_to(host, *port),
            RedisAddress::Cluster(nodes) => {
                let mut failed = Err(io::ErrorKind::NotFound.into());
                for RedisHost { host, port } in nodes {
                    failed = Stream::connect_to(host, *port);
                    if failed.is_ok() {
                        break;
                    }
                }
                failed
            }
        }
    }

    fn connect_to(host: &str, port: u16) -> io::Result<Stream> {
        let mut failed = io::Error::from(io::ErrorKind::NotFound);
        for address in (host, port).to_socket_addrs()?.take(ADDRESSES_TRIED_MAX) {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(Stream::Tcp(stream));
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// The host at the other end.
    fn peer(&self) -> io::Result<String> {
        match self {
            Stream::Tcp(stream) => Ok(stream.peer_addr()?.ip().to_string()),
            Stream::Unix(_) => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }

    fn set_patience(&self, patience: Duration) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => {
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(CONNECT))
            }
            Stream::Unix(stream) => {
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(CONNECT))
            }
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let room = space.len().min(self.left);
        let read = match &mut self.stream {
            Stream::Tcp(stream) => stream.read(&mut space[..room]),
            Stream::Unix(stream) => stream.read(&mut space[..room]),
        }?;
        self.left -= read;
        Ok(read)
    }
}

/// The node that a node of a cluster names (`MOVED 866 192.0.2.1:7001`), and whether for one command alone. An empty
/// host is that of the node that was asked.
fn elsewhere(error: &str) -> Option<(bool, String, u16)> {
    let mut words = error.split(' ');
    let is_asking = match words.next()? {
        "MOVED" => false,
        "ASK" => true,
        _ => return None,
    };
    let (host, port) = words.nth(1)?.rsplit_once(':')?;
    Some((is_asking, host.to_owned(), port.parse().ok()?))
}

fn broken(error: io::Error) -> WireError {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => WireError::Broken(LATE.to_owned()),
        _ => WireError::Broken(error.to_string()),
    }
}

/// Nodes that name another one, one after the other.
const REDIRECTS_MAX: usize = 3;
/// How long Redis may take to append an entry.
const PATIENCE: Duration = Duration::from_secs(5);
const LATE: &str = "Redis does not answer in time";
/// How long Redis may take to accept a connection, to introduce itself, and to take a command.
const CONNECT: Duration = Duration::from_secs(2);
/// Addresses of one name that are tried in a row.
const ADDRESSES_TRIED_MAX: usize = 4;
/// Characters of an error that go into the log.
const ERROR_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_names_another_one() {
        for (error, is_asking, host) in [
            ("MOVED 866 192.0.2.1:7001", false, "192.0.2.1"),
            ("ASK 866 2001:db8::1:7001", true, "2001:db8::1"),
            ("MOVED 866 :7001", false, ""),
        ] {
            assert_eq!(elsewhere(error), Some((is_asking, host.to_owned(), 7001)), "{error}");
        }
        for none in ["MOVED 866", "MOVED 866 a:x", "ERR unknown command", ""] {
            assert_eq!(elsewhere(none), None, "{none}");
        }
    }
}
