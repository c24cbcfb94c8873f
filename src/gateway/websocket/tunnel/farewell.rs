//! The last words of a tunnel that somebody else wants closed: the code and the reason of its client's Close frame.

use crate::ws::ControlFrame;

/// What the client is told. The code may be sent by an endpoint, and the reason fits the frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Farewell {
    code: u16,
    reason: Box<str>,
}

impl Farewell {
    /// `None`: an endpoint must not send this code, or the reason is longer than a Close frame takes.
    pub fn new(code: u16, reason: &str) -> Option<Farewell> {
        let is_fit = is_sendable(code) && reason.len() <= REASON_BYTES_MAX;
        is_fit.then(|| Farewell { code, reason: reason.into() })
    }

    /// The code.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// Whether an endpoint may send this code: those that RFC 6455 §7.4.1 and its registry define for the wire, and those
/// that libraries, frameworks and applications choose.
pub fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// "All control frames MUST have a payload length of 125 bytes or less" (RFC 6455 §5.5), of which the code takes two.
pub const REASON_BYTES_MAX: usize = 123;
const _: () = assert!(REASON_BYTES_MAX + 2 < ControlFrame::BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_farewell_can_be_sent() {
        for code in [1000, 1008, 1014, 3000, 4401, 4999] {
            assert!(Farewell::new(code, "").is_some(), "{code}");
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
            assert!(Farewell::new(code, "").is_none(), "{code}");
        }
        assert!(Farewell::new(1008, &"x".repeat(REASON_BYTES_MAX)).is_some());
        assert!(Farewell::new(1008, &"x".repeat(REASON_BYTES_MAX + 1)).is_none());
    }
}
