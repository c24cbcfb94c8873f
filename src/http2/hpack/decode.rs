//! From a block of bytes to fields (RFC 7541 §3, §6).

use super::table::Table;
use super::{HpackError, huffman, integer};
use crate::limits::{HPACK_STRING_BYTES_MAX, HPACK_TABLE_BYTES_MAX};

/// What takes the fields of a block, one by one.
pub trait Fields {
    /// The next field. It is not copied anywhere else: what is not kept is gone.
    fn field(&mut self, name: &[u8], value: &[u8]);
}

/// The decoder of one connection. It has to see every block, in order.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// The size of the table that the encoder has chosen, in bytes.
    pub(super) size_max: usize,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder { table: Table::default(), size_max: HPACK_TABLE_BYTES_MAX }
    }
}

/// Memory for the strings of one field, used again and again.
#[derive(Default, Debug)]
pub struct Scratch {
    pub(super) strings: Vec<u8>,
}

impl Decoder {
    /// Decodes a whole block.
    ///
    /// # Errors
    /// The block is no such block. The decoder is of no further use: what it knows may differ from what the encoder
    /// knows.
    pub fn decode(
        &mut self,
        mut block: &[u8],
        scratch: &mut Scratch,
        fields: &mut impl Fields,
    ) -> Result<(), HpackError> {
        let mut may_resize = true;
        while let Some(&first) = block.first() {
            if first & 0xe0 == 0x20 {
                self.resize(&mut block, may_resize)?;
                continue;
            }
            may_resize = false;
            if first & 0x80 != 0 {
                let (name, value) = self.table.get(integer::decode(&mut block, 7)?)?;
                fields.field(name, value);
                continue;
            }
            // A literal is indexed, or not, or never: for who only decodes the latter two are the same.
            let is_indexed = first & 0x40 != 0;
            let name = integer::decode(&mut block, if is_indexed { 6 } else { 4 })?;
            let Scratch { strings } = scratch;
            strings.clear();
            match name {
                0 => string(&mut block, strings)?,
                index => strings.extend_from_slice(self.table.get(index)?.0),
            }
            let name_bytes = strings.len();
            string(&mut block, strings)?;
            let (name, value) = strings.split_at(name_bytes);
            fields.field(name, value);
            if is_indexed {
                self.table.add(name, value, self.size_max);
            }
        }
        Ok(())
    }

    /// "This dynamic table size update MUST occur at the beginning of the first header block following the change", and
    /// "the new maximum size MUST be lower than or equal to the limit determined by the protocol" (§4.2, §6.3).
    fn resize(&mut self, block: &mut &[u8], may_resize: bool) -> Result<(), HpackError> {
        let size = integer::decode(block, 5)?;
        if !may_resize || size > HPACK_TABLE_BYTES_MAX {
            return Err(HpackError::TableSize);
        }
        self.size_max = size;
        self.table.shrink(size);
        Ok(())
    }
}

/// Reads a string off the front and appends it to `out`.
fn string(block: &mut &[u8], out: &mut Vec<u8>) -> Result<(), HpackError> {
    let is_huffman = block.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer::decode(block, 7)?;
    let Some((bytes, rest)) = block.split_at_checked(length) else { return Err(HpackError::Truncated) };
    *block = rest;
    match is_huffman {
        true => huffman::decode(bytes, out, HPACK_STRING_BYTES_MAX),
        false if length > HPACK_STRING_BYTES_MAX => Err(HpackError::TooLong),
        false => {
            out.extend_from_slice(bytes);
            Ok(())
        }
    }
}
