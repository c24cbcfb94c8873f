//! What the streams of a connection share, and what happens to it.

use std::task::{Context, Waker};

use super::output::Output;
use super::stream::{Gone, Part, StreamId};
use crate::http2::frame::{self, Kind};
use crate::http2::{Budget, ErrorCode, Fault, ReceiveWindow, SendWindow, Settings, Streams};
use crate::limits::{CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, STREAM_BYTES_PER_TURN, STREAM_WINDOW_BYTES};
use crate::net::Buffer;

/// The state of one connection.
pub(super) struct State {
    pub(super) output: Output,
    pub(super) streams: Streams<Part>,
    pub(super) settings: Settings,
    pub(super) budget: Budget,
    window: SendWindow,
    received: ReceiveWindow,
    /// The turn of the output: one more whenever some of it has left.
    turn: u32,
    /// Streams that wait for room in the output.
    awaiting_room: usize,
    /// The first block of the connection has left.
    pub(super) has_sent_block: bool,
    /// The connection has ended.
    pub(super) is_over: bool,
    writer: Option<Waker>,
}

/// What keeps a stream from sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blocked {
    /// Its own window.
    Stream,
    /// What it shares with the others: the connection's window, or the output.
    Connection,
}

impl State {
    pub(super) fn new(out: Buffer, now_ms: u64) -> State {
        State {
            output: Output::new(out),
            streams: Streams::default(),
            settings: Settings::default(),
            budget: Budget::new(now_ms),
            window: SendWindow::new(Settings::default().initial_window),
            received: ReceiveWindow::new(CONNECTION_WINDOW_BYTES),
            turn: 0,
            awaiting_room: 0,
            has_sent_block: false,
            is_over: false,
            writer: None,
        }
    }

