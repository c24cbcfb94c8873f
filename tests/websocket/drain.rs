//! Many tunnels at once: cut at random, stalled, spliced, handed over, drained.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size, set_socket_send_buffer_size};
use rustix::process::Signal;

use crate::harness::*;

/// One end of a tunnel among many: nothing here waits.
struct Peer {
    stream: TcpStream,
    arrived: Vec<u8>,
    unsent: VecDeque<u8>,
    has_switched: bool,
    /// It ends once everything is sent.
    is_leaving: bool,
    /// The end: in order or by reset.
    is_over: bool,
}

impl Peer {
    fn new(stream: TcpStream) -> Peer {
        stream.set_nonblocking(true).expect("a socket that never waits");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let (arrived, unsent) = (Vec::new(), VecDeque::new());
        Peer { stream, arrived, unsent, has_switched: false, is_leaving: false, is_over: false }
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.unsent.extend(bytes.as_ref());
        self.push();
    }

    fn push(&mut self) {
        while !self.unsent.is_empty() && !self.is_over {
            match self.stream.write(self.unsent.as_slices().0) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.is_over = true,
            }
        }
        self.is_over |= self.is_leaving;
    }

    fn pull(&mut self) {
        let mut space = [0; 1 << 16];
        match self.stream.read(&mut space) {
            Ok(0) => self.is_over = true,
            Ok(count) => self.arrived.extend(&space[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.is_over = true,
        }
    }

    /// Its handshake or the answer, if it is whole now.
    fn take_head(&mut self) -> Option<String> {
        let end = self.arrived.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = self.arrived.drain(..end).collect();
        self.has_switched = true;
        Some(String::from_utf8(head).expect("ASCII"))
    }

    fn reset(mut self) {
        set_socket_linger(&self.stream, Some(Duration::ZERO)).expect("SO_LINGER");
        self.is_over = true;
    }
}

/// Moves what can be moved now, after waiting for it a moment.
fn turn(peers: &mut [Peer]) {
    let mut polled: Vec<(usize, PollFd<'_>)> = Vec::new();
    for (at, peer) in peers.iter().enumerate().filter(|(_, peer)| !peer.is_over) {
        let out = if peer.unsent.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        polled.push((at, PollFd::new(&peer.stream, PollFlags::IN | out)));
    }
    let mut fds: Vec<PollFd<'_>> = polled.iter().map(|(_, fd)| fd.clone()).collect();
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 5_000_000 })).expect("poll");
    let ready: Vec<(usize, PollFlags)> =
        polled.iter().zip(&fds).map(|((at, _), fd)| (*at, fd.revents())).collect();
    for (at, flags) in ready {
        if flags.contains(PollFlags::OUT) {
            peers[at].push();
        }
        if flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            peers[at].pull();
        }
    }
}

/// An upstream whose many tunnels share one thread.
struct Crowd {
    address: SocketAddr,
    is_stopped: Arc<AtomicBool>,
}

impl Crowd {
    /// Each tunnel is looked at again and again.
    fn new(mut look: impl FnMut(&mut Peer) + Send + 'static) -> Crowd {
        Crowd::together(move |peers| peers.iter_mut().for_each(&mut look))
    }

    /// All tunnels are looked at again and again.
    fn together(look: impl FnMut(&mut [Peer]) + Send + 'static) -> Crowd {
        Crowd::at(TcpListener::bind("127.0.0.1:0").expect("a free port"), look)
    }

    /// The same at this listener, whose connections inherit what is set on it.
    fn at(listener: TcpListener, mut look: impl FnMut(&mut [Peer]) + Send + 'static) -> Crowd {
        let address = listener.local_addr().expect("the port");
        listener.set_nonblocking(true).expect("a listener that never waits");
        // Many handshakes come at once.
        rustix::net::listen(&listener, 4_096).expect("a long queue");
        let is_stopped = Arc::new(AtomicBool::new(false));
        let stopped = is_stopped.clone();
        thread::spawn(move || {
            let mut peers = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                while let Ok((stream, _)) = listener.accept() {
                    peers.push(Peer::new(stream));
                }
                turn(&mut peers);
                for peer in peers.iter_mut().filter(|peer| !peer.has_switched) {
                    if peer.take_head().is_some() {
                        peer.send(switching(""));
                    }
                }
                look(&mut peers);
                peers.retain(|peer| !peer.is_over);
            }
        });
        Crowd { address, is_stopped }
    }

    /// Sends every frame back; resets where it is told to.
    fn echoing() -> Crowd {
        Crowd::new(|peer| {
            while let Some(frame) = Frame::take(&mut peer.arrived) {
                assert!(frame.is_masked, "a client's frame is masked");
                if frame.payload == CUT {
                    set_socket_linger(&peer.stream, Some(Duration::ZERO)).expect("SO_LINGER");
                    peer.is_over = true;
                }
                peer.send(frame.plain());
                peer.is_leaving |= frame.first == 0x88;
            }
        })
    }

    fn gateway(&self) -> Builder {
        open_many_files();
        let url = format!("http://{}", self.address);
        SERVICES.iter().fold(Gateway::builder(), |builder, service| builder.upstream_url(service, &url))
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }
}

