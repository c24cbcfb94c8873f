//! A connection as its streams see it, and as its own task does.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::metrics::{CloseReason, H2Metrics, ResetReason};
use super::state::State;
use super::stream::{Gone, StreamId};
use crate::http2::frame;
use crate::http2::{Block, Budget, ErrorCode, Exhausted, Fault, settings};
use crate::limits::{
    CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES, STREAMS_CROWDED, STREAMS_OF_CORE_MAX,
    STREAMS_OF_CROWDED_MAX,
};
use crate::net::{Buffer, BufferPool, Transport};

/// A connection of HTTP/2. Its own task reads and writes; its streams, each a task of the same core, take from it what
/// has come for them, and put into it what they have to send.
pub struct Link {
    /// The connection itself. Only its own task reads of it and writes to it.
    pub transport: Transport,
    /// The other end.
    pub peer: SocketAddr,
    pub(super) state: RefCell<State>,
    buffers: Rc<BufferPool>,
    metrics: Arc<H2Metrics>,
}

/// What a look at the output shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulse {
    /// Everything has left.
    Quiet,
    /// The client takes no more for now.
    Blocked,
}

impl Link {
    /// A connection that begins with our settings. `head_bytes`: the bound of a head.
    pub fn new(
        transport: Transport,
        peer: SocketAddr,
        buffers: &Rc<BufferPool>,
        head_bytes: usize,
        now_ms: u64,
        metrics: Arc<H2Metrics>,
    ) -> Link {
        metrics.connections.add(1);
        let mut state = State::new(buffers.buffer(), now_ms);
        state.control(&settings::ours(head_bytes));
        state.control(&frame::window_update(0, CONNECTION_WINDOW_BYTES - STREAM_WINDOW_BYTES));
        Link { transport, peer, state: RefCell::new(state), buffers: buffers.clone(), metrics }
    }

    /// What a block of fields on a stream is.
    ///
    /// # Errors
    /// No block may come on it.
    pub fn block(&self, id: StreamId, ends_stream: bool) -> Result<Block, Fault> {
        self.state.borrow_mut().streams.block(id, ends_stream)
    }

    /// Whether one more stream may begin, for all that the core and this connection have already.
    pub fn has_place(&self) -> bool {
        has_place(self.metrics.open.get() as usize, self.state.borrow().streams.len())
    }

    /// A stream begins. `expected`: the length of its body, where the head has said it.
    pub fn open(&self, id: StreamId, expected: Option<u64>, ends_stream: bool) {
        self.metrics.open.add(1);
        self.state.borrow_mut().open(id, expected, ends_stream, self.buffers.buffer());
    }

    /// Bytes of a body have come; `flow`: with their padding.
    ///
    /// # Errors
    /// They may not come.
    pub fn data(&self, id: StreamId, data: &[u8], flow: usize, ends_stream: bool) -> Result<(), Fault> {
        self.state.borrow_mut().data(id, data, flow, ends_stream)
    }

    /// The trailer section of a body has come, as lines.
    ///
    /// # Errors
    /// The body is not complete.
    pub fn trailers(&self, id: StreamId, lines: Vec<u8>) -> Result<(), Fault> {
        self.state.borrow_mut().trailers(id, lines)
    }

    /// The client takes more.
    ///
    /// # Errors
    /// More than there can be.
    pub fn window_update(&self, id: StreamId, increment: u32) -> Result<(), Fault> {
        self.state.borrow_mut().window_update(id, increment)
    }

    /// The client's settings.
    ///
    /// # Errors
    /// A value that none may have.
    pub fn settings(&self, payload: &[u8]) -> Result<(), ErrorCode> {
        self.state.borrow_mut().settings(payload)
    }

    /// The client resets a stream. True: its exchange had not ended.
    ///
    /// # Errors
    /// It has never begun.
    pub fn reset_by_client(&self, id: StreamId) -> Result<bool, Fault> {
        let mut state = self.state.borrow_mut();
        if state.streams.is_idle(id) {
            return Err(Fault::Connection(ErrorCode::ProtocolError));
        }
        let is_given_up = state.give_up(id);
        if is_given_up {
            self.count(ResetReason::Client);
        }
        Ok(is_given_up)
    }

    /// Resets a stream for what the client has sent.
    pub fn refuse(&self, id: StreamId, code: ErrorCode) {
        let mut state = self.state.borrow_mut();
        state.give_up(id);
        state.reset(id, code);
        self.count(if code == ErrorCode::RefusedStream {
            ResetReason::Refused
        } else {
            ResetReason::Protocol
        });
    }

    fn count(&self, reason: ResetReason) {
        self.metrics.resets.at(reason as usize).add(1);
    }

    /// Puts a control frame.
    pub fn control(&self, frame: &[u8]) {
        self.state.borrow_mut().control(frame);
    }

    /// Says that no stream after the last one is served.
    pub fn go_away(&self, code: ErrorCode) {
        let mut state = self.state.borrow_mut();
        let last = state.streams.last();
        state.control(&frame::go_away(last, code));
    }

