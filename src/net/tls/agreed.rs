//! What both sides of a TLS session have agreed on.

use rustls::{CommonState, HandshakeKind, ProtocolVersion};

/// What both sides have agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite, as IANA names it.
    pub cipher: &'static str,
    /// It goes on with the keys of an earlier connection.
    pub is_resumed: bool,
    /// The connection speaks HTTP/2 (ALPN).
    pub is_h2: bool,
}

impl Agreed {
    /// `None`: nothing yet.
    pub(super) fn of(state: &CommonState) -> Option<Agreed> {
        Some(Agreed {
            version: match state.protocol_version()? {
                ProtocolVersion::TLSv1_2 => "TLSv1.2",
                ProtocolVersion::TLSv1_3 => "TLSv1.3",
                _ => return None,
            },
            cipher: cipher(state.negotiated_cipher_suite()?.suite().as_str()?),
            is_resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
            is_h2: state.alpn_protocol() == Some(b"h2"),
        })
    }
}

/// Whether a close_notify ends one direction alone: "This does not have any effect on its write side" (RFC 8446 §6.1).
/// Before TLS 1.3 the other party "MUST respond with a close_notify alert of its own and close down the connection
/// immediately, discarding any pending writes" (RFC 5246 §7.2.1).
pub(super) fn may_half_close(state: &CommonState) -> bool {
    state.protocol_version() == Some(ProtocolVersion::TLSv1_3)
}

/// The registered name: those of TLS 1.3 have no version in it.
fn cipher(name: &'static str) -> &'static str {
    match name {
        "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
        "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
        "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
        named => named,
    }
}
