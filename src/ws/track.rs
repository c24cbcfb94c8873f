//! Follows one direction of a tunnel, frame by frame.
//!
//! ```text
//! available: ┌ payload of ┐┌ header ┐┌ payload ┐┌ ping, whole ┐┌ half a header ┐
//!            │ the frame  ││        ││         ││             ││               │
//!            └────────────┘└────────┘└─────────┘└─────────────┘└───────────────┘
//! advance:   ◀──────────────────── pass ─────────────────────▶◀──── await ────▶
//! ```
//!
//! Bytes of payload pass as they come. A header passes when it is complete, a control frame when its payload is
//! complete too. So the bytes that have passed always end inside a payload or between two frames, and the track knows
//! which.

use super::frame::{CONTROL_PAYLOAD_MAX, FrameRules, Header, Misbehaviour, Opcode};

/// The state of one direction of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    rules: FrameRules,
    position: Position,
}

/// How far the frames of one direction have passed. With the rules it is all that a track knows, so a track can go on
/// in another process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Payload bytes that are still to pass of the current frame.
    pub payload_left: u64,
    /// Payload bytes of the current message, over all its frames so far.
    pub message_bytes: u64,
    /// A message has begun, and its last frame has not come.
    pub in_message: bool,
}

/// What the relay does with the available bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    /// The number of bytes from the front that it forwards.
    pub pass: usize,
    /// What it does then.
    pub then: Then,
}

/// What follows the bytes that are forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing, or the beginning of a header or control frame, shorter than [`Track::HELD_BYTES_MAX`], which waits for
    /// the rest.
    Await,
    /// A control frame of this many bytes, which is not forwarded.
    Swallow(usize),
    /// A frame that must wait, with all bytes after it.
    Hold,
    /// The forwarded bytes end with a Close frame with this code. The bytes after it have no meaning (RFC 6455 §5.5.1).
    Closed(Option<u16>),
    /// A frame that must not be forwarded.
    Refused(FrameRefusal),
}

/// Why a frame must not be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameRefusal {
    /// It breaks the framing.
    Broken(Misbehaviour),
    /// It makes the message larger than the bound.
    TooBig,
    /// It is one message too many.
    TooMany,
}

/// The relay's verdict on a valid frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Forward it.
    Pass,
    /// Do not forward it: a control frame for the gateway itself.
    Swallow,
    /// Let it wait, because the gateway has something to send first. It will be judged again.
    Hold,
    /// Refuse it: it is one message too many.
    TooMany,
}

impl Track {
    /// The most that [`Then::Await`] holds back, in bytes: a client's control frame without its last byte.
    pub const HELD_BYTES_MAX: usize = 2 + 4 + CONTROL_PAYLOAD_MAX as usize;

    /// A direction in which nothing has passed yet.
    pub fn new(rules: FrameRules) -> Track {
        Track::resume(rules, Position::default())
    }

    /// A direction that goes on where another track with these rules was.
    pub fn resume(rules: FrameRules, position: Position) -> Track {
        Track { rules, position }
    }

    /// How far the frames have passed.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Whether the bytes that have passed end between two frames.
    pub fn is_between_frames(&self) -> bool {
        self.position.payload_left == 0
    }

    /// Payload bytes of the current frame that have not passed yet.
    pub fn payload_left(&self) -> u64 {
        self.position.payload_left
    }

    /// Counts bytes of the current payload that were forwarded another way (spliced).
    ///
    /// # Panics
    /// If the payload has fewer bytes left.
    pub fn passed(&mut self, bytes: u64) {
        assert!(bytes <= self.position.payload_left, "more went on than the frame has");
        self.position.payload_left -= bytes;
    }

