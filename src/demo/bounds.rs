//! Every bound of the demo's backends by name. None of them is a bound of the gateway.

use std::time::Duration;

/// A request head, in bytes. Over it: 431 and the connection closes. It must stay below 64 KiB: monoio-http 0.3
/// unwraps the making of a field name, and a name longer than that panics.
pub const HEAD_BYTES_MAX: usize = 48 * 1024;
/// Fields of a head: as many as monoio-http 0.3 takes. Over it: 431 and the connection closes.
pub const FIELDS_MAX: usize = 96;
/// A request body, in bytes. Over it: 413 and the connection closes.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Connections to one backend. Over it: closed at once.
pub const CONNECTIONS_MAX: usize = 4096;

/// A connection without a request. Longer than the gateway keeps one idle, so the gateway is who closes.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// A body that does not arrive, or an answer that is not taken. Over it: the connection closes.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long accepting rests after it failed (no file descriptors left, usually).
pub const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

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

/// Messages kept, of all conversations together. Over it: the oldest is forgotten.
pub const MESSAGES_MAX: usize = 4096;
/// Messages in one answer: the newest of the conversation.
pub const MESSAGES_LISTED_MAX: usize = 100;
/// The text of one message, in bytes. Over it: 413.
pub const MESSAGE_BYTES_MAX: usize = 4096;

const _: () = assert!(HEAD_BYTES_MAX < u16::MAX as usize);
const _: () = assert!(PROFILE_BYTES_MAX < BODY_BYTES_MAX && MESSAGE_BYTES_MAX < BODY_BYTES_MAX);
