//! A conversation on one WebSocket that never rests: every byte that comes back is the one that is due.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::harness::*;

/// A client with a thread that sends and one that compares what comes back.
pub(super) struct Talk {
    is_over: Arc<AtomicBool>,
    echoed: Arc<AtomicU64>,
    threads: [JoinHandle<Result<(), String>>; 2],
}

impl Talk {
    /// Messages of at most `largest` bytes, a different sequence for each seed, some in fragments with a ping between
    /// them.
    #[track_caller]
    pub(super) fn start(gateway: SocketAddr, user: &str, seed: u64, largest: usize) -> Talk {
        let mut stream = TcpStream::connect(gateway).expect("the gateway listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(&handshake().bearer(&token(user)).bytes()).expect("a handshake");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an answer");
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", show(&head));
        let (is_over, echoed) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let due = Arc::new(Mutex::new(VecDeque::new()));
        let sender = {
            let (due, is_over) = (due.clone(), is_over.clone());
            let stream = stream.try_clone().expect("a descriptor");
            thread::spawn(move || send(stream, seed, largest, &due, &is_over))
        };
        let receiver = {
            let echoed = echoed.clone();
            thread::spawn(move || compare(stream, &due, &echoed))
        };
        Talk { is_over, echoed, threads: [sender, receiver] }
    }

    /// Frames that have come back.
    pub(super) fn echoed(&self) -> u64 {
        self.echoed.load(Ordering::SeqCst)
    }

    /// Ends the conversation with a close handshake. What went wrong.
    pub(super) fn end(self) -> Result<(), String> {
        self.is_over.store(true, Ordering::SeqCst);
        let [sender, receiver] = self.threads.map(|thread| thread.join().expect("no panic"));
        sender.and(receiver)
    }
}

fn send(
    mut stream: TcpStream,
    seed: u64,
    largest: usize,
    due: &Mutex<VecDeque<Frame>>,
    is_over: &AtomicBool,
) -> Result<(), String> {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize
    };
    while !is_over.load(Ordering::SeqCst) {
        let size = match next() % 8 {
            0 => next() % largest.max(1),
            1 => next() % 5_000,
            _ => next() % 200,
        };
        let payload: Vec<u8> = (0..size).map(|at| (at * 7 + size) as u8).collect();
        let frames = match next() % 4 {
            0 => {
                let cut = next() % (size + 1);
                vec![
                    Frame::new(0x02, &payload[..cut]),
                    Frame::ping([size as u8]),
                    Frame::new(0x80, &payload[cut..]),
                ]
            }
            _ => vec![Frame::new(0x82, &payload)],
        };
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::masked).collect();
        let expected = frames.into_iter().map(|frame| match frame.first {
            0x89 => Frame { first: 0x8a, ..frame },
            _ => frame,
        });
        due.lock().expect("no panic").extend(expected);
        // In two parts, so that the upgrade also comes within a frame.
        let (first, second) = bytes.split_at(next() % (bytes.len() + 1));
        stream.write_all(first).map_err(|error| format!("sending: {error}"))?;
        thread::sleep(Duration::from_micros((next() % 10_000) as u64));
        stream.write_all(second).map_err(|error| format!("sending: {error}"))?;
    }
    due.lock().expect("no panic").push_back(Frame::close(1000, ""));
    stream.write_all(&Frame::close(1000, "").masked()).map_err(|error| format!("closing: {error}"))
}

fn compare(mut stream: TcpStream, due: &Mutex<VecDeque<Frame>>, echoed: &AtomicU64) -> Result<(), String> {
    let (mut bytes, mut space) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        while let Some(frame) = Frame::take(&mut bytes) {
            let expected = due.lock().expect("no panic").pop_front();
            if expected.as_ref() != Some(&frame) {
                let told = |frame: &Frame| format!("{:02x} {}", frame.first, show(&frame.payload));
                let expected = expected.as_ref().map(told);
                return Err(format!("{} came, and {expected:?} was due", told(&frame)));
            }
            echoed.fetch_add(1, Ordering::SeqCst);
            if frame.first == 0x88 {
                return match stream.read(&mut space) {
                    Ok(0) => Ok(()),
                    other => Err(format!("after the Close frame: {other:?}")),
                };
            }
        }
        match stream.read(&mut space) {
            Ok(0) => return Err(format!("closed with {} bytes of a frame", bytes.len())),
            Ok(count) => bytes.extend(&space[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("receiving: {error}")),
        }
    }
}

/// Waits until every conversation has gone on.
#[track_caller]
pub(super) fn go_on(talks: &[Talk]) {
    let before: Vec<u64> = talks.iter().map(Talk::echoed).collect();
    eventually("every conversation goes on", || {
        talks.iter().zip(&before).all(|(talk, before)| talk.echoed() > before + 3)
            || talks.iter().any(|talk| talk.threads.iter().any(JoinHandle::is_finished))
    });
}

/// Ends all of them, none of which has seen anything.
#[track_caller]
pub(super) fn unnoticed(talks: Vec<Talk>) {
    let told: Vec<String> = talks.into_iter().filter_map(|talk| talk.end().err()).collect();
    assert!(told.is_empty(), "{told:#?}");
}
