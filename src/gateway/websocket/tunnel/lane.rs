//! Moves the bytes of one direction: does the work that the state has for it, and says what came of it.
//!
//! Bytes move by direct calls that never wait. A wait owns no buffer and no pipe but for what the sink does not take.

use std::io;

use super::direction::Direction;
use super::event::Event;
use super::relay::{Receive, Work};
use super::sockets::{Interest, Sockets, Way};
use super::state::TunnelState;
use super::turn::Turn;
use crate::net::{Buffer, Flush, Pipe};

/// What a direction has on loan from its core.
pub(super) struct Lane {
    direction: Direction,
    /// The bytes at hand. It owns memory only while there is something in it.
    buffer: Buffer,
    /// Lent while payload is spliced.
    pipe: Option<Pipe>,
}

/// What came of some work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// There may be more to do.
    Done,
    /// Nothing can be done before this.
    Wait(Interest),
    /// Nothing is left to do.
    Rest,
}

impl Lane {
    pub(super) fn new(direction: Direction, sockets: &Sockets) -> Lane {
        Lane { direction, buffer: sockets.buffer(), pipe: None }
    }

    /// Does what is to be done next, if it can be done now.
    pub(super) fn step(&mut self, turn: &mut Turn<'_>) -> Step {
        if let Some(step) = self.flush(turn) {
            return step;
        }
        match turn.state.work(self.direction) {
            Work::Judge => {
                self.unhold(turn.state);
                turn.tell(Event::Bytes(self.direction, self.buffer.filled()));
                Step::Done
            }
            Work::Skip(bytes) => {
                self.unhold(turn.state);
                self.buffer.consume(bytes);
                turn.tell(Event::Skipped(self.direction));
                Step::Done
            }
            Work::Send(bytes) => self.send(turn, bytes),
            Work::SendOwn => self.send_own(turn),
            Work::Push => self.push(turn),
            Work::SendOwnFrame => self.send_own_frame(turn),
            Work::Receive(how) => self.receive(turn, how),
            Work::Discard => self.discard(turn),
            Work::Rest => {
                self.buffer.clear();
                self.buffer.release_if_empty();
                Step::Rest
            }
        }
    }

    /// What counts as sent has to leave before anything else is done for this direction.
    fn flush(&mut self, turn: &mut Turn<'_>) -> Option<Step> {
        match turn.sockets.sink(self.direction).try_flush() {
            Ok(Flush::Done) => None,
            Ok(Flush::Waiting) => {
                self.buffer.park();
                Some(Step::Wait(Interest::Room))
            }
            Err(_) => {
                turn.tell(Event::SinkLost(self.direction));
                Some(Step::Done)
            }
        }
    }

    fn send(&mut self, turn: &mut Turn<'_>, bytes: usize) -> Step {
        self.unhold(turn.state);
        let sent = turn.sockets.sink(self.direction).try_send(&self.buffer.filled()[..bytes]);
        if let Ok(Some(sent)) = sent {
            self.buffer.consume(sent);
            turn.sockets.count_bytes(self.direction, sent, Way::Copied);
        }
        self.after_sending(turn, sent, Event::Sent)
    }

    fn send_own(&mut self, turn: &mut Turn<'_>) -> Step {
        let sent = turn.sockets.sink(self.direction).try_send(turn.state.own_frame(self.direction));
        self.after_sending(turn, sent, Event::OwnSent)
    }

    fn push(&mut self, turn: &mut Turn<'_>) -> Step {
        let sink = turn.sockets.sink(self.direction).raw();
        let (pipe, sink) = self.pipe.as_mut().zip(sink).expect("a pipe that bytes are in, and where they go");
        let pushed = pipe.push(sink);
        if let Ok(Some(pushed)) = pushed {
            turn.sockets.count_bytes(self.direction, pushed, Way::Spliced);
        }
        self.after_sending(turn, pushed, Event::Pushed)
    }

    /// Nothing is read from the source while the sink takes nothing: that is the back-pressure.
    fn after_sending(
        &mut self,
        turn: &mut Turn<'_>,
        sent: io::Result<Option<usize>>,
        event: fn(Direction, usize) -> Event<'static>,
    ) -> Step {
        match sent {
            Ok(None) => {
                self.buffer.park();
                Step::Wait(Interest::Room)
            }
            Ok(Some(sent)) => {
                turn.tell(event(self.direction, sent));
                Step::Done
            }
            Err(_) => {
                turn.tell(Event::SinkLost(self.direction));
                Step::Done
            }
        }
    }

