//! The two peers of a tunnel and its clock, as plain values.

use std::collections::VecDeque;

use crate::gateway::websocket::tunnel::direction::Direction;
use crate::gateway::websocket::tunnel::event::Event;
use crate::gateway::websocket::tunnel::keepalive::Ping;
use crate::gateway::websocket::tunnel::phase::{Conclusion, Phase};
use crate::gateway::websocket::tunnel::relay::{Receive, Work};
use crate::gateway::websocket::tunnel::rules::TunnelRules;
use crate::gateway::websocket::tunnel::state::{Beginning, TunnelState};
use crate::gateway::websocket::tunnel::testing::rules;
use crate::gateway::websocket::tunnel::timers::Drain;
use crate::limits::BUFFER_BYTES;
use crate::telemetry::TunnelEnd;

/// What pings carry here.
pub(super) const PING_PAYLOAD: [u8; 8] = *b"ourmark!";
const BEGUN_MS: u64 = 1_000_000;
const BEGUN_UNIX_S: u64 = 1_700_000_000;

/// One peer, as its socket shows it.
pub(super) struct Peer {
    /// Sent and not taken by the tunnel yet.
    pub(super) sends: VecDeque<u8>,
    /// It sends no more than that.
    pub(super) has_ended: bool,
    /// Its socket cannot be read behind that.
    pub(super) is_lost: bool,
    /// Its socket takes nothing more.
    pub(super) refuses: bool,
    /// Bytes that its socket still takes.
    pub(super) room: usize,
    /// What it got.
    pub(super) got: Vec<u8>,
    /// It got the end.
    pub(super) got_end: bool,
    /// Bytes that its kernel has not acknowledged.
    pub(super) unacknowledged: u64,
}

/// A tunnel with its surroundings.
pub(super) struct World {
    pub(super) state: TunnelState,
    pub(super) client: Peer,
    pub(super) upstream: Peer,
    /// The most that one read gives.
    pub(super) read_bytes_max: usize,
    pub(super) has_pipes: bool,
    pub(super) now_ms: u64,
    /// How far the wall clock is ahead of where it would be.
    pub(super) wall_ahead_s: i64,
    pub(super) pings: u32,
    buffers: [Vec<u8>; 2],
    pipes: [VecDeque<u8>; 2],
}

