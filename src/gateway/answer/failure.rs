//! Every way an exchange can fail: whose fault, which answer.

use crate::auth::CredentialError;
use crate::http1::HeadError;
use crate::limit::Denied;

/// Why a request did not get its response. Which answer that means is decided in `reply`.
#[derive(Debug)]
pub enum Failure {
    /// The client broke HTTP, in its head or in its body's framing.
    Request(HeadError),
    /// The client did not finish its head in time.
    HeadTimeout,
    /// The client did not keep its body moving.
    BodyTimeout,
    /// The body is over the route's bound.
    BodyTooLarge,
    /// `;parameters` in the path of a protected route.
    PathParameters,
    /// No valid credential for a protected route.
    Credential(CredentialError),
    /// The limiter did not let it pass.
    Refused(Denied),
    /// No such route, and the client may know it.
    NoRoute,
    /// The route exists for these other methods.
    MethodNotAllowed(Box<str>),
    /// What asks for a WebSocket route is no handshake that can be taken.
    Handshake(HandshakeError),
    /// No room: for one more connection, or for one more tunnel.
    Overloaded,
    /// As many requests as there may be are in flight to the upstream already.
    UpstreamFull,
    /// The user has as many tunnels as one may have.
    TooManyTunnels,
    /// The gateway goes away and begins no tunnel.
    Draining,
    /// No connection to the upstream.
    Unreachable,
    /// No connection to the upstream in time.
    ConnectTimeout,
    /// The upstream broke HTTP or went away before its response.
    UpstreamProtocol,
    /// No response head in time, or the upstream did not take the request.
    UpstreamTimeout,
    /// A connection used before was closed before any byte of a response: safe to send once more.
    Stale,
    /// The response had begun: it cannot be replaced, only cut short so that the client can tell.
    Cut,
    /// The client is gone: nobody is there to answer.
    ClientGone,
}

/// What is wrong with a handshake (RFC 6455 §4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeError {
    /// Not a GET of HTTP/1.1 with `Upgrade: websocket` and `Connection: Upgrade`.
    NoUpgrade,
    /// Not exactly one `Sec-WebSocket-Version: 13`.
    Version,
    /// Not exactly one `Sec-WebSocket-Key` of 16 bytes in base64.
    Key,
    /// A body.
    Body,
    /// A `Sec-WebSocket-Protocol` that is no list of tokens, or too long a one.
    Subprotocols,
    /// An `Origin` that may not open one.
    Origin,
}

impl HandshakeError {
    fn detail(self) -> &'static str {
        match self {
            HandshakeError::NoUpgrade => "Only WebSocket handshakes are taken here.",
            HandshakeError::Version => "The WebSocket version must be 13.",
            HandshakeError::Key => "The Sec-WebSocket-Key is not 16 bytes in base64.",
            HandshakeError::Body => "A WebSocket handshake has no body.",
            HandshakeError::Subprotocols => "The Sec-WebSocket-Protocol is not a list of tokens.",
            HandshakeError::Origin => "This origin may not open a WebSocket.",
        }
    }
}

impl Failure {
    /// Status and machine-readable code of the answer.
    pub fn answer(&self) -> (u16, &'static str) {
        match self {
            Failure::Request(error) => (error.status(), error.code()),
            Failure::HeadTimeout => (408, "request_head_timeout"),
            Failure::BodyTimeout => (408, "request_body_timeout"),
            Failure::BodyTooLarge => (413, "body_too_large"),
            Failure::PathParameters => (400, "path_parameters"),
            Failure::Credential(refusal) => (401, refusal.code()),
            Failure::Refused(Denied::Limited(_)) => (429, "rate_limited"),
            Failure::Refused(Denied::Unavailable) => (503, "limiter_unavailable"),
            Failure::NoRoute => (404, "no_route"),
            Failure::MethodNotAllowed(_) => (405, "method_not_allowed"),
            Failure::Handshake(HandshakeError::NoUpgrade) => (426, "upgrade_required"),
            Failure::Handshake(HandshakeError::Version) => (426, "websocket_version"),
            Failure::Handshake(HandshakeError::Key) => (400, "websocket_key"),
            Failure::Handshake(HandshakeError::Body) => (400, "websocket_body"),
            Failure::Handshake(HandshakeError::Subprotocols) => (400, "websocket_subprotocols"),
            Failure::Handshake(HandshakeError::Origin) => (403, "origin_not_allowed"),
            Failure::Overloaded | Failure::UpstreamFull => (503, "overloaded"),
            Failure::TooManyTunnels => (429, "too_many_websockets"),
            Failure::Draining => (503, "draining"),
            Failure::Unreachable | Failure::Stale => (502, "upstream_unreachable"),
            Failure::ConnectTimeout => (504, "upstream_connect_timeout"),
            Failure::UpstreamProtocol => (502, "upstream_protocol_error"),
            Failure::UpstreamTimeout => (504, "upstream_timeout"),
            Failure::Cut => (0, "response_cut"),
            // As nginx records it. Nobody reads it.
            Failure::ClientGone => (499, "client_gone"),
        }
    }

    /// One sentence for the client.
    pub fn detail(&self) -> &'static str {
        match self {
            Failure::Request(error) => error.detail(),
            Failure::HeadTimeout => "The request head did not arrive in time.",
            Failure::BodyTimeout => "The request body did not keep moving.",
            Failure::BodyTooLarge => "The request body is larger than this route takes.",
            Failure::PathParameters => "Path parameters are not accepted here.",
            Failure::Credential(CredentialError::Missing) => "A bearer token is required.",
            Failure::Credential(CredentialError::Expired) => "The bearer token has expired.",
            Failure::Credential(_) => "The bearer token is not valid.",
            Failure::Refused(Denied::Limited(_)) => "Too many requests.",
            Failure::Refused(Denied::Unavailable) => "Requests cannot be counted at the moment.",
            Failure::NoRoute => "Nothing is here.",
            Failure::MethodNotAllowed(_) => "The method is not allowed here.",
            Failure::Handshake(error) => error.detail(),
            Failure::Overloaded => "The gateway has no room for another connection.",
            Failure::UpstreamFull => "The service has as many requests as it may have.",
            Failure::TooManyTunnels => "This user has too many WebSockets open.",
            Failure::Draining => "The gateway is about to restart. Try again.",
            Failure::Unreachable | Failure::Stale => "The service could not be reached.",
            Failure::ConnectTimeout => "The service did not accept the connection in time.",
            Failure::UpstreamProtocol => "The service did not answer properly.",
            Failure::UpstreamTimeout => "The service did not answer in time.",
            Failure::Cut | Failure::ClientGone => "",
        }
    }
}

/// The reason phrase of a status the gateway may answer with.
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}
