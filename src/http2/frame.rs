//! Frames (RFC 9113 §4, §6).
//!
//! ```text
//! 0        3      4       5           9
//! | length | type | flags | stream id | payload …
//! ```

use super::error::ErrorCode;
use crate::limits::FRAME_BYTES_MAX;

/// What a client's connection begins with (§3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a frame before its payload.
pub const HEADER_BYTES: usize = 9;

/// Flag of DATA and HEADERS: the last frame of its sender on the stream.
pub const END_STREAM: u8 = 0x1;
/// Flag of HEADERS and CONTINUATION: the block of fields ends here.
pub const END_HEADERS: u8 = 0x4;
/// Flag of SETTINGS and PING: it answers one.
pub const ACK: u8 = 0x1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// The types of frames that this side writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)] // Each variant is the type of that name.
pub enum Kind {
    Data = 0x0,
    Headers = 0x1,
    RstStream = 0x3,
    Settings = 0x4,
    Ping = 0x6,
    GoAway = 0x7,
    WindowUpdate = 0x8,
    Continuation = 0x9,
}

/// A frame that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'b> {
    /// Bytes of a body.
    Data {
        /// Its stream.
        stream: u32,
        /// The bytes, without padding.
        data: &'b [u8],
        /// What counts for the windows: "the entire DATA frame payload is included in flow control".
        flow: usize,
        /// The body ends here.
        ends_stream: bool,
    },
    /// The beginning of a block of fields.
    Headers {
        /// Its stream.
        stream: u32,
        /// This part of the block.
        block: &'b [u8],
        /// There is no body, or no more of it.
        ends_stream: bool,
        /// The block is complete.
        ends_block: bool,
    },
    /// More of a block of fields.
    Continuation {
        /// Its stream.
        stream: u32,
        /// This part of the block.
        block: &'b [u8],
        /// The block is complete.
        ends_block: bool,
    },
    /// The client gives a stream up.
    Reset {
        /// Which one.
        stream: u32,
    },
    /// Settings, six bytes each.
    Settings(&'b [u8]),
    /// Our settings have arrived.
    SettingsAck,
    /// To be sent back.
    Ping([u8; 8]),
    /// More may be sent.
    WindowUpdate {
        /// On this stream; 0: on the connection.
        stream: u32,
        /// So many bytes.
        increment: u32,
    },
    /// The client begins no more streams that we would push: nothing follows from it.
    GoAway,
    /// Of no meaning here: PRIORITY, the answer to a PING, an unknown type.
    Other {
        /// Its stream.
        stream: u32,
        /// Its type.
        kind: u8,
    },
    /// Its stream cannot go on.
    Broken {
        /// Which one.
        stream: u32,
        /// Why.
        code: ErrorCode,
    },
}

/// The first frame of `bytes`, and how long it is with its header. `None`: it is not complete.
///
/// # Errors
/// The code with which the connection ends.
pub fn next(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, ErrorCode> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let [l0, l1, l2, kind, flags, id @ ..] = *header;
    let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(ErrorCode::FrameSizeError);
    }
    // What it says of itself is looked at before the rest of it is awaited.
    let stream = u32::from_be_bytes(id) & !(1 << 31);
    check_size(kind, flags, length)?;
    if matches!(kind, 0 | 1 | 2 | 3 | 9) && stream == 0 || matches!(kind, 4 | 6 | 7) && stream != 0 {
        return Err(ErrorCode::ProtocolError);
    }
    let Some(payload) = rest.get(..length) else { return Ok(None) };
    Ok(Some((read(kind, flags, stream, payload)?, HEADER_BYTES + length)))
}

fn check_size(kind: u8, flags: u8, length: usize) -> Result<(), ErrorCode> {
    let fits = match kind {
        3 | 8 => length == 4,
        4 if flags & ACK != 0 => length == 0,
        4 => length.is_multiple_of(6),
        6 => length == 8,
        7 => length >= 8,
        _ => true,
    };
    if fits { Ok(()) } else { Err(ErrorCode::FrameSizeError) }
}

