//! Why a TLS connection ends other than by a close_notify.

use std::io;

use rustls::{AlertDescription, Error};

/// What went wrong. The peer may send anything, so each of these is a decision and none a surprise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The peer's bytes break the protocol, or are not what its keys make.
    Protocol,
    /// No version, cipher suite or group that both sides have.
    NoSharedParameters,
    /// No certificate for the name that the client asks for.
    UnknownName,
    /// The client's own certificate is missing or not accepted.
    BadClientCertificate,
    /// The peer has ended the connection: with an alert, or without a close_notify.
    Closed,
    /// Plain HTTP where TLS is spoken.
    PlainHttp,
}

impl Fault {
    /// What an error of the protocol's implementation means.
    pub(super) fn of(error: &Error) -> Fault {
        match error {
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Fault::NoSharedParameters,
            // The one error of this kind: the resolver of certificates had none.
            Error::General(text) if text == "no server certificate chain resolved" => Fault::UnknownName,
            Error::InvalidCertificate(_) | Error::NoCertificatesPresented => Fault::BadClientCertificate,
            Error::AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion) => {
                Fault::NoSharedParameters
            }
            Error::AlertReceived(_) => Fault::Closed,
            _ => Fault::Protocol,
        }
    }
}

/// Without a message: an allocation for each broken connection would be the peer's to ask for.
impl From<Fault> for io::Error {
    fn from(fault: Fault) -> io::Error {
        match fault {
            Fault::Closed => io::ErrorKind::UnexpectedEof.into(),
            _ => io::ErrorKind::InvalidData.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{CertificateError, PeerIncompatible, PeerMisbehaved};

    #[test]
    fn each_error_has_its_reason() {
        for (error, fault) in [
            (Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon), Fault::NoSharedParameters),
            (Error::General("no server certificate chain resolved".to_owned()), Fault::UnknownName),
            (Error::InvalidCertificate(CertificateError::Expired), Fault::BadClientCertificate),
            (Error::NoCertificatesPresented, Fault::BadClientCertificate),
            (Error::AlertReceived(AlertDescription::UnknownCA), Fault::Closed),
            (Error::DecryptError, Fault::Protocol),
            (Error::PeerMisbehaved(PeerMisbehaved::TooManyKeyUpdateRequests), Fault::Protocol),
        ] {
            assert_eq!(Fault::of(&error), fault, "{error}");
        }
    }
}
