//! What a fuzzer calls. The targets in `tests/fuzz` are one line each.

use super::{Passage, Refusal, Rules, Sender, Then, Track, Verdict};

/// Follows any bytes as one direction of a tunnel, whole and byte by byte: the same must pass, and every byte of it
/// must be one that came.
///
/// # Panics
/// When they differ, or when a track holds back more than its bound.
pub fn track(data: &[u8]) {
    let Some((&kind, bytes)) = data.split_first() else { return };
    let sender = if kind & 1 == 0 { Sender::Client } else { Sender::Server };
    let message_bytes_max = if kind & 4 == 0 { 0 } else { 1_000 };
    let rules = Rules { sender, has_extension: kind & 2 != 0, message_bytes_max };
    let whole = relay(rules, [bytes].into_iter());
    let bytewise = relay(rules, bytes.chunks(1));
    assert_eq!(whole, bytewise, "the cuts of a stream make a difference");
    assert!(bytes.starts_with(&whole.0) || whole.2 > 0, "what passes is not what came");
}

/// What passes, why it stopped, and how many frames were swallowed: every seventh control frame is.
fn relay<'b>(rules: Rules, pieces: impl Iterator<Item = &'b [u8]>) -> (Vec<u8>, Option<Refusal>, usize) {
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
                Then::Closed(_) => return (out, None, swallowed),
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
