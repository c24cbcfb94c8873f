//! From fields to a block of bytes. Nothing that is written here enters a dynamic table: the encoder has no state, and
//! no secret can be guessed from the size of what is compressed with it.

use super::integer::{self, BYTES_MAX};
use super::static_table::{STATIC, index_of};

/// Where a block is written.
pub trait Out {
    /// Appends bytes.
    fn put(&mut self, bytes: &[u8]);
}

impl Out for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// What the first block of a connection begins with: from now on the table is empty, whatever the decoder allows
/// (RFC 7541 §4.2).
pub const NO_TABLE: u8 = 0x20;

/// Writes the status of a response.
pub fn put_status(out: &mut impl Out, status: u16) {
    let digits = [(status / 100) as u8 + b'0', (status / 10 % 10) as u8 + b'0', (status % 10) as u8 + b'0'];
    match STATIC[STATUSES].iter().position(|(_, value)| **value == digits) {
        Some(nth) => out.put(&[0x80 | (STATUSES.start + nth + 1) as u8]),
        None => {
            out.put(&[STATUSES.start as u8 + 1, digits.len() as u8]);
            out.put(&digits);
        }
    }
}

/// Writes a field. The name is written in lower case, as it "MUST be converted to lowercase when constructing an HTTP/2
/// message" (RFC 9113 §8.2).
pub fn put_field(out: &mut impl Out, name: &[u8], value: &[u8]) {
    let mut room = [0; NAME_BYTES_USUAL];
    let small = room.get_mut(..name.len()).map(|room| {
        room.copy_from_slice(name);
        room.make_ascii_lowercase();
        &*room
    });
    let known = small.and_then(index_of);
    // Never indexed, by nobody on the way (§7.1.3).
    let first = if known.is_some_and(|index| SECRET.contains(&index)) { 0x10 } else { 0 };
    let mut number = [0; BYTES_MAX];
    match (known, small) {
        (Some(index), _) => out.put(integer::encode(usize::from(index), 4, first, &mut number)),
        (None, Some(small)) => {
            out.put(&[first]);
            put_string(out, small);
        }
        (None, None) => {
            out.put(&[first]);
            put_string(out, &name.to_ascii_lowercase());
        }
    }
    put_string(out, value);
}

fn put_string(out: &mut impl Out, bytes: &[u8]) {
    out.put(integer::encode(bytes.len(), 7, 0, &mut [0; BYTES_MAX]));
    out.put(bytes);
}

/// More bytes than `": "` and CRLF that a field can take in a block.
pub const FIELD_BYTES_MORE: usize = 3;

/// The entries of `:status`, from 0.
const STATUSES: std::ops::Range<usize> = 7..14;
/// `authorization`, `cookie`, `proxy-authorization`, `set-cookie`.
const SECRET: [u8; 4] = [23, 32, 49, 55];
/// A longer name is copied to be written in lower case.
const NAME_BYTES_USUAL: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: &[u8], value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_field(&mut out, name, value);
        out
    }

    #[test]
    fn a_known_status_is_one_byte() {
        for (status, bytes) in [(200, &b"\x88"[..]), (404, b"\x8d"), (500, b"\x8e"), (101, b"\x08\x03101")] {
            let mut out = Vec::new();
            put_status(&mut out, status);
            assert_eq!(out, bytes, "{status}");
        }
    }

    #[test]
    fn known_names_are_indices_and_all_are_in_lower_case() {
        assert_eq!(written(b"Date", b"x"), b"\x0f\x12\x01x");
        assert_eq!(written(b"X-Custom", b""), b"\x00\x08x-custom\x00");
        let long = [b'X'; 300];
        assert_eq!(written(&long, b"")[4..304], [b'x'; 300]);
    }

    #[test]
    fn a_secret_is_never_indexed() {
        for name in [&b"Set-Cookie"[..], b"authorization", b"COOKIE", b"Proxy-Authorization"] {
            assert_eq!(written(name, b"s")[0] & 0xf0, 0x10, "{}", name.escape_ascii());
        }
        assert_eq!(written(b"location", b"/")[0] & 0xf0, 0);
    }

    #[test]
    fn a_block_is_little_longer_than_the_text() {
        for (name, value) in
            [(1, 1), (63, 126), (64, 127), (126, 127), (127, 128), (200, 20_000), (1, 30_000)]
        {
            let text = name + value + 4;
            let block = written(&vec![b'n'; name], &vec![b'v'; value]).len();
            assert!(block <= text + FIELD_BYTES_MORE, "{name} {value}: {block}");
        }
    }
}
