//! The opening handshake (RFC 6455 §4): the two heads, and what proves that they belong together.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The key of every client: the RFC's own example. It need not be random to measure a proxy.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A head longer than this is somebody else's, in bytes.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What a client sends first.
pub fn request(path: &str, host: &str, token: Option<&str>) -> String {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{authorization}\r\n"
    )
}

/// What the origin answers: 101 to a handshake, a plain 200 to anything else, such as a health probe.
pub fn answer(head: &str) -> (String, Answer) {
    match field(head, "sec-websocket-key") {
        Some(key) => {
            let accept = accept(key);
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            (head, Answer::Switched)
        }
        None => {
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(), Answer::Plain)
        }
    }
}

#[derive(PartialEq, Debug)]
pub enum Answer {
    Switched,
    Plain,
}

/// Whether the proxy let the client through; if not, with which status line.
pub fn check(head: &str) -> Result<(), String> {
    let status = head.lines().next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 101") {
        return Err(status.to_owned());
    }
    match field(head, "sec-websocket-accept") {
        Some(given) if given == accept(KEY) => Ok(()),
        given => Err(format!("{status}, Sec-WebSocket-Accept {given:?}")),
    }
}

/// The length of a head with its empty line, once that is here.
pub fn head_bytes(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// §4.2.2, step 5.4.
fn accept(key: &str) -> String {
    let mut hash = sha1_smol::Sha1::from(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.digest().bytes())
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.filter(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}
