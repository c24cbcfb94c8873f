//! One WebSocket connection of the chat room: passes the client's messages to the room and the room's to the client.
//!
//! Both directions run in one task, without a lock or a channel. There is no idle timeout: the gateway pings its
//! clients and ends connections that do not answer.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{SystemTime, UNIX_EPOCH};

use monoio::time::{Instant, timeout_at};
use tungstenite::protocol::frame::coding::CloseCode;

use super::answer::Outgoing;
use super::bounds::{CLOSE_TIMEOUT, OUTBOX_BYTES_MAX, WRITE_BYTES};
use super::frames::{Heard, Session};
use super::room::{MESSAGE_EXPECTED, Participant};
use super::wire::{Inlet, Outlet, Wire};

/// Runs the conversation until either side ends it. When it returns, the last bytes are sent, but the peer may not have
/// read them yet.
pub(super) async fn chat(wire: &mut Wire, participant: &Participant) {
    let socket = Socket { participant, session: RefCell::new(Session::new()), stage: Cell::new(Stage::Open) };
    let (inlet, outlet) = wire.halves();
    first(socket.listen(inlet), socket.speak(outlet)).await;
}

struct Socket<'s> {
    participant: &'s Participant,
    session: RefCell<Session>,
    stage: Cell<Stage>,
}

#[derive(Clone, Copy)]
enum Stage {
    Open,
    /// We sent a Close; the client has until this time to answer it.
    Closing(Instant),
    /// The bytes left to send are the last.
    Over,
}

impl Socket<'_> {
    /// Returns when the peer is gone without a Close.
    async fn listen(&self, mut inlet: Inlet<'_>) {
        loop {
            // A client that does not read its messages is not read either (back-pressure).
            self.participant.outbox.until(|| self.waiting() < OUTBOX_BYTES_MAX / 2).await;
            let Some(bytes) = inlet.receive().await else { return };
            self.session.borrow_mut().feed(&bytes);
            self.hear();
            // There may be a pong or a Close to send.
            self.participant.outbox.rouse();
            if matches!(self.stage.get(), Stage::Over) {
                // The other direction ends the conversation.
                return pending().await;
            }
        }
    }

    /// Handles every complete message.
    fn hear(&self) {
        loop {
            let heard = self.session.borrow_mut().next();
            match (heard, self.stage.get()) {
                (Heard::Text(text), Stage::Open) => self.participant.hear(&text, now_ms()),
                (Heard::Binary, Stage::Open) => self.participant.complain(MESSAGE_EXPECTED),
                (Heard::Text(_) | Heard::Binary, _) => {}
                (Heard::Nothing, _) => return,
                (Heard::Over, _) => return self.stage.set(Stage::Over),
            }
        }
    }

    /// Returns when everything is sent, or the client does not read it.
    async fn speak(&self, mut outlet: Outlet<'_>) {
        loop {
            let frames = self.frames();
            if !frames.is_empty() {
                match outlet.send(Outgoing::Bytes(frames)).await {
                    Ok(()) => continue,
                    Err(_) => return,
                }
            }
            match self.stage.get() {
                Stage::Open => self.participant.outbox.roused().await,
                Stage::Closing(until) => match timeout_at(until, self.participant.outbox.roused()).await {
                    Ok(()) => {}
                    Err(_) => return,
                },
                Stage::Over => return,
            }
        }
    }

    /// The next bytes to send.
    fn frames(&self) -> Vec<u8> {
        let mut session = self.session.borrow_mut();
        let outbox = &self.participant.outbox;
        if matches!(self.stage.get(), Stage::Open) {
            if outbox.is_overrun() {
                session.close(CloseCode::Again, "too slow");
                self.stage.set(Stage::Closing(Instant::now() + CLOSE_TIMEOUT));
            }
            while session.pending() < WRITE_BYTES {
                let Some(text) = outbox.take() else { break };
                session.say(text);
            }
        }
        session.outgoing()
    }

    /// The number of bytes that wait to be sent.
    fn waiting(&self) -> usize {
        self.participant.outbox.bytes() + self.session.borrow().pending()
    }
}

/// Runs both until one of them returns; the other is dropped.
async fn first(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|context| {
        match one.as_mut().poll(context).is_ready() || other.as_mut().poll(context).is_ready() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
