//! Bounds of HTTP/2.

/// Size of the table of fields that a client's encoder may use, in bytes as the standard counts them (RFC 7541 §4.1).
/// Over it: the oldest fields are evicted; a client that asks for more loses the connection.
pub const HPACK_TABLE_BYTES_MAX: usize = 4 * 1024;
/// The longest name or value of a field, in bytes. Over it: the connection is closed. No head that is taken has one.
pub const HPACK_STRING_BYTES_MAX: usize = super::HEAD_BYTES_MAX;