    /// The connection's task is the one to be woken.
    pub(super) fn register_writer(&mut self, context: &Context<'_>) {
        if !self.writer.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            self.writer = Some(context.waker().clone());
        }
    }

    /// There is something for the connection's task.
    pub(super) fn wake_writer(&self) {
        if let Some(writer) = &self.writer {
            writer.wake_by_ref();
        }
    }

    pub(super) fn open(&mut self, id: StreamId, expected: Option<u64>, ends: bool, incoming: Buffer) {
        let window = self.settings.initial_window;
        let part = Part::new(incoming, STREAM_WINDOW_BYTES, window, expected, self.turn);
        self.streams.open(id, !ends, part);
    }

    /// A control frame. Without room for it the client has read nothing for long: the connection is over.
    pub(super) fn control(&mut self, frame: &[u8]) {
        if !self.output.put_control(frame) {
            self.is_over = true;
        }
        self.wake_writer();
    }

    /// Bytes of a body have come.
    pub(super) fn data(&mut self, id: StreamId, data: &[u8], flow: usize, ends: bool) -> Result<(), Fault> {
        self.received.take(flow)?;
        let found = self.streams.receiving(id);
        let stream = match found {
            Ok(Some(stream)) => stream,
            // Nobody takes them.
            Ok(None) => {
                self.free_connection(flow);
                return Ok(());
            }
            Err(fault) => {
                self.free_connection(flow);
                return Err(fault);
            }
        };
        let part = &mut stream.part;
        let of_stream = |code| Fault::Stream(id, code);
        let taken = part.window.take(flow).map_err(of_stream);
        let left = part.expected.map(|left| left.checked_sub(data.len() as u64));
        let is_short = ends && matches!(left, Some(Some(1..)));
        let checked = taken.and(match left {
            Some(None) => Err(of_stream(ErrorCode::ProtocolError)),
            _ if is_short => Err(of_stream(ErrorCode::ProtocolError)),
            _ => Ok(()),
        });
        if let Err(fault) = checked {
            self.free_connection(flow);
            return Err(fault);
        }
        part.expected = left.flatten();
        part.received += data.len() as u64;
        part.incoming.put(data);
        stream.receives = !ends;
        part.wake();
        // Padding is done with.
        if flow > data.len() {
            self.free(id, flow - data.len());
        }
        Ok(())
    }

    /// The trailer section of a body has come.
    pub(super) fn trailers(&mut self, id: StreamId, lines: Vec<u8>) -> Result<(), Fault> {
        let Some(stream) = self.streams.get(id) else { return Ok(()) };
        if matches!(stream.part.expected, Some(1..)) {
            return Err(Fault::Stream(id, ErrorCode::ProtocolError));
        }
        stream.receives = false;
        stream.part.trailers = lines;
        stream.part.wake();
        Ok(())
    }

    /// So many bytes of a stream are done with: the client may send as many more.
    pub(super) fn free(&mut self, id: StreamId, bytes: usize) {
        if let Some(stream) = self.streams.get(id)
            && stream.receives
            && let Some(increment) = stream.part.window.free(bytes)
        {
            self.control(&frame::window_update(id, increment));
        }
        self.free_connection(bytes);
    }

    fn free_connection(&mut self, bytes: usize) {
        if let Some(increment) = self.received.free(bytes) {
            self.control(&frame::window_update(0, increment));
        }
    }

    /// The client takes more, on a stream or on all of them.
    pub(super) fn window_update(&mut self, id: StreamId, increment: u32) -> Result<(), Fault> {
        if id == 0 {
            self.window.grow(i64::from(increment))?;
            self.wake_streams();
            return Ok(());
        }
        if self.streams.is_idle(id) {
            return Err(Fault::Connection(ErrorCode::ProtocolError));
        }
        let Some(stream) = self.streams.get(id) else { return Ok(()) };
        let grown = stream.part.send_window.grow(i64::from(increment));
        stream.part.wake();
        grown.map_err(|code| Fault::Stream(id, code))
    }

    /// The client has changed its settings: windows that it has given grow or shrink with them.
    pub(super) fn settings(&mut self, payload: &[u8]) -> Result<(), ErrorCode> {
        let before = i64::from(self.settings.initial_window);
        self.settings.apply(payload)?;
        let more = i64::from(self.settings.initial_window) - before;
        if more != 0 {
            for stream in self.streams.iter_mut() {
                stream.part.send_window.grow(more)?;
                stream.part.wake();
            }
        }
        self.control(&crate::http2::settings::ack());
        Ok(())
    }

    /// A stream is given up, by the client or for what it has sent. True: its exchange had not ended.
    pub(super) fn give_up(&mut self, id: StreamId) -> bool {
        let Some(stream) = self.streams.get(id) else { return false };
        stream.receives = false;
        let part = &mut stream.part;
        let is_first = part.gone.is_none();
        part.gone = Some(Gone::Reset);
        part.wake();
        is_first
    }

    /// Resets a stream.
    pub(super) fn reset(&mut self, id: StreamId, code: ErrorCode) {
        self.streams.remember_reset(id);
        self.control(&frame::reset(id, code));
    }

    /// The exchange of a stream has ended.
    pub(super) fn close(&mut self, id: StreamId) {
        let Some(stream) = self.streams.close(id) else { return };
        let part = stream.part;
        if part.awaits_room {
            self.awaiting_room -= 1;
        }
        self.free_connection(part.received.saturating_sub(part.freed) as usize);
        if self.streams.is_empty() {
            self.wake_writer();
        }
    }

    /// The connection has ended, and with it every stream.
    pub(super) fn end(&mut self) {
        self.is_over = true;
        for stream in self.streams.iter_mut() {
            stream.receives = false;
            stream.part.gone.get_or_insert(Gone::Connection);
            stream.part.wake();
        }
    }

    /// How many bytes of a body a stream may put now, or what keeps it from that.
    pub(super) fn sendable(&mut self, id: StreamId, wanted: usize) -> Result<usize, Blocked> {
        let (turn, others) = (self.turn, self.awaiting_room);
        let room = self.output.room().saturating_sub(frame::HEADER_BYTES).min(FRAME_BYTES_MAX);
        let shared = room.min(self.window.left());
        let Some(stream) = self.streams.get(id) else { return Err(Blocked::Connection) };
        let part = &stream.part;
        if part.send_window.left() == 0 {
            return Err(Blocked::Stream);
        }
        let waits_its_turn = part.turn == turn && others > usize::from(part.awaits_room);
        if shared == 0 || waits_its_turn {
            return Err(Blocked::Connection);
        }
        Ok(wanted.min(shared).min(part.send_window.left()).min(STREAM_BYTES_PER_TURN))
    }

    /// Puts bytes of a body: no more than may be put.
    pub(super) fn put_data(&mut self, id: StreamId, data: &[u8], flags: u8) {
        let at = self.output.put(Kind::Data, flags, id, [data, &[]]);
        self.window.take(data.len());
        self.budget.moved();
        let turn = self.turn;
        if let Some(stream) = self.streams.get(id) {
            stream.part.send_window.take(data.len());
            stream.part.last_frame = Some(at);
            stream.part.answered.1 += data.len() as u64;
            stream.part.turn = turn;
        }
        self.wake_writer();
    }

    /// A stream waits for room in the output, or no longer.
    pub(super) fn await_room(&mut self, id: StreamId, awaits: bool) {
        let Some(stream) = self.streams.get(id) else { return };
        match (std::mem::replace(&mut stream.part.awaits_room, awaits), awaits) {
            (false, true) => self.awaiting_room += 1,
            (true, false) => self.awaiting_room -= 1,
            _ => {}
        }
    }

    /// Some of the output has left: every stream may have its turn.
    pub(super) fn next_turn(&mut self) {
        self.turn = self.turn.wrapping_add(1);
        if self.awaiting_room > 0 {
            self.wake_streams();
        }
    }

    /// Wakes the streams, each time beginning with another one.
    fn wake_streams(&mut self) {
        let count = self.streams.len();
        let first = if count == 0 { 0 } else { self.turn as usize % count };
        let all = || self.streams.iter();
        all().skip(first).chain(all().take(first)).for_each(|stream| stream.part.wake());
    }
}
