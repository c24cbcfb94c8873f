//! The `Connection` field: whether the connection persists, and which fields are hop-by-hop.

use super::Version;
use super::nominated::Nominated;
use crate::http::{Field, FieldKind, ProtocolError, tokens, trim, values};
use crate::limits::{CONNECTION_OPTION_BYTES_MAX, CONNECTION_OPTIONS_MAX};

/// The options of every `Connection` field of one head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
}

impl Options {
    /// Whether the connection lives on (RFC 9112 §9.3). `close` wins over everything.
    pub(super) fn persists(self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}

/// Reads the options and marks the fields that they nominate, in time linear in the head.
pub(super) fn read(head: &[u8], fields: &mut [Field]) -> Result<Options, ProtocolError> {
    let (mut options, mut count) = (Options::default(), 0);
    let mut nominated: Option<Nominated<'_>> = None;
    let connections = fields.iter().filter(|field| field.kind == FieldKind::Connection);
    for option in connections.flat_map(|field| field.value.of(head).split(|&byte| byte == b',')).map(trim) {
        count += 1;
        if count > CONNECTION_OPTIONS_MAX || option.len() > CONNECTION_OPTION_BYTES_MAX {
            return Err(ProtocolError::TooManyConnectionOptions);
        }
        // The fields of these two names are for this hop in any case, so an ordinary head needs no table.
        if option.eq_ignore_ascii_case(b"keep-alive") {
            options.keep_alive = true;
        } else if option.eq_ignore_ascii_case(b"upgrade") {
            options.upgrade = true;
        } else if !option.is_empty() {
            options.close |= option.eq_ignore_ascii_case(b"close");
            nominated.get_or_insert_with(Nominated::new).add(option);
        }
    }
    if let Some(nominated) = nominated {
        for field in fields.iter_mut().filter(|field| !field.kind.is_protected()) {
            field.nominated = nominated.contains(field.name.of(head));
        }
    }
    Ok(options)
}

/// Whether `Upgrade` lists `websocket` (RFC 6455 §4.2.1).
pub(super) fn offers_websocket(head: &[u8], fields: &[Field]) -> bool {
    values(head, fields, FieldKind::Upgrade)
        .flat_map(tokens)
        .any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_head(text: &str) -> (Result<Options, ProtocolError>, Vec<String>) {
        let (head, mut fields) = (text.as_bytes(), Vec::new());
        super::super::section::read(head, 0, 100, &mut fields).unwrap();
        let options = read(head, &mut fields);
        let nominated = fields.iter().filter(|field| field.nominated);
        (options, nominated.map(|field| String::from_utf8_lossy(field.name.of(head)).into_owned()).collect())
    }

    #[test]
    fn close_wins_and_http10_must_ask() {
        let options = |value: &str| read_head(&format!("Connection: {value}\r\n\r\n")).0.unwrap();
        assert!(options("x").persists(Version::Http11) && !options("x").persists(Version::Http10));
        assert!(options("Keep-Alive").persists(Version::Http10));
        assert!(!options("keep-alive, CLOSE").persists(Version::Http10));
        assert!(!options("keep-alive, CLOSE").persists(Version::Http11));
        assert!(options("keep-alive ,\tUpgrade").upgrade);
        assert!(!options("closed").close);
    }

    #[test]
    fn nominations_reach_every_spelling_and_spare_protected_fields() {
        let (_, nominated) = read_head(
            "Connection: x-a, X_B, host, Authorization, x-internal-user-id, x-forwarded-for, cookie\r\n\
             X-A: 1\r\nx_a: 2\r\nX-B: 3\r\nHost: h\r\nAuthorization: t\r\nX-Internal-User-Id: 1\r\n\
             X-Forwarded-For: 1\r\nCookie: c\r\nX-C: 4\r\n\r\n",
        );
        assert_eq!(nominated, ["X-A", "x_a", "X-B"]);
        let (_, nominated) =
            read_head("Connection: close, keep-alive, te\r\nClose: 1\r\nTE: x\r\nA: b\r\n\r\n");
        assert_eq!(nominated, ["Close", "TE"]);
    }

    #[test]
    fn a_flood_of_options_is_refused() {
        let flood = |count: usize| format!("Connection: {}\r\n\r\n", vec!["a"; count].join(","));
        assert!(read_head(&flood(CONNECTION_OPTIONS_MAX)).0.is_ok());
        let refused = Err(ProtocolError::TooManyConnectionOptions);
        assert_eq!(read_head(&flood(CONNECTION_OPTIONS_MAX + 1)).0, refused);
        assert_eq!(read_head(&format!("Connection: {}\r\n\r\n", ",".repeat(1000))).0, refused);
        assert_eq!(read_head(&("Connection: a, b\r\n".repeat(40) + "\r\n")).0, refused);
        let long = |bytes: usize| format!("Connection: close, {}\r\n\r\n", "a".repeat(bytes));
        assert!(read_head(&long(CONNECTION_OPTION_BYTES_MAX)).0.is_ok());
        assert_eq!(read_head(&long(CONNECTION_OPTION_BYTES_MAX + 1)).0, refused);
    }
}
