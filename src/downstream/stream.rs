//! One request's way to its client and back: its body, its response, and what follows on the connection.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use super::clients::Place;
use super::h1::Connection;
use super::h2::{H2Checkpoint, H2Stream, Way};
use super::outcome::{Next, Outcome};
use super::responder::{H1Responder, Responder};
use super::settings::Settings;
use crate::http1::{Framing, RequestHead, Version};
use crate::limits::REFUSED_BODY_BYTES_MAX;
use crate::message::BodySource;
use crate::message::h1::{H1Body, H1Source};
use crate::net::buffer::Mark;
use crate::net::tls::TlsStream;
use crate::net::{DetachedTransport, Io};

/// The client's side of one exchange.
pub enum ClientStream<'c> {
    /// A request on an HTTP/1 connection.
    H1(H1Stream<'c>),
    /// A request on a stream of HTTP/2.
    H2(H2Stream<'c>),
}

/// One request on an HTTP/1 connection.
pub struct H1Stream<'c> {
    io: &'c Io,
    settings: &'c Settings,
    connection: &'c mut Connection,
    head: RequestHead,
    body: H1Body,
    /// For the client to move its body, or to take the response, in milliseconds.
    body_ms: u64,
    /// The response's head has said that the connection goes on.
    keeps_alive: bool,
}

/// What an answer of the gateway's own leaves of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterAnswer {
    /// The rest of the request can be read: another request may follow.
    Continue,
    /// It is unknown where the next request begins.
    Close,
}

/// Where a request's body stood, to send it once more.
#[derive(Clone)]
pub enum Checkpoint {
    /// On an HTTP/1 connection.
    H1(H1Checkpoint),
    /// On a stream.
    H2(H2Checkpoint),
}

/// Where the body of a request on an HTTP/1 connection stood.
#[derive(Clone)]
pub struct H1Checkpoint {
    /// Where the buffer stood; `None`: the request has no body in it.
    mark: Option<Mark>,
    body: H1Body,
}

/// What goes on with a connection that has left HTTP.
pub struct Upgraded {
    /// The client's connection.
    pub transport: DetachedTransport,
    /// What the client sent behind its request.
    pub early: Vec<u8>,
}