fn read(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<Frame<'_>, ErrorCode> {
    let ends_block = flags & END_HEADERS != 0;
    Ok(match kind {
        0 => Frame::Data {
            stream,
            data: unpadded(flags, payload)?,
            flow: payload.len(),
            ends_stream: flags & END_STREAM != 0,
        },
        1 => {
            let block = without_priority(flags, stream, unpadded(flags, payload)?)?;
            Frame::Headers { stream, block, ends_stream: flags & END_STREAM != 0, ends_block }
        }
        // §6.3: "A PRIORITY frame with a length other than 5 octets MUST be treated as a stream error".
        2 if payload.len() != 5 => Frame::Broken { stream, code: ErrorCode::FrameSizeError },
        2 if number(payload) & !(1 << 31) == stream => {
            Frame::Broken { stream, code: ErrorCode::ProtocolError }
        }
        3 => Frame::Reset { stream },
        4 if flags & ACK != 0 => Frame::SettingsAck,
        4 => Frame::Settings(payload),
        // "A client cannot push."
        5 => return Err(ErrorCode::ProtocolError),
        6 if flags & ACK == 0 => Frame::Ping(payload.try_into().map_err(|_| ErrorCode::FrameSizeError)?),
        7 => Frame::GoAway,
        8 => match (number(payload) & !(1 << 31), stream) {
            (0, 0) => return Err(ErrorCode::ProtocolError),
            (0, stream) => Frame::Broken { stream, code: ErrorCode::ProtocolError },
            (increment, stream) => Frame::WindowUpdate { stream, increment },
        },
        9 => Frame::Continuation { stream, block: payload, ends_block },
        kind => Frame::Other { stream, kind },
    })
}

/// §6.1: "If the length of the padding is the length of the frame payload or greater, the recipient MUST treat this as
/// a connection error".
fn unpadded(flags: u8, payload: &[u8]) -> Result<&[u8], ErrorCode> {
    if flags & PADDED == 0 {
        return Ok(payload);
    }
    let (&padding, rest) = payload.split_first().ok_or(ErrorCode::FrameSizeError)?;
    let length = rest.len().checked_sub(usize::from(padding)).ok_or(ErrorCode::ProtocolError)?;
    Ok(&rest[..length])
}

fn without_priority(flags: u8, stream: u32, payload: &[u8]) -> Result<&[u8], ErrorCode> {
    if flags & PRIORITY == 0 {
        return Ok(payload);
    }
    let (priority, rest) = payload.split_at_checked(5).ok_or(ErrorCode::FrameSizeError)?;
    // "A stream cannot depend on itself."
    if number(priority) & !(1 << 31) == stream {
        return Err(ErrorCode::ProtocolError);
    }
    Ok(rest)
}

/// The first four bytes.
fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// The header of a frame.
pub fn header(kind: Kind, flags: u8, stream: u32, length: usize) -> [u8; HEADER_BYTES] {
    debug_assert!(length <= FRAME_BYTES_MAX);
    let [_, l0, l1, l2] = (length as u32).to_be_bytes();
    let [s0, s1, s2, s3] = stream.to_be_bytes();
    [l0, l1, l2, kind as u8, flags, s0, s1, s2, s3]
}

/// RST_STREAM.
pub fn reset(stream: u32, code: ErrorCode) -> [u8; HEADER_BYTES + 4] {
    joined(header(Kind::RstStream, 0, stream, 4), (code as u32).to_be_bytes())
}

/// WINDOW_UPDATE.
pub fn window_update(stream: u32, increment: u32) -> [u8; HEADER_BYTES + 4] {
    joined(header(Kind::WindowUpdate, 0, stream, 4), increment.to_be_bytes())
}

/// The answer to a PING.
pub fn ping_ack(opaque: [u8; 8]) -> [u8; HEADER_BYTES + 8] {
    joined(header(Kind::Ping, ACK, 0, 8), opaque)
}

/// GOAWAY: no stream after `last` was or will be processed.
pub fn go_away(last: u32, code: ErrorCode) -> [u8; HEADER_BYTES + 8] {
    let mut payload = [0; 8];
    payload[..4].copy_from_slice(&last.to_be_bytes());
    payload[4..].copy_from_slice(&(code as u32).to_be_bytes());
    joined(header(Kind::GoAway, 0, 0, 8), payload)
}

