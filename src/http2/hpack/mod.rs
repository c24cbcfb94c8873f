//! HPACK (RFC 7541): the compression of fields.

mod codes;
mod decode;
mod encode;
mod huffman;
mod integer;
mod static_table;
mod table;
#[cfg(test)]
mod tests;

pub use decode::{Decoder, Fields, Scratch};
pub use encode::{FIELD_BYTES_MORE, NO_TABLE, Out, put_field, put_status};

/// Why a block cannot be decoded. Each is "a connection error of type COMPRESSION_ERROR" (RFC 9113 §4.3), for both ends
/// may know different tables from here on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HpackError {
    /// It ends within a field.
    Truncated,
    /// A number that is too long.
    Integer,
    /// No field has this index.
    Index,
    /// The Huffman code of a string is wrong.
    Huffman,
    /// A string that is too long.
    TooLong,
    /// A size of the table that is too large, or stands in the wrong place.
    TableSize,
}