/// A frame as a client or a server sends it.
pub(super) fn frame(first: u8, payload: &[u8], is_masked: bool) -> Vec<u8> {
    let mask_bit = if is_masked { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..126 => bytes.push(mask_bit | short as u8),
        long @ 126..0x1_0000 => {
            bytes.push(mask_bit | 126);
            bytes.extend((long as u16).to_be_bytes());
        }
        long => {
            bytes.push(mask_bit | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    if is_masked {
        bytes.extend([0; 4]);
    }
    bytes.extend(payload);
    bytes
}

/// A Close frame.
pub(super) fn close(code: u16, is_masked: bool) -> Vec<u8> {
    frame(0x88, &code.to_be_bytes(), is_masked)
}

/// Takes whole frames off the front: the first byte of each and its payload, without its mask.
pub(super) fn take_frames(bytes: &mut Vec<u8>) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some((frame, length)) = first_frame(bytes) {
        frames.push(frame);
        bytes.drain(..length);
    }
    frames
}

fn first_frame(bytes: &[u8]) -> Option<((u8, Vec<u8>), usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (length, mut at) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
        short => (u64::from(short), 2),
    };
    let mut mask = [0; 4];
    if second & 0x80 != 0 {
        mask = bytes.get(at..at + 4)?.try_into().ok()?;
        at += 4;
    }
    let payload = bytes.get(at..at + length as usize)?;
    let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    Some(((first, payload), at + length as usize))
}

impl Peer {
    fn new() -> Peer {
        Peer {
            sends: VecDeque::new(),
            has_ended: false,
            is_lost: false,
            refuses: false,
            room: usize::MAX,
            got: Vec::new(),
            got_end: false,
            unacknowledged: 0,
        }
    }

    /// The frames that it got since it was last asked.
    pub(super) fn frames(&mut self) -> Vec<(u8, Vec<u8>)> {
        take_frames(&mut self.got)
    }

    /// The code of the one Close frame that it got, and nothing else.
    #[track_caller]
    pub(super) fn close_code(&mut self) -> u16 {
        let frames = self.frames();
        let [(0x88, payload)] = &frames[..] else { panic!("one Close frame, not {frames:02x?}") };
        u16::from_be_bytes([payload[0], payload[1]])
    }
}

impl World {
    pub(super) fn new() -> World {
        World::with(rules())
    }

    pub(super) fn with(rules: TunnelRules) -> World {
        World::expiring(rules, None)
    }

    /// `token_s`: how long the token still holds.
    pub(super) fn expiring(rules: TunnelRules, token_s: Option<u64>) -> World {
        let beginning = Beginning {
            has_extension: false,
            expires_unix_s: token_s.map(|left_s| BEGUN_UNIX_S + left_s),
            unix_s: BEGUN_UNIX_S,
            ping_payload: PING_PAYLOAD,
            early_in: Vec::new(),
            early_out: Vec::new(),
            ownership: None,
            context: None,
        };
        World {
            state: TunnelState::new(rules, beginning, BEGUN_MS),
            client: Peer::new(),
            upstream: Peer::new(),
            read_bytes_max: usize::MAX,
            has_pipes: true,
            now_ms: BEGUN_MS,
            wall_ahead_s: 0,
            pings: 0,
            buffers: Default::default(),
            pipes: Default::default(),
        }
    }

    /// Milliseconds since the tunnel began.
    pub(super) fn age_ms(&self) -> u64 {
        self.now_ms - BEGUN_MS
    }

    pub(super) fn peer(&mut self, is_client: bool) -> &mut Peer {
        if is_client { &mut self.client } else { &mut self.upstream }
    }

    /// The client sends this.
    pub(super) fn client_sends(&mut self, bytes: impl AsRef<[u8]>) -> &mut World {
        self.client.sends.extend(bytes.as_ref());
        self.turn();
        self
    }

    /// The upstream sends this.
    pub(super) fn upstream_sends(&mut self, bytes: impl AsRef<[u8]>) -> &mut World {
        self.upstream.sends.extend(bytes.as_ref());
        self.turn();
        self
    }

    /// The core begins to drain.
    pub(super) fn drain(&mut self, departs_in_ms: u64, cut_in_ms: u64) {
        let (departs_ms, cut_ms) = (self.now_ms + departs_in_ms, self.now_ms + cut_in_ms);
        self.tell(Event::Drain(Drain { departs_ms, cut_ms }));
        self.turn();
    }

    /// How both sockets are closed, and why.
    #[track_caller]
    pub(super) fn over(&self) -> (Conclusion, TunnelEnd, Option<u16>) {
        let (end, code) = self.state.end();
        (self.state.conclusion().expect("an end"), end, code)
    }

    /// Time passes, and everything in it happens.
    pub(super) fn pass(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        self.turn();
        let mut at_once = 0;
        while let Some(deadline_ms) = self.state.next_deadline_ms().filter(|at_ms| *at_ms <= until_ms) {
            at_once = if deadline_ms > self.now_ms { 0 } else { at_once + 1 };
            assert!(at_once < 10, "a deadline that does not go away: {:?}", self.state);
            self.now_ms = self.now_ms.max(deadline_ms);
            self.tell(Event::Deadline { unix_s: self.unix_s(), unacknowledged: self.client.unacknowledged });
            self.turn();
        }
        self.now_ms = until_ms;
    }

    /// Both directions go as far as they can.
    pub(super) fn turn(&mut self) {
        let mut steps = 0;
        while Direction::BOTH.map(|direction| self.step(direction)).contains(&true) {
            steps += 1;
            assert!(steps < 1_000_000, "work without an end: {:?}", self.state);
        }
    }

    /// Puts the bytes at hand where they are written down with the state.
    pub(super) fn hold(&mut self) {
        for (direction, at) in [(Direction::Up, 0), (Direction::Down, 1)] {
            self.state.held_mut(direction).append(&mut self.buffers[at]);
        }
    }

    /// The buffer of a direction, with what was held back in front.
    fn buffer(&mut self, direction: Direction) -> &mut Vec<u8> {
        let held = std::mem::take(self.state.held_mut(direction));
        let buffer = &mut self.buffers[direction as usize];
        buffer.splice(..0, held);
        buffer
    }

    pub(super) fn unix_s(&self) -> u64 {
        (BEGUN_UNIX_S + self.age_ms() / 1_000).saturating_add_signed(self.wall_ahead_s)
    }

    fn source(&mut self, direction: Direction) -> &mut Peer {
        match direction {
            Direction::Up => &mut self.client,
            Direction::Down => &mut self.upstream,
        }
    }

    /// One piece of work. False: there is none that can be done now.
    fn step(&mut self, direction: Direction) -> bool {
        match self.state.work(direction) {
            Work::Rest => {
                self.buffers[direction as usize].clear();
                return false;
            }
            Work::Judge => {
                let bytes = std::mem::take(self.buffer(direction));
                self.tell(Event::Bytes(direction, &bytes));
                self.give_back(direction, bytes);
            }
            Work::Skip(bytes) => {
                self.buffer(direction).drain(..bytes);
                self.tell(Event::Skipped(direction));
            }
            Work::SendOwnFrame => {
                let unacknowledged = self.client.unacknowledged;
                self.tell(Event::Boundary { direction, mask: [9, 8, 7, 6], unacknowledged });
            }
            Work::Send(bytes) => {
                let Some(sent) = self.sink_takes(direction, bytes) else { return false };
                let bytes: Vec<u8> = self.buffer(direction).drain(..sent).collect();
                return self.sent(direction, &bytes, Event::Sent(direction, sent));
            }
            Work::SendOwn => {
                let own = self.state.own_frame(direction).to_vec();
                let Some(sent) = self.sink_takes(direction, own.len()) else { return false };
                return self.sent(direction, &own[..sent], Event::OwnSent(direction, sent));
            }
            Work::Push => {
                let held = self.pipes[direction as usize].len();
                let Some(sent) = self.sink_takes(direction, held) else { return false };
                let bytes: Vec<u8> = self.pipes[direction as usize].drain(..sent).collect();
                return self.sent(direction, &bytes, Event::Pushed(direction, sent));
            }
            Work::Receive(how) => return self.receive(direction, how),
            Work::Discard => return self.discard(direction),
        }
        true
    }

    /// How much of it the sink takes; 0: it takes nothing more, ever. `None`: nothing now.
    fn sink_takes(&mut self, direction: Direction, bytes: usize) -> Option<usize> {
        let sink = self.source(direction.opposite());
        match (sink.refuses, sink.room.min(bytes)) {
            (true, _) => Some(0),
            (false, 0) => None,
            (false, taken) => Some(taken),
        }
    }

    fn sent(&mut self, direction: Direction, bytes: &[u8], event: Event<'_>) -> bool {
        let sink = self.source(direction.opposite());
        if bytes.is_empty() {
            self.tell(Event::SinkLost(direction));
            return true;
        }
        assert!(!sink.got_end, "bytes behind the end");
        sink.got.extend(bytes);
        sink.room = sink.room.saturating_sub(bytes.len());
        self.tell(event);
        true
    }

    fn receive(&mut self, direction: Direction, how: Receive) -> bool {
        let room = BUFFER_BYTES - self.buffer(direction).len();
        let read_bytes_max = self.read_bytes_max.min(room);
        let is_spliced = how.splice_bytes_max > 0 && how.is_bulk && self.has_pipes;
        let bytes_max = if is_spliced { how.splice_bytes_max } else { how.read_bytes_max };
        let source = self.source(direction);
        let length = source.sends.len().min(bytes_max).min(read_bytes_max);
        if length == 0 {
            let event = match (source.is_lost, source.has_ended) {
                (true, _) => Event::SourceLost(direction),
                (false, true) => Event::Ended(direction),
                (false, false) => return false,
            };
            self.tell(event);
            return true;
        }
        let bytes: Vec<u8> = source.sends.drain(..length).collect();
        if is_spliced {
            self.pipes[direction as usize].extend(&bytes);
            self.tell(Event::Pulled(direction, length));
        } else {
            self.buffer(direction).extend(&bytes);
            let bytes = std::mem::take(self.buffer(direction));
            self.tell(Event::Bytes(direction, &bytes));
            self.give_back(direction, bytes);
        }
        true
    }

    fn discard(&mut self, direction: Direction) -> bool {
        self.buffers[direction as usize].clear();
        self.pipes[direction as usize].clear();
        let source = self.source(direction);
        let had = !source.sends.is_empty();
        source.sends.clear();
        if !had && !source.is_lost && !source.has_ended {
            return false;
        }
        if !had {
            self.tell(Event::Ended(direction));
        }
        true
    }

    fn give_back(&mut self, direction: Direction, bytes: Vec<u8>) {
        self.buffers[direction as usize] = bytes;
    }

    /// Tells the state, and checks what must hold for every event.
    pub(super) fn tell(&mut self, event: Event<'_>) {
        let before = self.state.clone();
        let actions = self.state.on(event, self.now_ms);
        assert!(rank(&self.state.phase) >= rank(&before.phase), "{:?} after {:?}", self.state.phase, before);
        assert!(before.end.is_none() || before.end == self.state.end, "a second end");
        let ping = before.timers.keepalive.ping;
        assert!(!actions.pings || ping == Ping::Due, "a ping that was not due: {ping:?}");
        self.pings += u32::from(actions.pings);
        self.client.got_end |= actions.ends_client;
        self.upstream.got_end |= actions.ends_upstream;
    }
}

/// How far right a phase is.
fn rank(phase: &Phase) -> u8 {
    match phase {
        Phase::Open => 0,
        Phase::Broken(_) => 1,
        Phase::PeerClosing { .. } => 2,
        Phase::Closing(_) => 3,
        Phase::Over(_) => 4,
    }
}
