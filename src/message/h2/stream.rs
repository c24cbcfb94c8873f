//! What a connection knows of one of its streams.

use std::task::{Context, Waker};

use super::output::FrameAt;
use crate::http2::{ReceiveWindow, SendWindow};
use crate::net::Buffer;

/// The number of a stream.
pub type StreamId = u32;

/// Why a stream ended before its exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// It was reset, by the client or for what the client has sent.
    Reset,
    /// Its connection has ended.
    Connection,
}

/// One stream.
pub(super) struct Part {
    /// Bytes of the body that nobody has taken.
    pub(super) incoming: Buffer,
    pub(super) window: ReceiveWindow,
    /// Bytes of the body that have come.
    pub(super) received: u64,
    /// Bytes of it for which the windows were opened again.
    pub(super) freed: u64,
    /// Bytes still to come, where the head has said how many.
    pub(super) expected: Option<u64>,
    /// The trailer section.
    pub(super) trailers: Vec<u8>,
    pub(super) send_window: SendWindow,
    /// Its last frame: the one that may become its end.
    pub(super) last_frame: Option<FrameAt>,
    /// Of its final response: the status, and bytes that were put so far. 0: it has not begun.
    pub(super) answered: (u16, u64),
    /// Its response has ended.
    pub(super) has_ended: bool,
    pub(super) gone: Option<Gone>,
    /// The turn of the output in which it last put something.
    pub(super) turn: u32,
    /// It waits for room in the output.
    pub(super) awaits_room: bool,
    waker: Option<Waker>,
}

impl Part {
    pub(super) fn new(
        incoming: Buffer,
        window: u32,
        send_window: u32,
        expected: Option<u64>,
        turn: u32,
    ) -> Part {
        Part {
            incoming,
            window: ReceiveWindow::new(window),
            received: 0,
            freed: 0,
            expected,
            trailers: Vec::new(),
            send_window: SendWindow::new(send_window),
            last_frame: None,
            answered: (0, 0),
            has_ended: false,
            gone: None,
            turn: turn.wrapping_sub(1),
            awaits_room: false,
            waker: None,
        }
    }

    /// The stream's task is the one to be woken.
    pub(super) fn register(&mut self, context: &Context<'_>) {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            self.waker = Some(context.waker().clone());
        }
    }

    /// Something has happened that its task may wait for.
    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}
