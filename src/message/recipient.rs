//! The client as the recipient of a response: who is looked after while the response is awaited.

use std::time::Duration;

use crate::config::HalfClose;
use crate::limits::PROBED_MS;
use crate::net::{Liveness, Transport};

/// The client that a response is for.
#[derive(Clone, Copy)]
pub struct Recipient<'c> {
    transport: &'c Transport,
    half_close: HalfClose,
}

/// What of its request a client still has to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owes {
    Nothing,
    /// A part of the body: whoever reads that will find its end.
    Body,
}

impl<'c> Recipient<'c> {
    /// The client at the other end of this connection. `half_close`: what it means by a half-close.
    pub fn new(transport: &'c Transport, half_close: HalfClose) -> Recipient<'c> {
        Recipient { transport, half_close }
    }

    /// Bytes that are worth reading at a time for it.
    pub(super) fn takes_at_once(&self) -> usize {
        self.transport.takes_at_once()
    }

    /// Whether the client has left. `is_probed`: the kernel looks after it already.
    ///
    /// A client that has half-closed may also have closed: what it sends is the same. One that has closed answers with
    /// a reset whatever it is sent, and the kernel's probes once its own kernel has forgotten it.
    pub(super) fn has_left(&self, owes: Owes, is_probed: &mut bool) -> bool {
        match (self.transport.liveness(), self.half_close) {
            (Liveness::Quiet | Liveness::Bytes, _) => false,
            (Liveness::Closed, _) => true,
            (Liveness::HalfClosed | Liveness::Ended, HalfClose::Serve) => {
                if !std::mem::replace(is_probed, true) {
                    self.transport.probe_peer(Duration::from_millis(PROBED_MS));
                }
                false
            }
            (Liveness::HalfClosed, HalfClose::Abort) => true,
            // Bytes that are there belong to the body, or stand behind it.
            (Liveness::Ended, HalfClose::Abort) => owes == Owes::Nothing,
        }
    }
}
