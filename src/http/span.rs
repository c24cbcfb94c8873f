//! A range of bytes in a head, as two offsets, so that it outlives the borrow of the buffer.

/// Bytes `start..end` of the head that it was made from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// The bytes from `start` to before `end`. Both must fit 32 bits: `HEAD_BYTES_MAX` and
    /// `TRAILER_BYTES_MAX` see to it.
    pub fn new(start: usize, end: usize) -> Self {
        assert!(start <= end && end <= u32::MAX as usize, "a span lies within one head");
        Self { start: start as u32, end: end as u32 }
    }

    /// The bytes themselves; `head` is the one that the span was made from.
    pub fn of(self, head: &[u8]) -> &[u8] {
        &head[self.range()]
    }

    /// How many bytes.
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether there are none, as for everything that was not in the head.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// From this one's start to the other's end, if there are exactly this many bytes between them.
    pub fn joined(self, next: Span, between: u32) -> Option<Span> {
        (self.end.checked_add(between) == Some(next.start))
            .then_some(Span { start: self.start, end: next.end })
    }

    /// Where the bytes stand in the head.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_piece_of_its_head() {
        let span = Span::new(4, 9);
        assert_eq!(span.of(b"GET /path HTTP/1.1"), b"/path");
        assert_eq!((span.len(), span.is_empty(), Span::default().is_empty()), (5, false, true));
    }
}
