//! The table of fields that both ends share (RFC 7541 §2.3): the static part, and the dynamic one, newest first.
//!
//! ```text
//! index   1 … 61   62   63   64 …
//!         static   newest … oldest
//! ```

use std::collections::VecDeque;

use super::HpackError;
use super::static_table::STATIC;
use crate::limits::HPACK_TABLE_BYTES_MAX;

/// The table of one direction. It has memory for what is in it, and none while nothing is.
#[derive(Default, Debug)]
pub(super) struct Table {
    /// Names and values, the oldest first. The first ones may be of entries that are gone.
    bytes: Vec<u8>,
    /// How many bytes were dropped off their front so far, modulo 2^32.
    dropped: u32,
    /// The oldest first.
    entries: VecDeque<Entry>,
    /// As the standard counts: with 32 bytes for each entry.
    size: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Where it stands in all bytes that there ever were, modulo 2^32: an entry is found at once, or a block of bytes
    /// that each name the oldest one would cost much.
    at: u32,
    name: u16,
    value: u16,
}

impl Entry {
    fn bytes(self) -> usize {
        usize::from(self.name) + usize::from(self.value)
    }

    /// "The size of an entry is the sum of its name's length in octets, its value's length in octets, and 32."
    fn size(self) -> usize {
        self.bytes() + OVERHEAD
    }
}

impl Table {
    /// Name and value of an index.
    pub(super) fn get(&self, index: usize) -> Result<(&[u8], &[u8]), HpackError> {
        let nth = index.checked_sub(1).ok_or(HpackError::Index)?;
        if let Some(&(name, value)) = STATIC.get(nth) {
            return Ok((name, value));
        }
        let newer = nth - STATIC.len();
        if newer >= self.entries.len() {
            return Err(HpackError::Index);
        }
        let entry = self.entries[self.entries.len() - 1 - newer];
        let start = entry.at.wrapping_sub(self.dropped) as usize;
        let both = &self.bytes[start..start + entry.bytes()];
        Ok(both.split_at(usize::from(entry.name)))
    }

    /// Puts in a field, and evicts the oldest so that the table stays within `size_max`. "It is not an error to attempt
    /// to add an entry that is larger than the maximum size": it empties the table.
    pub(super) fn add(&mut self, name: &[u8], value: &[u8], size_max: usize) {
        let size = name.len() + value.len() + OVERHEAD;
        self.shrink(size_max.saturating_sub(size));
        if size > size_max {
            return;
        }
        let at = self.dropped.wrapping_add(self.bytes.len() as u32);
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        // Both fit: `size_max` is at most `HPACK_TABLE_BYTES_MAX`.
        self.entries.push_back(Entry { at, name: name.len() as u16, value: value.len() as u16 });
        self.size += size;
    }

    /// Evicts the oldest fields until the table has at most this size.
    pub(super) fn shrink(&mut self, size_max: usize) {
        while self.size > size_max {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.size -= oldest.size();
        }
        let kept = self.dropped.wrapping_add(self.bytes.len() as u32);
        let first = self.entries.front().map_or(kept, |oldest| oldest.at);
        let gone = first.wrapping_sub(self.dropped) as usize;
        if gone > self.bytes.len() / 2 {
            self.bytes.drain(..gone);
            self.dropped = first;
        }
    }
}

/// What an entry counts beside its bytes.
const OVERHEAD: usize = 32;

const _: () = assert!(HPACK_TABLE_BYTES_MAX <= u16::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of(table: &Table) -> usize {
        table.entries.iter().map(|entry| entry.size()).sum()
    }

    #[test]
    fn the_newest_field_comes_first_and_the_oldest_goes_first() {
        let mut table = Table::default();
        for name in [b"a", b"b", b"c"] {
            table.add(name, b"1", 3 * 34);
        }
        assert_eq!(table.get(62), Ok((&b"c"[..], &b"1"[..])));
        assert_eq!(table.get(64), Ok((&b"a"[..], &b"1"[..])));
        table.add(b"d", b"", 3 * 34);
        assert_eq!(table.get(62), Ok((&b"d"[..], &b""[..])));
        assert_eq!(table.get(64), Ok((&b"b"[..], &b"1"[..])));
        assert_eq!(table.get(65), Err(HpackError::Index));
        assert_eq!(
            (table.get(1), table.get(0)),
            (Ok((&b":authority"[..], &b""[..])), Err(HpackError::Index))
        );
    }

    #[test]
    fn a_field_larger_than_the_table_empties_it() {
        let mut table = Table::default();
        table.add(b"a", b"1", 100);
        table.add(b"a", &[b'x'; 100], 100);
        assert_eq!((table.get(62), table.size), (Err(HpackError::Index), 0));
    }

    #[test]
    fn it_goes_on_when_the_count_of_bytes_begins_anew() {
        let mut table = Table { dropped: u32::MAX - 50, ..Table::default() };
        for number in 0..100u32 {
            table.add(b"name", number.to_string().as_bytes(), 200);
            for (newer, index) in (62..).enumerate().take(number.min(4) as usize) {
                let value = (number - newer as u32).to_string();
                assert_eq!(table.get(index), Ok((&b"name"[..], value.as_bytes())), "{number}");
            }
        }
    }

    #[test]
    fn the_memory_has_a_bound_whatever_comes() {
        let mut table = Table::default();
        for number in 0..10_000usize {
            let value = vec![b'v'; number % 700];
            table.add(number.to_string().as_bytes(), &value, HPACK_TABLE_BYTES_MAX);
            assert!(table.size <= HPACK_TABLE_BYTES_MAX && table.size == size_of(&table));
            assert!(table.bytes.len() <= 2 * HPACK_TABLE_BYTES_MAX);
            assert_eq!(table.get(62).map(|(_, found)| found.len()), Ok(value.len()));
        }
    }
}