/// An upstream that gets this resets.
const CUT: &[u8] = b"cut";

/// So many tunnels, not more handshakes at once than a core asks of an upstream (`UPSTREAM_MAX_IN_FLIGHT`).
#[track_caller]
fn open(gateway: &Gateway, count: usize) -> Vec<Peer> {
    let mut peers = Vec::new();
    while peers.len() < count {
        let streams = (peers.len()..count.min(peers.len() + 500))
            .map(|_| TcpStream::connect(gateway.public).expect("a connection"));
        peers.extend(switch(streams.collect()));
    }
    peers
}

/// These connections as tunnels, their handshakes all at once.
#[track_caller]
fn switch(streams: Vec<TcpStream>) -> Vec<Peer> {
    let mut peers: Vec<Peer> = streams.into_iter().map(Peer::new).collect();
    let request = handshake().token("ann").bytes();
    peers.iter_mut().for_each(|peer| peer.send(&request));
    let deadline = Instant::now() + 2 * PATIENCE;
    while peers.iter().any(|peer| !peer.has_switched) {
        turn(&mut peers);
        assert!(Instant::now() < deadline, "not every handshake is answered");
        for peer in peers.iter_mut().filter(|peer| !peer.has_switched) {
            if let Some(head) = peer.take_head() {
                assert!(head.starts_with("HTTP/1.1 101 "), "{head}{}", show(&peer.arrived));
            }
            assert!(!peer.is_over, "closed instead of an answer");
        }
    }
    peers
}

/// Turns until it holds.
#[track_caller]
fn turn_until(peers: &mut [Peer], what: &str, mut holds: impl FnMut(&mut [Peer]) -> bool) {
    let deadline = Instant::now() + 2 * PATIENCE;
    while !holds(peers) {
        assert!(Instant::now() < deadline, "never happened: {what}");
        turn(peers);
    }
}

/// Every one of these sends a frame and gets it back.
#[track_caller]
fn expect_echoes(peers: &mut [Peer]) {
    let (frame, mut echoes) = (Frame::text("still there?"), vec![false; peers.len()]);
    peers.iter_mut().for_each(|peer| peer.send(frame.masked()));
    turn_until(peers, "an echo on each tunnel", |peers| {
        for (echo, peer) in echoes.iter_mut().zip(peers) {
            assert!(!peer.is_over, "a tunnel has ended");
            if let Some(got) = Frame::take(&mut peer.arrived) {
                assert_eq!(got, frame);
                *echo = true;
            }
        }
        echoes.iter().all(|echo| *echo)
    });
}

/// The counts of tunnels, connections and descriptors are what they were.
#[track_caller]
fn expect_nothing_left(gateway: &Gateway, fds: usize) {
    eventually("no tunnel is left", || gateway.metric("tunnels_open") == 0);
    eventually("no connection is left", || gateway.metric("connections_open") == 0);
    eventually("no descriptor is left", || {
        gateway.fd_count() <= fds + 2 * gateway.metric("pipes_open") as usize
    });
}

/// Random numbers for a test (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) % bound as u64) as usize
    }

    /// Mostly small, sometimes large enough to be spliced.
    fn length(&mut self) -> usize {
        match self.below(100) {
            0 => 40_000 + self.below(60_000),
            1..10 => self.below(8_000),
            _ => self.below(300),
        }
    }
}

