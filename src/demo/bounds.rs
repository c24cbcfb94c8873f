//! Every bound of the demo's backends by name. None of them is a bound of the gateway.

use std::time::Duration;

/// A request head, in bytes. Over it: 431 and the connection closes. It must stay below 64 KiB: monoio-http 0.3
/// unwraps the making of a field name, and a name longer than that panics.
pub const HEAD_BYTES_MAX: usize = 48 * 1024;
/// Fields of a head: the bound of monoio-http 0.3. Over it: 431 and the connection closes.
pub const FIELDS_MAX: usize = 96;
/// A request body, in bytes. Over it: 413 and the connection closes.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Connections to one backend. Over it: closed at once.
pub const CONNECTIONS_MAX: usize = 4096;

/// How long a connection may be idle. The gateway closes idle connections earlier, so it is the side that closes.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a body may take to arrive, or an answer to be read. Over it: the connection closes.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to retry a port that is taken.
pub const BIND_PATIENCE: Duration = Duration::from_secs(1);
/// The pause between two attempts to bind a port.
pub const BIND_PAUSE: Duration = Duration::from_millis(20);
/// The pause after a failed accept (usually because there are no file descriptors left).
pub const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// What a gateway and the services say to each other at a time, in bytes. Over it: the services end.
pub const HOUSEHOLD_LINE_BYTES_MAX: u64 = 64 * 1024;

/// Registered users. Over it: 507.
pub const USERS_MAX: usize = 1024;
/// A user's name, in bytes. Over it: 400.
pub const USER_BYTES_MAX: usize = 64;
/// A password, in bytes. Over it: 400.
pub const PASSWORD_BYTES_MAX: usize = 256;

/// Users with a stored profile. Over it: 507.
pub const PROFILES_MAX: usize = 1024;
/// One stored profile as JSON text, in bytes. Over it: 413.
pub const PROFILE_BYTES_MAX: usize = 16 * 1024;

/// Conversations. Over it: 507.
pub const CONVERSATIONS_MAX: usize = 1024;
/// Members of one conversation. Over it: 400.
pub const MEMBERS_MAX: usize = 64;
/// A conversation's title, in bytes. Over it: 400.
pub const TITLE_BYTES_MAX: usize = 256;

/// Messages kept, of all conversations together. Over it: the oldest is dropped.
pub const MESSAGES_MAX: usize = 4096;
/// Messages in one answer: the newest of the conversation.
pub const MESSAGES_LISTED_MAX: usize = 100;
/// The text of one message, in bytes. Over it: 413.
pub const MESSAGE_BYTES_MAX: usize = 4096;

/// Sockets in the chat room. Over it: 503.
pub const SOCKETS_MAX: usize = 256;
/// Messages of the room that are kept, and sent to each user who joins. Over it: the oldest is dropped.
pub const HISTORY_MAX: usize = 50;
/// The text of one chat message, in bytes. Over it: an error to its sender alone.
pub const TEXT_BYTES_MAX: usize = 2048;
/// One WebSocket message from a client, in bytes: a text of the longest kind, with every byte escaped. Over it: the
/// socket is closed with 1009.
pub const SPOKEN_BYTES_MAX: usize = 16 * 1024;
/// Bytes that wait to be sent to one socket. Over it: they are dropped and the socket is closed with 1013. From half
/// of it on, the socket is not read (back-pressure).
pub const OUTBOX_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of frames that leave in one write, give or take one message.
pub const WRITE_BYTES: usize = 64 * 1024;
/// How long a client may take to answer a Close. Over it: the connection closes.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest form of one byte in JSON: `\u0001`.
const ESCAPED_BYTES: usize = 6;
/// A message's JSON around its text: names, a time and a user.
const AROUND_TEXT_BYTES: usize = 128 + ESCAPED_BYTES * USER_BYTES_MAX;

const _: () = assert!(ESCAPED_BYTES * TEXT_BYTES_MAX + AROUND_TEXT_BYTES <= SPOKEN_BYTES_MAX);
// A user who joins gets the history and the list of users at once.
const _: () = assert!(
    HISTORY_MAX * (ESCAPED_BYTES * TEXT_BYTES_MAX + AROUND_TEXT_BYTES)
        + SOCKETS_MAX * (ESCAPED_BYTES * USER_BYTES_MAX + 3)
        < OUTBOX_BYTES_MAX
);
const _: () = assert!(SOCKETS_MAX < CONNECTIONS_MAX && WRITE_BYTES < OUTBOX_BYTES_MAX / 2);
const _: () = assert!(HEAD_BYTES_MAX < u16::MAX as usize);
const _: () = assert!(PROFILE_BYTES_MAX < BODY_BYTES_MAX && MESSAGE_BYTES_MAX < BODY_BYTES_MAX);
