//! The TLS handshake of a client's connection: its waits, each with the deadline of the whole.

use std::io;
use std::pin::pin;

use super::clients::Waits;
use super::h1::Connection;
use crate::clock;
use crate::limits::{DRAIN_FIRST_REQUEST_MS, TLS_HANDSHAKE_MS};
use crate::net::tls::{Fault, Handshake, TlsStream};
use crate::net::{Io, StreamSocket, Transport};

/// Why a handshake has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// The client broke it off, or broke the protocol.
    Fault(Fault),
    /// It was not over in time.
    TimedOut,
    /// There are too many, or the connection had to give way to others.
    Overloaded,
}

impl HandshakeFailure {
    /// The reasons as metrics name them, in the order of [`HandshakeFailure::reason`].
    pub const REASONS: [&'static str; 8] = [
        "protocol",
        "no_shared_parameters",
        "unknown_name",
        "bad_client_certificate",
        "closed",
        "plain_http",
        "timeout",
        "overloaded",
    ];

    /// The place of the reason among [`HandshakeFailure::REASONS`].
    pub fn reason(self) -> usize {
        match self {
            // The last two are a server's, which a client never is.
            HandshakeFailure::Fault(
                Fault::Protocol | Fault::ServerCertificate(_) | Fault::OwnCertificateRefused,
            ) => 0,
            HandshakeFailure::Fault(Fault::NoSharedParameters) => 1,
            HandshakeFailure::Fault(Fault::UnknownName) => 2,
            HandshakeFailure::Fault(Fault::BadClientCertificate) => 3,
            HandshakeFailure::Fault(Fault::Closed) => 4,
            HandshakeFailure::Fault(Fault::PlainHttp) => 5,
            HandshakeFailure::TimedOut => 6,
            HandshakeFailure::Overloaded => 7,
        }
    }
}

impl Connection {
    /// The TLS session, if the connection has one.
    pub fn tls(&self) -> Option<&TlsStream> {
        self.transport.tls()
    }

    /// Whether a handshake is still to be finished before the first request.
    pub fn is_handshaking(&self) -> bool {
        self.tls().is_some_and(TlsStream::is_handshaking)
    }

    /// Finishes the handshake. Its expensive steps wait in line with those of other connections.
    ///
    /// # Errors
    /// [`HandshakeFailure`].
    pub async fn handshake(&mut self, io: &Io) -> Result<(), HandshakeFailure> {
        let Some(tls) = self.transport.tls() else { return Ok(()) };
        let mut deadline = tls.begun_ms() + TLS_HANDSHAKE_MS;
        self.presence.holds(0, clock::now_ms());
        loop {
            let wanted = tls.handshake().map_err(HandshakeFailure::Fault)?;
            if wanted == Handshake::Done {
                return Ok(());
            }
            if io.is_draining() {
                deadline = deadline.min(clock::now_ms() + DRAIN_FIRST_REQUEST_MS);
            }
            // What has come so far is held in memory of its size.
            tls.park();
            if wanted == Handshake::Step {
                let step = io.timers.until(deadline, pin!(io.handshakes.step())).await;
                let _step = step.map_err(|_| HandshakeFailure::TimedOut)?;
                tls.step().map_err(HandshakeFailure::Fault)?;
                continue;
            }
            self.presence.holds_now(tls.held());
            let ready = pin!(ready(&self.transport, wanted));
            let ready = pin!(self.presence.unless_told_to_leave(Waits::Handshake, ready));
            match io.until_drain(deadline, ready).await {
                Ok(Some(Some(Ok(())))) => {}
                // A drain has begun: from now on there is less time.
                Ok(None) => continue,
                Ok(Some(Some(Err(_)))) => return Err(HandshakeFailure::Fault(Fault::Closed)),
                Ok(Some(None)) => return Err(HandshakeFailure::Overloaded),
                Err(_) => return Err(HandshakeFailure::TimedOut),
            }
            let moved = match wanted {
                Handshake::Send => tls.try_flush().map(|_| ()),
                _ => tls.receive().map(|_| ()),
            };
            moved.map_err(|_| HandshakeFailure::Fault(tls.fault().unwrap_or(Fault::Closed)))?;
        }
    }

    /// Goes on in the clear: the client has spoken HTTP from its first byte.
    ///
    /// # Errors
    /// No file descriptors.
    pub fn speak_plainly(&mut self) -> io::Result<()> {
        let socket = self.transport.duplicate()?;
        self.transport = Transport::Plain(StreamSocket::new(socket)?);
        Ok(())
    }
}

async fn ready(transport: &Transport, wanted: Handshake) -> io::Result<()> {
    match wanted {
        Handshake::Send => transport.writable().await,
        _ => transport.readable().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_failure_has_a_reason_of_its_own() {
        use Fault::*;
        let faults = [Protocol, NoSharedParameters, UnknownName, BadClientCertificate, Closed, PlainHttp];
        let all = faults.map(HandshakeFailure::Fault).into_iter();
        let all = all.chain([HandshakeFailure::TimedOut, HandshakeFailure::Overloaded]);
        let reasons: BTreeSet<&str> =
            all.map(|failure| HandshakeFailure::REASONS[failure.reason()]).collect();
        assert_eq!(reasons.len(), HandshakeFailure::REASONS.len());
    }
}
