//! Headers of WebSocket frames, and following a stream by them.

use std::hint::black_box;

use realchat_gateway::ws::{Header, FrameRules, Sender, Then, Track, Verdict};

use crate::Step;

/// A client's text message of 100 bytes.
pub fn small() -> Step {
    header(&[0x81, 0x80 | 100, 1, 2, 3, 4], 100)
}

/// A client's binary message of 1 MiB.
pub fn large() -> Step {
    header(&[0x82, 0x80 | 127, 0, 0, 0, 0, 0, 0x10, 0, 0, 1, 2, 3, 4], 1 << 20)
}

fn header(bytes: &'static [u8], payload: u64) -> Step {
    Box::new(move || {
        let header = Header::parse(black_box(bytes), &RULES).expect("a right one").expect("all of it");
        assert_eq!(header.payload, payload);
        black_box(header);
    })
}

/// Sixteen messages of 100 bytes that came together.
pub fn track() -> Step {
    let message = [&[0x81, 0x80 | 100, 1, 2, 3, 4][..], &[b'x'; 100]].concat();
    let (bytes, mut track) = (message.repeat(16), Track::new(RULES));
    Box::new(move || {
        let passage = track.advance(black_box(&bytes), |header, _| {
            black_box(header);
            Verdict::Pass
        });
        assert!(passage.pass == bytes.len() && passage.then == Then::Await);
    })
}

const RULES: FrameRules = FrameRules { sender: Sender::Client, has_extension: false, message_bytes_max: 2 << 20 };
