//! One direction of a tunnel: follow the frames, pass on what may pass, and say goodbye between two of them.

use super::close::Farewell;
use super::{Broken, Ping, Side, Tunnel};
use crate::clock;
use crate::limits::PIPE_BYTES;
use crate::net::{Buffer, Pipe, StreamSocket, Transport};
use crate::telemetry::TunnelEnd;
use crate::ws::{self, ControlFrame, FrameRefusal, FrameRules, Sender, Then, Track, Verdict};

/// One direction, from its source to its sink.
pub(super) struct Course<'t> {
    tunnel: &'t Tunnel,
    side: Side,
    track: Track,
    /// What has arrived and has not gone on. It owns memory only while there is something in it.
    buffer: Buffer,
    /// The beginning of a header or control frame, while its rest is waited for; else it owns nothing.
    held: Vec<u8>,
    /// The last frame was one to be spliced, so the next may be: its header is looked for with a small read, because
    /// what a read takes along of a payload is copied.
    expects_bulk: bool,
}

/// What a course waits for.
enum Event {
    /// Bytes have arrived, or have gone by.
    Bytes,
    /// The source has sent its last.
    End,
    /// A goodbye or a ping is to be sent, and this is the place for it.
    Called,
}

impl<'t> Course<'t> {
    /// `early`: what the source sent right behind its part of the handshake. It goes first.
    pub(super) fn new(tunnel: &'t Tunnel, side: Side, early: &[u8]) -> Course<'t> {
        let (sender, message_bytes_max) = match side {
            Side::Up => (Sender::Client, tunnel.rules.message_bytes_max),
            Side::Down => (Sender::Server, 0),
        };
        let rules = FrameRules { sender, has_extension: tunnel.has_extension, message_bytes_max };
        let mut buffer = tunnel.resources.io.buffers.buffer();
        if !early.is_empty() {
            buffer.put(early);
        }
        Course { tunnel, side, track: Track::new(rules), buffer, held: Vec::new(), expects_bulk: false }
    }

    /// Runs to its end.
    pub(super) async fn run(&mut self) -> Result<(), Broken> {
        match self.relay().await {
            // What the sink's peer has sent, perhaps its last word, is still the other course's to read; and what ours
            // sends has nowhere to go.
            Err(broken) if broken == self.sink_gone() => {
                self.tunnel.broken.set(self.tunnel.broken.get().or(Some(broken)));
                self.tunnel.tell();
                self.discard().await;
                Ok(())
            }
            ended => ended,
        }
    }

    /// Relays until the source has sent its last, or somebody says goodbye.
    async fn relay(&mut self) -> Result<(), Broken> {
        loop {
            match self.pass_on().await? {
                Then::Closed(code) => {
                    self.tunnel.saw_close(self.side, code);
                    self.discard().await;
                    return Ok(());
                }
                Then::Refused(refusal) => self.tunnel.part(self.end_of(refusal)),
                Then::Hold => {}
                Then::Await | Then::Swallow(_) => match self.arrival().await? {
                    Event::Bytes => continue,
                    Event::End => {
                        self.tunnel.saw_end(self.source_gone().0);
                        if self.tunnel.broken.get().is_none() {
                            self.sink().shutdown_write();
                        }
                        return Ok(());
                    }
                    Event::Called => {}
                },
            }
            // Here the sink stands between two frames, and something is to be said.
            match self.tunnel.farewell.get() {
                Some(farewell) => return self.leave(farewell).await,
                None => self.ping().await?,
            }
        }
    }

    /// Passes on all that may pass of what is in the buffer.
    async fn pass_on(&mut self) -> Result<Then, Broken> {
        loop {
            let (tunnel, side) = (self.tunnel, self.side);
            let bulk_min = tunnel.rules.splice_bytes_min + HEADER_READ_BYTES as u64;
            let mut is_bulk = self.expects_bulk;
            let judge = |header: &ws::Header, payload: &[u8]| {
                is_bulk = header.payload >= bulk_min;
                tunnel.judge(side, header, payload)
            };
            let passage = self.track.advance(self.buffer.filled(), judge);
            self.expects_bulk = is_bulk;
            self.send(passage.pass).await?;
            match passage.then {
                Then::Swallow(frame) => self.buffer.consume(frame),
                then => return Ok(then),
            }
        }
    }

    /// Waits for bytes and takes them into the buffer, or past it. A call comes first, between two frames.
    async fn arrival(&mut self) -> Result<Event, Broken> {
        let (tunnel, side) = (self.tunnel, self.side);
        let heeds = self.track.is_between_frames();
        loop {
            self.hold();
            if !self.arrived(|| heeds && tunnel.is_calling(side)).await? {
                return Ok(Event::Called);
            }
            if self.track.payload_left() >= tunnel.rules.splice_bytes_min
                && let (Some(source), Some(sink)) = (self.source().raw(), self.sink().raw())
                && let Some(pipe) = tunnel.resources.io.pipes.take()
            {
                return self.splice(pipe, source, sink).await;
            }
            match self.receive()? {
                Some(0) => return Ok(Event::End),
                Some(_) => return Ok(Event::Bytes),
                None => {}
            }
        }
    }

    /// Waits until it is worth while to read. False: it was called.
    async fn arrived(&self, is_called: impl Fn() -> bool) -> Result<bool, Broken> {
        let arrived = self.source().arrival_unless(&self.tunnel.resources.io.timers, is_called).await;
        arrived.map_err(|_| self.source_gone())
    }

    /// Reads behind what was held back.
    fn receive(&mut self) -> Result<Option<usize>, Broken> {
        if !self.held.is_empty() {
            self.buffer.put(&std::mem::take(&mut self.held));
        }
        let source = self.source();
        let room = self.buffer.room();
        let is_small = self.expects_bulk && self.track.is_between_frames();
        let bytes_max = if is_small { room.len().min(HEADER_READ_BYTES) } else { room.len() };
        let received = source.try_recv(&mut room[..bytes_max]).map_err(|_| self.source_gone())?;
        self.buffer.fill(received.unwrap_or(0));
        Ok(received)
    }

    /// Gives the buffer's memory back. What is left in it is shorter than a control frame.
    fn hold(&mut self) {
        self.held.extend_from_slice(self.buffer.filled());
        self.buffer.clear();
        self.buffer.release_if_empty();
    }

    /// Moves what has arrived of the current payload through the pipe, exactly to the frame's end at most.
    async fn splice(
        &mut self,
        mut pipe: Pipe,
        source: &StreamSocket,
        sink: &StreamSocket,
    ) -> Result<Event, Broken> {
        let pipes = self.tunnel.resources.io.pipes.open() as u64;
        self.tunnel.resources.metrics.tunnels.pipes_open.set(pipes);
        loop {
            let wanted = self.track.payload_left().min(PIPE_BYTES as u64) as usize;
            match pipe.pull(source, wanted).map_err(|_| self.source_gone())? {
                Some(0) => return Ok(Event::End),
                Some(pulled) => self.track.passed(pulled as u64),
                None => return Ok(Event::Bytes),
            }
            while !pipe.is_empty() {
                match pipe.push(sink).map_err(|_| self.sink_gone())? {
                    Some(pushed) => self.tunnel.moved(self.side, pushed, true),
                    None => self.room().await?,
                }
            }
            if self.track.is_between_frames() || !self.source().may_read_on() {
                return Ok(Event::Bytes);
            }
        }
    }

    /// Sends so many bytes from the front of the buffer.
    async fn send(&mut self, mut left: usize) -> Result<(), Broken> {
        while left > 0 {
            match self.sink().try_send(&self.buffer.filled()[..left]).map_err(|_| self.sink_gone())? {
                Some(sent) => {
                    self.buffer.consume(sent);
                    left -= sent;
                    self.tunnel.moved(self.side, sent, false);
                }
                None => self.room().await?,
            }
        }
        Ok(())
    }

    /// Sends a frame of our own. The sink stands between two frames.
    async fn send_frame(&self, frame: &ControlFrame) -> Result<(), Broken> {
        let mut left = frame.as_bytes();
        while !left.is_empty() {
            match self.sink().try_send(left).map_err(|_| self.sink_gone())? {
                Some(sent) => {
                    left = &left[sent..];
                    if self.side == Side::Down {
                        self.tunnel.written.set(self.tunnel.written.get() + sent as u64);
                    }
                }
                None => self.room().await?,
            }
        }
        Ok(())
    }

    /// Waits until the sink takes more. Nothing is read from the source meanwhile: that is the back-pressure.
    async fn room(&self) -> Result<(), Broken> {
        self.sink().room(&self.tunnel.resources.io.timers).await.map_err(|_| self.sink_gone())
    }

    async fn ping(&self) -> Result<(), Broken> {
        // Whatever the client says or takes from now on is a sign of life.
        let ping = Ping::Sent(clock::now_ms());
        self.tunnel.ping.set(ping);
        self.tunnel.look_at_queue(ping);
        self.tunnel.resources.metrics.tunnels.pings.add(1);
        self.tunnel.tell();
        self.send_frame(&ws::ping(&self.tunnel.mark)).await
    }

    /// Sends our Close frame to the sink, and waits for the source to come to its end.
    async fn leave(&mut self, farewell: Farewell) -> Result<(), Broken> {
        let word = self.tunnel.resources.ids.next_word().to_be_bytes();
        let frame = farewell.frame(self.side, [word[0], word[1], word[2], word[3]]);
        self.send_frame(&frame).await?;
        if self.side == Side::Up && !farewell.is_deaf() {
            self.await_close().await;
        }
        match self.side {
            Side::Down => {
                self.tunnel.has_told_client.set(true);
                if self.tunnel.is_up_over.get() {
                    self.tunnel.client_done_ms.set(clock::now_ms());
                }
            }
            // Of what a deaf farewell cuts off, its Close frame will not be found: nothing is waited for.
            Side::Up => self.tunnel.client_done_ms.set(clock::now_ms()),
        }
        self.tunnel.tell();
        self.tunnel.end_client_if_done();
        if self.side == Side::Down || farewell.is_deaf() {
            self.discard().await;
        }
        Ok(())
    }

    /// Reads on to the client's own Close frame, or to its end, whichever way that comes. Nothing of it goes upstream.
    async fn await_close(&mut self) {
        loop {
            let passage = self.track.advance(self.buffer.filled(), |_, _| Verdict::Pass);
            self.buffer.consume(passage.pass);
            match passage.then {
                Then::Closed(_) => return,
                Then::Refused(_) => return self.discard().await,
                Then::Await | Then::Swallow(_) | Then::Hold => {}
            }
            self.hold();
            if self.arrived(|| false).await.is_err() || matches!(self.receive(), Ok(Some(0)) | Err(_)) {
                return;
            }
        }
    }

    /// Reads and throws away what the source still sends, to its end, and passes that on: whatever is to be said before
    /// it has been said. The minder bounds the time.
    async fn discard(&mut self) {
        self.held = Vec::new();
        self.expects_bulk = false;
        loop {
            self.buffer.clear();
            self.buffer.release_if_empty();
            if self.arrived(|| false).await.is_err() || matches!(self.receive(), Ok(Some(0)) | Err(_)) {
                return self.sink().shutdown_write();
            }
        }
    }

    fn end_of(&self, refusal: FrameRefusal) -> TunnelEnd {
        match (refusal, self.side) {
            (FrameRefusal::Broken(_), Side::Up) => TunnelEnd::ClientMisbehaved,
            (FrameRefusal::Broken(_), Side::Down) => TunnelEnd::UpstreamMisbehaved,
            (FrameRefusal::TooBig, _) => TunnelEnd::MessageTooBig,
            (FrameRefusal::TooMany, _) => TunnelEnd::TooManyMessages,
        }
    }

    fn source(&self) -> &'t Transport {
        match self.side {
            Side::Up => &self.tunnel.client,
            Side::Down => &self.tunnel.upstream,
        }
    }

    fn sink(&self) -> &'t Transport {
        match self.side {
            Side::Up => &self.tunnel.upstream,
            Side::Down => &self.tunnel.client,
        }
    }

    fn source_gone(&self) -> Broken {
        match self.side {
            Side::Up => Broken(TunnelEnd::ClientGone),
            Side::Down => Broken(TunnelEnd::UpstreamGone),
        }
    }

    fn sink_gone(&self) -> Broken {
        match self.side {
            Side::Up => Broken(TunnelEnd::UpstreamGone),
            Side::Down => Broken(TunnelEnd::ClientGone),
        }
    }
}

/// What a read takes where a large frame is expected, in bytes: its header, and as much of small frames as comes
/// before.
const HEADER_READ_BYTES: usize = 1_024;

impl Tunnel {
    /// Something is to be sent where this course leads.
    pub(super) fn is_calling(&self, side: Side) -> bool {
        self.farewell.get().is_some() || (side == Side::Down && self.ping.get() == Ping::Due)
    }
}