fn joined<const N: usize, const M: usize>(header: [u8; HEADER_BYTES], payload: [u8; N]) -> [u8; M] {
    let mut frame = [0; M];
    frame[..HEADER_BYTES].copy_from_slice(&header);
    frame[HEADER_BYTES..].copy_from_slice(&payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = header(Kind::Data, flags, stream, payload.len()).to_vec();
        bytes[3] = kind;
        bytes.extend_from_slice(payload);
        bytes
    }

    fn read(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<String, ErrorCode> {
        let bytes = frame(kind, flags, stream, payload);
        next(&bytes).map(|found| format!("{:?}", found.expect("a whole frame").0))
    }

    #[test]
    fn each_frame_says_what_it_is() {
        let data = next(b"\0\0\x05\0\x09\0\0\0\x01\x02hi\0\0rest").unwrap().unwrap();
        assert_eq!(data, (Frame::Data { stream: 1, data: b"hi", flow: 5, ends_stream: true }, 14));
        let headers = frame(1, 0x2d, 3, b"\x01\x80\0\0\x09\x10block\0");
        let expected = Frame::Headers { stream: 3, block: b"block", ends_stream: true, ends_block: true };
        assert_eq!(next(&headers).unwrap().unwrap().0, expected);
        assert_eq!(next(&reset(5, ErrorCode::Cancel)).unwrap().unwrap().0, Frame::Reset { stream: 5 });
        let update = Frame::WindowUpdate { stream: 7, increment: 9 };
        assert_eq!(next(&window_update(7, 9)).unwrap().unwrap().0, update);
        assert_eq!(next(&frame(6, 0, 0, b"12345678")).unwrap().unwrap().0, Frame::Ping(*b"12345678"));
        let other = Frame::Other { stream: 0, kind: 6 };
        assert_eq!(next(&ping_ack(*b"12345678")).unwrap().unwrap().0, other);
        assert_eq!(next(&go_away(1, ErrorCode::NoError)).unwrap().unwrap().0, Frame::GoAway);
        assert_eq!(next(&frame(4, 1, 0, b"")).unwrap().unwrap().0, Frame::SettingsAck);
        assert_eq!(
            next(&frame(0xbe, 0xff, 9, b"x")).unwrap().unwrap().0,
            Frame::Other { stream: 9, kind: 0xbe }
        );
    }

    #[test]
    fn what_a_frame_must_not_be_has_its_code() {
        use ErrorCode::{FrameSizeError, ProtocolError};
        for (kind, flags, stream, payload, code) in [
            (0, 0, 0, &b"x"[..], ProtocolError),
            (0, 8, 1, b"", FrameSizeError),
            (0, 8, 1, b"\x01", ProtocolError),
            (0, 8, 1, b"\x04abc", ProtocolError),
            (1, 0, 0, b"x", ProtocolError),
            (1, 0x20, 1, b"1234", FrameSizeError),
            (1, 0x20, 1, b"\0\0\0\x01\0", ProtocolError),
            (2, 0, 0, b"12345", ProtocolError),
            (3, 0, 1, b"123", FrameSizeError),
            (3, 0, 0, b"1234", ProtocolError),
            (4, 0, 1, b"", ProtocolError),
            (4, 0, 0, b"12345", FrameSizeError),
            (4, 1, 0, b"123456", FrameSizeError),
            (5, 0, 1, b"12345", ProtocolError),
            (6, 0, 0, b"1234567", FrameSizeError),
            (6, 0, 1, b"12345678", ProtocolError),
            (7, 0, 0, b"1234567", FrameSizeError),
            (7, 0, 1, b"12345678", ProtocolError),
            (8, 0, 0, b"\0\0\0\0", ProtocolError),
            (8, 0, 1, b"\0\0\0", FrameSizeError),
            (9, 0, 0, b"x", ProtocolError),
        ] {
            assert_eq!(read(kind, flags, stream, payload), Err(code), "{kind} {}", payload.escape_ascii());
        }
        for (kind, payload) in [(2, &b"1234"[..]), (2, b"\0\0\0\x01\0"), (8, b"\0\0\0\0"), (8, b"\x80\0\0\0")]
        {
            assert!(read(kind, 0, 1, payload).unwrap().contains("Broken"), "a stream error: {kind}");
        }
    }

    #[test]
    fn a_frame_that_is_too_large_is_refused_by_its_header() {
        assert_eq!(next(b"\0\x40\x01\0\0\0\0\0\x01"), Err(ErrorCode::FrameSizeError));
        assert_eq!(next(b"\0\x40\0\0\0\0\0\0\x01"), Ok(None));
    }

    proptest! {
        /// Cut at every byte, a frame is the same or not there yet; and no bytes make it panic.
        #[test]
        fn cut_anywhere_a_frame_reads_the_same(
            kind in 0u8..12,
            flags: u8,
            stream in 0u32..4,
            payload in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let bytes = frame(kind, flags, stream, &payload);
            let whole = next(&bytes);
            for cut in 0..bytes.len() {
                match next(&bytes[..cut]) {
                    Ok(None) => {}
                    Err(early) => prop_assert_eq!(Err(early), whole),
                    Ok(Some(_)) => prop_assert!(false, "half a frame"),
                }
            }
            let behind = [&bytes[..], b"more"].concat();
            prop_assert_eq!(next(&behind), whole);
        }
    }
}
