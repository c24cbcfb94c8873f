//! Bodies: where they end, and the chunks that they come in.

use std::hint::black_box;

use realchat_gateway::http1::{BodyDecoder, Framing, LAST_CHUNK, Step as Part, encode_size};

use crate::Step;

/// 64 KiB that were announced, in pieces of 16 KiB.
pub fn length() -> Step {
    let piece = vec![b'x'; PIECE_BYTES];
    Box::new(move || {
        let mut decoder = BodyDecoder::new(black_box(Framing::Length(4 * PIECE_BYTES as u64)));
        for _ in 0..4 {
            black_box(decoder.step(black_box(&piece)).expect("body"));
        }
        assert_eq!(decoder.remaining(), Some(0));
    })
}

/// Sixteen chunks of 1 KiB that came together.
pub fn chunked() -> Step {
    let chunk = [b"400\r\n", vec![b'x'; 1024].as_slice(), b"\r\n"].concat();
    let body = [chunk.repeat(16), LAST_CHUNK.to_vec()].concat();
    Box::new(move || {
        let (mut decoder, mut rest) = (BodyDecoder::new(Framing::Chunked), black_box(body.as_slice()));
        loop {
            match decoder.step(rest).expect("chunks") {
                Part::Data { consumed, length } => rest = &rest[consumed + length..],
                Part::End { consumed } => break rest = &rest[consumed..],
                Part::More { .. } | Part::Trailers { .. } => unreachable!("the body is whole and has none"),
            }
        }
        assert!(rest.is_empty());
    })
}

/// The line before a chunk of ours.
pub fn chunk_size() -> Step {
    let mut out = [0; 18];
    Box::new(move || {
        black_box(encode_size(black_box(PIECE_BYTES as u64), &mut out));
        black_box(&out);
    })
}

const PIECE_BYTES: usize = 16 * 1024;
