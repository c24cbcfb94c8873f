//! Request ids: 32 hex digits from a fast generator, or what a trusted proxy sent.

use std::cell::Cell;

use rustix::rand::{GetRandomFlags, getrandom};

use crate::limits::REQUEST_ID_BYTES_MAX;

/// A request's id: 32 hex digits of ours, or what a trusted proxy sent.
#[derive(Clone)]
pub struct RequestId {
    bytes: [u8; REQUEST_ID_BYTES_MAX],
    length: u8,
}

impl RequestId {
    /// Adopts the id of a trusted proxy, if it is 1–128 visible ASCII characters.
    pub fn adopt(id: &[u8]) -> Option<RequestId> {
        if !(1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) || !id.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        let mut bytes = [0; REQUEST_ID_BYTES_MAX];
        bytes[..id.len()].copy_from_slice(id);
        Some(RequestId { bytes, length: id.len() as u8 })
    }

    /// The id.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// Where a core's request ids come from: a fast generator seeded by the kernel. Ids are told apart by them
/// and nothing is protected by them, so they need not be unpredictable.
pub struct RequestIds {
    state: Cell<[u64; 4]>,
}

impl Default for RequestIds {
    fn default() -> RequestIds {
        RequestIds::new()
    }
}

impl RequestIds {
    /// Seeded by the kernel.
    pub fn new() -> RequestIds {
        let mut seed = [0; 32];
        // 256 bytes or less never come short and never wait after boot (getrandom(2)).
        let _ = getrandom(&mut seed[..], GetRandomFlags::empty());
        let word = |i: usize| seed[i * 8..][..8].iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        // The state must not be all zeros.
        RequestIds { state: Cell::new([word(0) | 1, word(1), word(2), word(3)]) }
    }

    /// The next 128 bits as 32 hex digits.
    pub fn next_id(&self) -> RequestId {
        let mut bytes = [0; REQUEST_ID_BYTES_MAX];
        bytes[..16].copy_from_slice(&self.next_hex());
        bytes[16..32].copy_from_slice(&self.next_hex());
        RequestId { bytes, length: 32 }
    }

    /// The next 64 bits as 16 hex digits, never all zeros (W3C Trace Context: an all-zero id is invalid).
    pub fn next_hex(&self) -> [u8; 16] {
        let word = self.next_word().max(1);
        std::array::from_fn(|i| HEX[(word >> (60 - 4 * i)) as usize & 15])
    }

    /// The next 64 bits. xoshiro256++ (Blackman and Vigna, 2019).
    pub fn next_word(&self) -> u64 {
        let [mut a, mut b, mut c, mut d] = self.state.get();
        let word = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let shifted = b << 17;
        c ^= a;
        d ^= b;
        b ^= c;
        a ^= d;
        c ^= shifted;
        d = d.rotate_left(45);
        self.state.set([a, b, c, d]);
        word
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn a_request_id_is_short_and_visible() {
        let longest = "x".repeat(REQUEST_ID_BYTES_MAX);
        for (value, expected) in [
            (longest.as_str(), true),
            ("a", true),
            ("~!\"{}", true),
            ("", false),
            ("a b", false),
            ("a\tb", false),
            ("a\r\nb", false),
            ("\u{e4}", false),
            ("\u{7f}", false),
        ] {
            assert_eq!(RequestId::adopt(value.as_bytes()).is_some(), expected, "{value:?}");
        }
        assert!(RequestId::adopt(format!("{longest}x").as_bytes()).is_none());
    }

    use std::collections::HashSet;

    #[test]
    fn ids_are_32_hex_digits_and_do_not_repeat() {
        let (ids, others) = (RequestIds::new(), RequestIds::new());
        let mut seen = HashSet::new();
        for _ in 0..10_000 {
            for source in [&ids, &others] {
                let id = source.next_id();
                assert!(id.as_bytes().len() == 32 && id.as_bytes().iter().all(|byte| HEX.contains(byte)));
                assert!(seen.insert(id.as_bytes().to_owned()));
            }
        }
    }

    #[test]
    fn the_generator_gives_the_published_sequence() {
        let ids = RequestIds { state: Cell::new([1, 2, 3, 4]) };
        assert_eq!(
            [ids.next_word(), ids.next_word(), ids.next_word()],
            [41943041, 58720359, 3588806011781223]
        );
    }
}
