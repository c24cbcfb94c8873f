//! Bounds of HTTP/2.

use super::*;

/// Requests that one HTTP/2 connection has at a time (`SETTINGS_MAX_CONCURRENT_STREAMS`). A stream counts until its
/// exchange has ended, also if the client has reset it. Over it: the stream is refused.
pub const STREAMS_MAX: usize = 100;
/// Requests on streams that one core has at a time, in all of its connections. Each that waits takes some 5 KiB. Over
/// it: the stream is refused.
pub const STREAMS_OF_CORE_MAX: usize = 16 * 1024;
/// Such requests after which a connection may have only [`STREAMS_OF_CROWDED_MAX`], so that a few connections do not
/// take all places.
pub const STREAMS_CROWDED: usize = STREAMS_OF_CORE_MAX / 2;
/// Requests that one connection has at a time while the core has many. Over it: the stream is refused.
pub const STREAMS_OF_CROWDED_MAX: usize = 4;
/// The payload of one frame, in bytes: the least that an endpoint has to take (RFC 9113 §4.2). Over it: the connection
/// is closed.
pub const FRAME_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a request's body that a client may send before the service has taken any (`SETTINGS_INITIAL_WINDOW_SIZE`,
/// whose default this is). Over it: the connection is closed. They fit a block.
pub const STREAM_WINDOW_BYTES: u32 = 65_535;
/// Bytes of the bodies of one connection that a client may send before the services have taken any. Over it: the
/// connection is closed.
pub const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
/// Size of the table of fields that a client's encoder may use, in bytes as the standard counts them (RFC 7541 §4.1).
/// Over it: the oldest fields are evicted; a client that asks for more loses the connection.
pub const HPACK_TABLE_BYTES_MAX: usize = 4 * 1024;
/// The longest name or value of a field as it is decoded, in bytes. Over it: the connection is closed. The shortest
/// code has five bits, so no block that is taken has one.
pub const HPACK_STRING_BYTES_MAX: usize = BLOCK_BYTES_MAX * 8 / 5;
/// Frames that one block of fields may come in. Over it: the connection is closed.
pub const BLOCK_FRAMES_MAX: usize = 8;
/// Bytes of one block of fields, as it comes. Over it: the connection is closed. What is decoded of it has the bounds
/// of every head; the rest is only looked through, because later blocks refer to it.
pub const BLOCK_BYTES_MAX: usize = 48 * 1024;
/// Cookie fields of one head, which a client may take apart (RFC 9113 §8.2.3). Over it: 431.
pub const COOKIE_CRUMBS_MAX: usize = 256;
/// Streams of one connection that were reset, by either side, and that no finished exchange has made up for. Over it:
/// the connection is closed (`ENHANCE_YOUR_CALM`). A browser that leaves a page resets all of its streams at once.
pub const RESETS_MAX: u32 = 2 * STREAMS_MAX as u32;
/// Frames of one connection that move no request on (PING, SETTINGS, PRIORITY, empty DATA, small windows), beyond those
/// that time and sent frames make up for. Over it: the connection is closed (`ENHANCE_YOUR_CALM`).
pub const CONTROL_FRAMES_MAX: u32 = 2_000;
/// How many of these a second makes up for.
pub const CONTROL_FRAMES_PER_SECOND: u32 = 100;
/// Streams that this side has reset lately: what the client sends on them meanwhile is ignored. Over it: the oldest are
/// forgotten.
pub const RESETS_REMEMBERED: usize = 128;

/// Bytes of control frames that a connection has gathered and the client has not taken. Over it: nothing more is read
/// of it meanwhile.
pub const CONTROL_BYTES_UNSENT_MAX: usize = 4 * 1024;
/// Room of a connection's output for control frames, in bytes. What streams send gets the rest.
pub const CONTROL_BYTES_RESERVED: usize = 12 * 1024;
/// Bytes that one stream puts into the output before every other stream that waits has had its turn.
pub const STREAM_BYTES_PER_TURN: usize = FRAME_BYTES_MAX;

// What a client may send ahead of its service fits one block, and more than one block never waits for one stream.
const _: () = assert!(STREAM_WINDOW_BYTES as usize <= BUFFER_BYTES);
// The longest head of a response and its frames fit an empty output: as a block, each field may have three bytes more
// than its line. One that did not would wait for room that never comes.
const _: () = assert!(
    HEAD_BYTES_DEFAULT
        + REDIRECT_BYTES_MAX
        + PREFIX_BYTES_MAX
        + LOCATIONS_MAX * (HOST_AND_PORT_BYTES_MAX + PREFIX_BYTES_MAX + 16)
        + CORS_HEADERS_BYTES_MAX
        + FIELD_EDITS_BYTES_MAX
        + 4 * 1024
        + 4 * FIELDS_MAX
        + CONTROL_BYTES_RESERVED
        < BUFFER_BYTES
);
// Each stream opens its windows twice for each half of them that it has taken, besides what is read of the client.
const _: () = assert!(CONTROL_BYTES_UNSENT_MAX + STREAMS_MAX * 2 * 26 + 64 < CONTROL_BYTES_RESERVED);
// So does a block of fields.
const _: () = assert!(BLOCK_BYTES_MAX + FRAME_BYTES_MAX <= BUFFER_BYTES);
// The longest head by default fits a block, and a block its frames.
const _: () =
    assert!(HEAD_BYTES_DEFAULT < BLOCK_BYTES_MAX && BLOCK_BYTES_MAX <= BLOCK_FRAMES_MAX * FRAME_BYTES_MAX);
