//! WebSocket without a socket: turns bytes into messages and messages into bytes. tungstenite implements the protocol;
//! here it reads from and writes to memory, so that one thread can serve many connections.

use std::io::{self, Read, Write};

use bytes::{Buf, BytesMut};
use tungstenite::error::CapacityError;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message, Utf8Bytes};

use super::bounds::{SPOKEN_BYTES_MAX, WRITE_BYTES};

/// The server's side of one conversation.
pub(super) struct Session {
    protocol: WebSocketContext,
    pipe: Pipe,
}

/// What was found in the bytes so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Text(Utf8Bytes),
    Binary,
    /// No complete message. Pings are answered and pongs ignored on the way.
    Nothing,
    /// The conversation has ended; the bytes left to send are its last.
    Over,
}

impl Session {
    /// Begins after the handshake.
    pub(super) fn new() -> Session {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .max_message_size(Some(SPOKEN_BYTES_MAX))
            .max_frame_size(Some(SPOKEN_BYTES_MAX));
        Session { protocol: WebSocketContext::new(Role::Server, Some(config)), pipe: Pipe::default() }
    }

    /// Bytes from the client, cut anywhere.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.pipe.incoming.extend_from_slice(bytes);
    }

    /// The next message. A client that breaks the protocol gets a Close with the reason, and the conversation ends.
    pub(super) fn next(&mut self) -> Heard {
        loop {
            return match self.protocol.read(&mut self.pipe) {
                Ok(Message::Text(text)) => Heard::Text(text),
                Ok(Message::Binary(_)) => Heard::Binary,
                // The answer to a Close is made by the next read.
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_)) => continue,
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Heard::Nothing,
                Err(error) => {
                    if let Some((code, reason)) = offence(&error) {
                        self.close(code, reason);
                    }
                    Heard::Over
                }
            };
        }
    }

    /// Queues a text frame, unless either side has sent a Close.
    pub(super) fn say(&mut self, text: Utf8Bytes) {
        // Writing to memory cannot fail. The only error is that the conversation is closing.
        let _ = self.protocol.write(&mut self.pipe, Message::Text(text));
        let _ = self.protocol.flush(&mut self.pipe);
    }

    /// Queues a Close, unless either side has sent one.
    pub(super) fn close(&mut self, code: CloseCode, reason: &'static str) {
        let _ = self.protocol.close(&mut self.pipe, Some(CloseFrame { code, reason: reason.into() }));
    }

    /// The number of bytes to send.
    pub(super) fn pending(&self) -> usize {
        self.pipe.outgoing.len()
    }

    /// Takes the bytes to send. They are whole frames, so another frame may follow them.
    pub(super) fn outgoing(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pipe.outgoing)
    }
}

/// How a client broke the protocol, as RFC 6455, section 7.4.1, numbers it. `None`: it did not.
fn offence(error: &Error) -> Option<(CloseCode, &'static str)> {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => {
            Some((CloseCode::Size, "a message is at most 16 KiB"))
        }
        Error::Utf8(_) => Some((CloseCode::Invalid, "a text is UTF-8")),
        Error::Protocol(_) => Some((CloseCode::Protocol, "this is not a WebSocket frame")),
        _ => None,
    }
}

/// The stream that tungstenite uses. It never waits and accepts all bytes.
#[derive(Default)]
struct Pipe {
    incoming: BytesMut,
    outgoing: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = space.len().min(self.incoming.len());
        self.incoming.copy_to_slice(&mut space[..count]);
        Ok(count)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// tungstenite's buffer of a conversation; it grows for a larger message.
const READ_BYTES: usize = 4096;
const _: () = assert!(READ_BYTES <= SPOKEN_BYTES_MAX && SPOKEN_BYTES_MAX <= WRITE_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    /// A client's frame: masked with zeros, so that the payload stays readable.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = match payload.len() {
            short @ 0..126 => vec![0x80 | short as u8],
            long => [&[0x80 | 126][..], &(long as u16).to_be_bytes()].concat(),
        };
        [&[first][..], &length, &[0; 4], payload].concat()
    }

    fn close_code(sent: &[u8]) -> u16 {
        assert_eq!(sent[0], 0x88, "a Close: {sent:?}");
        u16::from_be_bytes([sent[2], sent[3]])
    }

    #[test]
    fn finds_messages_cut_anywhere_with_a_ping_between_their_fragments() {
        let bytes = [frame(0x01, b"hel"), frame(0x89, b"?"), frame(0x80, b"lo"), frame(0x82, b"b")].concat();
        for cut in 0..=bytes.len() {
            let mut session = Session::new();
            let mut heard = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                session.feed(part);
                while let Some(message) = Some(session.next()).filter(|heard| *heard != Heard::Nothing) {
                    heard.push(message);
                }
            }
            assert_eq!(heard, [Heard::Text("hello".into()), Heard::Binary], "cut at {cut}");
            assert_eq!(session.outgoing(), b"\x8a\x01?", "the pong");
        }
    }

    #[test]
    fn answers_a_close_with_its_code_and_is_over() {
        let mut session = Session::new();
        session.feed(&frame(0x88, &[0x03, 0xe9, b'b', b'y', b'e']));
        assert_eq!(session.next(), Heard::Over);
        session.say("too late".into());
        let sent = session.outgoing();
        assert_eq!((close_code(&sent), sent.len()), (1001, 7));
    }

    #[test]
    fn hears_on_after_its_own_close_until_it_is_answered() {
        let mut session = Session::new();
        session.close(CloseCode::Again, "too slow");
        assert_eq!(close_code(&session.outgoing()), 1013);
        session.feed(&frame(0x81, b"late"));
        assert_eq!(session.next(), Heard::Text("late".into()));
        session.feed(&frame(0x88, &[0x03, 0xf5]));
        assert_eq!((session.next(), session.pending()), (Heard::Over, 0));
    }

    #[test]
    fn says_how_a_client_broke_the_protocol() {
        let unmasked = vec![0x81, 1, b'x'];
        let cases = [
            (frame(0x81, b"\xff"), 1007),
            (frame(0x81, &[b'x'; SPOKEN_BYTES_MAX + 1]), 1009),
            (unmasked, 1002),
            (frame(0xc1, b"x"), 1002),
            (frame(0x83, b"x"), 1002),
            (frame(0x80, b"x"), 1002),
            (frame(0x09, b"x"), 1002),
        ];
        for (bytes, code) in cases {
            let mut session = Session::new();
            session.feed(&bytes);
            assert_eq!(session.next(), Heard::Over);
            assert_eq!(close_code(&session.outgoing()), code, "{}", bytes[..2].escape_ascii());
        }
    }

    #[test]
    fn makes_a_frame_of_each_message() {
        let mut session = Session::new();
        session.say("a".into());
        session.say("b".into());
        assert_eq!((session.pending(), session.outgoing()), (6, b"\x81\x01a\x81\x01b".to_vec()));
    }
}
