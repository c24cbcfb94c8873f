//! Reading the head of an upstream's response: interim ones, then the final one.

use crate::gateway::answer::failure::Failure;
use crate::gateway::core::Core;
use crate::gateway::forward::body::{BodyError, Source};
use crate::http1::{HeadScan, ResponseHead};
use crate::limits::INTERIM_RESPONSES_MAX;
use crate::net::{Buffer, Transport};

/// The receiving side of an upstream connection during one exchange. What is known stays here and not in the
/// futures, so a wait may be given up and begun anew with another deadline.
pub struct Reading<'r> {
    /// The core.
    pub core: &'r Core,
    /// The client, who may go away while we wait.
    pub client: &'r Transport,
    /// The upstream's socket.
    pub source: Source<'r>,
    /// What has arrived.
    pub buffer: Buffer,
    /// When the request began to leave, in µs.
    pub begun_us: u64,
    /// The request asked to switch protocols, so 101 is a final answer; else it is a broken one.
    pub may_switch: bool,
    scan: HeadScan,
    interim: usize,
}

/// What has arrived, at the front of the buffer.
pub enum Arrived {
    /// A 1xx head of this length.
    Interim(usize),
    /// The final head, of this length.
    Final(usize),
}

impl<'r> Reading<'r> {
    /// Nothing has arrived yet.
    pub fn new(core: &'r Core, stream: &'r Transport, client: &'r Transport, begun_us: u64) -> Reading<'r> {
        let source = Source {
            stream,
            timers: &core.resources.io.timers,
            pace: core.snapshot.upstream_pace(),
            client: Some(client),
        };
        let buffer = core.resources.io.buffers.buffer();
        let scan = HeadScan::response();
        Reading { core, client, source, buffer, begun_us, may_switch: false, scan, interim: 0 }
    }

    /// Waits for the next head. Consuming it is the caller's.
    pub async fn head(&mut self, head: &mut ResponseHead, deadline_ms: u64) -> Result<Arrived, Failure> {
        let limits = &self.core.snapshot.head_limits;
        let length = loop {
            match self.scan.advance(self.buffer.filled(), limits) {
                Ok(Some(length)) => break length,
                Ok(None) => {}
                Err(_) => return Err(Failure::UpstreamProtocol),
            }
            match self.source.receive_until(&mut self.buffer, deadline_ms).await {
                Ok(1..) => {}
                // Not a byte of a response: perhaps the request was never seen.
                Ok(0) | Err(BodyError::SourceClosed) if self.is_untouched() => return Err(Failure::Stale),
                Err(BodyError::SourceTimedOut) => return Err(Failure::UpstreamTimeout),
                Err(BodyError::ClientGone) => return Err(Failure::ClientGone),
                Ok(0) | Err(_) => return Err(Failure::UpstreamProtocol),
            }
        };
        self.scan = HeadScan::response();
        let bytes = &mut self.buffer.filled_mut()[..length];
        head.parse(bytes, limits).map_err(|_| Failure::UpstreamProtocol)?;
        match head.status {
            101 if self.may_switch => Ok(Arrived::Final(length)),
            101 => Err(Failure::UpstreamProtocol),
            100..=199 if self.interim == INTERIM_RESPONSES_MAX => Err(Failure::UpstreamProtocol),
            100..=199 => {
                self.interim += 1;
                Ok(Arrived::Interim(length))
            }
            _ => Ok(Arrived::Final(length)),
        }
    }

    /// The upstream has not said anything in this exchange.
    fn is_untouched(&self) -> bool {
        self.buffer.is_empty() && self.interim == 0
    }
}
