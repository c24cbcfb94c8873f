//! Reading responses off an HTTP/1 connection to an upstream.

use super::context::ExchangeContext;
use super::response::{Arrived, Expected, ResponseError};
use crate::http::{Method, ProtocolError, Response};
use crate::http1::{Framing, HeadLimits, HeadScan, ResponseHead};
use crate::limits::INTERIM_RESPONSES_MAX;
use crate::message::h1::{self, H1Body, H1Source};
use crate::message::{BodyError, Recipient};
use crate::net::{Buffer, Io, Pace, Transport};

/// The receiving side of a connection during one exchange. What is known stays here and not in the futures, so that a
/// wait may be given up and begun again with another deadline.
pub struct H1ResponseReader<'r> {
    transport: &'r Transport,
    io: &'r Io,
    head_limits: &'r HeadLimits,
    pace: Pace,
    recipient: Option<Recipient<'r>>,
    expected: Expected,
    /// What has arrived.
    buffer: Buffer,
    scan: HeadScan,
    interim: usize,
    /// Bytes of the head at the front of the buffer; 0: none is there.
    head_length: usize,
    head: ResponseHead,
    body: H1Body,
}

impl<'r> H1ResponseReader<'r> {
    /// Nothing has arrived yet.
    pub(super) fn new(
        transport: &'r Transport,
        context: &ExchangeContext<'r>,
        expected: Expected,
    ) -> H1ResponseReader<'r> {
        H1ResponseReader {
            transport,
            io: context.io,
            head_limits: context.head_limits,
            pace: context.pace.clone(),
            recipient: context.recipient,
            expected,
            buffer: context.io.buffers.buffer(),
            scan: HeadScan::response(),
            interim: 0,
            head_length: 0,
            head: ResponseHead::default(),
            body: H1Body::new(Framing::None, u64::MAX),
        }
    }

    pub(super) async fn head(
        &mut self,
        method: Method,
        response: &mut Response,
        deadline_ms: u64,
    ) -> Result<Arrived, ResponseError> {
        let length = loop {
            let scanned = self.scan.advance(self.buffer.filled(), self.head_limits);
            if let Some(length) = scanned.map_err(ResponseError::Protocol)? {
                break length;
            }
            if !self.buffer.is_empty() {
                self.transport.acknowledge();
            }
            self.receive(deadline_ms).await?;
        };
        self.scan = HeadScan::response();
        self.head_length = length;
        self.head = ResponseHead::parse(self.head_bytes(), self.head_limits, method, response)
            .map_err(ResponseError::Protocol)?;
        self.body = H1Body::new(self.head.framing, u64::MAX);
        self.arrived(response.status)
    }

    /// Waits for bytes of a head.
    async fn receive(&mut self, deadline_ms: u64) -> Result<(), ResponseError> {
        let (timers, recipient) = (&self.io.timers, self.recipient);
        let received = h1::receive(self.transport, timers, &mut self.buffer, recipient, deadline_ms).await;
        let is_untouched = self.buffer.is_empty() && self.interim == 0;
        match received {
            Ok(1..) => Ok(()),
            Ok(0) | Err(BodyError::SourceClosed(_)) if is_untouched => Err(ResponseError::Stale),
            Err(BodyError::SourceTimedOut) if is_untouched => Err(ResponseError::Silent),
            Ok(0) => Err(ResponseError::Read(ProtocolError::HeadIncomplete.into())),
            Err(error) => Err(ResponseError::Read(error)),
        }
    }

    fn arrived(&mut self, status: u16) -> Result<Arrived, ResponseError> {
        match status {
            101 if self.expected == Expected::Switch => Ok(Arrived::Final),
            101 => Err(ResponseError::UnexpectedSwitch),
            100..=199 if self.interim == INTERIM_RESPONSES_MAX => Err(ResponseError::TooManyInterim),
            100..=199 => {
                self.interim += 1;
                Ok(Arrived::Interim)
            }
            _ => Ok(Arrived::Final),
        }
    }

    pub(super) fn head_bytes(&self) -> &[u8] {
        &self.buffer.filled()[..self.head_length]
    }

    pub(super) fn consume_head(&mut self) {
        self.buffer.consume(std::mem::take(&mut self.head_length));
    }

    pub(super) fn body(&mut self) -> H1Source<'_> {
        H1Source {
            transport: self.transport,
            timers: &self.io.timers,
            buffer: &mut self.buffer,
            body: &mut self.body,
            pace: self.pace.clone(),
            recipient: self.recipient,
        }
    }

    pub(super) fn early(&self) -> &[u8] {
        &self.buffer.filled()[self.head_length..]
    }

    /// There are bytes behind the end of the response.
    pub(super) fn has_surplus(&self) -> bool {
        self.body.is_complete() && !self.buffer.is_empty()
    }

    /// Bytes behind the end of a response mean a broken upstream: such a connection is never used again.
    pub(super) fn is_reusable(&self) -> bool {
        self.body.is_complete()
            && self.head.keep_alive
            && self.head.framing != Framing::UntilClose
            && self.buffer.is_empty()
    }
}
