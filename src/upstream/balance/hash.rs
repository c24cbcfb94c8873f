//! Hashes that are the same in every process, so that every gateway sends a user to the same member.

/// The hash of what a request is to stay with one member by. FNV-1a, mixed: not proof against someone who looks for
/// collisions, which the bound on a member's load is for.
pub fn hash_of(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(fnv)
}

/// Every bit of the result depends on every bit (the finalizer of SplitMix64).
pub(super) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_key_never_changes() {
        assert_eq!(
            hash_of(b"user-1"),
            0xf16d_8d44_0fbb_25d5,
            "users would move between members at an upgrade"
        );
    }
}
