//! Random bytes as text.

use rustix::rand::{GetRandomFlags, getrandom};

/// So many bytes nobody can guess, in hexadecimal.
pub(super) fn random_hex<const BYTES: usize>() -> String {
    const { assert!(BYTES <= 256) }
    let mut bytes = [0_u8; BYTES];
    // 256 bytes or less never come short and never wait after boot (getrandom(2)).
    let _ = getrandom(&mut bytes[..], GetRandomFlags::empty());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
