//! How values of a tunnel's state are written down: numbers in little-endian order, a length before every text, a tag
//! before every choice. A time is written relative to now, so that it means the same to a reader.

use std::net::IpAddr;
use std::num::NonZeroU64;

/// Writes values down, one behind the other.
pub(super) struct Writer<'o> {
    out: &'o mut Vec<u8>,
    now_ms: u64,
}

/// Reads values back, in the order in which they were written.
pub(super) struct Reader<'b> {
    rest: &'b [u8],
    now_ms: u64,
}

/// Why bytes are no state of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadError {
    /// They are of a version that this program does not know.
    Version(u8),
    /// They end too early.
    Short,
    /// A value is none of its kind.
    Malformed,
    /// Each value is right, and together they are no state that a tunnel can be in.
    Inconsistent,
    /// Something is behind the last value.
    Surplus,
}

/// A value that can be written down.
pub(super) trait Saved: Sized {
    fn write(&self, to: &mut Writer<'_>);
    fn read(from: &mut Reader<'_>) -> Result<Self, ReadError>;
}

impl<'o> Writer<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>, now_ms: u64) -> Writer<'o> {
        Writer { out, now_ms }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// A time in milliseconds.
    pub(super) fn time(&mut self, at_ms: u64) {
        at_ms.wrapping_sub(self.now_ms).write(self);
    }

    /// A time in microseconds of the same clock.
    pub(super) fn time_us(&mut self, at_us: u64) {
        at_us.wrapping_sub(self.now_ms.saturating_mul(1_000)).write(self);
    }
}

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8], now_ms: u64) -> Reader<'b> {
        Reader { rest: bytes, now_ms }
    }

    pub(super) fn bytes(&mut self, length: usize) -> Result<&'b [u8], ReadError> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(ReadError::Short)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(ReadError::Short)?;
        self.rest = rest;
        Ok(*bytes)
    }

    /// Before the beginning of the clock is its beginning.
    pub(super) fn time(&mut self) -> Result<u64, ReadError> {
        Ok(self.now_ms.saturating_add_signed(u64::read(self)?.cast_signed()))
    }

    pub(super) fn time_us(&mut self) -> Result<u64, ReadError> {
        let now_us = self.now_ms.saturating_mul(1_000);
        Ok(now_us.saturating_add_signed(u64::read(self)?.cast_signed()))
    }

    /// Nothing is left.
    pub(super) fn end(&self) -> Result<(), ReadError> {
        if self.rest.is_empty() { Ok(()) } else { Err(ReadError::Surplus) }
    }
}

macro_rules! numbers {
    ($($number:ident)*) => {$(
        impl Saved for $number {
            fn write(&self, to: &mut Writer<'_>) {
                to.bytes(&self.to_le_bytes());
            }

            fn read(from: &mut Reader<'_>) -> Result<$number, ReadError> {
                from.array().map($number::from_le_bytes)
            }
        }
    )*};
}

numbers!(u8 u16 u32 u64);

impl Saved for usize {
    fn write(&self, to: &mut Writer<'_>) {
        (*self as u64).write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<usize, ReadError> {
        usize::try_from(u64::read(from)?).map_err(|_| ReadError::Malformed)
    }
}

impl Saved for NonZeroU64 {
    fn write(&self, to: &mut Writer<'_>) {
        self.get().write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<NonZeroU64, ReadError> {
        NonZeroU64::new(u64::read(from)?).ok_or(ReadError::Malformed)
    }
}

impl Saved for bool {
    fn write(&self, to: &mut Writer<'_>) {
        u8::from(*self).write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<bool, ReadError> {
        match u8::read(from)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(ReadError::Malformed),
        }
    }
}

impl<T: Saved> Saved for Option<T> {
    fn write(&self, to: &mut Writer<'_>) {
        self.is_some().write(to);
        if let Some(value) = self {
            value.write(to);
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Option<T>, ReadError> {
        bool::read(from)?.then(|| T::read(from)).transpose()
    }
}

impl<T: Saved> Saved for Box<T> {
    fn write(&self, to: &mut Writer<'_>) {
        (**self).write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Box<T>, ReadError> {
        T::read(from).map(Box::new)
    }
}

impl<const N: usize> Saved for [u8; N] {
    fn write(&self, to: &mut Writer<'_>) {
        to.bytes(self);
    }

    fn read(from: &mut Reader<'_>) -> Result<[u8; N], ReadError> {
        from.array()
    }
}

impl Saved for Vec<u8> {
    fn write(&self, to: &mut Writer<'_>) {
        self.len().write(to);
        to.bytes(self);
    }

    fn read(from: &mut Reader<'_>) -> Result<Vec<u8>, ReadError> {
        let length = usize::read(from)?;
        from.bytes(length).map(<[u8]>::to_vec)
    }
}

impl Saved for Box<[u8]> {
    fn write(&self, to: &mut Writer<'_>) {
        self.len().write(to);
        to.bytes(self);
    }

    fn read(from: &mut Reader<'_>) -> Result<Box<[u8]>, ReadError> {
        Vec::read(from).map(Vec::into_boxed_slice)
    }
}

impl Saved for Box<str> {
    fn write(&self, to: &mut Writer<'_>) {
        self.len().write(to);
        to.bytes(self.as_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Result<Box<str>, ReadError> {
        let text = String::from_utf8(Vec::read(from)?).map_err(|_| ReadError::Malformed)?;
        Ok(text.into_boxed_str())
    }
}

impl Saved for IpAddr {
    fn write(&self, to: &mut Writer<'_>) {
        match self {
            IpAddr::V4(address) => {
                to.bytes(&[4]);
                to.bytes(&address.octets());
            }
            IpAddr::V6(address) => {
                to.bytes(&[6]);
                to.bytes(&address.octets());
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<IpAddr, ReadError> {
        match u8::read(from)? {
            4 => from.array::<4>().map(IpAddr::from),
            6 => from.array::<16>().map(IpAddr::from),
            _ => Err(ReadError::Malformed),
        }
    }
}
