//! The outer form of TLS records (RFC 8446 §5.1): where one ends, without looking inside.

use crate::limits::TLS_RECORD_BYTES_MAX;

/// What the first bytes of a stream of records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Front {
    /// A record is here whole, of so many bytes with its header.
    Whole(usize),
    /// The rest of a record is still to come.
    Partial,
    /// No record: the protocol's own checks will say what is wrong with it.
    Wrong,
}

/// Looks at the record that `bytes` begin with.
pub(super) fn front(bytes: &[u8]) -> Front {
    let Some(&[kind, major, _, high, low]) = bytes.first_chunk::<HEADER_BYTES>() else {
        // The kind is known from the first byte on.
        let is_wrong = bytes.first().is_some_and(|kind| !KINDS.contains(kind));
        return if is_wrong { Front::Wrong } else { Front::Partial };
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if !KINDS.contains(&kind) || major != 3 || length > TLS_RECORD_BYTES_MAX + EXPANSION_BYTES_MAX {
        return Front::Wrong;
    }
    match HEADER_BYTES + length {
        whole if whole <= bytes.len() => Front::Whole(whole),
        _ => Front::Partial,
    }
}

/// Kind, version (two bytes), length (two bytes).
pub(super) const HEADER_BYTES: usize = 5;
/// Change cipher spec, alert, handshake, application data.
const KINDS: std::ops::RangeInclusive<u8> = 20..=23;
/// How much a record may grow by being sealed: 256 bytes in TLS 1.3, 2,048 in TLS 1.2 (RFC 5246 §6.2.3).
const EXPANSION_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_whole_with_its_last_byte() {
        let record = [23, 3, 3, 0, 2, 7, 7, 99];
        for cut in 0..7 {
            assert_eq!(front(&record[..cut]), Front::Partial, "{cut}");
        }
        assert_eq!(front(&record[..7]), Front::Whole(7));
        assert_eq!(front(&record), Front::Whole(7));
    }

    #[test]
    fn what_is_no_record_is_seen_at_once() {
        for wrong in [&b"G"[..], b"GET / HTTP/1.1", &[22, 2, 0, 0, 1], &[23, 3, 3, 0xff, 0xff]] {
            assert_eq!(front(wrong), Front::Wrong, "{wrong:?}");
        }
    }
}
