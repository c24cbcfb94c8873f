//! The field `traceparent` (W3C Trace Context, <https://www.w3.org/TR/trace-context/#traceparent-header>).
//!
//! ```text
//! 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
//! version   trace id                   parent id   flags
//! ```

/// The id of a trace, never all zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

/// The id of a span, never all zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanId([u8; 8]);

/// What a caller says of the trace that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace: TraceId,
    /// The caller's span.
    pub parent: SpanId,
    /// Whether the caller has sampled it.
    pub is_sampled: bool,
}

impl TraceId {
    /// Reads 32 lower-case hex digits, which are not all zeros.
    pub fn read(hex: &[u8]) -> Option<TraceId> {
        read_hex(hex).map(TraceId)
    }

    /// 32 hex digits.
    pub fn hex(&self) -> [u8; 32] {
        write_hex(&self.0)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// A number that is the same wherever the trace goes: the part of it that has to be random.
    pub fn number(&self) -> u64 {
        self.0[8..].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

impl SpanId {
    /// Reads 16 lower-case hex digits, which are not all zeros.
    pub fn read(hex: &[u8]) -> Option<SpanId> {
        read_hex(hex).map(SpanId)
    }

    /// The id of this number. 0 is no id.
    pub fn of(number: u64) -> SpanId {
        SpanId(number.max(1).to_be_bytes())
    }

    /// 16 hex digits.
    pub fn hex(&self) -> [u8; 16] {
        write_hex(&self.0)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TraceParent {
    /// Reads the value of the field. `None`: it is not valid, or of another version.
    pub fn read(value: &[u8]) -> Option<TraceParent> {
        let [b'0', b'0', b'-', rest @ ..] = value else { return None };
        if rest.len() != 52 || (rest[32], rest[49]) != (b'-', b'-') {
            return None;
        }
        let flags: [u8; 1] = digits(&rest[50..])?;
        let (trace, parent) = (TraceId::read(&rest[..32])?, SpanId::read(&rest[33..49])?);
        Some(TraceParent { trace, parent, is_sampled: flags[0] & SAMPLED != 0 })
    }
}

/// Reads hex digits that are not all zeros.
fn read_hex<const N: usize>(hex: &[u8]) -> Option<[u8; N]> {
    digits(hex).filter(|bytes| bytes.iter().any(|byte| *byte != 0))
}

fn digits<const N: usize>(hex: &[u8]) -> Option<[u8; N]> {
    if hex.len() != 2 * N {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn write_hex<const N: usize>(bytes: &[u8]) -> [u8; N] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    std::array::from_fn(|nth| {
        let byte = bytes.get(nth / 2).copied().unwrap_or(0);
        HEX[usize::from(if nth % 2 == 0 { byte >> 4 } else { byte & 15 })]
    })
}

/// The flag "sampled".
const SAMPLED: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_parent_is_read_and_its_ids_are_written_as_they_came() {
        let parent = TraceParent::read(WHOLE.as_bytes()).unwrap();
        assert_eq!(&parent.trace.hex(), b"4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(&parent.parent.hex(), b"00f067aa0ba902b7");
        assert!(parent.is_sampled);
        assert_eq!(parent.trace.number(), 0xa3ce_929d_0e0e_4736);
        for (flags, expected) in [("00", false), ("03", true), ("02", false), ("ff", true)] {
            let text = format!("{}{flags}", &WHOLE[..53]);
            assert_eq!(TraceParent::read(text.as_bytes()).unwrap().is_sampled, expected, "{flags}");
        }
        assert_eq!(&SpanId::of(0).hex(), b"0000000000000001");
    }

    #[test]
    fn what_is_no_parent_is_none() {
        for cut in 0..WHOLE.len() {
            assert_eq!(TraceParent::read(&WHOLE.as_bytes()[..cut]), None, "cut at {cut}");
        }
        let zeros = |at: std::ops::Range<usize>| {
            let mut text = WHOLE.to_owned();
            text.replace_range(at.clone(), &"0".repeat(at.len()));
            text
        };
        let wrong = [
            WHOLE.to_uppercase(),
            WHOLE.replace("00-4", "01-4"),
            format!("{WHOLE}-"),
            zeros(3..35),
            zeros(36..52),
        ];
        for text in wrong {
            assert_eq!(TraceParent::read(text.as_bytes()), None, "{text}");
        }
        for at in 0..WHOLE.len() {
            let mut bytes = WHOLE.as_bytes().to_vec();
            bytes[at] = b'g';
            assert_eq!(TraceParent::read(&bytes), None, "g at {at}");
        }
    }
}