/// These tests fill the machine: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn half_of_two_thousand_tunnels_are_cut_under_load_and_the_rest_goes_on() {
    let _alone = alone();
    for driver in ["auto", "epoll"] {
        let crowd = Crowd::echoing();
        let gateway = crowd.gateway().cores("2").env("IO_DRIVER", driver).start();
        let fds = gateway.fd_count();
        let mut peers = open(&gateway, 2_000);
        eventually("every tunnel is open", || gateway.metric("tunnels_open") == 2_000);
        let mut dice = Dice(6);
        let mut expected: Vec<VecDeque<Frame>> = peers.iter().map(|_| VecDeque::new()).collect();
        let mut echoed = 0;
        while peers.len() > 1_000 {
            for _ in 0..50 {
                let at = dice.below(peers.len());
                let length = dice.length();
                let frame = Frame::new(0x82, vec![length as u8; length]);
                peers[at].send(frame.masked());
                expected[at].push_back(frame);
            }
            for _ in 0..4 {
                let at = dice.below(peers.len());
                let (mut peer, _) = (peers.swap_remove(at), expected.swap_remove(at));
                match dice.below(4) {
                    0 => peer.reset(),
                    1 => drop(peer),
                    2 => {
                        // Within a frame.
                        peer.send(&Frame::new(0x82, vec![0; 100_000]).masked()[..50_000]);
                        peer.reset();
                    }
                    _ => {
                        peer.send(Frame::new(0x82, CUT).masked());
                        turn_until(&mut [peer], "a reset", |peer| {
                            peer[0].arrived.clear();
                            peer[0].is_over
                        });
                    }
                }
            }
            turn(&mut peers);
            for (peer, expected) in peers.iter_mut().zip(&mut expected) {
                assert!(!peer.is_over, "a tunnel that nobody cut has ended");
                while let Some(frame) = Frame::take(&mut peer.arrived) {
                    assert_eq!(Some(frame), expected.pop_front());
                    echoed += 1;
                }
            }
        }
        turn_until(&mut peers, "every echo", |peers| {
            for (peer, expected) in peers.iter_mut().zip(&mut expected) {
                while let Some(frame) = Frame::take(&mut peer.arrived) {
                    assert_eq!(Some(frame), expected.pop_front());
                    echoed += 1;
                }
            }
            expected.iter().all(VecDeque::is_empty)
        });
        assert!(echoed > 1_000, "{echoed}");
        expect_echoes(&mut peers);
        eventually("as many tunnels as are left", || gateway.metric("tunnels_open") == 1_000);
        drop(peers);
        expect_nothing_left(&gateway, fds);
        assert!(gateway.metric("pipes_open") <= 2 * 64);
    }
}

/// A stream of frames of every size, again and again.
fn cycle(is_masked: bool) -> Vec<u8> {
    let frames = [100, 5_000, 30_000, 60_000, 200_000, 0, 126]
        .map(|length| Frame::new(0x82, vec![length as u8; length]));
    frames.iter().flat_map(|frame| if is_masked { frame.masked() } else { frame.plain() }).collect()
}

const STALLED: usize = 200;
/// More than the kernel's buffers take: about 4 MiB for each tunnel on loopback.
const CYCLES: usize = 24;

/// These bytes are those of the stream from there on.
fn is_cycled(bytes: &[u8], cycle: &[u8], from: usize) -> bool {
    let mut rest = bytes;
    while !rest.is_empty() {
        let at = (from + bytes.len() - rest.len()) % cycle.len();
        let length = rest.len().min(cycle.len() - at);
        if rest[..length] != cycle[at..at + length] {
            return false;
        }
        rest = &rest[length..];
    }
    true
}

/// Waits until it has not grown for a while, and says where it stands.
fn standstill(bytes: &AtomicU64) -> u64 {
    let mut last = (bytes.load(Ordering::SeqCst), Instant::now());
    let deadline = Instant::now() + 2 * PATIENCE;
    while last.1.elapsed() < Duration::from_millis(700) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
        let now = bytes.load(Ordering::SeqCst);
        if now != last.0 {
            last = (now, Instant::now());
        }
    }
    last.0
}

/// RSS may grow by one buffer for each stalled direction, the buffers and pipes that are kept, and some air.
#[track_caller]
fn expect_bounded(gateway: &Gateway, before_kib: u64) {
    let growth_kib = gateway.rss_kib().saturating_sub(before_kib);
    let bound_kib = (STALLED as u64 + 64) * 64 + 8 * 1024;
    assert!(growth_kib <= bound_kib, "grew by {growth_kib} KiB, bound: {bound_kib} KiB");
    assert!(gateway.metric("pipes_open") <= 64);
}

