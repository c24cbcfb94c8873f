//! A block of fields that comes in several frames (RFC 9113 §4.3, §6.10).

use super::error::ErrorCode;
use crate::limits::{BLOCK_BYTES_MAX, BLOCK_FRAMES_MAX};

/// A block that is not complete: nothing but its next part may come on the connection. Its bytes are the caller's to
/// keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfinished {
    /// Its stream.
    pub stream: u32,
    /// The head has no body behind it, or the block is a trailer section.
    pub ends_stream: bool,
    bytes: usize,
    frames: usize,
}

impl Unfinished {
    /// The beginning of a block: a part of so many bytes.
    pub fn begin(stream: u32, ends_stream: bool, bytes: usize) -> Unfinished {
        Unfinished { stream, ends_stream, bytes, frames: 1 }
    }

    /// The next part, of so many bytes.
    ///
    /// # Errors
    /// It is of another stream, or too long: a flood of CONTINUATION frames (CVE-2024-27316) ends here.
    pub fn add(&mut self, stream: u32, bytes: usize) -> Result<(), ErrorCode> {
        if stream != self.stream {
            return Err(ErrorCode::ProtocolError);
        }
        self.frames += 1;
        self.bytes += bytes;
        match self.frames > BLOCK_FRAMES_MAX || self.bytes > BLOCK_BYTES_MAX {
            true => Err(ErrorCode::EnhanceYourCalm),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_block_are_of_one_stream() {
        let mut block = Unfinished::begin(1, true, 2);
        assert_eq!((block.add(1, 0), block.add(1, 2)), (Ok(()), Ok(())));
        assert_eq!(block.add(3, 0), Err(ErrorCode::ProtocolError));
    }

    #[test]
    fn a_flood_of_parts_ends_by_their_number_or_their_size() {
        let mut block = Unfinished::begin(1, true, 0);
        assert!((1..BLOCK_FRAMES_MAX).all(|_| block.add(1, 0).is_ok()));
        assert_eq!(block.add(1, 0), Err(ErrorCode::EnhanceYourCalm));
        let mut block = Unfinished::begin(1, true, 16_384);
        assert_eq!(block.add(1, BLOCK_BYTES_MAX - 16_384), Ok(()));
        assert_eq!(block.add(1, 1), Err(ErrorCode::EnhanceYourCalm));
    }
}
