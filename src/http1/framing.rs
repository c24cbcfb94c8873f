//! The framing of a body, and the decoder that finds its end.

use memchr::memchr;

use super::chunked::{check_trailers, parse_size_line};
use crate::http::{BodyLength, ProtocolError};
use crate::limits::TRAILER_BYTES_MAX;

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// That many bytes.
    Length(u64),
    /// Chunks (RFC 9112 §7.1).
    Chunked,
    /// Everything until the connection ends: responses only.
    UntilClose,
}

impl Framing {
    /// What the framing says about the body's length.
    pub fn length(self) -> BodyLength {
        match self {
            Framing::None => BodyLength::None,
            Framing::Length(length) => BodyLength::Exact(length),
            Framing::Chunked | Framing::UntilClose => BodyLength::Unknown,
        }
    }
}

/// What to do with the next bytes of a body.
///
/// The caller drops `consumed`, takes the `length` bytes after them, drops `rest` more, and calls again with
/// what follows:
///
/// ```text
/// bytes  5\r\n | hello            Data { consumed: 3, length: 5 }
/// bytes  \r\n0\r\n | A: b\r\n | \r\n  Trailers { consumed: 5, length: 6, rest: 2 }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `consumed` bytes were framing. The rest, if any, is the beginning of something that is not complete:
    /// call again with it and more behind it.
    More {
        /// Bytes to drop; may be 0.
        consumed: usize,
    },
    /// Body bytes.
    Data {
        /// Bytes of framing before them.
        consumed: usize,
        /// How many of the body; never 0.
        length: usize,
    },
    /// The complete trailer section; it was checked. The next step is `End`.
    Trailers {
        /// Bytes of framing before it.
        consumed: usize,
        /// Bytes of its field lines, each with CRLF: for `parse_trailers`. Never 0.
        length: usize,
        /// Bytes of the empty line after them: 2.
        rest: usize,
    },
    /// The body is over. What follows belongs to the next message.
    End {
        /// Bytes of framing to drop.
        consumed: usize,
    },
}

/// Takes a body apart, never asking for more than `CHUNK_LINE_BYTES_MAX` or `TRAILER_BYTES_MAX` bytes at
/// once, which fit a buffer. After an error it is not to be asked again.
#[derive(Clone, Copy, Debug)]
pub struct BodyDecoder {
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length(u64),
    UntilClose,
    ChunkSize,
    ChunkData(u64),
    ChunkDataEnd,
    /// That many bytes of the section are complete lines.
    Trailers(usize),
    Finished,
}

