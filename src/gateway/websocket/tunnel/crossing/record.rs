//! The bytes that go between two processes: a record with tunnels, and the verdict on each of them.
//!
//! ```text
//! ┌───────┬────────┬──────┬───────┬────────┬────────┐   ┌──────────────┬───────┬──────────────┬──────────────┐
//! │ magic │ format │ kind │ count │ number │ length │   │ length state │ state │ length regis.│ registration │ …
//! └───────┴────────┴──────┴───────┴────────┴────────┘   └──────────────┴───────┴──────────────┴──────────────┘
//!     4       1       1      2        8        8         what follows, or what is in the file behind the sockets
//! ```
//!
//! Numbers are in little-endian order. The header stays as it is for ever; what a state looks like is told by its own
//! version (`saved`), so that a process can refuse what it does not know, tunnel by tunnel.

/// What a record begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// Tunnels, or verdicts.
    pub(super) count: u16,
    /// Which record of the sender's it is. A verdict has the number of what it answers.
    pub(super) number: u64,
    /// Bytes of what follows.
    pub(super) length: u64,
}

/// What a record carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Tunnels, whose states follow.
    Tunnels = 0,
    /// Tunnels, whose states are in a file: the last descriptor.
    TunnelsInFile = 1,
    /// Verdicts, one byte for each tunnel.
    Verdicts = 2,
}

/// What the new process says of one tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has taken the tunnel.
    Taken = 0,
    /// Its configuration has no route of this name for WebSockets.
    NoRoute = 1,
    /// It does not know this version of the state, or this format of records.
    OtherVersion = 2,
    /// The state is none.
    Malformed = 3,
    /// It did not get all descriptors.
    NoDescriptors = 4,
}

/// What is said of one tunnel.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<'b> {
    pub(super) state: &'b [u8],
    pub(super) registration: &'b [u8],
}

/// Bytes that are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl Header {
    pub(super) fn bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = FORMAT;
        bytes[5] = self.kind as u8;
        bytes[6..8].copy_from_slice(&self.count.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    /// Reads the header of a record, and gives what follows.
    pub(super) fn read(bytes: &[u8]) -> Result<(Header, &[u8]), Malformed> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(Malformed)?;
        let kinds = [Kind::Tunnels, Kind::TunnelsInFile, Kind::Verdicts];
        let kind = kinds.into_iter().find(|kind| *kind as u8 == header[5]).ok_or(Malformed)?;
        if header[..4] != MAGIC || header[4] != FORMAT {
            return Err(Malformed);
        }
        let number = |at: usize| {
            let mut part = [0; 8];
            part.copy_from_slice(&header[at..at + 8]);
            u64::from_le_bytes(part)
        };
        let count = u16::from_le_bytes([header[6], header[7]]);
        Ok((Header { kind, count, number: number(8), length: number(16) }, rest))
    }
}

/// Appends an entry, whose parts are written by these.
pub(super) fn put_entry<E>(
    out: &mut Vec<u8>,
    state: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    registration: impl FnOnce(&mut Vec<u8>),
) -> Result<(), E> {
    let begun = out.len();
    let written = put_part(out, state);
    if written.is_err() {
        out.truncate(begun);
        return written;
    }
    put_part(out, |out| {
        registration(out);
        Ok(())
    })
}

fn put_part<E>(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
    let at = out.len();
    out.extend([0; 4]);
    write(out)?;
    // A part is bounded by what a tunnel may have at hand: some hundred KiB.
    let length = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// The entries of a record, of which there must be so many and nothing behind them.
pub(super) fn entries(mut bytes: &[u8], count: usize) -> Result<Vec<Entry<'_>>, Malformed> {
    let mut entries = Vec::new();
    for _ in 0..count {
        let (state, rest) = take_part(bytes)?;
        let (registration, rest) = take_part(rest)?;
        entries.push(Entry { state, registration });
        bytes = rest;
    }
    if bytes.is_empty() { Ok(entries) } else { Err(Malformed) }
}

fn take_part(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(Malformed)?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or(Malformed)
}

/// The record that answers the record of this number.
pub(super) fn answer(number: u64, verdicts: &[Verdict]) -> Vec<u8> {
    let (count, length) = (verdicts.len() as u16, verdicts.len() as u64);
    let mut bytes = Header { kind: Kind::Verdicts, count, number, length }.bytes().to_vec();
    bytes.extend(verdicts.iter().map(|verdict| *verdict as u8));
    bytes
}

