//! Request methods.

/// A method. Names are case-sensitive (RFC 9110 §9.1): `get` is `Other`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`
    #[default]
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// `TRACE`, or `TRACK`, which some servers take for it, both in any case: always refused
    Trace,
    /// `CONNECT`, which is always refused
    Connect,
    /// Any other token; its name is in the head.
    Other,
}

impl Method {
    /// The method of that name.
    pub fn of(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"PATCH" => Self::Patch,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"CONNECT" => Self::Connect,
            // A server that ignores the case of a method would send the request back, with all that is in it.
            _ if [b"TRACE".as_slice(), b"TRACK"].iter().any(|trace| trace.eq_ignore_ascii_case(name)) => {
                Self::Trace
            }
            _ => Self::Other,
        }
    }

    /// Whether sending the request twice is the same as sending it once (RFC 9110 §9.2.2). Of an unknown
    /// method nothing is promised.
    pub fn is_idempotent(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Put | Self::Delete | Self::Options)
    }

    /// Whether it gives a request's body a meaning. Of these methods RFC 9110 (§9.3.1, 9.3.2, 9.3.5, 9.3.7, 9.3.8) says
    /// that content has no generally defined semantics, or that there must be none: many services do not read it, and
    /// take it for the next request of the connection. Of an unknown method nothing is assumed.
    pub fn gives_body_meaning(self) -> bool {
        !matches!(self, Self::Get | Self::Head | Self::Delete | Self::Options | Self::Trace)
    }

    /// Whether responses to it have no body whatever their head says.
    pub fn is_head(self) -> bool {
        self == Self::Head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_case_sensitive() {
        assert_eq!(Method::of(b"GET"), Method::Get);
        assert_eq!(Method::of(b"get"), Method::Other);
        assert_eq!(Method::of(b"PROPFIND"), Method::Other);
    }

    #[test]
    fn only_methods_that_promise_it_are_idempotent() {
        assert!(Method::Put.is_idempotent() && Method::Delete.is_idempotent());
        assert!(!Method::Post.is_idempotent() && !Method::Patch.is_idempotent());
        assert!(!Method::Other.is_idempotent() && !Method::Connect.is_idempotent());
    }
}
