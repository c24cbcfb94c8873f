//! A connection to a node of Redis on which one question follows the other. It blocks its thread, for a bounded time.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use redis::{Cmd, Parser, Value};

use crate::config;
use crate::limits::{REDIS_ASK_MS, REDIS_SLOTS_BYTES_MAX};

/// Who the gateway is to the nodes.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Introduction {
    username: Option<String>,
    password: Option<Vec<u8>>,
}

impl Introduction {
    pub(super) fn of(redis: &config::Redis) -> Introduction {
        let password = redis.password.as_ref().map(|password| password.0.clone());
        Introduction { username: redis.username.clone(), password }
    }
}

/// The connection.
pub(super) struct Dialogue {
    stream: BufReader<TcpStream>,
    /// The address of the node.
    pub(super) address: SocketAddr,
}

impl Dialogue {
    /// Connects, and says who the gateway is.
    ///
    /// # Errors
    /// Why the node cannot be asked.
    pub(super) fn open(address: SocketAddr, introduction: &Introduction) -> Result<Dialogue, String> {
        let limit = Duration::from_millis(REDIS_ASK_MS);
        let stream = TcpStream::connect_timeout(&address, limit).map_err(|error| error.to_string())?;
        let prepared = stream
            .set_read_timeout(Some(limit))
            .and_then(|()| stream.set_write_timeout(Some(limit)))
            .and_then(|()| stream.set_nodelay(true));
        prepared.map_err(|error| error.to_string())?;
        let mut dialogue = Dialogue { stream: BufReader::new(stream), address };
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
        let asked = self.stream.get_mut().write_all(&question.get_packed_command());
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
        Introduction { username: None, password: None }
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
        let ask = |answer| Dialogue::open(node(answer), &nobody())?.ask(&redis::cmd("PING"));
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
            Introduction { username: Some("gw".to_owned()), password: Some(b"hunter2".to_vec()) };
        let told = Dialogue::open(node(b"-WRONGPASS invalid pair\r\n"), &introduction).err().unwrap();
        assert_eq!(told, "WRONGPASS invalid pair");
    }
}