/// The verdicts on the record of this number, with so many tunnels. Whoever answers something else has taken none.
pub(super) fn verdicts(bytes: &[u8], number: u64, count: usize) -> Result<Vec<Verdict>, Malformed> {
    let (header, rest) = Header::read(bytes)?;
    let is_answer = header.kind == Kind::Verdicts && header.number == number;
    if !is_answer || usize::from(header.count) != count || rest.len() != count {
        return Err(Malformed);
    }
    let verdict = |byte: &u8| ALL.into_iter().find(|one| *one as u8 == *byte).ok_or(Malformed);
    rest.iter().map(verdict).collect()
}

/// The longest verdict, in bytes.
pub(super) const ANSWER_BYTES_MAX: usize = HEADER_BYTES + crate::limits::TUNNELS_PER_RECORD;
/// Bytes of a header.
pub(super) const HEADER_BYTES: usize = 24;
const MAGIC: [u8; 4] = *b"rctn";
/// Changes with every change of the header or of what an entry is made of.
const FORMAT: u8 = 1;
const ALL: [Verdict; 5] =
    [Verdict::Taken, Verdict::NoRoute, Verdict::OtherVersion, Verdict::Malformed, Verdict::NoDescriptors];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (state, registration) in entries {
            let write = |out: &mut Vec<u8>| {
                out.extend(state);
                Ok::<(), ()>(())
            };
            put_entry(&mut bytes, write, |out| out.extend(registration)).expect("it can be written");
        }
        bytes
    }

    #[test]
    fn a_header_is_read_as_it_was_written_and_nothing_else_is_one() {
        let header = Header { kind: Kind::TunnelsInFile, count: 63, number: 1 << 40, length: 77_777 };
        let bytes = [&header.bytes()[..], b"rest"].concat();
        assert_eq!(Header::read(&bytes), Ok((header, &b"rest"[..])));
        for at in 0..6 {
            let mut other = bytes.clone();
            other[at] ^= 0x80;
            assert_eq!(Header::read(&other), Err(Malformed), "byte {at}");
        }
        for length in 0..HEADER_BYTES {
            assert_eq!(Header::read(&bytes[..length]), Err(Malformed), "{length} bytes");
        }
    }

    #[test]
    fn an_entry_that_cannot_be_written_leaves_nothing() {
        let mut bytes = written(&[(vec![1], vec![2])]);
        let before = bytes.clone();
        let refused = put_entry(
            &mut bytes,
            |out| {
                out.push(9);
                Err("no")
            },
            |_| {},
        );
        assert_eq!((refused, bytes), (Err("no"), before));
    }

    #[test]
    fn a_verdict_on_something_else_is_none() {
        let all = [Verdict::Taken, Verdict::NoRoute, Verdict::NoDescriptors];
        let bytes = answer(7, &all);
        assert_eq!(verdicts(&bytes, 7, 3), Ok(all.to_vec()));
        for (number, count) in [(8, 3), (7, 2), (7, 4)] {
            assert_eq!(verdicts(&bytes, number, count), Err(Malformed), "{number} {count}");
        }
        let mut unknown = bytes.clone();
        *unknown.last_mut().expect("verdicts") = 5;
        assert_eq!(verdicts(&unknown, 7, 3), Err(Malformed));
        assert_eq!(verdicts(&[&bytes[..], b"x"].concat(), 7, 3), Err(Malformed));
        let tunnels = Header { kind: Kind::Tunnels, count: 3, number: 7, length: 0 }.bytes();
        assert_eq!(verdicts(&[&tunnels[..], &[0; 3]].concat(), 7, 3), Err(Malformed));
    }

    fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..max)
    }

    proptest! {
        #[test]
        fn entries_are_read_as_they_were_written(
            all in prop::collection::vec((bytes(50), bytes(9)), 0..9),
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = written(&all);
            let read = entries(&bytes, all.len()).expect("what was written");
            for (read, (state, registration)) in read.iter().zip(&all) {
                prop_assert!(read.state == state && read.registration == registration);
            }
            prop_assert_eq!(entries(&bytes, all.len() + 1), Err(Malformed));
            if !bytes.is_empty() {
                prop_assert_eq!(entries(&bytes[..cut.index(bytes.len())], all.len()), Err(Malformed));
                prop_assert_eq!(entries(&bytes, all.len() - 1), Err(Malformed));
            }
        }

        #[test]
        fn random_bytes_are_an_error_and_never_a_panic(bytes in bytes(200), count in 0..70_usize) {
            let _ = (Header::read(&bytes), entries(&bytes, count), verdicts(&bytes, 0, count));
        }
    }
}