#[test]
fn clients_that_read_nothing_stop_a_flooding_upstream_within_bounded_memory() {
    let _alone = alone();
    let (written, cycle) = (Arc::new(AtomicU64::new(0)), Arc::new(cycle(false)));
    let (count, piece) = (written.clone(), cycle.clone());
    let origin = Origin::new(move |exchange| {
        set_socket_send_buffer_size(exchange.stream(), 32 * 1024).expect("SO_SNDBUF");
        let Some(_) = ServerSide::accept(exchange) else { return };
        exchange.stream().set_write_timeout(None).expect("no write timeout");
        for part in std::iter::repeat_n(&piece, CYCLES).flat_map(|piece| piece.chunks(10_000)) {
            exchange.write(part);
            count.fetch_add(part.len() as u64, Ordering::SeqCst);
        }
        exchange.wait_closed();
    });
    let builder = Gateway::builder().everywhere(&origin);
    let gateway = builder.env("WS_PING_INTERVAL", "0s").start();
    let before_kib = gateway.rss_kib();
    let mut clients = Vec::new();
    for _ in 0..STALLED {
        clients.extend(open(&gateway, 1));
        set_socket_recv_buffer_size(&clients.last().expect("one").stream, 128 * 1024).expect("SO_RCVBUF");
    }
    let total = (STALLED * CYCLES * cycle.len()) as u64;
    let stands = standstill(&written);
    assert!(stands < total, "{stands} of {total} bytes were taken with nobody reading");
    expect_bounded(&gateway, before_kib);
    let mut seen = vec![0; clients.len()];
    turn_until(&mut clients, "everything arrives", |clients| {
        for (seen, client) in seen.iter_mut().zip(clients) {
            assert!(is_cycled(&client.arrived, &cycle, *seen), "other bytes than were sent, from {seen} on");
            *seen += client.arrived.len();
            client.arrived.clear();
        }
        seen.iter().all(|seen| *seen == CYCLES * cycle.len())
    });
    drop(clients);
    eventually("no tunnel is left", || gateway.metric("tunnels_open") == 0);
}

#[test]
fn an_upstream_that_reads_nothing_stops_flooding_clients_within_bounded_memory() {
    let _alone = alone();
    let (gate, wrong) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (may_read, failures, done) = (gate.clone(), wrong.clone(), Arc::new(AtomicU64::new(0)));
    let (cycle, finished) = (cycle(true), done.clone());
    let expected = cycle.clone();
    let origin = Origin::new(move |exchange| {
        set_socket_recv_buffer_size(exchange.stream(), 16 * 1024).expect("SO_RCVBUF");
        let Some(_) = ServerSide::accept(exchange) else { return };
        while !may_read.load(Ordering::SeqCst) {
            exchange.sleep_ms(20);
        }
        let mut seen = 0;
        while seen < CYCLES * expected.len() {
            let some = exchange.read_some();
            if some.is_empty() || !is_cycled(&some, &expected, seen) {
                failures.fetch_add(1, Ordering::SeqCst);
                break;
            }
            seen += some.len();
        }
        finished.fetch_add(1, Ordering::SeqCst);
        exchange.wait_closed();
    });
    let gateway = Gateway::builder().everywhere(&origin).start();
    let before_kib = gateway.rss_kib();
    let mut peers = open(&gateway, STALLED);
    for peer in &mut peers {
        set_socket_send_buffer_size(&peer.stream, 32 * 1024).expect("SO_SNDBUF");
        (0..CYCLES).for_each(|_| peer.unsent.extend(&cycle));
    }
    let total = STALLED * CYCLES * cycle.len();
    let left = |peers: &[Peer]| peers.iter().map(|peer| peer.unsent.len()).sum::<usize>();
    let mut last = (0, Instant::now());
    turn_until(&mut peers, "a standstill", |peers| {
        if left(peers) != last.0 {
            last = (left(peers), Instant::now());
        }
        last.1.elapsed() > Duration::from_millis(700)
    });
    assert!(last.0 > 0, "all of {total} bytes were taken with nobody reading");
    expect_bounded(&gateway, before_kib);
    gate.store(true, Ordering::SeqCst);
    turn_until(&mut peers, "everything is sent", |peers| left(peers) == 0);
    eventually("everything arrives", || done.load(Ordering::SeqCst) == STALLED as u64);
    assert_eq!(wrong.load(Ordering::SeqCst), 0, "what arrives is what was sent");
    drop(peers);
    eventually("no tunnel is left", || gateway.metric("tunnels_open") == 0);
}

