//! Control frames that the gateway writes: Close and Ping.

use super::frame::{CONTROL_PAYLOAD_MAX, FIN, Header, MASK, Opcode};

/// A control frame, ready to be sent. It is on the heap, so that a task that sends one is not larger for it.
#[derive(Clone, Debug)]
pub struct ControlFrame {
    bytes: Vec<u8>,
}

impl ControlFrame {
    /// The longest one, in bytes: a header with a mask, and the longest payload.
    pub const BYTES_MAX: usize = 2 + 4 + CONTROL_PAYLOAD_MAX as usize;

    /// The frame's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The frame's bytes, to be sent piece by piece.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// `mask`: the frame goes to a server (RFC 6455 §5.1). A payload over 125 bytes is cut.
    fn new(opcode: Opcode, payload: &[&[u8]], mask: Option<[u8; 4]>) -> ControlFrame {
        let mut bytes = vec![FIN | opcode.bits(), 0];
        bytes.extend(mask.iter().flatten());
        let begin = bytes.len();
        for piece in payload {
            let room = usize::from(CONTROL_PAYLOAD_MAX) - (bytes.len() - begin);
            bytes.extend(&piece[..piece.len().min(room)]);
        }
        bytes[1] = (bytes.len() - begin) as u8;
        if let Some(mask) = mask {
            bytes[1] |= MASK;
            apply_mask(&mut bytes[begin..], mask);
        }
        ControlFrame { bytes }
    }
}

/// A Close frame with a code and a reason (RFC 6455 §5.5.1).
pub fn close(code: u16, reason: &str, mask: Option<[u8; 4]>) -> ControlFrame {
    ControlFrame::new(Opcode::Close, &[&code.to_be_bytes(), reason.as_bytes()], mask)
}

/// A Ping frame to a client.
pub fn ping(payload: &[u8]) -> ControlFrame {
    ControlFrame::new(Opcode::Ping, &[payload], None)
}

/// Whether the payload that came with this header, unmasked, equals `expected`.
pub fn carries(header: &Header, payload: &[u8], expected: &[u8]) -> bool {
    let mask = header.mask.unwrap_or_default();
    let unmasked = payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key);
    payload.len() == expected.len() && unmasked.eq(expected.iter().copied())
}

/// Masks or unmasks (RFC 6455 §5.3): both are the same operation.
pub(super) fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::{FrameRules, Header, Sender};

    fn read(frame: &ControlFrame, sender: Sender) -> (Opcode, Vec<u8>) {
        let rules = FrameRules { sender, has_extension: false, message_bytes_max: 0 };
        let header = Header::parse(frame.as_bytes(), &rules).expect("a right frame").expect("a whole frame");
        let mut payload = frame.as_bytes()[header.length..].to_vec();
        assert_eq!(payload.len() as u64, header.payload);
        apply_mask(&mut payload, header.mask.unwrap_or_default());
        (header.opcode, payload)
    }

    #[test]
    fn what_is_written_can_be_read() {
        let expected = b"\x03\xf4service restart".to_vec();
        assert_eq!(
            read(&close(1012, "service restart", None), Sender::Server),
            (Opcode::Close, expected.clone())
        );
        let masked = close(1012, "service restart", Some([1, 2, 3, 4]));
        assert_eq!(read(&masked, Sender::Client), (Opcode::Close, expected));
        assert_eq!(read(&ping(b"12345678"), Sender::Server), (Opcode::Ping, b"12345678".to_vec()));
    }

    #[test]
    fn a_reason_that_is_too_long_is_cut() {
        let (_, payload) = read(&close(1001, &"x".repeat(500), Some([9; 4])), Sender::Client);
        assert_eq!(payload.len(), 125);
    }
}