    fn send_own_frame(&self, turn: &mut Turn<'_>) -> Step {
        // Only a ping asks, and pings go to the client alone.
        let unacknowledged = match self.direction {
            Direction::Up => 0,
            Direction::Down => turn.sockets.unacknowledged(),
        };
        let mask = turn.sockets.mask();
        let event = Event::Boundary { direction: self.direction, mask, unacknowledged };
        turn.tell(event);
        Step::Done
    }

    fn receive(&mut self, turn: &mut Turn<'_>, how: Receive) -> Step {
        let source = turn.sockets.source(self.direction);
        if !source.may_read_on() {
            self.hold(turn.state);
            return Step::Wait(Interest::Bytes);
        }
        if let (Some(pipe), Some(source)) = (self.pipe_for(turn.sockets, how), source.raw()) {
            let pulled = pipe.pull(source, how.splice_bytes_max);
            return self.after_pulling(turn, pulled);
        }
        self.unhold(turn.state);
        let takes_at_once = turn.sockets.sink(self.direction).takes_at_once();
        let room = self.buffer.room();
        let bytes_max = room.len().min(how.read_bytes_max).min(takes_at_once);
        let event = match source.try_recv(&mut room[..bytes_max]) {
            Ok(None) => return Step::Done,
            Ok(Some(0)) => Event::Ended(self.direction),
            Ok(Some(received)) => {
                self.buffer.fill(received);
                Event::Bytes(self.direction, self.buffer.filled())
            }
            Err(_) => Event::SourceLost(self.direction),
        };
        turn.tell(event);
        Step::Done
    }

    /// A pipe for large payloads, exactly to the frame's end at most.
    fn pipe_for(&mut self, sockets: &Sockets, how: Receive) -> Option<&mut Pipe> {
        if how.splice_bytes_max == 0 {
            self.pipe = None;
        } else if self.pipe.is_none() && how.is_bulk {
            self.pipe = sockets.pipe(self.direction);
        }
        self.pipe.as_mut()
    }

    fn after_pulling(&self, turn: &mut Turn<'_>, pulled: io::Result<Option<usize>>) -> Step {
        let event = match pulled {
            Ok(None) => return Step::Done,
            Ok(Some(0)) => Event::Ended(self.direction),
            Ok(Some(pulled)) => Event::Pulled(self.direction, pulled),
            Err(_) => Event::SourceLost(self.direction),
        };
        turn.tell(event);
        Step::Done
    }

    /// Reads and discards: every frame that the gateway owes before the source's end has been sent.
    fn discard(&mut self, turn: &mut Turn<'_>) -> Step {
        self.pipe = None;
        self.buffer.clear();
        let source = turn.sockets.source(self.direction);
        if !source.may_read_on() {
            self.buffer.release_if_empty();
            return Step::Wait(Interest::Bytes);
        }
        match source.try_recv(self.buffer.room()) {
            Ok(Some(0)) | Err(_) => turn.tell(Event::Ended(self.direction)),
            Ok(_) => {}
        }
        Step::Done
    }

    /// Takes note that a wait has failed.
    pub(super) fn lost(&self, turn: &mut Turn<'_>, interest: Interest) {
        let event = match interest {
            Interest::Bytes => Event::SourceLost(self.direction),
            Interest::Room => Event::SinkLost(self.direction),
        };
        turn.tell(event);
    }

    /// Gives the memory and the pipe back. What is left in the buffer before the source is waited for is shorter than a
    /// control frame.
    fn hold(&mut self, state: &mut TunnelState) {
        self.pipe = None;
        state.held_mut(self.direction).extend_from_slice(self.buffer.filled());
        self.buffer.clear();
        self.buffer.release_if_empty();
    }

    /// Gives everything to the state that this direction has at hand or in a pipe.
    ///
    /// # Errors
    /// What is in the pipe is lost.
    pub(super) fn pack(&mut self, state: &mut TunnelState) -> io::Result<()> {
        if let Some(pipe) = self.pipe.as_mut().filter(|pipe| !pipe.is_empty()) {
            state.take_out(self.direction, pipe.drain()?);
        }
        self.hold(state);
        Ok(())
    }

    /// Takes what was held back into the buffer again.
    fn unhold(&mut self, state: &mut TunnelState) {
        let held = state.held_mut(self.direction);
        if !held.is_empty() {
            self.buffer.refill(&std::mem::take(held));
        }
    }
}
