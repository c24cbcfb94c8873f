//! Failures of an exchange: the answer of each, and its cause.

use std::io;

use crate::auth::CredentialError;
use crate::http::ProtocolError;
use crate::limit::{Denied, Limited};
use crate::net::tls::{Fault, TlsStream};
use crate::net::{ConnectError, SendError, Transport, errno_name};
use crate::upstream::{LeaseError, ResponseError};

use crate::message::BodyError;

/// Why a request did not get its response. Which bytes that means for the client is decided in `reply`.
#[derive(Debug)]
pub enum Failure {
    /// The client broke HTTP, in its head or in its body's framing.
    Request(ProtocolError),
    /// The same in a head, from an address whose bucket for bad credentials is empty.
    MalformedLimited(ProtocolError, Limited),
    /// The client did not finish its head in time.
    HeadTimeout,
    /// The client speaks plain HTTP where TLS is spoken.
    PlainHttp,
    /// The host has another certificate than this connection.
    Misdirected,
    /// The client did not keep its body moving.
    BodyTimeout,
    /// The body is over the route's bound.
    BodyTooLarge,
    /// `;parameters` in the path.
    PathParameters,
    /// No valid credential for a protected route.
    Credential(CredentialError),
    /// Another site's page may have sent a request that its cookie identifies.
    CrossSite,
    /// The route is not for clients of this network.
    AddressNotAllowed,
    /// The user lacks a claim that the route requires. The record has the cause.
    Forbidden,
    /// A logout token is not valid, or there is not exactly one.
    LogoutToken,
    /// A renewal has not exactly one well-formed handle.
    Handle,
    /// A renewal is for another user's WebSocket, or one whose route does not take the token.
    NotTheirs,
    /// The rate limiter denied the request.
    Limit(Denied),
    /// No such route.
    NoRoute,
    /// The route exists for these other methods.
    MethodNotAllowed(Box<str>),
    /// A request for a WebSocket route is no valid handshake.
    Handshake(HandshakeError),
    /// There is no room for one more connection, or for one more tunnel.
    Overloaded,
    /// The upstream has as much going on as it may have.
    UpstreamFull(UpstreamBound),
    /// The client has as many connections as allowed.
    TooManyConnections,
    /// The client has as many requests in flight as allowed.
    TooManyRequests,
    /// The user has as many tunnels as allowed.
    TooManyTunnels,
    /// The same over all instances.
    TooManyTunnelsAnywhere,
    /// The core takes no more handshakes for the moment. The client should come back after this many seconds.
    HandshakesPaced(u64),
    /// The gateway drains and begins no tunnel.
    Draining,
    /// No connection to the upstream.
    Unreachable(ConnectError),
    /// No connection to the upstream in time.
    ConnectTimeout,
    /// The upstream broke HTTP or went away before its response.
    UpstreamProtocol(UpstreamFault),
    /// The upstream did not answer, or did not take the request, in time.
    UpstreamTimeout(UpstreamWait),
    /// A connection used before was closed before any byte of a response: the request may be sent once more.
    Stale,
    /// The response had begun: it cannot be replaced, only cut short so that the client can tell.
    Cut(&'static str),
    /// The client is gone: no answer is sent.
    ClientGone(&'static str),
}

/// What an upstream did wrong.
#[derive(Debug)]
pub enum UpstreamFault {
    /// A head or body that breaks the protocol.
    Protocol(ProtocolError),
    /// A 101 to a request that is no handshake.
    UnexpectedSwitch,
    /// More interim responses than the bound.
    TooManyInterim,
    /// A 101 that does not answer the handshake.
    Accept,
    /// The connection ended before a byte of a response.
    Closed,
    /// The connection broke.
    Broken(io::Error),
    /// It has ended the TLS session right after the handshake, for this reason.
    Tls(Fault),
}

/// A bound of what goes on with one upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamBound {
    /// Of requests in flight.
    InFlight,
    /// Of requests that wait for a connection.
    PendingConnects,
    /// Of long responses.
    Streams,
}

impl UpstreamBound {
    fn cause(self) -> &'static str {
        match self {
            UpstreamBound::InFlight => "upstream_in_flight",
            UpstreamBound::PendingConnects => "upstream_pending_connects",
            UpstreamBound::Streams => "upstream_streams",
        }
    }
}

