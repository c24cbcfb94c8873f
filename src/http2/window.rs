//! Windows of flow control (RFC 9113 §5.2, §6.9).

use super::error::ErrorCode;

/// The largest window.
pub(super) const WINDOW_MAX: i64 = (1 << 31) - 1;

/// What may still be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendWindow {
    /// May be below zero after the other side has made the initial window smaller.
    left: i64,
}

impl SendWindow {
    /// A window of so many bytes.
    pub fn new(bytes: u32) -> SendWindow {
        SendWindow { left: i64::from(bytes) }
    }

    /// Bytes that may be sent.
    pub fn left(&self) -> usize {
        self.left.max(0) as usize
    }

    /// So many bytes, no more than [`SendWindow::left`], are sent.
    pub fn take(&mut self, bytes: usize) {
        self.left -= bytes as i64;
    }

    /// The other side takes so many bytes more, or fewer.
    ///
    /// # Errors
    /// "A sender MUST NOT allow a flow-control window to exceed 2^31-1 octets."
    pub fn grow(&mut self, bytes: i64) -> Result<(), ErrorCode> {
        self.left += bytes;
        if self.left > WINDOW_MAX { Err(ErrorCode::FlowControlError) } else { Ok(()) }
    }
}

/// What the other side may still send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiveWindow {
    left: u32,
    /// Bytes that are done with, and that the other side does not know of.
    freed: u32,
    /// The whole window, in bytes.
    bytes: u32,
}

impl ReceiveWindow {
    /// A window of so many bytes.
    pub fn new(bytes: u32) -> ReceiveWindow {
        ReceiveWindow { left: bytes, freed: 0, bytes }
    }

    /// So many bytes have come.
    ///
    /// # Errors
    /// They are more than may come.
    pub fn take(&mut self, bytes: usize) -> Result<(), ErrorCode> {
        let left = u32::try_from(bytes).ok().and_then(|bytes| self.left.checked_sub(bytes));
        self.left = left.ok_or(ErrorCode::FlowControlError)?;
        Ok(())
    }

    /// So many bytes are done with. Gives what the other side is to be told: nothing while it has half a window.
    pub fn free(&mut self, bytes: usize) -> Option<u32> {
        self.freed = self.freed.saturating_add(bytes as u32).min(self.bytes - self.left);
        if self.freed < self.bytes / 2 {
            return None;
        }
        let increment = std::mem::take(&mut self.freed);
        self.left += increment;
        Some(increment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_may_shrink_below_nothing_and_grow_again() {
        let mut window = SendWindow::new(10);
        window.take(10);
        window.grow(-5).unwrap();
        assert_eq!(window.left(), 0);
        window.grow(6).unwrap();
        assert_eq!(window.left(), 1);
        assert_eq!(window.grow(WINDOW_MAX - 1), Ok(()));
        assert_eq!(window.grow(1), Err(ErrorCode::FlowControlError));
    }

    #[test]
    fn more_than_the_window_is_an_error_and_half_of_it_is_given_back_at_once() {
        let mut window = ReceiveWindow::new(10);
        assert_eq!(window.take(11), Err(ErrorCode::FlowControlError));
        window.take(10).unwrap();
        assert_eq!(window.take(1), Err(ErrorCode::FlowControlError));
        assert_eq!((window.free(4), window.free(3), window.free(2)), (None, Some(7), None));
        window.take(7).unwrap();
        assert_eq!(window.take(1), Err(ErrorCode::FlowControlError));
    }

    /// A body that is read again for a second attempt is done with twice: it was received once.
    #[test]
    fn nothing_is_freed_twice() {
        let mut window = ReceiveWindow::new(10);
        window.take(5).unwrap();
        assert_eq!((window.free(5), window.free(5)), (Some(5), None));
        assert_eq!(window.take(10), Ok(()));
        assert_eq!(window.take(1), Err(ErrorCode::FlowControlError));
    }
}
