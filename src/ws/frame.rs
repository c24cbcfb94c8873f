//! Parses the header of one frame, and names every way in which it can be wrong.
//!
//! ```text
//!  byte 0                byte 1           then
//! ┌─────┬───────┬────────┬──────┬────────┬────────────────────┬──────────────┐
//! │ FIN │ RSV1-3│ opcode │ MASK │ length │ 0, 2 or 8 bytes of │ 0 or 4 bytes │ payload …
//! │     │       │ 4 bits │      │ 7 bits │ extended length    │ masking key  │
//! └─────┴───────┴────────┴──────┴────────┴────────────────────┴──────────────┘
//! ```

/// The header of one frame (RFC 6455 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // The opcode.
pub struct Header {
    /// Whether this is the last frame of its message.
    pub fin: bool,
    pub opcode: Opcode,
    /// The masking key, if the payload is masked.
    pub mask: Option<[u8; 4]>,
    /// The length of the payload, in bytes.
    pub payload: u64,
    /// The length of this header, in bytes: 2 to 14.
    pub length: usize,
}

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Each variant is the opcode of that name.
pub enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// The sender of a frame. Frames of a client are masked, those of a server are not: "A server MUST NOT mask any frames that it sends
/// to the client" and it "MUST close the connection upon receiving a frame that is not masked" (RFC 6455 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Sender {
    Client,
    Server,
}

/// The rules for the frames of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRules {
    /// The side that sends the frames.
    pub sender: Sender,
    /// An extension was negotiated, which gives RSV1 of a message's first frame a meaning (RFC 7692 §6).
    pub has_extension: bool,
    /// The largest payload of one message, over all its frames, in bytes; 0: unbounded.
    pub message_bytes_max: u64,
}

/// Each way in which a peer can break the framing. All of them end the tunnel with 1002.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misbehaviour {
    /// A reserved bit is set, and no extension gives it a meaning.
    ReservedBits,
    /// An opcode that does not exist.
    ReservedOpcode,
    /// A client's frame without a mask.
    Unmasked,
    /// A server's frame with a mask.
    Masked,
    /// A control frame with more than 125 bytes of payload.
    ControlTooLong,
    /// A control frame that is not the last frame of its message.
    ControlFragmented,
    /// A length in more bytes than it needs.
    LengthNotMinimal,
    /// A length with its top bit set.
    LengthTooLarge,
    /// A continuation frame without a message to continue.
    NothingToContinue,
    /// A new message before the last one has ended.
    MessageInsideMessage,
    /// A Close frame with one byte of payload: half a code.
    HalfACode,
}

impl Opcode {
    /// Whether the frame is a control frame, which may come between the fragments of a message.
    pub fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }

    /// The four bits of the opcode.
    pub fn bits(self) -> u8 {
        match self {
            Opcode::Continuation => 0x0,
            Opcode::Text => 0x1,
            Opcode::Binary => 0x2,
            Opcode::Close => 0x8,
            Opcode::Ping => 0x9,
            Opcode::Pong => 0xa,
        }
    }

    fn of(bits: u8) -> Result<Opcode, Misbehaviour> {
        match bits {
            0x0 => Ok(Opcode::Continuation),
            0x1 => Ok(Opcode::Text),
            0x2 => Ok(Opcode::Binary),
            0x8 => Ok(Opcode::Close),
            0x9 => Ok(Opcode::Ping),
            0xa => Ok(Opcode::Pong),
            _ => Err(Misbehaviour::ReservedOpcode),
        }
    }
}

impl Header {
    /// Parses the header at the front of `bytes`. `None`: it is incomplete, and so far valid.
    pub fn parse(bytes: &[u8], rules: &FrameRules) -> Result<Option<Header>, Misbehaviour> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        let (fin, opcode) = (first & FIN != 0, Opcode::of(first & OPCODE)?);
        check_bits(first, opcode, rules)?;
        let is_masked = second & MASK != 0;
        match rules.sender {
            Sender::Client if !is_masked => return Err(Misbehaviour::Unmasked),
            Sender::Server if is_masked => return Err(Misbehaviour::Masked),
            Sender::Client | Sender::Server => {}
        }
        let short = second & LENGTH;
        if opcode.is_control() && short > CONTROL_PAYLOAD_MAX {
            return Err(Misbehaviour::ControlTooLong);
        }
        if opcode.is_control() && !fin {
            return Err(Misbehaviour::ControlFragmented);
        }
        if opcode == Opcode::Close && short == 1 {
            return Err(Misbehaviour::HalfACode);
        }
        let Some((payload, rest)) = payload_length(short, rest)? else { return Ok(None) };
        let (mask, rest) = match (is_masked, rest.split_first_chunk::<4>()) {
            (false, _) => (None, rest),
            (true, Some((mask, rest))) => (Some(*mask), rest),
            (true, None) => return Ok(None),
        };
        Ok(Some(Header { fin, opcode, mask, payload, length: bytes.len() - rest.len() }))
    }
}

/// "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values" (RFC 6455 §5.2).
fn check_bits(first: u8, opcode: Opcode, rules: &FrameRules) -> Result<(), Misbehaviour> {
    let begins_message = matches!(opcode, Opcode::Text | Opcode::Binary);
    let allowed = if rules.has_extension && begins_message { RSV1 } else { 0 };
    match first & RESERVED & !allowed {
        0 => Ok(()),
        _ => Err(Misbehaviour::ReservedBits),
    }
}