#[test]
fn idle_and_busy_tunnels_wake_no_worker_thread_of_the_kernel() {
    let _alone = alone();
    let crowd = Crowd::echoing();
    let gateway = crowd.gateway().cores("2").start();
    let workers = || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", gateway.pid())).expect("/proc");
        let names = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.starts_with("iou-")).collect::<Vec<_>>()
    };
    let _idle = open(&gateway, 500);
    let mut busy = open(&gateway, 50);
    let frame = Frame::new(0x82, vec![0x5a; 1 << 20]);
    let (masked, mut rounds) = (frame.masked(), vec![0; busy.len()]);
    busy.iter_mut().for_each(|peer| peer.send(&masked));
    turn_until(&mut busy, "every echo", |busy| {
        for (round, peer) in rounds.iter_mut().zip(busy) {
            assert!(!peer.is_over, "a tunnel has ended");
            if peer.arrived.len() >= 1 << 20
                && let Some(got) = Frame::take(&mut peer.arrived)
            {
                assert!(got == frame, "another frame came back");
                *round += 1;
                if *round < 4 {
                    peer.send(&masked);
                }
            }
        }
        assert_eq!(workers(), Vec::<String>::new());
        rounds.iter().all(|round| *round == 4)
    });
    let (spliced, bytes) = (gateway.metric("tunnel_bytes_spliced_total"), 2 * 50 * 4 * (1 << 20));
    assert!(spliced > bytes / 2, "{spliced} of {bytes} bytes were spliced");
    assert!(gateway.metric("pipes_open") <= 2 * 64);
}

#[test]
fn tunnels_go_to_the_core_that_has_fewer_unless_balance_is_off() {
    let _alone = alone();
    for balance in ["on", "off"] {
        let crowd = Crowd::echoing();
        let gateway = crowd.gateway().cores("2").env("WS_BALANCE", balance).start();
        let accepted =
            |core: usize| gateway.metric(&format!("connections_accepted_total{{core=\"{core}\"}}"));
        // Connections that have landed on core 0.
        let (mut streams, mut seen) = (Vec::new(), [accepted(0), accepted(1)]);
        while streams.len() < 72 {
            let stream = TcpStream::connect(gateway.public).expect("a connection");
            let mut now = seen;
            eventually("it is taken", || {
                now = [accepted(0), accepted(1)];
                now != seen
            });
            if now[0] > seen[0] {
                streams.push(stream);
            }
            seen = now;
        }
        let mut peers = Vec::new();
        for stream in streams {
            let mut peer = switch(vec![stream]);
            expect_echoes(&mut peer);
            peers.extend(peer);
        }
        let open = |core: usize| gateway.metric(&format!("tunnels_open{{core=\"{core}\"}}"));
        let handed_over = gateway.metric("tunnels_handed_over_total");
        if balance == "on" {
            assert!(open(0).abs_diff(open(1)) <= 17, "{} and {}", open(0), open(1));
            assert_eq!((open(0) + open(1), handed_over), (72, open(1)));
        } else {
            assert_eq!((open(0), open(1), handed_over), (72, 0, 0));
        }
        expect_echoes(&mut peers);
        drop(peers);
        eventually("no tunnel is left", || gateway.metric("tunnels_open") == 0);
        eventually("no connection is left", || gateway.metric("connections_open") == 0);
    }
}

/// What the upstreams of a drain saw and do.
#[derive(Default)]
struct Goodbyes {
    codes: Mutex<Vec<u16>>,
}

impl Goodbyes {
    /// Takes the frames that have come. A Close frame is answered, and the connection ends: "the server MUST close
    /// first" (RFC 6455 §7.1.1).
    fn look(&self, peer: &mut Peer) {
        while let Some(frame) = Frame::take(&mut peer.arrived) {
            assert!(frame.is_masked, "a client's frame is masked");
            if let Some(code) = frame.code() {
                self.codes.lock().expect("no panic while locked").push(code);
                peer.is_leaving = true;
                peer.send(Frame::close(code, "").plain());
            }
        }
    }

