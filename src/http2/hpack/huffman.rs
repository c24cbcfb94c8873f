//! Strings in the Huffman code of HPACK (RFC 7541 §5.2).
//!
//! The decoder takes four bits at a time: a state is a node of the code's tree, and a step leads from a node by four
//! bits to another one. The shortest code has five bits, so a step ends at most one symbol.

use super::HpackError;
use super::codes::CODES;

/// Decodes a string and appends it to `out`, at most `room` bytes.
pub(super) fn decode(bytes: &[u8], out: &mut Vec<u8>, room: usize) -> Result<(), HpackError> {
    let (mut at, end) = (Step::START, out.len() + room);
    for byte in bytes {
        for nibble in [byte >> 4, byte & 0xf] {
            at = STEPS[usize::from(at.node)][usize::from(nibble)];
            if at.is_broken {
                return Err(HpackError::Huffman);
            }
            if at.has_symbol {
                if out.len() == end {
                    return Err(HpackError::TooLong);
                }
                out.push(at.symbol);
            }
        }
    }
    // "A padding strictly longer than 7 bits MUST be treated as a decoding error. A padding not corresponding to the
    // most significant bits of the code for the EOS symbol MUST be treated as a decoding error."
    if at.may_end { Ok(()) } else { Err(HpackError::Huffman) }
}

/// Where four bits lead from a node.
#[derive(Clone, Copy)]
struct Step {
    node: u8,
    symbol: u8,
    has_symbol: bool,
    /// What was read since the last symbol is padding: fewer than eight bits, all ones.
    may_end: bool,
    /// No code leads here: EOS, which "MUST be treated as a decoding error".
    is_broken: bool,
}

impl Step {
    const START: Step = Step { node: 0, symbol: 0, has_symbol: false, may_end: true, is_broken: false };
}

/// Inner nodes of the tree: one fewer than there are codes.
const NODES: usize = CODES.len() - 1;
/// What a branch leads to: an inner node, or a symbol on top of this.
const LEAF: u16 = 1 << 15;

static STEPS: [[Step; 16]; NODES] = steps(&tree());

const fn tree() -> [[u16; 2]; NODES] {
    let mut branches = [[0; 2]; NODES];
    let (mut nodes, mut symbol) = (1, 0);
    while symbol < CODES.len() {
        let (code, length) = CODES[symbol];
        let (mut node, mut bit) = (0, length - 1);
        while bit > 0 {
            let side = (code >> bit & 1) as usize;
            if branches[node][side] == 0 {
                branches[node][side] = nodes as u16;
                nodes += 1;
            }
            node = branches[node][side] as usize;
            bit -= 1;
        }
        branches[node][(code & 1) as usize] = LEAF | symbol as u16;
        symbol += 1;
    }
    assert!(nodes == NODES);
    branches
}

const fn steps(branches: &[[u16; 2]; NODES]) -> [[Step; 16]; NODES] {
    let mut steps = [[Step::START; 16]; NODES];
    // How many ones lead from the root to a node, and nothing else: what padding may be.
    let mut ones = [u8::MAX; NODES];
    let (mut node, mut depth) = (0usize, 0);
    while depth < 8 {
        ones[node] = depth;
        node = branches[node][1] as usize;
        depth += 1;
    }
    let mut from = 0;
    while from < NODES {
        let mut nibble = 0;
        while nibble < 16 {
            let (mut node, mut bit, mut step) = (from, 4, Step::START);
            while bit > 0 {
                bit -= 1;
                let to = branches[node][nibble >> bit & 1];
                if to & LEAF == 0 {
                    node = to as usize;
                    continue;
                }
                let symbol = to & !LEAF;
                if symbol > 255 {
                    step.is_broken = true;
                }
                step.symbol = symbol as u8;
                step.has_symbol = true;
                node = 0;
            }
            step.node = node as u8;
            step.may_end = ones[node] < 8;
            steps[from][nibble] = step;
            nibble += 1;
        }
        from += 1;
    }
    steps
}

/// Encodes a string.
#[cfg(test)]
pub(super) fn encode(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut bits, mut count) = (Vec::new(), 0u64, 0u32);
    for byte in bytes {
        let (code, length) = CODES[usize::from(*byte)];
        (bits, count) = (bits << length | u64::from(code), count + u32::from(length));
        while count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    if count > 0 {
        out.push(((bits << (8 - count)) | (0xff >> count)) as u8);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(bytes: &[u8]) -> Result<Vec<u8>, HpackError> {
        let mut out = Vec::new();
        decode(bytes, &mut out, 4096).map(|()| out)
    }

    #[test]
    fn the_examples_of_the_standard() {
        for (text, bytes) in [
            ("www.example.com", &b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"[..]),
            ("no-cache", b"\xa8\xeb\x10\x64\x9c\xbf"),
            ("302", b"\x64\x02"),
            ("private", b"\xae\xc3\x77\x1a\x4b"),
        ] {
            assert_eq!(encode(text.as_bytes()), bytes);
            assert_eq!(decoded(bytes), Ok(text.as_bytes().to_vec()));
        }
    }

    #[test]
    fn padding_is_less_than_a_byte_of_ones() {
        assert_eq!(decoded(b""), Ok(Vec::new()));
        for wrong in [&b"\xff"[..], b"\x1f\xff", b"\x18", b"\xff\xff\xff\xff", b"\xff\xff\xff\xfc", b"\x00"] {
            assert_eq!(decoded(wrong), Err(HpackError::Huffman), "{}", wrong.escape_ascii());
        }
        assert_eq!(decoded(b"\x1f"), Ok(b"a".to_vec()));
    }

    #[test]
    fn a_string_grows_no_further_than_its_room() {
        let bytes = encode(b"0123456789");
        assert_eq!(decode(&bytes, &mut Vec::new(), 9), Err(HpackError::TooLong));
        assert_eq!(decode(&bytes, &mut b"before".to_vec(), 10), Ok(()));
    }

    proptest! {
        #[test]
        fn any_string_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(decoded(&encode(&bytes)), Ok(bytes));
        }

        /// One string has one code: whatever decodes is what the encoder would have written.
        #[test]
        fn nothing_else_decodes(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(text) = decoded(&bytes) {
                prop_assert_eq!(encode(&text), bytes);
            }
        }
    }
}
