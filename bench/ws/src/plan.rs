//! What a load is asked to do, and what it tells afterwards.

use std::net::SocketAddr;
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use crate::frame::{self, Side};
use crate::socket::{Burst, Pattern};

pub struct Plan {
    pub to: SocketAddr,
    pub path: String,
    pub token: Option<String>,
    pub idle: usize,
    pub busy: usize,
    pub traffic: Traffic,
    pub frame_bytes: usize,
    pub measured: Duration,
    /// Wait for a line of standard input before the measured time, and after it.
    pub stepped: bool,
}

/// What a busy tunnel does.
#[derive(Clone, Copy, PartialEq)]
pub enum Traffic {
    /// A message, and its echo.
    Echo,
    /// Bulk from the origin to the client.
    Down,
    /// Bulk from the client to the origin.
    Up,
}

impl FromStr for Traffic {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "echo" => Ok(Self::Echo),
            "down" => Ok(Self::Down),
            "up" => Ok(Self::Up),
            _ => Err(()),
        }
    }
}

/// What a busy tunnel sends over and over, and what comes back.
pub struct Question {
    /// A message, or the command for bulk.
    pub frame: Vec<u8>,
    /// The bulk that follows the command, if it goes up.
    pattern: Option<Rc<Pattern>>,
    burst_frames: u64,
    /// Frames of the answer.
    pub answer_frames: u64,
    /// What an answer stands for: messages of `frame_bytes` relayed in either direction.
    pub messages: u64,
}

impl Question {
    pub fn new(traffic: Traffic, frame_bytes: usize) -> Self {
        // Small frames come in bursts, so that asking for them costs nothing beside them.
        let burst_frames = (BURST_BYTES / frame_bytes.max(1) as u64).max(1);
        let bulk_bytes = burst_frames * frame_bytes as u64;
        let (opcode, payload, answer_frames, messages) = match traffic {
            Traffic::Echo => (frame::BINARY, vec![b'x'; frame_bytes], 1, 2),
            Traffic::Down => {
                (frame::TEXT, format!("send {frame_bytes} {burst_frames}").into(), burst_frames, burst_frames)
            }
            Traffic::Up => (frame::TEXT, format!("sink {bulk_bytes}").into(), 1, burst_frames),
        };
        let mut frame = Vec::new();
        frame::put(&mut frame, Side::Client, opcode, &payload);
        let pattern = (traffic == Traffic::Up).then(|| Pattern::new(Side::Client, frame_bytes));
        Self { frame, pattern, burst_frames, answer_frames, messages }
    }

    pub fn burst(&self) -> Option<Burst> {
        self.pattern.as_ref().map(|pattern| Burst::new(Rc::clone(pattern), self.burst_frames))
    }
}

/// What came through in the measured time. Both messages of an echo count, and the payload of both.
#[derive(Default)]
pub struct Report {
    pub messages: u64,
    pub bytes: u64,
    pub seconds: f64,
}

impl Report {
    pub fn json(&self) -> String {
        let Self { messages, bytes, seconds } = self;
        format!("{{\"messages\": {messages}, \"bytes\": {bytes}, \"seconds\": {seconds:.3}}}")
    }
}

/// One question's worth of bulk, in bytes.
const BURST_BYTES: u64 = 16 * 1024 * 1024;
