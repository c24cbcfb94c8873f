//! The slot of a key: which part of a cluster it belongs to
//! (<https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#key-distribution-model>).

/// The slot of a key: that of its hash tag, if it has one.
pub fn slot(key: &[u8]) -> u16 {
    crc16(hash_tag(key)) % SLOTS
}

/// What is between the first `{` and the next `}`, unless that is nothing; otherwise the whole key.
fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = memchr::memchr(b'{', key) else { return key };
    let tag = &key[open + 1..];
    match memchr::memchr(b'}', tag) {
        Some(length @ 1..) => &tag[..length],
        _ => key,
    }
}

/// CRC16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| (crc << 8) ^ TABLE[usize::from((crc >> 8) ^ u16::from(*byte))])
}

const TABLE: [u16; 256] = table();

const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = ((byte as u16) << 8, 0);
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ POLYNOMIAL };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

const POLYNOMIAL: u16 = 0x1021;
/// The slots of a cluster.
pub const SLOTS: u16 = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!((slot(b""), slot(b"foo"), slot(b"somekey")), (0, 12_182, 11_058));
    }

    #[test]
    fn a_hash_tag_decides_alone_and_an_empty_one_is_none() {
        assert_eq!(slot(b"{rl:u:ann}:search"), slot(b"rl:u:ann"));
        assert_eq!(slot(b"a{foo}b{bar}"), slot(b"foo"));
        for whole in [&b"foo{}{bar}"[..], b"{}", b"{foo", b"foo}", b"}{"] {
            assert_eq!(hash_tag(whole), whole);
        }
        assert_eq!(hash_tag(b"foo{{bar}}zap"), b"{bar");
    }
}
