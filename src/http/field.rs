//! Header fields: the kind of a field, from any spelling of its name.

use std::hash::{Hash, Hasher};

use super::Span;

/// One field line of a head or trailer section. Repeated names are repeated fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name as it was spelled.
    pub name: Span,
    /// The value without the white space (SP, HTAB) around it. It may be empty.
    pub value: Span,
    /// What the name means.
    pub kind: FieldKind,
    /// `Connection` lists it, so it is for this hop only. Never set on protected kinds.
    pub nominated: bool,
}

/// What a field is for, found from its *folded* name: any ASCII case, and every byte but letters and digits read
/// as `-`, as CGI-like servers fold them (most take `_` for `-`, some take anything).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // Each variant is the field of that name.
pub enum FieldKind {
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    KeepAlive,
    ProxyConnection,
    ProxyAuthorization,
    Te,
    Trailer,
    Upgrade,
    Expect,
    Authorization,
    Cookie,
    SetCookie,
    /// Any `x-internal-*`, under any spelling: only the gateway writes these.
    Internal,
    /// `Forwarded`, any other `x-forwarded-*`, and the other names under which proxies tell a client's
    /// address, the method and the URL it asked for, or the path under which a service is mounted.
    Forwarded,
    /// `Proxy`, which CGI turns into the variable `HTTP_PROXY` (httpoxy, CVE-2016-5385).
    Proxy,
    /// `X-HTTP-Method-Override`, `X-HTTP-Method`, `X-Method-Override`: another method than the one that was routed.
    MethodOverride,
    XForwardedFor,
    XForwardedProto,
    XForwardedHost,
    XRequestId,
    Via,
    Traceparent,
    Tracestate,
    Origin,
    SecFetchSite,
    AccessControlRequestMethod,
    AccessControlRequestHeaders,
    /// `Access-Control-Allow-*` and `-Max-Age`.
    AccessControlResponse,
    /// `Access-Control-Expose-*`.
    AccessControlExposeHeaders,
    SecWebSocketKey,
    SecWebSocketVersion,
    SecWebSocketProtocol,
    SecWebSocketExtensions,
    SecWebSocketAccept,
    Date,
    Server,
    Vary,
    ContentType,
    /// A name that folds to one of the above but is spelled with `_`, `.` or the like. Always dropped, never obeyed:
    /// a server behind us may fold it and read what we did not check.
    Alias,
    /// Everything else: passed on.
    Other,
}

impl FieldKind {
    /// The kind of the field with this name.
    pub fn of(name: &[u8]) -> Self {
        if name.iter().all(|&byte| PLAIN_BYTES[usize::from(byte)]) {
            return Self::of_plain(name);
        }
        // Longer names matter for their prefix only, and no whole name that we know is as long.
        let mut folded = [0; 64];
        let length = name.len().min(folded.len());
        for (to, &from) in folded.iter_mut().zip(name) {
            *to = fold(from);
        }
        match Self::of_plain(&folded[..length]) {
            kind @ (Self::Other | Self::Internal) => kind,
            _ => Self::Alias,
        }
    }