    /// The connection is closed for this reason.
    pub fn count_close(&self, code: ErrorCode) {
        let reason = match code {
            ErrorCode::NoError => CloseReason::NoError,
            ErrorCode::EnhanceYourCalm => CloseReason::Calm,
            _ => CloseReason::Protocol,
        };
        self.metrics.closed.at(reason as usize).add(1);
    }

    /// Spends of the budgets.
    ///
    /// # Errors
    /// One of them is used up.
    pub fn spend(&self, spend: impl FnOnce(&mut Budget) -> Result<(), Exhausted>) -> Result<(), ErrorCode> {
        spend(&mut self.state.borrow_mut().budget).map_err(|Exhausted| ErrorCode::EnhanceYourCalm)
    }

    /// A frame with something in it has come.
    pub fn moved(&self) {
        self.state.borrow_mut().budget.moved();
    }

    /// Memory of streams that have bytes which nobody has taken: they keep just what they need.
    pub fn park(&self) {
        self.state.borrow_mut().streams.iter_mut().for_each(|stream| stream.part.incoming.park());
    }

    /// Whether more may be read of the client: it has taken enough of what it was answered.
    pub fn may_read(&self) -> bool {
        !self.state.borrow().output.is_owed_room()
    }

    /// Whether the client has never used a stream.
    pub fn is_idle(&self, id: StreamId) -> bool {
        self.state.borrow().streams.is_idle(id)
    }

    /// How many streams there are.
    pub fn streams(&self) -> usize {
        self.state.borrow().streams.len()
    }

    /// The connection cannot go on.
    pub fn is_over(&self) -> bool {
        self.state.borrow().is_over
    }

    /// Sends what was gathered, as much as the client takes. `context`: that of the connection's task, which is woken
    /// when there is more.
    ///
    /// # Errors
    /// The client is gone.
    pub fn send(&self, context: &Context<'_>) -> io::Result<Pulse> {
        let mut state = self.state.borrow_mut();
        state.register_writer(context);
        self.send_now(&mut state)
    }

    fn send_now(&self, state: &mut State) -> io::Result<Pulse> {
        if state.output.is_empty() {
            return Ok(Pulse::Quiet);
        }
        let before = state.output.sent();
        let is_done = state.output.send(&self.transport)?;
        if state.output.sent() != before {
            state.next_turn();
        }
        Ok(if is_done { Pulse::Quiet } else { Pulse::Blocked })
    }

    /// Bytes that the client's kernel has acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.state.borrow().output.sent().saturating_sub(self.transport.unacknowledged())
    }

    /// The connection has ended, and with it every stream.
    pub fn end(&self) {
        self.state.borrow_mut().end();
    }

    /// The exchange of a stream has ended.
    pub fn close(&self, id: StreamId) {
        self.state.borrow_mut().close(id);
        self.metrics.open.subtract(1);
    }

    /// What is left of a stream after its exchange: without both of its ends it is reset with this code.
    pub fn conclude(&self, id: StreamId, code: ErrorCode) {
        let mut state = self.state.borrow_mut();
        let Some(stream) = state.streams.get(id) else { return };
        let is_whole = stream.part.has_ended && !stream.receives;
        if !is_whole && stream.part.gone.is_none() {
            state.reset(id, code);
            self.count(if code == ErrorCode::NoError {
                ResetReason::Unread
            } else {
                ResetReason::Unfinished
            });
        }
    }

    /// Of the final response on a stream: the status, and the bytes so far. `None`: it has not begun.
    pub fn answered(&self, id: StreamId) -> Option<(u16, u64)> {
        let answered = self.state.borrow_mut().streams.get(id)?.part.answered;
        (answered.0 > 0).then_some(answered)
    }

    /// An exchange had its whole response.
    pub fn finished(&self) {
        self.state.borrow_mut().budget.finished();
    }

    /// Whether a stream has ended before its exchange; its task is woken when it has.
    pub fn poll_gone(&self, id: StreamId, context: &Context<'_>) -> Poll<Gone> {
        let mut state = self.state.borrow_mut();
        let Some(stream) = state.streams.get(id) else { return Poll::Ready(Gone::Connection) };
        stream.part.register(context);
        match stream.part.gone {
            Some(gone) => Poll::Ready(gone),
            None => Poll::Pending,
        }
    }

    /// Another buffer of the same core.
    pub(super) fn buffer(&self) -> Buffer {
        self.buffers.buffer()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.metrics.connections.subtract(1);
    }
}

/// `all`: the streams of the core; `own`: those of the connection.
fn has_place(all: usize, own: usize) -> bool {
    all < STREAMS_CROWDED || (all < STREAMS_OF_CORE_MAX && own < STREAMS_OF_CROWDED_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowded_core_leaves_places_to_connections_that_have_few_streams() {
        assert!(has_place(STREAMS_CROWDED - 1, 99) && !has_place(STREAMS_CROWDED, STREAMS_OF_CROWDED_MAX));
        assert!(has_place(STREAMS_OF_CORE_MAX - 1, 0) && !has_place(STREAMS_OF_CORE_MAX, 0));
    }
}
