//! Bounds of TLS: records, handshakes, tickets, certificates, and challenges of their issuers.

/// The plaintext of one TLS record, in bytes (RFC 8446 §5.1). More is sealed into several records.
pub const TLS_RECORD_BYTES_MAX: usize = 16 * 1024;
/// Plaintext that is sealed at a time, in bytes: what one block holds as records, with room for the protocol's own.
/// Nothing more is sealed for the connection before these records have left.
pub const TLS_SEALED_BYTES_MAX: usize = 60 * 1024;
/// What is read at a time of a body that goes on over TLS, in bytes: with the lines around a chunk it is sealed in one
/// go, and leaves in one send.
pub const TLS_READ_BYTES_MAX: usize = TLS_SEALED_BYTES_MAX - 64;
/// TLS records of one connection that are decrypted in one turn of a core. Over it: other tasks have a turn first.
pub const TLS_RECORDS_PER_TURN: u32 = 128;
/// TLS records in a row without a byte of plaintext. Over it: the connection is closed.
pub const TLS_BARREN_RECORDS_MAX: u32 = 64;
/// Bytes of a TLS handshake that wait to be processed: of one message, with the headers of its records. Over it: the
/// connection is closed.
pub const TLS_HANDSHAKE_BYTES_MAX: usize = 20 * 1024;
/// How long a TLS handshake may take from the accept on, in milliseconds. Over it: the connection is closed.
pub const TLS_HANDSHAKE_MS: u64 = 10_000;
/// The longest name that a TLS client may ask for and that is logged, in bytes (RFC 1035 §2.3.4). Over it: it is not.
pub const SERVER_NAME_BYTES_MAX: usize = 253;
/// TLS handshakes of one core at one time. Over it: those of the client with the most connections give way, or else new
/// connections to the TLS port are closed.
pub const TLS_HANDSHAKES_MAX: usize = 2048;
/// Steps of TLS handshakes that a core takes in one turn. One that signs takes 150 to 650 µs. Over it: other tasks have
/// a turn first.
pub const TLS_STEPS_PER_TURN: u32 = 8;
/// How long the steps of TLS handshakes may take in one turn of a core, in microseconds. Over it: as over
/// [`TLS_STEPS_PER_TURN`].
pub const TLS_STEPS_US_PER_TURN: u64 = 1_500;
/// Certificates of one configuration. Over it: the configuration is refused.
pub const CERTIFICATES_MAX: usize = 1024;
/// Ticket keys of one file. Over it: the configuration is refused.
pub const TICKET_KEYS_MAX: usize = 8;
/// Ticket keys that the process makes for itself and still accepts, the newest included.
pub const TICKET_KEYS_KEPT: usize = 3;
/// How long the process uses a ticket key of its own for new tickets, in seconds.
pub const TICKET_KEY_USED_S: u64 = 6 * 60 * 60;
/// Bytes that a successor process reads of its predecessor's ticket keys. Over it: it makes its own.
pub const TICKET_SECRETS_BYTES_MAX: u64 = 1024;
/// How long a client may resume a session, in seconds. Over it: a full handshake.
pub const TICKET_LIFETIME_S: u32 = 12 * 60 * 60;
/// Bytes of a ticket. Over it: a full handshake. A ticket holds the client's certificates.
pub const TICKET_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a name in a client's certificate. Over it: the name is left out.
pub const CLIENT_NAME_BYTES_MAX: usize = 256;
/// Names of a client's certificate. Over it: the others are left out.
pub const CLIENT_NAMES_MAX: usize = 16;
/// Files of challenges that are served. Over it: the others are left out.
pub const CHALLENGES_MAX: usize = 64;
/// Bytes of a file of a challenge. Over it: it is left out.
pub const CHALLENGE_BYTES_MAX: usize = 1024;
/// Bytes of a challenge's token. Over it: the path is like any other.
pub const CHALLENGE_TOKEN_BYTES_MAX: usize = 128;
/// How often the folder of challenges is looked at, in milliseconds. A new one is asked for after the program that
/// wrote it has told the authority, which takes longer.
pub const CHALLENGES_LOOK_MS: u64 = 200;
/// How often the files of certificates are looked at, in milliseconds.
pub const CERTIFICATES_LOOK_MS: u64 = 1_000;
/// How long a certificate and its key may not match while they are being replaced, in milliseconds. Over it: an error
/// in the log. The pair before stays in use all the while.
pub const CERTIFICATES_SETTLE_MS: u64 = 10_000;
/// TLS sessions with one upstream that a core keeps for resuming them. Over it: the oldest is forgotten.
pub const UPSTREAM_SESSIONS_KEPT: usize = 8;
