//! A block of fields that comes in several frames (RFC 9113 §4.3, §6.10).

use super::error::ErrorCode;
use crate::limits::{BLOCK_BYTES_MAX, BLOCK_FRAMES_MAX};

/// A block that is not complete: nothing but its next part may come on the connection.
#[derive(Debug)]
pub struct Unfinished {
    /// Its stream.
    pub stream: u32,
    /// The head has no body behind it, or the block is a trailer section.
    pub ends_stream: bool,
    bytes: Vec<u8>,
    frames: usize,
}

impl Unfinished {
    /// The beginning of a block.
    pub fn begin(stream: u32, ends_stream: bool, part: &[u8]) -> Unfinished {
        Unfinished { stream, ends_stream, bytes: part.to_vec(), frames: 1 }
    }

    /// The next part.
    ///
    /// # Errors
    /// It is of another stream, or too long: a flood of CONTINUATION frames (CVE-2024-27316) ends here.
    pub fn add(&mut self, stream: u32, part: &[u8]) -> Result<(), ErrorCode> {
        if stream != self.stream {
            return Err(ErrorCode::ProtocolError);
        }
        self.frames += 1;
        if self.frames > BLOCK_FRAMES_MAX || self.bytes.len() + part.len() > BLOCK_BYTES_MAX {
            return Err(ErrorCode::EnhanceYourCalm);
        }
        self.bytes.extend_from_slice(part);
        Ok(())
    }

    /// What has come of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_block_are_one() {
        let mut block = Unfinished::begin(1, true, b"ab");
        block.add(1, b"").unwrap();
        block.add(1, b"cd").unwrap();
        assert_eq!(block.bytes(), b"abcd");
        assert_eq!(block.add(3, b""), Err(ErrorCode::ProtocolError));
    }

    #[test]
    fn a_flood_of_parts_ends_by_their_number_or_their_size() {
        let mut block = Unfinished::begin(1, true, b"");
        assert!((1..BLOCK_FRAMES_MAX).all(|_| block.add(1, b"").is_ok()));
        assert_eq!(block.add(1, b""), Err(ErrorCode::EnhanceYourCalm));
        let mut block = Unfinished::begin(1, true, &[0; 16_384]);
        block.add(1, &[0; 16_384]).unwrap();
        block.add(1, &[0; 16_384]).unwrap();
        assert_eq!(block.add(1, &[0]), Err(ErrorCode::EnhanceYourCalm));
    }
}
