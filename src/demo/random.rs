//! Random bytes as text.

use rustix::rand::{GetRandomFlags, getrandom};

/// `BYTES` unpredictable bytes, in hexadecimal.
pub(super) fn random_hex<const BYTES: usize>() -> String {
    const { assert!(BYTES <= 256) }
    let mut bytes = [0_u8; BYTES];
    // Up to 256 bytes are always complete, and never wait after boot (getrandom(2)).
    let _ = getrandom(&mut bytes[..], GetRandomFlags::empty());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