    /// Follows the available bytes. `judge` is called once for every frame that it does not hold: for a data frame with
    /// the header alone, for a control frame with its payload, still masked.
    pub fn advance(&mut self, bytes: &[u8], mut judge: impl FnMut(&Header, &[u8]) -> Verdict) -> Passage {
        let mut pass = 0;
        loop {
            let arrived = self.position.payload_left.min((bytes.len() - pass) as u64);
            self.position.payload_left -= arrived;
            pass += arrived as usize;
            if self.position.payload_left > 0 {
                return Passage { pass, then: Then::Await };
            }
            let rest = &bytes[pass..];
            let header = match self.next_header(rest) {
                Ok(Some(header)) => header,
                Ok(None) => return Passage { pass, then: Then::Await },
                Err(refusal) => return Passage { pass, then: Then::Refused(refusal) },
            };
            let whole = if header.opcode.is_control() { header.payload as usize } else { 0 } + header.length;
            let Some(payload) = rest.get(header.length..whole) else {
                return Passage { pass, then: Then::Await };
            };
            match judge(&header, payload) {
                Verdict::Pass => pass += whole,
                Verdict::Swallow => return Passage { pass, then: Then::Swallow(whole) },
                Verdict::Hold => return Passage { pass, then: Then::Hold },
                Verdict::TooMany => return Passage { pass, then: Then::Refused(FrameRefusal::TooMany) },
            }
            match header.opcode {
                Opcode::Close => return Passage { pass, then: Then::Closed(close_code(&header, payload)) },
                Opcode::Ping | Opcode::Pong => {}
                Opcode::Text | Opcode::Binary | Opcode::Continuation => self.begin(&header),
            }
        }
    }

    /// The next header, if it is complete. An error if it must not come here.
    fn next_header(&self, bytes: &[u8]) -> Result<Option<Header>, FrameRefusal> {
        let Some(header) = Header::parse(bytes, &self.rules).map_err(FrameRefusal::Broken)? else {
            return Ok(None);
        };
        match header.opcode {
            Opcode::Continuation if !self.position.in_message => {
                return Err(FrameRefusal::Broken(Misbehaviour::NothingToContinue));
            }
            Opcode::Text | Opcode::Binary if self.position.in_message => {
                return Err(FrameRefusal::Broken(Misbehaviour::MessageInsideMessage));
            }
            Opcode::Close | Opcode::Ping | Opcode::Pong => return Ok(Some(header)),
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {}
        }
        let bytes_max = self.rules.message_bytes_max;
        if bytes_max > 0 && self.position.message_bytes.saturating_add(header.payload) > bytes_max {
            return Err(FrameRefusal::TooBig);
        }
        Ok(Some(header))
    }

    /// A data frame begins to pass.
    fn begin(&mut self, header: &Header) {
        self.position.payload_left = header.payload;
        self.position.in_message = !header.fin;
        let message_bytes = self.position.message_bytes.saturating_add(header.payload);
        self.position.message_bytes = if header.fin { 0 } else { message_bytes };
    }
}

