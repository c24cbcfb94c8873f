//! The sending side of one stream: its response.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use super::head::H2Head;
use super::link::Link;
use super::state::{Blocked, State};
use super::stream::StreamId;
use crate::clock;
use crate::http::BodyLength;
use crate::http2::frame::END_STREAM;
use crate::message::Trailers;
use crate::message::error::FinishError;
use crate::message::h1::trailers_that_pass;
use crate::net::{Pace, SendError, Timers};

/// The sending side of one message on a stream.
pub struct H2Sink<'s> {
    link: &'s Link,
    id: StreamId,
    timers: &'s Timers,
    pace: Pace,
    /// The head, while it waits for room.
    head: Option<H2Head>,
    /// Bytes of the body still to come, where that is known.
    left: Option<u64>,
    trailers: Trailers,
    sent: u64,
    blocked: Blocked,
}

impl<'s> H2Sink<'s> {
    /// A message that begins with this head.
    pub fn new(
        link: &'s Link,
        id: StreamId,
        timers: &'s Timers,
        pace: Pace,
        head: H2Head,
        (body, trailers): (BodyLength, Trailers),
    ) -> H2Sink<'s> {
        let left = match body {
            BodyLength::None => Some(0),
            BodyLength::Exact(bytes) => Some(bytes),
            BodyLength::Unknown => None,
        };
        H2Sink {
            link,
            id,
            timers,
            pace,
            head: Some(head),
            left,
            trailers,
            sent: 0,
            blocked: Blocked::Connection,
        }
    }

    pub(crate) fn try_write(&mut self, piece: &[u8]) -> Result<usize, SendError> {
        let link = self.link;
        let mut state = link.state.borrow_mut();
        check(&mut state, self.id)?;
        let mut taken = 0;
        if !self.put_head(&mut state) {
            return Ok(0);
        }
        while taken < piece.len() {
            match state.sendable(self.id, piece.len() - taken) {
                Ok(bytes) => {
                    let left = self.left.map(|left| left.saturating_sub(bytes as u64));
                    let flags = if left == Some(0) { END_STREAM } else { 0 };
                    state.put_data(self.id, &piece[taken..taken + bytes], flags);
                    self.pace.moved(bytes);
                    self.left = left;
                    self.sent += bytes as u64;
                    taken += bytes;
                    if left == Some(0) {
                        end(&mut state, self.id);
                        // More than was announced is the sender's mistake, which its source finds.
                        break;
                    }
                }
                Err(blocked) => {
                    self.blocked = blocked;
                    break;
                }
            }
        }
        Ok(taken)
    }

    /// Puts the head, if there is room. True: it was put, now or before.
    fn put_head(&mut self, state: &mut State) -> bool {
        let Some(head) = &mut self.head else { return true };
        let is_whole = self.left == Some(0);
        if !head.put(state, self.id, is_whole) {
            self.blocked = Blocked::Connection;
            return false;
        }
        self.sent += head.bytes() as u64;
        self.head = None;
        if is_whole {
            end(state, self.id);
        }
        true
    }

    /// Waits until there is room for more.
    pub(crate) async fn wait(&mut self) -> Result<(), SendError> {
        if let Some(head) = &mut self.head {
            head.park();
        }
        let (link, id, blocked) = (self.link, self.id, self.blocked);
        let (since, before) = (clock::now_ms(), link.acknowledged());
        let mut is_first = true;
        let ready = poll_fn(|context| {
            let mut state = link.state.borrow_mut();
            if check(&mut state, id).is_err() {
                return Poll::Ready(());
            }
            if let Some(stream) = state.streams.get(id) {
                stream.part.register(context);
            }
            state.await_room(id, blocked == Blocked::Connection);
            // What has kept it from sending was looked at a moment ago, and each turn of the output is a new chance.
            let may_send = match blocked {
                Blocked::Stream => state.sendable(id, 1) != Err(Blocked::Stream),
                Blocked::Connection => !std::mem::take(&mut is_first),
            };
            if may_send { Poll::Ready(()) } else { Poll::Pending }
        });
        let waited = self.timers.until(self.pace.deadline(since), ready).await;
        link.state.borrow_mut().await_room(id, false);
        self.pace.waited_since(since);
        let moved = link.acknowledged().saturating_sub(before);
        // All streams wait for the same: as long as the client takes something of any of them, none is stuck.
        if blocked == Blocked::Connection {
            self.pace.moved(moved as usize);
        }
        match waited {
            Ok(()) => check(&mut link.state.borrow_mut(), id),
            Err(_) if blocked == Blocked::Connection && moved > 0 => Ok(()),
            Err(_) => Err(SendError::TimedOut),
        }
    }

    pub(crate) async fn finish(&mut self, trailers: &[u8]) -> Result<(), FinishError> {
        let lines = match self.trailers {
            Trailers::Forward if !trailers.is_empty() => {
                trailers_that_pass(trailers).map_err(FinishError::Trailers)?
            }
            _ => Vec::new(),
        };
        while !self.try_finish(&lines).map_err(FinishError::Send)? {
            self.wait().await.map_err(FinishError::Send)?;
        }
        Ok(())
    }

    fn try_finish(&mut self, trailers: &[&[u8]]) -> Result<bool, SendError> {
        let link = self.link;
        let mut state = link.state.borrow_mut();
        check(&mut state, self.id)?;
        if !self.put_head(&mut state) {
            return Ok(false);
        }
        let Some(part) = state.streams.get(self.id).map(|stream| &stream.part) else { return Ok(true) };
        if part.has_ended {
            return Ok(true);
        }
        let last = part.last_frame;
        self.blocked = Blocked::Connection;
        if !trailers.is_empty() {
            let mut block = H2Head::of_trailers(trailers.iter().copied(), link.buffer());
            if !block.put(&mut state, self.id, true) {
                return Ok(false);
            }
        } else if !last.is_some_and(|frame| state.output.end_stream(frame)) {
            if state.output.room() < crate::http2::frame::HEADER_BYTES {
                return Ok(false);
            }
            state.put_data(self.id, &[], END_STREAM);
        }
        end(&mut state, self.id);
        Ok(true)
    }

    pub(crate) fn try_flush(&mut self) -> Result<bool, SendError> {
        let link = self.link;
        let mut state = link.state.borrow_mut();
        check(&mut state, self.id)?;
        Ok(self.put_head(&mut state))
    }

    pub(crate) async fn flush(&mut self) -> Result<(), SendError> {
        while !self.try_flush()? {
            self.wait().await?;
        }
        Ok(())
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }
}

/// Sends a head that is no final one.
///
/// # Errors
/// The client is gone, or takes nothing in time.
pub(crate) async fn send_interim(
    link: &Link,
    id: StreamId,
    timers: &Timers,
    pace: Pace,
    head: H2Head,
) -> Result<(), SendError> {
    H2Sink::new(link, id, timers, pace, head, (BodyLength::Unknown, Trailers::Drop)).flush().await
}

fn end(state: &mut State, id: StreamId) {
    if let Some(stream) = state.streams.get(id) {
        stream.part.has_ended = true;
    }
}

/// The stream has not been given up.
fn check(state: &mut State, id: StreamId) -> Result<(), SendError> {
    match state.streams.get(id).map(|stream| stream.part.gone) {
        Some(None) => Ok(()),
        _ => Err(SendError::Closed(io::ErrorKind::ConnectionReset.into())),
    }
}
