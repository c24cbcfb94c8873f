//! Formatting of numbers, dates and addresses in heads.

use std::io::Write;
use std::net::IpAddr;

use crate::clock::civil;

/// An IP address as text, without a `String`.
#[derive(Debug)]
pub struct AddressText {
    /// The longest text of an IPv6 address has 45 bytes (RFC 4291 §2.2).
    text: [u8; 45],
    length: usize,
}

impl AddressText {
    /// Writes the address. An IPv4 address, as most are, takes no formatter.
    #[inline]
    pub fn new(address: IpAddr) -> AddressText {
        let mut written = AddressText { text: [0; 45], length: 0 };
        let IpAddr::V4(address) = address else {
            let mut room = &mut written.text[..];
            let _ = write!(room, "{address}");
            written.length = 45 - room.len();
            return written;
        };
        for octet in address.octets() {
            if written.length > 0 {
                written.push(b'.');
            }
            if octet >= 100 {
                written.push(b'0' + octet / 100);
            }
            if octet >= 10 {
                written.push(b'0' + octet / 10 % 10);
            }
            written.push(b'0' + octet % 10);
        }
        written
    }

    fn push(&mut self, byte: u8) {
        self.text[self.length] = byte;
        self.length += 1;
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[..self.length]
    }
}

/// Writes a number in decimal digits and gives them.
pub fn push_decimal(mut number: u64, out: &mut [u8; 20]) -> &[u8] {
    let mut at = out.len();
    loop {
        at -= 1;
        out[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &out[at..];
        }
    }
}

/// Writes a moment, in seconds since 1970, as an IMF-fixdate (RFC 9110 §5.6.7):
/// `Sun, 06 Nov 1994 08:49:37 GMT`. Times after the year 9999 are written as its last second.
pub fn http_date(unix_seconds: u64, out: &mut [u8; 29]) {
    let seconds = unix_seconds.min(YEAR_9999_LAST_SECOND);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    out.copy_from_slice(b"ddd, DD MMM YYYY hh:mm:ss GMT");
    // 1 January 1970 was a Thursday.
    out[..3].copy_from_slice(&WEEKDAYS[((days + 4) % 7) as usize]);
    digits(&mut out[5..7], day);
    out[8..11].copy_from_slice(&MONTHS[month as usize - 1]);
    digits(&mut out[12..16], year);
    digits(&mut out[17..19], second / 3600);
    digits(&mut out[20..22], second / 60 % 60);
    digits(&mut out[23..25], second % 60);
}

fn digits(out: &mut [u8], mut number: u64) {
    for byte in out.iter_mut().rev() {
        *byte = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

const YEAR_9999_LAST_SECOND: u64 = 253_402_300_799;
const WEEKDAYS: [[u8; 3]; 7] = [*b"Sun", *b"Mon", *b"Tue", *b"Wed", *b"Thu", *b"Fri", *b"Sat"];
const MONTHS: [[u8; 3]; 12] = [
    *b"Jan", *b"Feb", *b"Mar", *b"Apr", *b"May", *b"Jun", *b"Jul", *b"Aug", *b"Sep", *b"Oct", *b"Nov",
    *b"Dec",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_the_standard_library_does() {
        let longest = "1111:2222:3333:4444:5555:6666:7777:8888";
        for text in
            ["0.0.0.0", "9.10.99.100", "255.255.255.255", "127.0.0.1", "::1", "::ffff:1.2.3.4", longest]
        {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(AddressText::new(address).as_bytes(), address.to_string().as_bytes());
        }
    }

    #[test]
    fn a_number_is_written_in_decimal() {
        for number in [0, 7, 10, 65_535, u64::MAX] {
            assert_eq!(push_decimal(number, &mut [0; 20]), number.to_string().as_bytes());
        }
    }

    #[test]
    fn known_moments_have_their_known_dates() {
        for (seconds, date) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (1_709_251_200, "Fri, 01 Mar 2024 00:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            let mut out = [0; 29];
            http_date(seconds, &mut out);
            assert_eq!(std::str::from_utf8(&out), Ok(date));
        }
    }
}
