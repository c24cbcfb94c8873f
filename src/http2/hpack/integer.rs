//! Integers of HPACK (RFC 7541 §5.1): a prefix of some bits, and more bytes where it does not suffice.

use super::HpackError;

/// Reads an integer whose prefix has `bits` bits off the front. Nothing in HPACK that this gateway takes is over 16
/// bits, so a number of more than five bytes is refused before it could overflow.
pub(super) fn decode(bytes: &mut &[u8], bits: u32) -> Result<usize, HpackError> {
    let (&first, rest) = bytes.split_first().ok_or(HpackError::Truncated)?;
    *bytes = rest;
    let full = (1usize << bits) - 1;
    let mut number = usize::from(first) & full;
    if number < full {
        return Ok(number);
    }
    for shift in [0, 7, 14, 21] {
        let (&next, rest) = bytes.split_first().ok_or(HpackError::Truncated)?;
        *bytes = rest;
        number += usize::from(next & 0x7f) << shift;
        if next & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(HpackError::Integer)
}

/// Writes a number whose prefix has `bits` bits; `first` has the bits before it. Gives how many of `out` were used.
pub(super) fn encode(number: usize, bits: u32, first: u8, out: &mut [u8; BYTES_MAX]) -> &[u8] {
    let full = (1usize << bits) - 1;
    if number < full {
        out[0] = first | number as u8;
        return &out[..1];
    }
    out[0] = first | full as u8;
    let (mut left, mut used) = (number - full, 1);
    while left >= 0x80 {
        out[used] = (left as u8 & 0x7f) | 0x80;
        left >>= 7;
        used += 1;
    }
    out[used] = left as u8;
    &out[..=used]
}

/// Bytes of an encoded number of at most 28 bits.
pub(super) const BYTES_MAX: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(mut bytes: &[u8], bits: u32) -> Result<(usize, usize), HpackError> {
        decode(&mut bytes, bits).map(|number| (number, bytes.len()))
    }

    /// RFC 7541 C.1.
    #[test]
    fn the_examples_of_the_standard() {
        for (number, bits, bytes) in [(10, 5, &[10][..]), (1337, 5, &[31, 154, 10]), (42, 8, &[42])] {
            assert_eq!(decoded(bytes, bits), Ok((number, 0)));
            assert_eq!(encode(number, bits, 0, &mut [0; BYTES_MAX]), bytes);
        }
    }

    #[test]
    fn what_is_written_is_read_and_a_part_of_it_is_not() {
        for number in (0..600).chain([16_383, 16_384, 65_535, 1 << 20, (1 << 28) - 1]) {
            for bits in 4..=8 {
                let mut out = [0; BYTES_MAX];
                let bytes = encode(number, bits, 0, &mut out);
                assert_eq!(decoded(bytes, bits), Ok((number, 0)));
                for cut in 0..bytes.len() {
                    assert_eq!(decoded(&bytes[..cut], bits), Err(HpackError::Truncated));
                }
            }
        }
    }

    #[test]
    fn a_number_that_is_too_long_is_refused_even_if_it_is_small() {
        assert_eq!(decoded(&[31, 0x80, 0x80, 0x80, 0x80, 0], 5), Err(HpackError::Integer));
        assert_eq!(decoded(&[0xff; 64], 7), Err(HpackError::Integer));
    }
}