/// "the first two bytes of the body MUST be a 2-byte unsigned integer … representing a status code" (RFC 6455
/// §5.5.1).
fn close_code(header: &Header, payload: &[u8]) -> Option<u16> {
    let (code, _) = payload.split_first_chunk::<2>()?;
    let mask = header.mask.unwrap_or_default();
    Some(u16::from_be_bytes([code[0] ^ mask[0], code[1] ^ mask[1]]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ws::Sender;

    fn rules(message_bytes_max: u64) -> FrameRules {
        FrameRules { sender: Sender::Server, has_extension: false, message_bytes_max }
    }

    fn track(message_bytes_max: u64) -> Track {
        Track::new(rules(message_bytes_max))
    }

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload.len() {
            short @ 0..126 => bytes.push(short as u8),
            long => bytes.extend([126, (long >> 8) as u8, long as u8]),
        }
        bytes.extend(payload);
        bytes
    }

    fn pass(_: &Header, _: &[u8]) -> Verdict {
        Verdict::Pass
    }

    /// What passes when the bytes come in these pieces, as a relay holds back what waits.
    fn relay(pieces: &[&[u8]]) -> (Vec<u8>, Option<Then>, usize) {
        let (mut track, mut held, mut out, mut frames) = (track(0), Vec::new(), Vec::new(), 0);
        for piece in pieces {
            held.extend_from_slice(piece);
            let passage = track.advance(&held, |_, _| {
                frames += 1;
                Verdict::Pass
            });
            out.extend(held.drain(..passage.pass));
            if passage.then != Then::Await {
                return (out, Some(passage.then), frames);
            }
            assert!(held.len() < Track::HELD_BYTES_MAX);
        }
        (out, None, frames)
    }

    fn conversation() -> Vec<u8> {
        let mut bytes = frame(0x81, b"hello");
        bytes.extend(frame(0x02, &[7; 300]));
        bytes.extend(frame(0x89, b"are you there"));
        bytes.extend(frame(0x80, b""));
        bytes.extend(frame(0x8a, b""));
        bytes.extend(frame(0x88, &1000_u16.to_be_bytes()));
        bytes
    }

    #[test]
    fn a_stream_cut_anywhere_passes_whole_and_each_frame_is_judged_once() {
        let whole = conversation();
        for end in 0..=whole.len() {
            let (out, then, frames) = relay(&[&whole[..end], &whole[end..]]);
            assert_eq!((&out, then, frames), (&whole, Some(Then::Closed(Some(1000))), 6), "{end}");
        }
        let single: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(relay(&single), (whole.clone(), Some(Then::Closed(Some(1000))), 6));
    }

    /// Bytes that are frames for a while: headers of every kind, then noise.
    fn noise() -> impl Strategy<Value = Vec<u8>> {
        let valid = (prop::sample::select(vec![0x81, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x88]), 0_usize..300)
            .prop_map(|(first, size)| {
                frame(first, &vec![first; if first > 0x87 { size % 126 } else { size }])
            });
        let any = prop::collection::vec(any::<u8>(), 0..20);
        prop::collection::vec(prop_oneof![6 => valid, 1 => any], 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn however_a_stream_is_cut_the_same_passes(bytes in noise(), cuts in prop::collection::vec(1_usize..40, 1..9)) {
            let (mut pieces, mut rest, mut turn) = (Vec::new(), &bytes[..], 0);
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(cuts[turn % cuts.len()].min(rest.len()));
                pieces.push(piece);
                (rest, turn) = (behind, turn + 1);
            }
            let whole = relay(&[&bytes]);
            prop_assert_eq!(relay(&pieces), whole.clone());
            // What passes is the beginning of what came, and what is refused does not pass.
            prop_assert!(bytes.starts_with(&whole.0));
        }
    }

    #[test]
    fn nothing_of_a_header_or_a_control_frame_passes_before_it_is_whole() {
        for first in [frame(0x82, &[1; 200]), frame(0x89, &[1; 100])] {
            let header = if first[0] == 0x89 { first.len() } else { 4 };
            for end in 0..header {
                let passage = track(0).advance(&first[..end], pass);
                assert_eq!(passage, Passage { pass: 0, then: Then::Await }, "{end}");
            }
        }
        let mut data = track(0);
        assert_eq!(data.advance(&frame(0x82, &[1; 200])[..4], pass).pass, 4);
        assert_eq!((data.payload_left(), data.is_between_frames()), (200, false));
    }

    #[test]
    fn messages_neither_nest_nor_continue_nothing() {
        let refused = |bytes: &[u8]| match track(0).advance(bytes, pass) {
            Passage { pass, then: Then::Refused(refusal) } => Some((pass, refusal)),
            _ => None,
        };
        let nothing = FrameRefusal::Broken(Misbehaviour::NothingToContinue);
        assert_eq!(refused(&frame(0x80, b"x")), Some((0, nothing)));
        let mut nested = frame(0x01, b"x");
        nested.extend(frame(0x81, b"y"));
        assert_eq!(refused(&nested), Some((3, FrameRefusal::Broken(Misbehaviour::MessageInsideMessage))));
        let mut twice = frame(0x81, b"x");
        twice.extend(frame(0x80, b"y"));
        assert_eq!(refused(&twice), Some((3, nothing)));
    }

    #[test]
    fn the_bound_of_a_message_counts_all_its_frames_and_starts_anew_with_the_next() {
        let bounded = |frames: &[Vec<u8>]| track(10).advance(&frames.concat(), pass).then;
        assert_eq!(bounded(&[frame(0x82, &[0; 10]), frame(0x82, &[0; 10])]), Then::Await);
        assert_eq!(bounded(&[frame(0x82, &[0; 11])]), Then::Refused(FrameRefusal::TooBig));
        let parts = [frame(0x02, &[0; 6]), frame(0x89, &[0; 100]), frame(0x00, &[0; 4])];
        assert_eq!(bounded(&parts), Then::Await);
        assert_eq!(
            bounded(&[&parts[..], &[frame(0x80, &[0; 1])]].concat()),
            Then::Refused(FrameRefusal::TooBig)
        );
        assert_eq!(bounded(&[&parts[..], &[frame(0x80, &[]), frame(0x82, &[0; 10])]].concat()), Then::Await);
        // Announced alone it is too much, and nothing wraps.
        let huge = [0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(bounded(&[frame(0x02, &[0; 1])]), Then::Await);
        assert_eq!(bounded(&[huge.to_vec()]), Then::Refused(FrameRefusal::TooBig));
        assert_eq!(track(0).advance(&huge, pass).pass, huge.len());
    }

    #[test]
    fn a_swallowed_frame_stands_right_behind_what_passes() {
        let bytes = [frame(0x81, b"a"), frame(0x8a, b"mine"), frame(0x81, b"b")].concat();
        let judge = |header: &Header, payload: &[u8]| match header.opcode {
            Opcode::Pong if payload == b"mine" => Verdict::Swallow,
            _ => Verdict::Pass,
        };
        let mut track = track(0);
        assert_eq!(track.advance(&bytes, judge), Passage { pass: 3, then: Then::Swallow(6) });
        assert_eq!(track.advance(&bytes[9..], judge), Passage { pass: 3, then: Then::Await });
    }

    #[test]
    fn a_frame_that_is_held_waits_at_the_boundary_and_is_judged_again() {
        let bytes = [frame(0x82, &[1; 200]), frame(0x81, b"b")].concat();
        let mut track = track(0);
        assert_eq!(track.advance(&bytes[..100], pass).pass, 100);
        let passage = track.advance(&bytes[100..], |_, _| Verdict::Hold);
        assert_eq!(passage, Passage { pass: 104, then: Then::Hold });
        assert!(track.is_between_frames());
        assert_eq!(track.advance(&bytes[204..], pass), Passage { pass: 3, then: Then::Await });
    }

    #[test]
    fn a_frame_too_many_does_not_pass() {
        let bytes = [frame(0x81, b"a"), frame(0x81, b"b")].concat();
        let mut left = 1;
        let passage = track(0).advance(&bytes, |_, _| {
            left -= 1;
            if left < 0 { Verdict::TooMany } else { Verdict::Pass }
        });
        assert_eq!(passage, Passage { pass: 3, then: Then::Refused(FrameRefusal::TooMany) });
    }

    #[test]
    fn a_close_may_have_no_code_and_a_clients_is_unmasked() {
        assert_eq!(track(0).advance(&frame(0x88, b""), pass).then, Then::Closed(None));
        let rules = FrameRules { sender: Sender::Client, ..rules(0) };
        let close = crate::ws::close(1001, "bye", Some([9, 8, 7, 6]));
        let passage = Track::new(rules).advance(close.as_bytes(), pass);
        assert_eq!(passage, Passage { pass: close.as_bytes().len(), then: Then::Closed(Some(1001)) });
    }

    #[test]
    fn payload_that_went_another_way_is_counted() {
        let mut track = track(0);
        track.advance(&frame(0x82, &[0; 200])[..10], pass);
        track.passed(194);
        assert!(track.is_between_frames());
        assert_eq!(track.advance(&frame(0x81, b"x"), pass).pass, 3);
    }

    #[test]
    #[should_panic(expected = "more went on")]
    fn more_than_the_frame_has_is_our_bug() {
        track(0).passed(1);
    }
}
