//! The protocol's state machine: that of either side of a connection, a step at a time.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, Error, ServerConfig};

use crate::net::Buffer;

/// The protocol's state, for each side of a connection.
pub(super) enum Machine {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
    /// It goes on elsewhere.
    Gone,
}

/// What is wanted of the machine, once it has nothing to say itself.
#[derive(Clone, Copy)]
pub(super) enum Wish<'b> {
    Nothing,
    Seal(&'b [u8]),
    Close,
}

/// What one step of the machine came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stepped {
    /// There may be more to do with the same bytes.
    More,
    /// Plaintext was taken out.
    Opened,
    /// The peer has said close_notify.
    Ended,
    /// What was wished for is done.
    Granted,
    /// Nothing is left to do with these bytes.
    Rest,
}

/// Where plaintext goes.
pub(super) struct Opened<'o> {
    /// The caller's memory.
    pub(super) into: &'o mut [u8],
    /// How many bytes have gone there.
    pub(super) opened: &'o mut usize,
    /// What does not fit there.
    pub(super) plain: &'o mut Buffer,
}

impl Machine {
    /// `None`: the configuration is of no use.
    pub(super) fn server(config: Arc<ServerConfig>) -> Option<Machine> {
        Some(Machine::Server(Box::new(UnbufferedServerConnection::new(config).ok()?)))
    }

    /// `None`: the configuration is of no use.
    pub(super) fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Option<Machine> {
        Some(Machine::Client(Box::new(UnbufferedClientConnection::new(config, name).ok()?)))
    }

    /// What both sides have agreed on. `None`: it is gone.
    pub(super) fn agreed(&self) -> Option<&CommonState> {
        match self {
            Machine::Server(machine) => Some(machine),
            Machine::Client(machine) => Some(machine),
            Machine::Gone => None,
        }
    }

    /// One step with these records. The number: how many of their bytes are done with.
    pub(super) fn step(
        &mut self,
        incoming: &mut [u8],
        wish: Wish<'_>,
        opened: Opened<'_>,
        outgoing: &mut Buffer,
    ) -> (usize, Result<Stepped, Error>) {
        match self {
            Machine::Server(machine) => act(machine.process_tls_records(incoming), wish, opened, outgoing),
            Machine::Client(machine) => act(machine.process_tls_records(incoming), wish, opened, outgoing),
            Machine::Gone => (0, Ok(Stepped::Rest)),
        }
    }
}

/// Does what the state of a machine asks for, or else what is wished.
fn act<D>(
    status: UnbufferedStatus<'_, '_, D>,
    wish: Wish<'_>,
    Opened { into, opened, plain }: Opened<'_>,
    outgoing: &mut Buffer,
) -> (usize, Result<Stepped, Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let stepped = match state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            let mut into = into;
            loop {
                match traffic.next_record() {
                    None => break Ok(Stepped::Opened),
                    Some(Err(error)) => break Err(error),
                    Some(Ok(record)) => {
                        discard += record.discard;
                        let (here, rest) = record.payload.split_at(record.payload.len().min(into.len()));
                        into[..here.len()].copy_from_slice(here);
                        into = &mut into[here.len()..];
                        *opened += here.len();
                        if !rest.is_empty() {
                            plain.put(rest);
                        }
                    }
                }
            }
        }
        Ok(ConnectionState::EncodeTlsData(mut data)) => match data.encode(outgoing.spare()) {
            Ok(n) => {
                outgoing.fill(n);
                Ok(Stepped::More)
            }
            Err(_) => Err(Error::EncryptError),
        },
        Ok(ConnectionState::TransmitTlsData(transmit)) => {
            // It is in `outgoing`, and leaves from there.
            transmit.done();
            Ok(Stepped::More)
        }
        Ok(ConnectionState::PeerClosed) => Ok(Stepped::Ended),
        Ok(ConnectionState::WriteTraffic(mut traffic)) => match wish {
            Wish::Nothing => Ok(Stepped::Rest),
            Wish::Seal(bytes) => {
                traffic.encrypt(bytes, outgoing.spare()).map_err(|_| Error::EncryptError).map(|n| {
                    outgoing.fill(n);
                    Stepped::Granted
                })
            }
            Wish::Close => {
                traffic.queue_close_notify(outgoing.spare()).map_err(|_| Error::EncryptError).map(|n| {
                    outgoing.fill(n);
                    Stepped::Granted
                })
            }
        },
        // Early data is not offered.
        Ok(_) => Ok(Stepped::Rest),
    };
    (discard, stepped)
}