    /// Only for this hop (RFC 9110 §7.6.1): never passed on; ours are set anew.
    pub fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::KeepAlive
                | Self::ProxyConnection
                | Self::ProxyAuthorization
                | Self::Te
                | Self::Trailer
                | Self::TransferEncoding
                | Self::Upgrade
        )
    }

    /// A service's word on which pages may read its response.
    pub fn is_cors_permission(self) -> bool {
        matches!(self, Self::AccessControlResponse | Self::AccessControlExposeHeaders)
    }

    /// Whether a nomination by `Connection` is ignored: nobody takes away what others rely on
    /// [CVE-2024-45410].
    pub fn is_protected(self) -> bool {
        !matches!(
            self,
            Self::KeepAlive
                | Self::ProxyConnection
                | Self::ProxyAuthorization
                | Self::Te
                | Self::Trailer
                | Self::Date
                | Self::Server
                | Self::Alias
                | Self::Other
        )
    }

    /// Whether it may stand in a trailer section. Whatever we know by name has a meaning at the head only:
    /// framing, routing, authentication, identity (RFC 9110 §6.5.1).
    pub fn may_be_trailer(self) -> bool {
        self == Self::Other
    }

    /// For names without `_` and `.`. The length decides between a handful of names at most.
    fn of_plain(name: &[u8]) -> Self {
        let known: &[(&[u8], Self)] = match name.len() {
            2 => &[(b"te", Self::Te)],
            3 => &[(b"via", Self::Via)],
            4 => &[(b"host", Self::Host), (b"date", Self::Date), (b"vary", Self::Vary)],
            5 => &[(b"proxy", Self::Proxy)],
            6 => &[
                (b"cookie", Self::Cookie),
                (b"origin", Self::Origin),
                (b"expect", Self::Expect),
                (b"server", Self::Server),
            ],
            7 => &[(b"upgrade", Self::Upgrade), (b"trailer", Self::Trailer)],
            8 => &[(b"x-scheme", Self::Forwarded)],
            9 => &[
                (b"forwarded", Self::Forwarded),
                (b"x-real-ip", Self::Forwarded),
                (b"client-ip", Self::Forwarded),
                (b"path-info", Self::Forwarded),
            ],
            10 => &[
                (b"connection", Self::Connection),
                (b"set-cookie", Self::SetCookie),
                (b"keep-alive", Self::KeepAlive),
                (b"tracestate", Self::Tracestate),
            ],
            11 => &[
                (b"traceparent", Self::Traceparent),
                (b"x-client-ip", Self::Forwarded),
                (b"x-forwarded", Self::Forwarded),
                (b"x-internal-", Self::Internal),
                (b"remote-user", Self::Forwarded),
                (b"remote-addr", Self::Forwarded),
                (b"script-name", Self::Forwarded),
            ],
            12 => &[(b"content-type", Self::ContentType), (b"x-request-id", Self::XRequestId)],
            13 => &[
                (b"authorization", Self::Authorization),
                (b"x-rewrite-url", Self::Forwarded),
                (b"x-http-method", Self::MethodOverride),
                (b"x-remote-user", Self::Forwarded),
                (b"x-remote-addr", Self::Forwarded),
                (b"x-script-name", Self::Forwarded),
            ],
            14 => &[
                (b"sec-fetch-site", Self::SecFetchSite),
                (b"content-length", Self::ContentLength),
                (b"true-client-ip", Self::Forwarded),
                (b"x-original-url", Self::Forwarded),
            ],
            15 => &[
                (b"x-forwarded-for", Self::XForwardedFor),
                (b"x-original-host", Self::Forwarded),
                (b"front-end-https", Self::Forwarded),
                (b"x-accel-mapping", Self::Forwarded),
                (b"x-sendfile-type", Self::Forwarded),
            ],
            16 => &[
                (b"x-forwarded-host", Self::XForwardedHost),
                (b"proxy-connection", Self::ProxyConnection),
                (b"cf-connecting-ip", Self::Forwarded),
                (b"fastly-client-ip", Self::Forwarded),
            ],
            17 => &[
                (b"transfer-encoding", Self::TransferEncoding),
                (b"x-forwarded-proto", Self::XForwardedProto),
                (b"sec-websocket-key", Self::SecWebSocketKey),
                (b"x-method-override", Self::MethodOverride),
                (b"x-original-method", Self::Forwarded),
            ],
            18 => &[(b"cf-connecting-ipv6", Self::Forwarded)],
            19 => &[
                (b"proxy-authorization", Self::ProxyAuthorization),
                (b"x-cluster-client-ip", Self::Forwarded),
            ],
            20 => &[(b"sec-websocket-accept", Self::SecWebSocketAccept)],
            21 => &[(b"sec-websocket-version", Self::SecWebSocketVersion)],
            22 => &[
                (b"sec-websocket-protocol", Self::SecWebSocketProtocol),
                (b"x-http-method-override", Self::MethodOverride),
            ],
            24 => &[
                (b"sec-websocket-extensions", Self::SecWebSocketExtensions),
                (b"x-original-forwarded-for", Self::Forwarded),
            ],
            29 => &[(b"access-control-request-method", Self::AccessControlRequestMethod)],
            30 => &[(b"access-control-request-headers", Self::AccessControlRequestHeaders)],
            _ => &[],
        };
        // Most names differ in their first letter already, which costs nothing to see.
        let first = name.first().map_or(0, u8::to_ascii_lowercase);
        let is_known = |known: &[u8]| known[0] == first && known.eq_ignore_ascii_case(name);
        match known.iter().find(|(known, _)| is_known(known)) {
            Some(&(_, kind)) => kind,
            None => Self::of_prefix(name),
        }
    }

    fn of_prefix(name: &[u8]) -> Self {
        match name.first() {
            Some(b'x' | b'X') if begins(name, b"x-internal-") => Self::Internal,
            Some(b'x' | b'X') if begins(name, b"x-forwarded-") || begins(name, b"x-envoy-") => {
                Self::Forwarded
            }
            Some(b'a' | b'A')
                if begins(name, b"access-control-allow-")
                    || name.eq_ignore_ascii_case(b"access-control-max-age") =>
            {
                Self::AccessControlResponse
            }
            Some(b'a' | b'A') if begins(name, b"access-control-expose-") => Self::AccessControlExposeHeaders,
            _ => Self::Other,
        }
    }
}

