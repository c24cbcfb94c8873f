//! What does not move, and gets its goodbye.

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::tls::Shim;
use crate::harness::*;

fn builder(origin: &Origin) -> Builder {
    Gateway::builder().everywhere(origin).env("SHUTDOWN_TIMEOUT", "2s").upgradable()
}

/// A number of the line in which the old process tells what has become of its tunnels.
fn told(line: &str, name: &str) -> u64 {
    let word = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    word.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no {name} in {line}"))
}

/// That line.
fn crossed(gateway: &Gateway) -> String {
    gateway.wait_log("WebSocket tunnels have moved")
}

#[test]
fn encrypted_ones_and_those_that_say_goodbye() {
    let origin = Origin::new(|exchange| {
        let Some(mut side) = ServerSide::accept(exchange) else { return };
        // It does not answer a Close frame.
        while let Some(frame) = side.read() {
            if frame.first != 0x88 {
                side.send(frame);
            }
        }
    });
    let mut gateway = builder(&origin).over_tls().start();
    let mut plain = Socket::open(&gateway, "ann");
    let shim = Shim::before(gateway.tls());
    let mut client = Client::connect(shim.address);
    client.send(handshake().bearer(&token("ben")).bytes());
    let mut encrypted = Socket::opened(client);
    let mut closing = Socket::open(&gateway, "cara");
    for socket in [&mut plain, &mut encrypted, &mut closing] {
        socket.expect_echo("before");
    }
    closing.send(Frame::close(1000, ""));
    eventually("its Close frame has gone on", || gateway.metric("tunnel_frames_in_total") == 4);
    gateway.upgrade().expect("an upgrade");
    let line = crossed(&gateway);
    let numbers = ["moved", "stayed", "tls", "closing", "no_route", "no_time"].map(|name| told(&line, name));
    assert_eq!(numbers, [1, 2, 1, 1, 0, 0], "{line}");
    encrypted.expect_goodbye(1012);
    assert_eq!(closing.try_read(), None);
    assert_eq!(gateway.wait().code(), Some(0));
    plain.expect_echo("after");
}

#[test]
fn those_whose_route_is_gone() {
    let origin = echoing();
    let route = |name: &str, kind: &str| {
        format!(
            "[[route]]\nname = '{name}'\nupstream = 'app'\npaths = ['/{name}']\nkind = '{kind}'\naccess = 'public'\n"
        )
    };
    let config = |routes: &[String]| {
        format!("[upstreams.app]\nurl = 'http://{}'\n{}", origin.address, routes.concat())
    };
    let ws = |name| route(name, "websocket");
    let builder = builder(&origin).config(&config(&[ws("kept"), ws("gone"), ws("other")]));
    let mut gateway = builder.start();
    let [mut kept, mut gone, mut other] =
        ["/kept", "/gone", "/other"].map(|path| Socket::open_with(&gateway, &handshake_on(path)));
    gateway.rewrite_config(&config(&[route("other", "http"), ws("kept")]));
    gateway.upgrade().expect("an upgrade");
    let line = crossed(&gateway);
    assert_eq!(["moved", "stayed", "no_route"].map(|name| told(&line, name)), [1, 2, 2], "{line}");
    gone.expect_goodbye(1012);
    other.expect_goodbye(1012);
    assert_eq!(gateway.wait().code(), Some(0));
    kept.expect_echo("on");
}

/// What has become of a socket.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Serves,
    Goodbye,
    Lost,
}

fn fate(socket: &mut Socket, nth: usize) -> Fate {
    let text = Frame::text(&format!("socket {nth}"));
    socket.send(text.clone());
    let (mut stream, mut bytes, mut space) = (socket.client().stream(), Vec::new(), [0; 256]);
    loop {
        match Frame::take(&mut bytes) {
            Some(frame) if frame == text => return Fate::Serves,
            Some(frame) if frame.code() == Some(1012) => return Fate::Goodbye,
            Some(frame) => panic!("{frame:?} came"),
            None => {}
        }
        match stream.read(&mut space) {
            Ok(0) => return Fate::Lost,
            Ok(count) => bytes.extend(&space[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Fate::Lost,
            Err(error) => panic!("{error}"),
        }
    }
}

fn fates(sockets: &mut [Socket]) -> Vec<Fate> {
    sockets.iter_mut().enumerate().map(|(nth, socket)| fate(socket, nth)).collect()
}

fn executable(name: &str, text: &str) -> TempFile {
    let file = TempFile::new(name, text);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&file.0, mode).expect("an executable file");
    file
}

#[test]
fn those_that_the_new_process_has_not_taken_when_it_is_killed() {
    let origin = echoing();
    for round in 0..6_u64 {
        let mut gateway = builder(&origin).cores("2").start();
        let mut sockets: Vec<Socket> = (0..150).map(|_| Socket::open(&gateway, "ann")).collect();
        let old = gateway.in_charge();
        kill_process(old, Signal::USR2).expect("it takes signals");
        let line = gateway.wait_log("the new process has begun pid=");
        let pid = line.split("pid=").nth(1).and_then(|pid| pid.trim().parse().ok());
        let new = pid.and_then(Pid::from_raw).expect("a number");
        if round > 0 {
            let has_taken_over = || gateway.log().iter().any(|line| line.contains("has taken over"));
            let deadline = Instant::now() + PATIENCE;
            while !has_taken_over() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_micros(50));
            }
            // Somewhere within the crossing, or behind it.
            std::thread::sleep(Duration::from_micros(700 * (round - 1)));
        }
        let _ = kill_process(new, Signal::KILL);
        // The first one is most often killed before it has taken over.
        let is_in_log = |words: &str| gateway.log().iter().any(|line| line.contains(words));
        eventually("the upgrade is decided", || is_in_log("upgrade: failed") || is_in_log("has taken over"));
        if is_in_log("upgrade: failed") {
            assert!(fates(&mut sockets).iter().all(|fate| *fate == Fate::Serves));
            continue;
        }
        let line = crossed(&gateway);
        let (moved, stayed) = (told(&line, "moved"), told(&line, "stayed"));
        assert_eq!(moved + stayed, 150, "{line}");
        let lost = fates(&mut sockets).iter().filter(|fate| **fate == Fate::Lost).count() as u64;
        assert_eq!(lost, moved, "what the new process has taken is lost, and nothing else: {line}");
        drop(sockets);
        assert_eq!(gateway.wait().code(), Some(0));
    }
}