impl BodyDecoder {
    /// At the start of a body with this framing.
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Finished,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize,
            Framing::UntilClose => State::UntilClose,
        };
        Self { state }
    }

    /// What the next bytes are.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, ProtocolError> {
        let mut consumed = 0;
        loop {
            let rest = &bytes[consumed..];
            match self.state {
                State::Finished => return Ok(Step::End { consumed }),
                State::Length(_) | State::ChunkData(_) | State::UntilClose => {
                    let length = self.take_data(rest);
                    return Ok(if length > 0 {
                        Step::Data { consumed, length }
                    } else {
                        Step::More { consumed }
                    });
                }
                State::ChunkSize => {
                    let Some((length, size)) = parse_size_line(rest)? else {
                        return Ok(Step::More { consumed });
                    };
                    consumed += length;
                    self.state = if size > 0 { State::ChunkData(size) } else { State::Trailers(0) };
                }
                State::ChunkDataEnd => match rest {
                    [] | [b'\r'] => return Ok(Step::More { consumed }),
                    [b'\r', b'\n', ..] => {
                        consumed += 2;
                        self.state = State::ChunkSize;
                    }
                    _ => return Err(ProtocolError::ChunkDataEnd),
                },
                State::Trailers(lines) => return self.step_trailers(rest, lines, consumed),
            }
        }
    }

    /// Whether the body is complete if the connection ends here.
    pub fn finish_at_eof(&self) -> Result<(), ProtocolError> {
        match self.state {
            State::Finished | State::UntilClose => Ok(()),
            _ => Err(ProtocolError::BodyIncomplete),
        }
    }

    /// Body bytes still to come where that is known: with a length, or without a body.
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            State::Finished => Some(0),
            _ => None,
        }
    }

    fn take_data(&mut self, bytes: &[u8]) -> usize {
        let (left, spent) = match self.state {
            State::Length(left) => (left, State::Finished),
            State::ChunkData(left) => (left, State::ChunkDataEnd),
            _ => return bytes.len(),
        };
        let length = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left - length as u64;
        self.state = match self.state {
            _ if left == 0 => spent,
            State::Length(_) => State::Length(left),
            _ => State::ChunkData(left),
        };
        length
    }

    /// `lines` bytes at the start of `section` are complete lines; they are not searched again. `consumed`
    /// is what stood before the section in this call.
    fn step_trailers(
        &mut self,
        section: &[u8],
        mut lines: usize,
        consumed: usize,
    ) -> Result<Step, ProtocolError> {
        let seen = &section[..section.len().min(TRAILER_BYTES_MAX)];
        while let Some(offset) = memchr(b'\n', &seen[lines..]) {
            let line = &seen[lines..lines + offset + 1];
            if line == b"\r\n" {
                self.state = State::Finished;
                if lines == 0 {
                    return Ok(Step::End { consumed: consumed + 2 });
                }
                check_trailers(&section[..lines])?;
                return Ok(Step::Trailers { consumed, length: lines, rest: 2 });
            }
            if !line.ends_with(b"\r\n") {
                return Err(ProtocolError::TrailerInvalid);
            }
            lines += line.len();
        }
        if seen.len() == TRAILER_BYTES_MAX {
            return Err(ProtocolError::TrailerTooLarge);
        }
        self.state = State::Trailers(lines);
        Ok(Step::More { consumed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Body, trailer section, and where the message ends if it does.
    type Decoded = Result<(Vec<u8>, Vec<u8>, Option<usize>), ProtocolError>;

    /// Takes a body apart from bytes that come in pieces of these sizes.
    fn decode(framing: Framing, bytes: &[u8], mut piece: impl FnMut() -> usize) -> Decoded {
        let (mut decoder, mut body, mut trailers) = (BodyDecoder::new(framing), Vec::new(), Vec::new());
        let (mut at, mut filled) = (0, 0);
        loop {
            match decoder.step(&bytes[at..filled])? {
                Step::End { consumed } => {
                    assert_eq!(decoder.remaining(), Some(0));
                    return Ok((body, trailers, Some(at + consumed)));
                }
                Step::Data { consumed, length } => {
                    body.extend_from_slice(&bytes[at + consumed..][..length]);
                    at += consumed + length;
                }
                Step::Trailers { consumed, length, rest } => {
                    trailers.extend_from_slice(&bytes[at + consumed..][..length]);
                    at += consumed + length + rest;
                }
                Step::More { consumed } if filled == bytes.len() => {
                    assert!(at + consumed <= filled);
                    return decoder.finish_at_eof().map(|()| (body, trailers, None));
                }
                Step::More { consumed } => {
                    at += consumed;
                    filled = bytes.len().min(filled + piece().max(1));
                }
            }
        }
    }

    fn whole(framing: Framing, bytes: &[u8]) -> Decoded {
        decode(framing, bytes, || bytes.len())
    }

    const CHUNKED: &[&[u8]] = &[
        b"5\r\nhello\r\n0\r\n\r\nGET /next",
        b"5;a=b\r\nhello\r\n1\r\n!\r\n000;x\r\n\r\n",
        b"1\r\na\r\n0\r\nA: b\r\nC: d\r\n\r\nnext",
        b"0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\rx0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nA: b\n\r\n",
        b"5\r\nhello\r\n0\r\nA\r\n\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"\r\n5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhel",
        b"5\r\nhello\r\n\r\n",
        b"0\r\n\n",
        b"0\r\n\r",
        b"0\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
    ];

    #[test]
    fn split_anywhere_the_body_decodes_the_same() {
        for bytes in CHUNKED {
            let expected = whole(Framing::Chunked, bytes);
            assert_eq!(decode(Framing::Chunked, bytes, || 1), expected, "{}", bytes.escape_ascii());
            for cut in 0..=bytes.len() {
                let mut pieces = [cut, bytes.len()].into_iter();
                let found = decode(Framing::Chunked, bytes, || pieces.next().unwrap_or(1));
                assert_eq!(found, expected, "{} cut at {cut}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn chunks_and_trailers_in_their_parts() {
        let found = whole(Framing::Chunked, CHUNKED[0]);
        assert_eq!(found, Ok((b"hello".to_vec(), Vec::new(), Some(15))));
        let found = whole(Framing::Chunked, CHUNKED[2]);
        assert_eq!(found, Ok((b"a".to_vec(), b"A: b\r\nC: d\r\n".to_vec(), Some(23))));
    }

    #[test]
    fn chunk_data_ends_with_crlf() {
        for bytes in &CHUNKED[4..7] {
            assert_eq!(whole(Framing::Chunked, bytes), Err(ProtocolError::ChunkDataEnd));
        }
    }

    #[test]
    fn an_empty_size_is_not_the_last_chunk() {
        assert_eq!(whole(Framing::Chunked, b"\r\n\r\n"), Err(ProtocolError::ChunkSize));
        assert_eq!(whole(Framing::Chunked, b"1\r\na\r\n\r\n\r\n"), Err(ProtocolError::ChunkSize));
    }

    #[test]
    fn a_trailer_section_is_bounded_and_checked() {
        let section = |bytes: usize| [b"0\r\nA: ".as_slice(), &vec![b'a'; bytes - 7], b"\r\n\r\n"].concat();
        assert!(whole(Framing::Chunked, &section(TRAILER_BYTES_MAX)).is_ok());
        let over = section(TRAILER_BYTES_MAX + 1);
        assert_eq!(whole(Framing::Chunked, &over), Err(ProtocolError::TrailerTooLarge));
        assert_eq!(decode(Framing::Chunked, &over, || 1), Err(ProtocolError::TrailerTooLarge));
        assert_eq!(
            whole(Framing::Chunked, b"0\r\nGET / HTTP/1.1\r\n\r\n"),
            Err(ProtocolError::TrailerInvalid)
        );
        assert_eq!(whole(Framing::Chunked, b"0\r\nA: b\n\r\n"), Err(ProtocolError::TrailerInvalid));
    }

    #[test]
    fn a_length_is_counted_and_an_early_end_is_seen() {
        let mut decoder = BodyDecoder::new(Framing::Length(5));
        assert_eq!(decoder.step(b"hel"), Ok(Step::Data { consumed: 0, length: 3 }));
        assert_eq!(decoder.remaining(), Some(2));
        assert_eq!(decoder.finish_at_eof(), Err(ProtocolError::BodyIncomplete));
        assert_eq!(decoder.step(b""), Ok(Step::More { consumed: 0 }));
        assert_eq!(decoder.step(b"loGET"), Ok(Step::Data { consumed: 0, length: 2 }));
        assert!(decoder.remaining() == Some(0) && decoder.finish_at_eof().is_ok());
        assert_eq!(decoder.step(b"GET"), Ok(Step::End { consumed: 0 }));
    }

    #[test]
    fn no_body_ends_at_once_and_until_close_never() {
        for framing in [Framing::None, Framing::Length(0)] {
            assert_eq!(BodyDecoder::new(framing).remaining(), Some(0));
            assert_eq!(BodyDecoder::new(framing).step(b"x"), Ok(Step::End { consumed: 0 }));
        }
        let mut decoder = BodyDecoder::new(Framing::UntilClose);
        assert_eq!(decoder.step(b"abc"), Ok(Step::Data { consumed: 0, length: 3 }));
        assert!(decoder.finish_at_eof().is_ok() && decoder.remaining().is_none());
    }
}