/// The values of every field of that kind, in the order of the head.
pub fn values<'a>(
    head: &'a [u8],
    fields: &'a [Field],
    kind: FieldKind,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    fields.iter().filter(move |field| field.kind == kind).map(move |field| field.value.of(head))
}

/// The elements of a comma-separated list (RFC 9110 §5.6.1) without white space around them, empty ones
/// left out. For lists of tokens only: a quoted string's comma is not respected.
pub fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|token| !token.is_empty())
}

/// Whether these bytes are a token (RFC 9110 §5.6.2).
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

pub(crate) fn is_token_byte(byte: u8) -> bool {
    TOKEN_BYTES[usize::from(byte)]
}

/// `tchar` (RFC 9110 §5.6.2).
const TOKEN_BYTES: [bool; 256] = letters_digits_and(b"!#$%&'*+-.^_`|~");
/// What folds to itself.
const PLAIN_BYTES: [bool; 256] = letters_digits_and(b"-");

const fn letters_digits_and(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let (mut byte, mut at) = (0, 0);
    while byte < table.len() {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
}

/// Two names that a folding server takes for the same.
pub(crate) fn same_name(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(&l, &r)| fold(l) == fold(r))
}

/// A name as it is hashed: two names that [`same_name`] takes for the same have the same hash.
pub(crate) struct FoldedName<'a>(pub(crate) &'a [u8]);

impl Hash for FoldedName<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut folded = [0; 64];
        for piece in self.0.chunks(folded.len()) {
            let folded = &mut folded[..piece.len()];
            folded.iter_mut().zip(piece).for_each(|(to, &from)| *to = fold(from));
            state.write(folded);
        }
    }
}

/// Without SP and HTAB at both ends (OWS, RFC 9110 §5.6.3). No other byte is white space here.
pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    match (bytes.iter().position(is_text), bytes.iter().rposition(is_text)) {
        (Some(first), Some(last)) => &bytes[first..=last],
        _ => b"",
    }
}

fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

