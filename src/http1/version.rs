//! The versions of HTTP/1.

/// The versions that this gateway speaks as HTTP/1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: no chunked bodies, one exchange per connection unless asked otherwise.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}

impl Version {
    /// Reads `HTTP/1.0` or `HTTP/1.1`; anything else is no version of ours.
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        match name {
            b"HTTP/1.1" => Some(Self::Http11),
            b"HTTP/1.0" => Some(Self::Http10),
            _ => None,
        }
    }
}