    fn count(&self, code: u16) -> usize {
        self.codes.lock().expect("no panic while locked").iter().filter(|seen| **seen == code).count()
    }
}

/// A client's view of a drain: whole frames of data, then a 1012, which it answers, and the end. Says when it came.
#[track_caller]
fn see_goodbye(peer: &mut Peer, said: &mut Option<Instant>) {
    while let Some(frame) = Frame::take(&mut peer.arrived) {
        assert!(said.is_none(), "after a Close frame comes nothing");
        if frame.first == 0x82 {
            let fill = frame.payload.len() as u8;
            assert!(frame.payload.iter().all(|byte| *byte == fill), "something stands inside a frame");
            continue;
        }
        assert_eq!(
            (frame.first, frame.code(), &frame.payload[2..]),
            (0x88, Some(1012), &b"service restart"[..])
        );
        *said = Some(Instant::now());
        peer.send(Frame::close(1012, "").masked());
    }
    if peer.is_over {
        assert!(peer.arrived.is_empty(), "the end came inside a frame");
        assert!(said.is_some(), "the end came before a goodbye");
    }
}

#[test]
fn a_drain_says_goodbye_to_two_thousand_tunnels_one_after_the_other_between_frames() {
    let _alone = alone();
    let goodbyes = Arc::new(Goodbyes::default());
    let (seen, mut dice) = (goodbyes.clone(), Dice(7));
    let crowd = Crowd::together(move |peers| {
        peers.iter_mut().for_each(|peer| seen.look(peer));
        for _ in 0..peers.len().min(40) {
            let at = dice.below(peers.len());
            let (peer, length) = (&mut peers[at], dice.length());
            if peer.has_switched && !peer.is_leaving && peer.unsent.len() < 1 << 20 {
                peer.send(Frame::new(0x82, vec![length as u8; length]).plain());
            }
        }
        thread::sleep(Duration::from_millis(1));
    });
    let mut gateway = crowd.gateway().cores("2").env("SHUTDOWN_TIMEOUT", "10s").start();
    let mut peers = open(&gateway, 2_000);
    let mut said = vec![None; peers.len()];
    let warm = Instant::now();
    turn_until(&mut peers, "some load", |peers| {
        peers.iter_mut().for_each(|peer| while Frame::take(&mut peer.arrived).is_some() {});
        warm.elapsed() > Duration::from_millis(500)
    });
    gateway.signal(Signal::TERM);
    let since = Instant::now();
    turn_until(&mut peers, "every tunnel ends", |peers| {
        peers.iter_mut().zip(&mut said).for_each(|(peer, said)| see_goodbye(peer, said));
        peers.iter().all(|peer| peer.is_over)
    });
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(gateway.log().iter().any(|line| line.contains("nothing was cut off")));
    assert_eq!(goodbyes.count(1001), 2_000);
    // Some 200 in each tenth of eight seconds. This thread may see them late, and then many at a time.
    let mut tenths = [0; 10];
    for said in said.iter().flatten() {
        let tenth = (said.duration_since(since).as_millis() / 800) as usize;
        tenths[tenth.min(9)] += 1;
    }
    let is_spread = tenths.iter().filter(|count| **count > 20).count() >= 5;
    assert!(is_spread && tenths.iter().all(|count| *count <= 1_000), "{tenths:?}");
}

/// Tunnels that are flooded at once.
const FLOODS: usize = 8;