fn begins(name: &[u8], prefix: &[u8]) -> bool {
    name.len() >= prefix.len() && name[..prefix.len()].eq_ignore_ascii_case(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_have_their_kind_in_any_case() {
        for (name, kind) in [
            ("Host", FieldKind::Host),
            ("content-LENGTH", FieldKind::ContentLength),
            ("Transfer-Encoding", FieldKind::TransferEncoding),
            ("TE", FieldKind::Te),
            ("X-Internal-User-Id", FieldKind::Internal),
            ("x-internal-", FieldKind::Internal),
            ("X-Forwarded-For", FieldKind::XForwardedFor),
            ("X-Forwarded-Port", FieldKind::Forwarded),
            ("X-Forwarded", FieldKind::Forwarded),
            ("X-Real-IP", FieldKind::Forwarded),
            ("Proxy", FieldKind::Proxy),
            ("X-HTTP-Method-Override", FieldKind::MethodOverride),
            ("X-HTTP-Method", FieldKind::MethodOverride),
            ("X-Method-Override", FieldKind::MethodOverride),
            ("X-Original-Method", FieldKind::Forwarded),
            ("X-Envoy-Original-Path", FieldKind::Forwarded),
            ("X-HTTP-Methods", FieldKind::Other),
            ("Proxy-Status", FieldKind::Other),
            ("X-Cluster-Client-IP", FieldKind::Forwarded),
            ("Access-Control-Allow-Origin", FieldKind::AccessControlResponse),
            ("Access-Control-Max-Age", FieldKind::AccessControlResponse),
            ("Access-Control-Expose-Headers", FieldKind::AccessControlExposeHeaders),
            ("Access-Control-Request-Method", FieldKind::AccessControlRequestMethod),
            ("Access-Control-Request-Headers", FieldKind::AccessControlRequestHeaders),
            ("Sec-WebSocket-Extensions", FieldKind::SecWebSocketExtensions),
            ("Accept", FieldKind::Other),
            ("X-Internals", FieldKind::Other),
        ] {
            assert_eq!(FieldKind::of(name.as_bytes()), kind, "{name}");
            assert_eq!(FieldKind::of(name.to_ascii_uppercase().as_bytes()), kind, "{name}");
        }
    }

    #[test]
    fn other_spellings_of_known_names_are_aliases_and_internal_ones_internal() {
        for name in [
            "Content_Length",
            "transfer.encoding",
            "X_Forwarded_For",
            "x-forwarded_port",
            "X.Request-Id",
            "Proxy_Authorization",
            "x_real.ip",
            "sec_websocket_key",
            "X_HTTP_Method_Override",
            "x-method.override",
            "x_envoy_internal",
        ] {
            assert_eq!(FieldKind::of(name.as_bytes()), FieldKind::Alias, "{name}");
        }
        assert_eq!(FieldKind::of(b"X_Internal_User_Id"), FieldKind::Internal);
        assert_eq!(FieldKind::of(b"x.internal.user.id"), FieldKind::Internal);
        assert_eq!(FieldKind::of(b"my_header.name"), FieldKind::Other);
    }

    #[test]
    fn a_long_name_is_folded_for_its_prefix() {
        let long = |prefix: &str| [prefix.as_bytes(), &[b'a'; 200]].concat();
        assert_eq!(FieldKind::of(&long("x_internal_")), FieldKind::Internal);
        assert_eq!(FieldKind::of(&long("x_forwarded_")), FieldKind::Alias);
        assert_eq!(FieldKind::of(&long("x_other_")), FieldKind::Other);
    }

    #[test]
    fn framing_routing_and_identity_never_pass_as_trailers_and_cannot_be_nominated() {
        for name in ["Host", "Content-Length", "Authorization", "X-Internal-User-Id", "X-Real-IP", "Cookie"] {
            let kind = FieldKind::of(name.as_bytes());
            assert!(kind.is_protected() && !kind.may_be_trailer(), "{name}");
        }
        assert!(!FieldKind::Alias.may_be_trailer() && FieldKind::Other.may_be_trailer());
        assert!(!FieldKind::Other.is_protected() && !FieldKind::KeepAlive.is_protected());
    }

    #[test]
    fn a_list_loses_its_white_space_and_its_empty_elements() {
        let found: Vec<_> = tokens(b" a ,\t,b c,\x0bd").collect();
        assert_eq!(found, [b"a".as_slice(), b"b c", b"\x0bd"]);
    }
}
