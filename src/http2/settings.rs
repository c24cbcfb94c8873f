//! Settings (RFC 9113 §6.5).

use super::error::ErrorCode;
use super::frame::{ACK, HEADER_BYTES, Kind, header};
use super::window::WINDOW_MAX;
use crate::limits::{FRAME_BYTES_MAX, STREAM_WINDOW_BYTES, STREAMS_MAX};

/// What a client has set, as far as it matters to who answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// What may be sent on a stream at first, in bytes.
    pub initial_window: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { initial_window: 65_535 }
    }
}

impl Settings {
    /// Applies the settings of a frame, in their order.
    ///
    /// # Errors
    /// A value that none may have.
    pub fn apply(&mut self, payload: &[u8]) -> Result<(), ErrorCode> {
        for setting in payload.chunks_exact(6) {
            let [i0, i1, v0, v1, v2, v3] = *setting else { continue };
            let value = u32::from_be_bytes([v0, v1, v2, v3]);
            match u16::from_be_bytes([i0, i1]) {
                ENABLE_PUSH if value > 1 => return Err(ErrorCode::ProtocolError),
                INITIAL_WINDOW_SIZE if i64::from(value) > WINDOW_MAX => {
                    return Err(ErrorCode::FlowControlError);
                }
                INITIAL_WINDOW_SIZE => self.initial_window = value,
                MAX_FRAME_SIZE if !(16_384..1 << 24).contains(&value) => {
                    return Err(ErrorCode::ProtocolError);
                }
                // No frame is longer than the least that a client has to take, no block uses a table, nothing is
                // pushed, and what the client takes of a head is its own affair.
                _ => {}
            }
        }
        Ok(())
    }
}

/// Our own settings, as a frame. `head_bytes`: the bound of a head.
pub fn ours(head_bytes: usize) -> [u8; HEADER_BYTES + 18] {
    let mut frame = [0; HEADER_BYTES + 18];
    frame[..HEADER_BYTES].copy_from_slice(&header(Kind::Settings, 0, 0, 18));
    let settings = [
        (MAX_CONCURRENT_STREAMS, STREAMS_MAX as u32),
        (INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES),
        (MAX_HEADER_LIST_SIZE, head_bytes as u32),
    ];
    for (nth, (id, value)) in settings.into_iter().enumerate() {
        let at = HEADER_BYTES + 6 * nth;
        frame[at..at + 2].copy_from_slice(&id.to_be_bytes());
        frame[at + 2..at + 6].copy_from_slice(&value.to_be_bytes());
    }
    frame
}

/// The answer to settings.
pub fn ack() -> [u8; HEADER_BYTES] {
    header(Kind::Settings, ACK, 0, 0)
}

const ENABLE_PUSH: u16 = 0x2;
const MAX_CONCURRENT_STREAMS: u16 = 0x3;
const INITIAL_WINDOW_SIZE: u16 = 0x4;
const MAX_FRAME_SIZE: u16 = 0x5;
const MAX_HEADER_LIST_SIZE: u16 = 0x6;

// What is taken without being asked for is what is not announced.
const _: () = assert!(FRAME_BYTES_MAX == 16_384);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http2::frame::{Frame, next};

    fn applied(settings: &[(u16, u32)]) -> Result<Settings, ErrorCode> {
        let mut payload = Vec::new();
        for (id, value) in settings {
            payload.extend_from_slice(&id.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        let mut found = Settings::default();
        found.apply(&payload).map(|()| found)
    }

    #[test]
    fn the_last_value_counts_and_what_is_unknown_does_not() {
        let found = applied(&[(4, 1), (0xff, 7), (5, 20_000), (4, 2), (1, 0), (3, 0), (2, 0), (8, 1)]);
        assert_eq!(found, Ok(Settings { initial_window: 2 }));
    }

    #[test]
    fn a_value_out_of_range_ends_the_connection() {
        assert_eq!(applied(&[(2, 2)]), Err(ErrorCode::ProtocolError));
        assert_eq!(applied(&[(4, 1 << 31)]), Err(ErrorCode::FlowControlError));
        assert_eq!(applied(&[(5, 16_383)]), Err(ErrorCode::ProtocolError));
        assert_eq!(applied(&[(5, 1 << 24)]), Err(ErrorCode::ProtocolError));
        assert!(applied(&[(4, (1 << 31) - 1), (5, (1 << 24) - 1), (2, 1)]).is_ok());
    }

    #[test]
    fn our_settings_are_a_frame() {
        let frame = ours(32_768);
        let Ok(Some((Frame::Settings(payload), length))) = next(&frame) else { panic!("no settings") };
        assert_eq!((payload.len(), length), (18, frame.len()));
        assert_eq!(payload[..6], [0, 3, 0, 0, 0, 100]);
        assert_eq!(next(&ack()), Ok(Some((Frame::SettingsAck, 9))));
    }
}
