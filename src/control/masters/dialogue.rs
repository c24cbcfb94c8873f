//! A connection to a node of Redis on which one question follows the other. It blocks its thread, for a bounded time.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Parser, Value};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::config;
use crate::limits::{REDIS_ASK_MS, REDIS_SLOTS_BYTES_MAX};
use crate::tls::Origination;

/// Who the gateway is to the nodes, and whether it speaks TLS with them.
#[derive(Clone, PartialEq)]
pub(super) struct Introduction {
    username: Option<String>,
    password: Option<Vec<u8>>,
    tls: Option<Arc<Origination>>,
    /// Each node has to prove its own name or address.
    names_of_nodes: bool,
}

impl Introduction {
    pub(super) fn of(redis: &config::Redis, tls: Option<&Arc<Origination>>) -> Introduction {
        let password = redis.password.as_ref().map(|password| password.0.clone());
        let names_of_nodes = redis.names_of_nodes();
        Introduction { username: redis.username.clone(), password, tls: tls.cloned(), names_of_nodes }
    }

    /// The same to sentinels, which have users of their own.
    pub(super) fn of_sentinels(redis: &config::Redis, tls: Option<&Arc<Origination>>) -> Introduction {
        let password = redis.sentinel_password.as_ref().map(|password| password.0.clone());
        let username = redis.sentinel_username.clone();
        Introduction { username, password, ..Introduction::of(redis, tls) }
    }

    /// The stream on which the node is asked. `host`: its name, if it is known by one.
    fn stream(&self, socket: TcpStream, host: Option<&str>) -> Result<Stream, String> {
        let Some(origination) = &self.tls else { return Ok(Stream::Plain(socket)) };
        let of_node = || match (host, socket.peer_addr()) {
            (Some(host), _) => ServerName::try_from(host.to_owned()).ok(),
            (None, Ok(address)) => Some(ServerName::IpAddress(address.ip().into())),
            (None, Err(_)) => None,
        };
        let name = if self.names_of_nodes { of_node() } else { Some(origination.name.clone()) };
        let name = name.ok_or("no certificate can be for its name")?;
        let session =
            ClientConnection::new(origination.for_core(), name).map_err(|error| error.to_string())?;
        Ok(Stream::Tls(Box::new(StreamOwned::new(session, socket))))
    }
}

/// A socket, or TLS on one.
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.read(into),
            Stream::Tls(tls) => tls.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.write(bytes),
            Stream::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.flush(),
            Stream::Tls(tls) => tls.flush(),
        }
    }
}

/// The connection.
pub(super) struct Dialogue {
    stream: BufReader<Stream>,
    /// The address of the node.
    pub(super) address: SocketAddr,
}

impl Dialogue {
    /// Connects, and says who the gateway is. `host`: the node's name, if it is known by one.
    ///
    /// # Errors
    /// Why the node cannot be asked.
    pub(super) fn open(
        address: SocketAddr,
        host: Option<&str>,
        introduction: &Introduction,
    ) -> Result<Dialogue, String> {
        let limit = Duration::from_millis(REDIS_ASK_MS);
        let stream = TcpStream::connect_timeout(&address, limit).map_err(|error| error.to_string())?;
        let prepared = stream
            .set_read_timeout(Some(limit))
            .and_then(|()| stream.set_write_timeout(Some(limit)))
            .and_then(|()| stream.set_nodelay(true));
        prepared.map_err(|error| error.to_string())?;
        let stream = BufReader::new(introduction.stream(stream, host)?);
        let mut dialogue = Dialogue { stream, address };
        if let Some(password) = &introduction.password {
            let mut auth = redis::cmd("AUTH");
            if let Some(username) = &introduction.username {
                auth.arg(username);
            }
            auth.arg(password.as_slice());
            dialogue.ask(&auth)?;
        }
        Ok(dialogue)
    }

    /// Asks, and reads the answer.
    ///
    /// # Errors
    /// There is none in time, it is an error or it is longer than it may be.
    pub(super) fn ask(&mut self, question: &Cmd) -> Result<Value, String> {
        let stream = self.stream.get_mut();
        let asked = stream.write_all(&question.get_packed_command()).and_then(|()| stream.flush());
        asked.map_err(|error| error.to_string())?;
        let mut bounded = (&mut self.stream).take(REDIS_SLOTS_BYTES_MAX);
        match Parser::new().parse_value(&mut bounded) {
            Ok(Value::ServerError(error)) => {
                let text = format!("{} {}", error.code(), error.details().unwrap_or_default());
                Err(text.trim_end().escape_debug().take(ERROR_CHARS_MAX).collect())
            }
            Ok(value) => Ok(value),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Characters of an error of Redis that go into the log.
const ERROR_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn nobody() -> Introduction {
        Introduction { username: None, password: None, tls: None, names_of_nodes: false }
    }

    /// Says these bytes to whoever asks.
    fn node(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let _ = client.read(&mut [0; 512]);
            let _ = client.write_all(answer);
            let _ = client.read(&mut [0; 512]);
        });
        address
    }

    #[test]
    fn an_answer_is_a_value_and_everything_else_a_reason() {
        let ask = |answer| Dialogue::open(node(answer), None, &nobody())?.ask(&redis::cmd("PING"));
        assert_eq!(ask(b"+PONG\r\n"), Ok(Value::SimpleString("PONG".to_owned())));
        assert_eq!(
            ask(b"-NOAUTH Authentication required.\r\n"),
            Err("NOAUTH Authentication required.".to_owned())
        );
        for wrong in [&b"HTTP/1.1 400\r\n"[..], b"*2\r\n:1\r\n", b"", b"$99999999999\r\n"] {
            assert!(ask(wrong).is_err(), "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn a_password_that_is_refused_is_the_reason_that_is_told() {
        let introduction =
            Introduction { username: Some("gw".to_owned()), password: Some(b"hunter2".to_vec()), ..nobody() };
        let told = Dialogue::open(node(b"-WRONGPASS invalid pair\r\n"), None, &introduction).err().unwrap();
        assert_eq!(told, "WRONGPASS invalid pair");
    }
}
