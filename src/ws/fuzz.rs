//! The entry point for fuzzing. The targets in `tests/fuzz` are one line each.

use super::{FrameRefusal, FrameRules, Passage, Sender, Then, Track, Verdict};

/// Follows any bytes as one direction of a tunnel, once as a whole and once byte by byte. Both must pass the same bytes,
/// and only bytes that came in.
///
/// # Panics
/// If the two differ, or if a track holds back more than its bound.
pub fn track(data: &[u8]) {
    let Some((&kind, bytes)) = data.split_first() else { return };
    let sender = if kind & 1 == 0 { Sender::Client } else { Sender::Server };
    let message_bytes_max = if kind & 4 == 0 { 0 } else { 1_000 };
    let rules = FrameRules { sender, has_extension: kind & 2 != 0, message_bytes_max };
    let whole = relay(rules, [bytes].into_iter());
    let bytewise = relay(rules, bytes.chunks(1));
    assert_eq!(whole, bytewise, "the cuts of a stream make a difference");
    assert!(bytes.starts_with(&whole.0) || whole.2 > 0, "what passes is not what came");
}

/// The bytes that pass, why the track stopped, and how many frames were swallowed (every seventh control frame is).
fn relay<'b>(
    rules: FrameRules,
    pieces: impl Iterator<Item = &'b [u8]>,
) -> (Vec<u8>, Option<FrameRefusal>, usize) {
    let (mut track, mut held, mut out, mut swallowed) = (Track::new(rules), Vec::new(), Vec::new(), 0);
    let mut controls = 0;
    for piece in pieces {
        held.extend_from_slice(piece);
        loop {
            let Passage { pass, then } = track.advance(&held, |header, _| {
                controls += usize::from(header.opcode.is_control());
                match header.opcode.is_control() && controls % 7 == 0 {
                    true => Verdict::Swallow,
                    false => Verdict::Pass,
                }
            });
            out.extend(held.drain(..pass));
            match then {
                Then::Await => break,
                Then::Swallow(frame) => {
                    swallowed += 1;
                    held.drain(..frame);
                }
                Then::Hold | Then::Closed(_) => return (out, None, swallowed),
                Then::Refused(refusal) => return (out, Some(refusal), swallowed),
            }
        }
        assert!(held.len() < Track::HELD_BYTES_MAX, "{} bytes are held back", held.len());
    }
    (out, None, swallowed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_followed_alike_however_they_come(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            super::track(&bytes);
        }
    }
}
