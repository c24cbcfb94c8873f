//! The opening handshake: checks a key and computes the answer to it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1_smol::Sha1;

/// Whether this is a valid `Sec-WebSocket-Key`: "a base64-encoded value that, when decoded, is 16 bytes in length"
/// (RFC 6455 §4.2.1).
pub fn is_key(key: &[u8]) -> bool {
    let mut decoded = [0; 18];
    key.len() == KEY_BYTES && STANDARD.decode_slice(key, &mut decoded) == Ok(16)
}

/// The `Sec-WebSocket-Accept` for a key: base64 of the SHA-1 of the key and a fixed text (RFC 6455 §4.2.2).
pub fn accept_key(key: &[u8]) -> [u8; 28] {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(GUID);
    let mut accept = [0; 28];
    // 20 bytes become 28 characters, so this cannot fail.
    let _ = STANDARD.encode_slice(hash.digest().bytes(), &mut accept);
    accept
}

/// The length of a key: 16 bytes in base64.
pub const KEY_BYTES: usize = 24;
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_the_key_of_the_standard() {
        assert_eq!(&accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_key_is_sixteen_bytes_in_base64() {
        for (key, is_right) in [
            ("dGhlIHNhbXBsZSBub25jZQ==", true),
            ("AAAAAAAAAAAAAAAAAAAAAA==", true),
            ("", false),
            ("dGhlIHNhbXBsZSBub25jZQ", false),
            ("dGhlIHNhbXBsZSBub25jZR==", false),
            ("dGhlIHNhbXBsZSBub25jZQ=A", false),
            ("dGhlIHNhbXBsZSBub25jZWFh", false),
            ("dGhlIHNhbXBsZSBub25jZQ== ", false),
            ("dGhlIHNhbXBs-SBub25jZQ==", false),
            ("dGhlIHNhbXBsZSBub25j", false),
        ] {
            assert_eq!(is_key(key.as_bytes()), is_right, "{key:?}");
        }
    }
}
