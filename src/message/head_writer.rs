//! Writing heads: the same steps for every version of HTTP.

use crate::http::{Field, push_decimal};
use crate::net::Buffer;

/// A head while it is written. The connection that it leaves on begins and ends it; in between come the fields.
pub enum HeadWriter {
    /// As text, in a buffer that has room for the longest head (`limits` holds the proof).
    H1(Buffer),
}

impl HeadWriter {
    /// Begins the head of an HTTP/1.1 request. `target`: method, path in two pieces, query.
    pub fn h1_request(mut out: Buffer, target: [&[u8]; 4], authority: &[u8]) -> HeadWriter {
        let [method, prefix, path, query] = target;
        out.put_all([method, b" ", prefix, path, query]);
        HeadWriter::h1_request_line(out, authority)
    }

    /// Ends a request line whose method and target are written already.
    pub fn h1_request_line(mut out: Buffer, authority: &[u8]) -> HeadWriter {
        out.put_all([b" HTTP/1.1\r\nHost: ", authority, b"\r\n"]);
        HeadWriter::H1(out)
    }

    /// Begins the head of an HTTP/1.1 response.
    pub fn h1_response(mut out: Buffer, status: u16, reason: &[u8]) -> HeadWriter {
        out.put_all([b"HTTP/1.1 ", push_decimal(u64::from(status), &mut [0; 20]), b" ", reason, b"\r\n"]);
        HeadWriter::H1(out)
    }

    /// Writes a field.
    #[inline(always)]
    pub fn field(&mut self, name: &[u8], value: &[u8]) {
        match self {
            HeadWriter::H1(out) => out.put_all([name, b": ", value, b"\r\n"]),
        }
    }

    /// Writes a field whose value comes in pieces.
    #[inline(always)]
    pub fn field_of<const N: usize>(&mut self, name: &[u8], pieces: [&[u8]; N]) {
        self.begin_field(name);
        self.put_value(pieces);
        self.end_field();
    }

    /// Begins a field: its value follows in pieces, then its end.
    #[inline(always)]
    pub fn begin_field(&mut self, name: &[u8]) {
        match self {
            HeadWriter::H1(out) => out.put_all([name, b": "]),
        }
    }

    /// Writes pieces of the value of the field that was begun.
    #[inline(always)]
    pub fn put_value<const N: usize>(&mut self, pieces: [&[u8]; N]) {
        match self {
            HeadWriter::H1(out) => out.put_all(pieces),
        }
    }

    /// Ends the field that was begun.
    #[inline(always)]
    pub fn end_field(&mut self) {
        match self {
            HeadWriter::H1(out) => out.put(b"\r\n"),
        }
    }

    /// Writes a field of a head that was parsed, `head` being the bytes of that head. In HTTP/1 most fields stand there
    /// as they are written here, and go in one piece.
    #[inline(always)]
    pub fn passing(&mut self, field: &Field, head: &[u8]) {
        let (name, value) = (field.name, field.value);
        let HeadWriter::H1(out) = self;
        match name.joined(value, 2).map(|both| both.of(head)) {
            Some(both) if both[name.len()..].starts_with(b": ") => out.put_all([both, b"\r\n"]),
            _ => self.field(name.of(head), value.of(head)),
        }
    }
}