/// What an upstream was awaited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamWait {
    /// To take the request.
    Request,
    /// To begin its response.
    Head,
    /// To send the next bytes of its response.
    Response,
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
    /// A `Sec-WebSocket-Protocol` that is not a list of tokens, or too long a list.
    Subprotocols,
    /// An `Origin` that may not open a WebSocket.
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

impl UpstreamFault {
    fn cause(&self) -> &'static str {
        match self {
            UpstreamFault::Protocol(error) => error.code(),
            UpstreamFault::UnexpectedSwitch => "unexpected_switch",
            UpstreamFault::TooManyInterim => "too_many_interim_responses",
            UpstreamFault::Accept => "websocket_accept",
            UpstreamFault::Closed => "closed_before_response",
            UpstreamFault::Broken(error) => errno_name(error),
            UpstreamFault::Tls(fault) => fault.cause(),
        }
    }

    /// The connection ended before a byte of a response. In TLS 1.3 a server judges the gateway's certificate when the
    /// handshake is over on this side, so only now that can be the reason.
    pub fn closed(transport: &Transport) -> UpstreamFault {
        match transport.tls().and_then(TlsStream::fault) {
            Some(fault @ Fault::OwnCertificateRefused) => UpstreamFault::Tls(fault),
            _ => UpstreamFault::Closed,
        }
    }
}

impl Failure {
    /// Status and machine-readable code of the answer.
    pub fn answer(&self) -> (u16, &'static str) {
        match self {
            Failure::Request(error) => (error.status(), error.code()),
            Failure::HeadTimeout => (408, "request_head_timeout"),
            Failure::PlainHttp => (400, "plain_http"),
            Failure::Misdirected => (421, "misdirected_request"),
            Failure::BodyTimeout => (408, "request_body_timeout"),
            Failure::BodyTooLarge => (413, "body_too_large"),
            Failure::PathParameters => (400, "path_parameters"),
            Failure::Credential(CredentialError::KeysUnavailable) => (503, "keys_unavailable"),
            Failure::Credential(error @ CredentialError::RevocationsStale) => (503, error.code()),
            Failure::Credential(error) => (401, error.code()),
            Failure::CrossSite => (403, "cross_site"),
            Failure::AddressNotAllowed => (403, "address_not_allowed"),
            Failure::Forbidden => (403, "forbidden"),
            Failure::LogoutToken => (400, "logout_token"),
            Failure::Handle => (400, "socket_handle"),
            Failure::NotTheirs => (403, "socket_not_yours"),
            Failure::Limit(Denied::Limited(_)) | Failure::MalformedLimited(..) => (429, "rate_limited"),
            Failure::Limit(Denied::Unavailable) => (503, "limiter_unavailable"),
            Failure::NoRoute => (404, "no_route"),
            Failure::MethodNotAllowed(_) => (405, "method_not_allowed"),
            Failure::Handshake(HandshakeError::NoUpgrade) => (426, "upgrade_required"),
            Failure::Handshake(HandshakeError::Version) => (426, "websocket_version"),
            Failure::Handshake(HandshakeError::Key) => (400, "websocket_key"),
            Failure::Handshake(HandshakeError::Body) => (400, "websocket_body"),
            Failure::Handshake(HandshakeError::Subprotocols) => (400, "websocket_subprotocols"),
            Failure::Handshake(HandshakeError::Origin) => (403, "origin_not_allowed"),
            Failure::Overloaded | Failure::UpstreamFull(_) => (503, "overloaded"),
            Failure::TooManyConnections => (429, "too_many_connections"),
            Failure::TooManyRequests => (429, "too_many_requests_in_flight"),
            Failure::TooManyTunnels | Failure::TooManyTunnelsAnywhere => (429, "too_many_websockets"),
            Failure::HandshakesPaced(_) => (503, "handshakes_paced"),
            Failure::Draining => (503, "draining"),
            Failure::Unreachable(_) | Failure::Stale => (502, "upstream_unreachable"),
            Failure::ConnectTimeout => (504, "upstream_connect_timeout"),
            Failure::UpstreamProtocol(_) => (502, "upstream_protocol_error"),
            Failure::UpstreamTimeout(_) => (504, "upstream_timeout"),
            Failure::Cut(_) => (0, "response_cut"),
            // The status that nginx records. It is never sent.
            Failure::ClientGone(_) => (499, "client_gone"),
        }
    }