impl<'c> ClientStream<'c> {
    /// A request whose head was read from this connection. `body_bytes_max`: the bound of its body.
    pub fn h1(
        io: &'c Io,
        settings: &'c Settings,
        connection: &'c mut Connection,
        head: RequestHead,
        body_bytes_max: u64,
    ) -> ClientStream<'c> {
        let body = H1Body::new(head.framing, body_bytes_max);
        let body_ms = settings.body_ms;
        ClientStream::H1(H1Stream { io, settings, connection, head, body, body_ms, keeps_alive: false })
    }

    /// The exchange ends here, whatever is missing. Where the end of the connection would look like that of a response,
    /// the client sees a reset.
    pub fn cut(&self) {
        let stream = match self {
            ClientStream::H1(stream) => stream,
            ClientStream::H2(stream) => return stream.cut(),
        };
        stream.connection.transport.cut();
        if stream.head.version == Version::Http10 {
            stream.connection.transport.reset_on_close();
        }
    }

    /// A request that has come on a stream of HTTP/2.
    pub fn h2(io: &'c Io, settings: &'c Settings, way: Way<'c>, body_bytes_max: u64) -> ClientStream<'c> {
        ClientStream::H2(H2Stream::new(io, settings, way, body_bytes_max))
    }

    /// The other end of the connection: a client, or a proxy.
    pub fn peer(&self) -> SocketAddr {
        match self {
            ClientStream::H1(stream) => stream.connection.peer,
            ClientStream::H2(stream) => stream.link.peer,
        }
    }

    /// The TLS session of the connection, if it has one.
    pub fn tls(&self) -> Option<&TlsStream> {
        match self {
            ClientStream::H1(stream) => stream.connection.tls(),
            ClientStream::H2(stream) => stream.link.transport.tls(),
        }
    }

    /// The version of HTTP, as `Via` has it (RFC 9110 §7.6.3), and a space.
    pub fn version(&self) -> &'static [u8] {
        match self {
            ClientStream::H1(_) => b"1.1 ",
            ClientStream::H2(_) => b"2 ",
        }
    }

    /// Whether its connection has others at the same time.
    pub fn is_stream(&self) -> bool {
        matches!(self, ClientStream::H2(_))
    }

    /// The version of HTTP as the access log names it; `None`: HTTP/1.
    pub fn protocol(&self) -> Option<&'static str> {
        match self {
            ClientStream::H1(_) => None,
            ClientStream::H2(_) => Some("HTTP/2"),
        }
    }

    /// Whose connection it is.
    pub fn client(&self) -> Place {
        match self {
            ClientStream::H1(stream) => stream.connection.presence.client(),
            ClientStream::H2(stream) => stream.client,
        }
    }

    /// Bytes of the request's body so far.
    pub fn body_bytes(&self) -> u64 {
        match self {
            ClientStream::H1(stream) => stream.body.bytes(),
            ClientStream::H2(stream) => stream.body.bytes(),
        }
    }

    /// The bound of the request's body, in bytes.
    pub fn set_body_bytes_max(&mut self, bytes_max: u64) {
        match self {
            ClientStream::H1(stream) => stream.body.set_bytes_max(bytes_max),
            ClientStream::H2(stream) => stream.body.set_bytes_max(bytes_max),
        }
    }

    /// How long the client may take to move its body, or to take the response, in milliseconds.
    pub fn set_body_timeout_ms(&mut self, body_ms: u64) {
        match self {
            ClientStream::H1(stream) => stream.body_ms = body_ms,
            ClientStream::H2(stream) => stream.body_ms = body_ms,
        }
    }

    /// Both directions at once: the request's body, and the response.
    pub fn split(&mut self) -> (BodySource<'_>, Responder<'_>) {
        let H1Stream { io, settings, connection, head, body, body_ms, keeps_alive } = match self {
            ClientStream::H1(stream) => stream,
            ClientStream::H2(stream) => {
                let (source, responder) = stream.split();
                return (BodySource::H2(source), Responder::H2(responder));
            }
        };
        let Connection { transport, buffer, .. } = &mut **connection;
        let (transport, timers, pace) = (&*transport, &*io.timers, settings.pace_of(*body_ms));
        let source = H1Source { transport, timers, buffer, body, pace: pace.clone(), recipient: None };
        let responder = H1Responder::new(io, pace, transport, *head, keeps_alive);
        (BodySource::H1(source), Responder::H1(responder))
    }

    /// The way for an answer of the gateway's own, while nothing of the request's body is awaited.
    pub fn answer(&mut self, after: AfterAnswer, expects_continue: bool) -> Responder<'_> {
        let stream = match self {
            ClientStream::H1(stream) => stream,
            // Whatever is wrong with a request, the other streams go on.
            ClientStream::H2(stream) => return Responder::H2(stream.answer()),
        };
        let may_continue = after == AfterAnswer::Continue && stream.is_drainable(expects_continue);
        let H1Stream { io, settings, connection, head, keeps_alive, .. } = stream;
        // A client that does not read its answer makes the core hold no more than what it has sent.
        connection.buffer.park();
        let head = RequestHead { keep_alive: head.keep_alive && may_continue, ..*head };
        Responder::H1(H1Responder::new(io, settings.pace(), &connection.transport, head, keeps_alive))
    }

    /// Remembers where the request's body stands.
    pub fn checkpoint(&self) -> Checkpoint {
        let stream = match self {
            ClientStream::H1(stream) => stream,
            ClientStream::H2(stream) => return Checkpoint::H2(stream.checkpoint()),
        };
        let mark = (stream.head.framing != Framing::None).then(|| stream.connection.buffer.mark());
        Checkpoint::H1(H1Checkpoint { mark, body: stream.body.clone() })
    }

    /// Goes back to a checkpoint. False: what was consumed since is gone.
    pub fn rewind(&mut self, checkpoint: Checkpoint) -> bool {
        let (stream, checkpoint) = match (self, checkpoint) {
            (ClientStream::H1(stream), Checkpoint::H1(checkpoint)) => (stream, checkpoint),
            (ClientStream::H2(stream), Checkpoint::H2(checkpoint)) => return stream.rewind(checkpoint),
            _ => return false,
        };
        let is_there = checkpoint.mark.is_none_or(|mark| stream.connection.buffer.rewind(mark));
        if is_there {
            stream.body = checkpoint.body;
        }
        is_there
    }

    /// What the outcome of the exchange means for the connection.
    pub async fn conclude<U>(&mut self, outcome: &Outcome<U>) -> Next {
        let stream = match self {
            ClientStream::H1(stream) => stream,
            ClientStream::H2(stream) => {
                stream.conclude(outcome);
                return Next::KeepAlive;
            }
        };
        let next = match outcome {
            Outcome::Aborted | Outcome::Upgraded(_) => Next::Close,
            Outcome::Complete if stream.keeps_alive => stream.discard_rest().await,
            // The client meant to go on, so more of it may be on its way.
            Outcome::Complete if stream.head.keep_alive || !stream.body.is_complete() => Next::Linger,
            Outcome::Complete => Next::Close,
        };
        // An idle connection keeps no buffer; one with the next request in it does.
        stream.connection.buffer.release_if_empty();
        next
    }

    /// A second descriptor of the client's socket, for what goes on with it: the exchange may still have polls of its
    /// own on the ring, and another core may go on.
    ///
    /// # Errors
    /// No file descriptors; or the connection is one of several requests, which does not leave HTTP.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        match self {
            ClientStream::H1(stream) => stream.connection.transport.duplicate(),
            ClientStream::H2(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Leaves HTTP: what the client sent behind its request goes along. `socket`: a second descriptor.
    pub fn upgrade(&mut self, socket: OwnedFd) -> Upgraded {
        let stream = match self {
            ClientStream::H1(stream) => stream,
            // Nobody has a second descriptor of it.
            ClientStream::H2(_) => return Upgraded { transport: socket.into(), early: Vec::new() },
        };
        let Connection { transport, buffer, .. } = &mut *stream.connection;
        let early = buffer.filled().to_vec();
        buffer.clear();
        Upgraded { transport: transport.detach(socket), early }
    }
}

impl H1Stream<'_> {
    /// The rest of the request's body is short enough to be read, so that the connection can be kept.
    fn is_drainable(&self, expects_continue: bool) -> bool {
        if self.body.is_complete() {
            return true;
        }
        // A client that waits for 100 either sends its body or does not; the gateway cannot know which (RFC 9110
        // §10.1.1).
        self.body.is_intact()
            && !expects_continue
            && self.body.remaining().is_none_or(|left| left <= REFUSED_BODY_BYTES_MAX)
    }

    /// Reads what is left of the request's body after its response, so that the next request can come.
    async fn discard_rest(&mut self) -> Next {
        if self.body.is_complete() {
            return Next::KeepAlive;
        }
        if !self.body.is_intact() {
            return Next::Linger;
        }
        let Connection { transport, buffer, .. } = &mut *self.connection;
        let (timers, pace) = (&*self.io.timers, self.settings.pace());
        let mut source = H1Source { transport, timers, buffer, body: &mut self.body, pace, recipient: None };
        match source.discard(REFUSED_BODY_BYTES_MAX).await {
            Ok(true) => Next::KeepAlive,
            Ok(false) | Err(_) => Next::Linger,
        }
    }
}