#[test]
fn those_that_the_new_process_has_no_descriptors_for() {
    let origin = echoing();
    let mut gateway = builder(&origin).start();
    let mut sockets: Vec<Socket> = (0..200).map(|_| Socket::open(&gateway, "ann")).collect();
    let script = executable("few-files", &format!("#!/bin/sh\nulimit -n 330\nexec {PROGRAM} \"$@\"\n"));
    gateway.replace_program(&script.path());
    gateway.upgrade().expect("an upgrade");
    let line = crossed(&gateway);
    let (moved, stayed) = (told(&line, "moved"), told(&line, "stayed"));
    assert!(moved + stayed == 200 && moved > 0 && stayed > 0, "{line}");
    let fates = fates(&mut sockets);
    assert!(!fates.contains(&Fate::Lost), "{fates:?}");
    drop(sockets);
    assert_eq!(gateway.wait().code(), Some(0));
}

/// A successor that is no gateway, and does with the tunnels what `with_lines` says.
fn successor(name: &str, with_lines: &str) -> TempFile {
    let text = format!(
        r#"#!/usr/bin/env python3
import os, socket, struct, sys, time
names = os.environ["LISTEN_FDNAMES"].split(":")
pipe = socket.socket(fileno=3 + names.index("predecessor"))
pipe.send(b"ready\n")

def record(line):
    data, files, flags, _ = socket.recv_fds(line, 1 << 20, 250)
    magic, form, kind, count, number, length = struct.unpack("<4sBBHQQ", data[:24])
    assert magic == b"rctn" and form == 1 and len(files) in (2 * count, 2 * count + 1)
    return count, number, files

def answer(line, count, number, verdict):
    line.send(struct.pack("<4sBBHQQ", b"rctn", 1, 2, count, number, count) + bytes([verdict]) * count)

def lines():
    data, files, flags, _ = socket.recv_fds(pipe, 3, 250)
    assert data == b"go\n"
    lines = [socket.socket(fileno=file) for file in files]
    # They were made for a process that polls.
    for line in lines: line.setblocking(True)
    return lines

{with_lines}
"#
    );
    executable(name, &text)
}

#[test]
fn those_that_another_program_does_not_take() {
    let origin = echoing();
    for (name, with_lines, reason) in [
        // A program of before: it reads the word alone.
        ("deaf", "pipe.recv(3)\ntime.sleep(60)", "no_time"),
        ("silent", "kept = lines()\ntime.sleep(60)", "no_time"),
        (
            "garbage",
            "for line in lines():\n    record(line)\n    line.send(b'something else')\ntime.sleep(60)",
            "no_time",
        ),
        ("ends", "for line in lines():\n    record(line)\nsys.exit(0)", "no_time"),
        (
            "newer",
            "for line in lines():\n    answer(line, *record(line)[:2], 2)\ntime.sleep(60)",
            "other_version",
        ),
    ] {
        let builder = builder(&origin).env("UPGRADE_TUNNELS_TIMEOUT", "300ms");
        let mut gateway = builder.start();
        let mut sockets: Vec<Socket> = (0..20).map(|_| Socket::open(&gateway, "ann")).collect();
        let script = successor(name, with_lines);
        gateway.replace_program(&script.path());
        kill_process(gateway.in_charge(), Signal::USR2).expect("it takes signals");
        let begun = gateway.wait_log("the new process has begun pid=");
        let pid = begun.split("pid=").nth(1).and_then(|pid| pid.trim().parse().ok()).and_then(Pid::from_raw);
        let line = crossed(&gateway);
        assert_eq!(["moved", "stayed", reason].map(|name| told(&line, name)), [0, 20, 20], "{name}: {line}");
        let fates = fates(&mut sockets);
        assert!(!fates.contains(&Fate::Lost), "{name}: {fates:?}");
        drop(sockets);
        assert_eq!(gateway.wait().code(), Some(0));
        let _ = kill_process(pid.expect("a number"), Signal::KILL);
    }
}

#[test]
fn those_that_were_taken_before_the_new_process_ended_are_not_served_twice() {
    let origin = echoing();
    let mut gateway = builder(&origin).start();
    let mut sockets: Vec<Socket> = (0..100).map(|_| Socket::open(&gateway, "ann")).collect();
    // It takes the first record and ends with the second one unanswered.
    let takes = "for line in lines():\n    answer(line, *record(line)[:2], 0)\n    record(line)\nsys.exit(0)";
    let script = successor("takes", takes);
    gateway.replace_program(&script.path());
    kill_process(gateway.in_charge(), Signal::USR2).expect("it takes signals");
    let line = crossed(&gateway);
    let (moved, stayed) = (told(&line, "moved"), told(&line, "stayed"));
    assert!(moved + stayed == 100 && moved >= 1 && stayed >= 1, "{line}");
    let lost = fates(&mut sockets).into_iter().filter(|fate| *fate == Fate::Lost).count() as u64;
    assert_eq!(lost, moved, "{line}");
    drop(sockets);
    assert_eq!(gateway.wait().code(), Some(0));
}