    /// What caused the failure where its code does not say it: a stable word for the access log. The client never
    /// learns it.
    pub fn cause(&self) -> Option<&'static str> {
        match self {
            Failure::MalformedLimited(error, _) => Some(error.code()),
            Failure::Credential(error) => Some(error.cause()),
            Failure::Unreachable(error) => Some(error.cause()),
            Failure::UpstreamProtocol(fault) => Some(fault.cause()),
            Failure::UpstreamTimeout(UpstreamWait::Request) => Some("request_not_taken"),
            Failure::UpstreamTimeout(UpstreamWait::Head | UpstreamWait::Response) => Some("no_response"),
            Failure::UpstreamFull(bound) => Some(bound.cause()),
            Failure::TooManyTunnelsAnywhere => Some("all_instances"),
            Failure::Cut(cause) | Failure::ClientGone(cause) => Some(cause),
            _ => None,
        }
    }

    /// One stable word: the cause, or else the code.
    pub fn word(&self) -> &'static str {
        self.cause().unwrap_or(self.answer().1)
    }

    /// The upstream's member has failed, on a connection that was open.
    pub fn is_members(&self) -> bool {
        matches!(self, Failure::Stale | Failure::UpstreamProtocol(_) | Failure::UpstreamTimeout(_))
    }

    /// One sentence for the client.
    pub fn detail(&self) -> &'static str {
        match self {
            Failure::Request(error) => error.detail(),
            Failure::HeadTimeout => "The request head did not arrive in time.",
            Failure::PlainHttp => "The plain HTTP request was sent to an HTTPS port.",
            Failure::Misdirected => "The host is served on connections of its own.",
            Failure::BodyTimeout => "The request body did not keep moving.",
            Failure::BodyTooLarge => "The request body is larger than this route takes.",
            Failure::PathParameters => "Path parameters are not accepted here.",
            Failure::Credential(CredentialError::Missing) => "A bearer token is required.",
            Failure::Credential(CredentialError::Expired) => "The bearer token has expired.",
            Failure::Credential(CredentialError::KeysUnavailable) => {
                "Tokens cannot be verified at the moment."
            }
            Failure::Credential(CredentialError::Revoked) => "The bearer token was revoked.",
            Failure::Credential(CredentialError::RevocationsStale) => {
                "It cannot be said at the moment whether the bearer token was revoked."
            }
            Failure::Credential(_) => "The bearer token is not valid.",
            Failure::CrossSite => "A page of another site may not do this.",
            Failure::AddressNotAllowed => "Clients of this network may not do this.",
            Failure::Forbidden => "The user may not do this.",
            Failure::LogoutToken => "There is not one valid logout_token.",
            Failure::Handle => "X-Socket-Handle is not 32 to 64 hex digits.",
            Failure::NotTheirs => "The WebSocket does not take this token.",
            Failure::Limit(Denied::Limited(_)) | Failure::MalformedLimited(..) => "Too many requests.",
            Failure::Limit(Denied::Unavailable) => "Requests cannot be counted at the moment.",
            Failure::NoRoute => "Nothing is here.",
            Failure::MethodNotAllowed(_) => "The method is not allowed here.",
            Failure::Handshake(error) => error.detail(),
            Failure::Overloaded => "The gateway has no room for another connection.",
            Failure::UpstreamFull(_) => "The service has as many requests as it may have.",
            Failure::TooManyConnections => "Too many connections from this address.",
            Failure::TooManyRequests => "Too many requests from this address are in flight.",
            Failure::TooManyTunnels | Failure::TooManyTunnelsAnywhere => {
                "This user has too many WebSockets open."
            }
            Failure::HandshakesPaced(_) => "Many clients open WebSockets at the moment.",
            Failure::Draining => "The gateway is about to restart. Try again.",
            Failure::Unreachable(_) | Failure::Stale => "The service could not be reached.",
            Failure::ConnectTimeout => "The service did not accept the connection in time.",
            Failure::UpstreamProtocol(_) => "The service did not answer properly.",
            Failure::UpstreamTimeout(_) => "The service did not answer in time.",
            Failure::Cut(_) | Failure::ClientGone(_) => "",
        }
    }

    /// The failure that a request's body was not forwarded.
    pub fn of_upload(error: BodyError) -> Failure {
        match error {
            BodyError::Framing(ProtocolError::BodyIncomplete) => Failure::ClientGone("body_incomplete"),
            BodyError::SourceClosed(error) => Failure::ClientGone(errno_name(&error)),
            BodyError::ClientGone => Failure::ClientGone(CLOSED),
            BodyError::Framing(error) => Failure::Request(error),
            BodyError::SourceTimedOut => Failure::BodyTimeout,
            BodyError::TooLarge => Failure::BodyTooLarge,
            BodyError::SinkTimedOut => Failure::UpstreamTimeout(UpstreamWait::Request),
            BodyError::SinkClosed(error) => Failure::UpstreamProtocol(UpstreamFault::Broken(error)),
        }
    }

    /// The failure that a response's body was not forwarded.
    pub fn of_download(error: BodyError) -> Failure {
        match error {
            BodyError::SinkClosed(error) => Failure::ClientGone(errno_name(&error)),
            BodyError::SinkTimedOut => Failure::ClientGone("response_not_taken"),
            BodyError::ClientGone => Failure::ClientGone(CLOSED),
            BodyError::SourceTimedOut => Failure::UpstreamTimeout(UpstreamWait::Response),
            BodyError::SourceClosed(error) => Failure::UpstreamProtocol(UpstreamFault::Broken(error)),
            BodyError::Framing(error) => Failure::UpstreamProtocol(UpstreamFault::Protocol(error)),
            BodyError::TooLarge => Failure::UpstreamProtocol(UpstreamFault::Closed),
        }
    }

    /// The client did not take an answer.
    pub fn of_client(error: SendError) -> Failure {
        Failure::of_download(error.into())
    }
}