/// Tunnels whose one side sends frames without a pause while the core drains: the codes that each side is told.
fn drain_a_flood(driver: &str, is_upstream_flooding: bool) -> (Vec<Option<u16>>, Vec<u16>) {
    let goodbyes = Arc::new(Goodbyes::default());
    let (seen, frame) = (goodbyes.clone(), Frame::new(0x82, vec![7; 20_000]));
    let (plain, masked) = (frame.plain(), frame.masked());
    let flood_back = move |peer: &mut Peer| {
        seen.look(peer);
        while is_upstream_flooding && peer.has_switched && !peer.is_leaving && peer.unsent.len() < 1 << 18 {
            peer.unsent.extend(&plain);
        }
    };
    // A goodbye stands behind what is on its way already, and this thread reads all of it. With megabytes for each of
    // many tunnels, a machine that has much else to do does not come to it within the drain: so few tunnels, small
    // sockets, and a second and a half behind the last goodbye.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    set_socket_recv_buffer_size(&listener, 32 * 1024).expect("SO_RCVBUF");
    let crowd = Crowd::at(listener, move |peers| peers.iter_mut().for_each(&flood_back));
    let mut gateway = crowd.gateway().env("IO_DRIVER", driver).env("SHUTDOWN_TIMEOUT", "8s").start();
    let mut peers = open(&gateway, FLOODS);
    for peer in &peers {
        set_socket_recv_buffer_size(&peer.stream, 32 * 1024).expect("SO_RCVBUF");
    }
    let mut codes = vec![None; peers.len()];
    let (begun, mut is_draining) = (Instant::now(), false);
    while peers.iter().any(|peer| !peer.is_over) && begun.elapsed() < PATIENCE {
        for (peer, code) in peers.iter_mut().zip(&mut codes) {
            while let Some(frame) = Frame::take(&mut peer.arrived) {
                if let Some(told) = frame.code() {
                    *code = code.or(Some(told));
                    peer.send(Frame::close(told, "").masked());
                }
            }
            while !is_upstream_flooding && code.is_none() && peer.unsent.len() < 1 << 18 {
                peer.unsent.extend(&masked);
            }
        }
        turn(&mut peers);
        if !is_draining && begun.elapsed() > Duration::from_millis(300) {
            gateway.signal(Signal::TERM);
            is_draining = true;
        }
    }
    assert_eq!(gateway.wait().code(), Some(0));
    let upstream_codes = goodbyes.codes.lock().expect("no panic while locked").clone();
    (codes, upstream_codes)
}

#[test]
fn a_drain_finds_a_place_between_the_frames_of_peers_that_never_pause() {
    let _alone = alone();
    for driver in ["auto", "epoll"] {
        for is_upstream_flooding in [true, false] {
            let (to_clients, to_upstreams) = drain_a_flood(driver, is_upstream_flooding);
            let what = format!("{driver}, upstream floods: {is_upstream_flooding}");
            assert_eq!(to_clients, vec![Some(1012); FLOODS], "to clients, {what}");
            assert_eq!(to_upstreams, vec![1001; FLOODS], "to upstreams, {what}");
        }
    }
}

#[test]
fn a_client_lost_within_a_frame_while_the_core_drains_does_not_keep_its_upstream_waiting() {
    let _alone = alone();
    let ends = Arc::new(AtomicU64::new(0));
    let ended = ends.clone();
    let origin = Origin::new(move |exchange| {
        if ServerSide::accept(exchange).is_some() {
            exchange.wait_closed();
            ended.fetch_add(1, Ordering::SeqCst);
        }
    });
    let gateway = Gateway::builder().everywhere(&origin).env("SHUTDOWN_TIMEOUT", "60s").start();
    let mut peers = open(&gateway, 1);
    peers[0].send(&Frame::new(0x82, vec![0; 1_000]).masked()[..500]);
    eventually("its bytes go on", || gateway.metric("tunnel_bytes_in_total") > 400);
    gateway.signal(Signal::TERM);
    turn_until(&mut peers, "the goodbye", |peers| Frame::take(&mut peers[0].arrived).is_some());
    peers.remove(0).reset();
    eventually("the upstream hears of it", || ends.load(Ordering::SeqCst) == 1);
}

#[test]
fn a_handshake_that_comes_while_the_core_drains_is_told_to_come_back() {
    let _alone = alone();
    let origin = echoing();
    let mut gateway = Gateway::builder().everywhere(&origin).env("SHUTDOWN_TIMEOUT", "60s").start();
    let request = handshake().token("ann").bytes();
    let mut client = gateway.client();
    client.expect_open();
    client.send(&request[..30]);
    let mut tunnel = Socket::open(&gateway, "ann");
    gateway.signal(Signal::TERM);
    tunnel.expect_goodbye(1012);
    client.send(&request[30..]);
    let response = client.read_response();
    assert_eq!((response.status, response.code().as_str()), (503, "draining"));
    assert!(response.field("retry-after").is_some(), "{response:?}");
    client.expect_closed();
    drop(client);
    assert_eq!(gateway.wait().code(), Some(0));
    assert_eq!(origin.connections(), 1);
}
