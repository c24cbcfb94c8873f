//! Why a TLS connection ends other than by a close_notify.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

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
    /// The server's certificate is not one that is trusted for it.
    ServerCertificate(CertificateFault),
    /// The server does not accept the gateway's own certificate, or that there is none.
    OwnCertificateRefused,
}

/// What is wrong with a server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateFault {
    /// Nobody who is trusted has issued it.
    UnknownIssuer,
    /// It is for other names.
    WrongName,
    /// It, or one of its issuers', is not valid any more, or not yet.
    Expired,
    /// Anything else.
    Other,
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

    /// The same where the peer is a server.
    pub(super) fn of_server(error: &Error) -> Fault {
        match error {
            Error::InvalidCertificate(error) => Fault::ServerCertificate(CertificateFault::of(error)),
            Error::AlertReceived(alert) => match alert {
                AlertDescription::NoApplicationProtocol | AlertDescription::InsufficientSecurity => {
                    Fault::NoSharedParameters
                }
                alert if OF_OWN_CERTIFICATE.contains(alert) => Fault::OwnCertificateRefused,
                _ => Fault::of(error),
            },
            _ => Fault::of(error),
        }
    }

    /// The cause as a stable word, where the peer is a server.
    pub fn cause(self) -> &'static str {
        match self {
            Fault::ServerCertificate(CertificateFault::UnknownIssuer) => "tls_certificate_issuer",
            Fault::ServerCertificate(CertificateFault::WrongName) => "tls_certificate_name",
            Fault::ServerCertificate(CertificateFault::Expired) => "tls_certificate_expired",
            Fault::ServerCertificate(CertificateFault::Other) => "tls_certificate",
            Fault::OwnCertificateRefused => "tls_client_certificate",
            Fault::NoSharedParameters => "tls_no_shared_parameters",
            Fault::Closed => "tls_closed",
            Fault::PlainHttp => "tls_plain_http",
            Fault::Protocol | Fault::UnknownName | Fault::BadClientCertificate => "tls_handshake",
        }
    }
}

impl CertificateFault {
    fn of(error: &CertificateError) -> CertificateFault {
        match error {
            CertificateError::UnknownIssuer => CertificateFault::UnknownIssuer,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                CertificateFault::WrongName
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => CertificateFault::Expired,
            _ => CertificateFault::Other,
        }
    }
}

/// What a server says of a client's certificate (RFC 8446 §6.2).
const OF_OWN_CERTIFICATE: [AlertDescription; 9] = [
    AlertDescription::NoCertificate,
    AlertDescription::CertificateRequired,
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateUnknown,
    AlertDescription::UnknownCA,
    AlertDescription::AccessDenied,
];

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
    use rustls::{PeerIncompatible, PeerMisbehaved};

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

    #[test]
    fn what_a_server_does_wrong_has_reasons_of_its_own() {
        for (error, cause) in [
            (Error::InvalidCertificate(CertificateError::UnknownIssuer), "tls_certificate_issuer"),
            (Error::InvalidCertificate(CertificateError::NotValidForName), "tls_certificate_name"),
            (Error::InvalidCertificate(CertificateError::NotValidYet), "tls_certificate_expired"),
            (Error::InvalidCertificate(CertificateError::BadSignature), "tls_certificate"),
            (Error::AlertReceived(AlertDescription::CertificateRequired), "tls_client_certificate"),
            (Error::AlertReceived(AlertDescription::NoApplicationProtocol), "tls_no_shared_parameters"),
            (Error::AlertReceived(AlertDescription::HandshakeFailure), "tls_no_shared_parameters"),
            (Error::AlertReceived(AlertDescription::UnrecognisedName), "tls_closed"),
            (Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedApplicationProtocol), "tls_handshake"),
        ] {
            assert_eq!(Fault::of_server(&error).cause(), cause, "{error}");
        }
    }
}