impl From<LeaseError> for Failure {
    fn from(error: LeaseError) -> Failure {
        match error {
            LeaseError::Overloaded => Failure::UpstreamFull(UpstreamBound::InFlight),
            LeaseError::ConnectsPending => Failure::UpstreamFull(UpstreamBound::PendingConnects),
            LeaseError::Connect(ConnectError::TimedOut) => Failure::ConnectTimeout,
            LeaseError::Connect(error) => Failure::Unreachable(error),
        }
    }
}

impl From<ResponseError> for Failure {
    fn from(error: ResponseError) -> Failure {
        match error {
            ResponseError::Stale => Failure::Stale,
            ResponseError::Silent => Failure::UpstreamTimeout(UpstreamWait::Head),
            ResponseError::Protocol(error) => Failure::UpstreamProtocol(UpstreamFault::Protocol(error)),
            ResponseError::UnexpectedSwitch => Failure::UpstreamProtocol(UpstreamFault::UnexpectedSwitch),
            ResponseError::TooManyInterim => Failure::UpstreamProtocol(UpstreamFault::TooManyInterim),
            ResponseError::Read(error) => Failure::of_download(error),
        }
    }
}

pub use super::reason::reason;

/// The client closed or reset its connection while its response was awaited.
const CLOSED: &str = "closed";

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;
    use crate::auth::TokenFault;

    #[test]
    fn a_failure_keeps_its_cause_and_the_client_does_not_learn_it() {
        let refused = || io::Error::from(Errno::CONNREFUSED);
        for (failure, status, cause) in [
            (Failure::from(LeaseError::Connect(ConnectError::Failed(refused()))), 502, Some("ECONNREFUSED")),
            (Failure::from(LeaseError::Connect(ConnectError::NoAddress)), 502, Some("no_address")),
            (Failure::from(LeaseError::Overloaded), 503, Some("upstream_in_flight")),
            (Failure::from(LeaseError::ConnectsPending), 503, Some("upstream_pending_connects")),
            (Failure::from(ResponseError::Silent), 504, Some("no_response")),
            (Failure::from(ResponseError::Protocol(ProtocolError::BareLf)), 502, Some("bare_lf")),
            (Failure::from(ResponseError::UnexpectedSwitch), 502, Some("unexpected_switch")),
            (Failure::of_download(BodyError::SourceTimedOut), 504, Some("no_response")),
            (Failure::of_upload(BodyError::SinkClosed(refused())), 502, Some("ECONNREFUSED")),
            (Failure::of_upload(BodyError::Framing(ProtocolError::ChunkSize)), 400, None),
            (Failure::Credential(TokenFault::Signature.into()), 401, Some("signature")),
            (Failure::NoRoute, 404, None),
        ] {
            assert_eq!((failure.answer().0, failure.cause()), (status, cause), "{failure:?}");
            assert!(cause.is_none_or(|cause| !failure.detail().contains(cause)), "{failure:?}");
        }
    }
}
