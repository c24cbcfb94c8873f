//! Both sockets of a tunnel, and what it uses of its core: buffers, pipes, timers, metrics, the access log.

use std::future::Future;
use std::io;
use std::rc::Rc;

use super::direction::Direction;
use super::event::{Actions, Judged};
use super::state::TunnelState;
use crate::clock;
use crate::gateway::core::Resources;
use crate::gateway::record::DRAIN_CUT;
use crate::gateway::websocket::TunnelMetrics;
use crate::gateway::websocket::leashes::Leashed;
use crate::limits::TUNNEL_CLOSE_MS;
use crate::net::{Buffer, Pipe, Timers, Transport};
use crate::telemetry::TunnelRecord;

/// The sockets of one tunnel, with the core that they are on.
pub(super) struct Sockets {
    pub(super) resources: Rc<Resources>,
    pub(super) client: Transport,
    pub(super) upstream: Transport,
    /// `None`: nobody tells the tunnel anything from outside.
    pub(super) leash: Option<Leashed>,
}

/// What a direction waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interest {
    /// Its source has bytes, or its end.
    Bytes,
    /// Its sink takes bytes.
    Room,
}

/// How bytes went from socket to socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Through a buffer.
    Copied,
    /// Through a pipe.
    Spliced,
}

impl Sockets {
    pub(super) fn source(&self, direction: Direction) -> &Transport {
        match direction {
            Direction::Up => &self.client,
            Direction::Down => &self.upstream,
        }
    }

    pub(super) fn sink(&self, direction: Direction) -> &Transport {
        self.source(direction.opposite())
    }

    /// Waits, and owns no buffer meanwhile.
    pub(super) fn wait(
        &self,
        direction: Direction,
        interest: Interest,
    ) -> impl Future<Output = io::Result<()>> {
        let transport = match interest {
            Interest::Bytes => self.source(direction),
            Interest::Room => self.sink(direction),
        };
        let timers = self.timers();
        async move {
            match interest {
                Interest::Bytes => transport.arrival_without_deadline(timers).await,
                Interest::Room => transport.writable_without_deadline(timers).await,
            }
        }
    }

    pub(super) fn buffer(&self) -> Buffer {
        self.resources.io.buffers.buffer()
    }

    pub(super) fn timers(&self) -> &Timers {
        &self.resources.io.timers
    }

    fn metrics(&self) -> &TunnelMetrics {
        &self.resources.metrics.tunnels
    }

    /// A pipe from the source to the sink of a direction. `None`: bytes are to be copied, because there are enough
    /// pipes, or because what one of the two sends is not what its peer gets.
    pub(super) fn pipe(&self, direction: Direction) -> Option<Pipe> {
        self.source(direction).raw().and(self.sink(direction).raw())?;
        let pipe = self.resources.io.pipes.take();
        self.metrics().pipes_open.set(self.resources.io.pipes.open() as u64);
        pipe
    }

    /// Whether bytes that count as sent have not left.
    pub(super) fn has_unsent(&self) -> bool {
        self.client.has_unsent() || self.upstream.has_unsent()
    }

    /// Waits until they have, for as long as a closing handshake may take, or until the drain cuts tunnels off.
    pub(super) async fn settle(&self) {
        let cut_ms = match self.resources.io.is_draining() {
            true => self.resources.drain_schedule.cut_ms(),
            false => u64::MAX,
        };
        let deadline_ms = cut_ms.min(clock::now_ms() + TUNNEL_CLOSE_MS);
        for transport in [&self.client, &self.upstream] {
            // A peer that does not take it sees that the end is missing.
            if transport.flush(self.timers(), deadline_ms).await.is_err() {
                transport.reset_on_close();
            }
        }
    }

    /// Bytes that the client's kernel has not acknowledged.
    pub(super) fn unacknowledged(&self) -> u64 {
        self.client.unacknowledged()
    }

    /// Four random bytes.
    pub(super) fn mask(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.resources.ids.next_word().to_be_bytes();
        [a, b, c, d]
    }

    /// Does what the state asks for.
    pub(super) fn act(&self, actions: Actions) {
        if let Some(judged) = actions.judged {
            self.count_frames(judged);
        }
        if actions.pings {
            self.metrics().pings.add(1);
        }
        if actions.ends_upstream {
            self.upstream.shutdown_write();
        }
        if actions.ends_client {
            self.client.shutdown_write();
        }
    }

    fn count_frames(&self, judged: Judged) {
        let metrics = self.metrics();
        let (frames, messages) = match judged.direction {
            Direction::Up => (&metrics.frames_in, &metrics.messages_in),
            Direction::Down => (&metrics.frames_out, &metrics.messages_out),
        };
        frames.add(u64::from(judged.frames));
        messages.add(u64::from(judged.messages));
    }

    /// Counts bytes of frames that went on.
    pub(super) fn count_bytes(&self, direction: Direction, bytes: usize, way: Way) {
        let metrics = self.metrics();
        let total = match direction {
            Direction::Up => &metrics.bytes_in,
            Direction::Down => &metrics.bytes_out,
        };
        total.add(bytes as u64);
        let by_way = match way {
            Way::Copied => &metrics.bytes_copied,
            Way::Spliced => &metrics.bytes_spliced,
        };
        by_way.add(bytes as u64);
    }

    pub(super) fn count_begin(&self) {
        let connections = &self.resources.metrics.connections;
        connections.tunnels.add(1);
        connections.open.add(1);
    }

    /// A tunnel has gone to another process: it has not ended.
    pub(super) fn count_move(&self) {
        let connections = &self.resources.metrics.connections;
        connections.tunnels.subtract(1);
        connections.open.subtract(1);
        self.metrics().pipes_open.set(self.resources.io.pipes.open() as u64);
    }

    /// Counts the end of a tunnel, and writes its line into the access log.
    pub(super) fn count_end(&self, state: &TunnelState) {
        let metrics = self.metrics();
        let connections = &self.resources.metrics.connections;
        connections.tunnels.subtract(1);
        connections.open.subtract(1);
        metrics.pipes_open.set(self.resources.io.pipes.open() as u64);
        let (end, close_code) = state.end();
        metrics.closed.at(end as usize).add(1);
        metrics.age.observe(clock::now_ms().saturating_sub(state.begun_ms()).saturating_mul(1_000));
        let (Some(context), Some(log)) = (state.context(), &self.resources.access_log) else { return };
        let tally = state.tally();
        let (messages_in, messages_out) = (tally.messages_in, tally.messages_out);
        let tunnel = TunnelRecord { messages_in, messages_out, end, close_code };
        let mut record = context.record(clock::unix_us(), clock::now_us(), tally, tunnel);
        let Resources { io, drain_schedule, .. } = &*self.resources;
        // What ends now and not before is cut off by the drain, however far its goodbye has come.
        let is_cut = io.is_draining() && clock::now_ms() >= drain_schedule.cut_ms();
        record.code = is_cut.then_some(DRAIN_CUT.1);
        log.borrow_mut().record(&record);
    }
}