/// "the minimal number of bytes MUST be used to encode the length" and "the most significant bit MUST be 0" (RFC
/// 6455 §5.2). Returns the length and the bytes after it.
fn payload_length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Misbehaviour> {
    match short {
        126 => {
            let Some((length, rest)) = rest.split_first_chunk::<2>() else { return Ok(None) };
            let length = u64::from(u16::from_be_bytes(*length));
            if length < 126 {
                return Err(Misbehaviour::LengthNotMinimal);
            }
            Ok(Some((length, rest)))
        }
        127 => {
            let Some((length, rest)) = rest.split_first_chunk::<8>() else { return Ok(None) };
            let length = u64::from_be_bytes(*length);
            match length {
                0..=0xffff => Err(Misbehaviour::LengthNotMinimal),
                0x1_0000..=LENGTH_MAX => Ok(Some((length, rest))),
                _ => Err(Misbehaviour::LengthTooLarge),
            }
        }
        short => Ok(Some((u64::from(short), rest))),
    }
}

/// The highest bit of the first byte.
pub(super) const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
/// The highest bit of the second byte.
pub(super) const MASK: u8 = 0x80;
const LENGTH: u8 = 0x7f;
/// "All control frames MUST have a payload length of 125 bytes or less" (RFC 6455 §5.5).
pub(super) const CONTROL_PAYLOAD_MAX: u8 = 125;
const LENGTH_MAX: u64 = (1 << 63) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(sender: Sender, has_extension: bool) -> FrameRules {
        FrameRules { sender, has_extension, message_bytes_max: 0 }
    }

    fn server(bytes: &[u8]) -> Result<Option<Header>, Misbehaviour> {
        Header::parse(bytes, &rules(Sender::Server, false))
    }

    fn client(bytes: &[u8]) -> Result<Option<Header>, Misbehaviour> {
        Header::parse(bytes, &rules(Sender::Client, false))
    }

    #[test]
    fn reads_every_form_of_a_length() {
        for (bytes, payload, length) in [
            (&[0x82, 0][..], 0, 2),
            (&[0x82, 125], 125, 2),
            (&[0x82, 126, 0, 126], 126, 4),
            (&[0x82, 126, 0xff, 0xff], 0xffff, 4),
            (&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0], 0x1_0000, 10),
            (&[0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], LENGTH_MAX, 10),
        ] {
            let header = Header { fin: true, opcode: Opcode::Binary, mask: None, payload, length };
            assert_eq!(server(bytes), Ok(Some(header)), "{bytes:02x?}");
            let mut masked = bytes.to_vec();
            masked[1] |= MASK;
            masked.extend([1, 2, 3, 4]);
            let header = Header { mask: Some([1, 2, 3, 4]), length: length + 4, ..header };
            assert_eq!(client(&masked), Ok(Some(header)), "{masked:02x?}");
        }
    }

    #[test]
    fn a_header_cut_anywhere_is_not_complete_and_not_wrong() {
        let whole = [0x01, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 9, 8, 7, 6];
        for end in 0..whole.len() {
            assert_eq!(client(&whole[..end]), Ok(None), "{end}");
        }
        assert_eq!(client(&whole).map(|header| header.map(|header| header.length)), Ok(Some(14)));
    }

    #[test]
    fn every_misbehaviour_has_its_name() {
        use Misbehaviour::*;
        for (bytes, wrong) in [
            (&[0xc1, 0][..], ReservedBits),
            (&[0xa1, 0], ReservedBits),
            (&[0x91, 0], ReservedBits),
            (&[0x83, 0], ReservedOpcode),
            (&[0x87, 0], ReservedOpcode),
            (&[0x8b, 0], ReservedOpcode),
            (&[0x8f, 0], ReservedOpcode),
            (&[0x81, 0x80], Masked),
            (&[0x89, 126], ControlTooLong),
            (&[0x8a, 127], ControlTooLong),
            (&[0x09, 0], ControlFragmented),
            (&[0x08, 0], ControlFragmented),
            (&[0x88, 1], HalfACode),
            (&[0x81, 126, 0, 125], LengthNotMinimal),
            (&[0x81, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], LengthNotMinimal),
            (&[0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], LengthTooLarge),
        ] {
            assert_eq!(server(bytes), Err(wrong), "{bytes:02x?}");
        }
        assert_eq!(client(&[0x81, 0]), Err(Unmasked));
    }

    #[test]
    fn an_extension_gives_the_first_reserved_bit_of_a_message_a_meaning() {
        let deflate = rules(Sender::Server, true);
        for (first, is_right) in [(0xc1, true), (0x42, true), (0x40, false), (0xc9, false), (0xa1, false)] {
            assert_eq!(Header::parse(&[first, 0], &deflate).is_ok(), is_right, "{first:02x}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_before_the_rest_of_the_header_comes() {
        assert_eq!(client(&[0x81, 0x7e]), Err(Misbehaviour::Unmasked));
        assert_eq!(server(&[0x83, 0x7e]), Err(Misbehaviour::ReservedOpcode));
    }
}
