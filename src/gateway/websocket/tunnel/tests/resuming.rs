//! A state that is written down and read back goes on as if nothing had been.

use proptest::prelude::*;

use super::properties::{Op, Script, decent, some_rules};
use super::world::{World, close, frame};
use crate::gateway::websocket::tunnel::AccessContext;
use crate::gateway::websocket::tunnel::direction::Direction;
use crate::gateway::websocket::tunnel::event::Event;
use crate::gateway::websocket::tunnel::farewell::{Farewell, REASON_BYTES_MAX};
use crate::gateway::websocket::tunnel::saved::{FIXED_BYTES_MAX, ReadError, WriteError};
use crate::gateway::websocket::tunnel::state::TunnelState;
use crate::telemetry::TunnelEnd;

fn context(text: usize) -> AccessContext {
    AccessContext {
        begun_us: 999_000_123,
        client: "2001:db8::1".parse().expect("an address"),
        id: vec![b'i'; text.min(128)].into(),
        path: (*b"/ws").into(),
        host: Some((*b"chat.example").into()),
        user_agent: Some(vec![b'a'; text.min(256)].into()),
        route: Some("r".repeat(text.min(64)).into()),
        user: Some("u".repeat(text).into()),
        head_bytes_in: 700,
        head_bytes_out: 200,
        connect_us: Some(150),
        upstream_head_us: Some(900),
        upstream_name: Some("d".repeat(text.min(64)).into()),
        upstream: Some("s".repeat(text.min(110)).into()),
        tls_version: Some("TLSv1.3".into()),
        tls_cipher: None,
        sni: Some("n".repeat(text.min(253)).into()),
    }
}

fn written(state: &TunnelState, now_ms: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    state.write(&mut bytes, now_ms).expect("no bytes in a pipe");
    bytes
}

impl World {
    /// The tunnel goes on in another process, whose clock shows something else. While bytes are in a pipe it does not.
    fn resume(&mut self) {
        self.hold();
        let (mut bytes, now_ms) = (Vec::new(), self.now_ms);
        if self.state.write(&mut bytes, now_ms).is_err() {
            return;
        }
        let elsewhere = TunnelState::read(&bytes, now_ms + 777).expect("what was written");
        assert_eq!(written(&elsewhere, now_ms + 777), bytes, "ages are the same by another clock");
        let state = TunnelState::read(&bytes, now_ms).expect("what was written");
        // The drain is of the process that the tunnel leaves.
        self.state.timers.drain = None;
        assert_eq!(state, self.state);
        self.state = state;
    }
}

#[test]
fn a_conversation_that_is_cut_at_any_byte_is_the_same() {
    let up =
        [frame(0x01, b"hel", true), frame(0x89, b"?", true), frame(0x80, &[7; 300], true), close(1000, true)];
    let down = [frame(0x82, &[9; 400], false), frame(0x8a, b"?", false), close(1000, false)];
    let (up, down) = (up.concat(), down.concat());
    let play = |cut_up: usize, cut_down: usize, resumes: bool| {
        let mut world = World::new();
        world.client_sends(&up[..cut_up]).upstream_sends(&down[..cut_down]);
        if resumes {
            world.resume();
        }
        world.client_sends(&up[cut_up..]).upstream_sends(&down[cut_down..]);
        (world.client.got, world.upstream.got, world.state)
    };
    for cut in 0..=up.len() {
        assert!(play(cut, 0, true) == play(cut, 0, false), "{cut} bytes from the client");
    }
    for cut in 0..=down.len() {
        assert!(play(0, cut, true) == play(0, cut, false), "{cut} bytes from the upstream");
    }
}

#[test]
fn a_frame_of_ours_that_is_cut_at_any_byte_is_finished() {
    for room in 0..12 {
        let mut world = World::new();
        world.client.room = room;
        world.pass(30_000);
        world.resume();
        world.client.room = usize::MAX;
        world.turn();
        assert_eq!(
            world.client.frames(),
            [(0x89, super::world::PING_PAYLOAD.to_vec())],
            "after {room} bytes"
        );
    }
    for room in 0..20 {
        let mut world = World::new();
        world.drain(0, 10_000);
        (world.client.room, world.upstream.room) = (room, room);
        world.pass(1);
        world.resume();
        (world.client.room, world.upstream.room) = (usize::MAX, usize::MAX);
        world.turn();
        assert_eq!(
            (world.client.close_code(), world.upstream.close_code()),
            (1012, 1001),
            "after {room} bytes"
        );
    }
}

#[test]
fn a_state_is_small_and_is_not_written_while_bytes_are_in_a_pipe() {
    let mut world = World::expiring(super::super::testing::rules(), Some(1_000));
    world.state.context = Some(Box::new(context(256)));
    world.state.ownership = Some(Box::new(super::orders::ownership()));
    let farewell = Farewell::new(4401, &"x".repeat(REASON_BYTES_MAX)).expect("a farewell");
    world.tell(Event::Ordered { end: TunnelEnd::Revoked, farewell: &farewell });
    world.pass(1_000);
    let (path, kept) = (3, world.state.down.own.len() + world.state.up.own.len());
    let length = written(&world.state, world.now_ms).len() - path - kept;
    assert!(length <= FIXED_BYTES_MAX, "{length} bytes");

    let mut spliced = World::new();
    spliced.upstream.room = 20;
    spliced.client_sends(frame(0x82, &[1; 100_000], true).split_at(20).0);
    spliced.client_sends(vec![1; 50_000]);
    assert_eq!(spliced.state.write(&mut Vec::new(), spliced.now_ms), Err(WriteError::BytesInPipe));
}

#[test]
fn bytes_of_another_version_or_too_many_of_them_are_refused() {
    let world = World::new();
    let mut bytes = written(&world.state, world.now_ms);
    bytes.push(0);
    assert_eq!(TunnelState::read(&bytes, world.now_ms), Err(ReadError::Surplus));
    bytes[0] = 9;
    assert_eq!(TunnelState::read(&bytes, world.now_ms), Err(ReadError::Version(9)));
    assert_eq!(TunnelState::read(&[], world.now_ms), Err(ReadError::Short));
}

proptest! {
    #[test]
    fn a_tunnel_that_goes_on_elsewhere_after_every_event_is_the_same(
        rules in some_rules(),
        has_pipes in any::<bool>(),
        has_context in any::<bool>(),
        ops in prop::collection::vec(decent(), 1..40),
        closer in prop::option::of(any::<bool>()),
    ) {
        let [straight, resumed] = [false, true].map(|resumes| {
            let mut world = World::with(rules);
            world.has_pipes = has_pipes;
            world.state.context = has_context.then(|| Box::new(context(20)));
            world.state.ownership = has_context.then(|| Box::new(super::orders::ownership()));
            let mut script = Script::default();
            for op in ops.iter().cloned().chain(closer.map(|is_client| Op::Close { is_client })) {
                script.play(&mut world, &op);
                if resumes {
                    world.resume();
                }
            }
            world.hold();
            world
        });
        prop_assert!(straight.client.got == resumed.client.got && straight.upstream.got == resumed.upstream.got);
        prop_assert_eq!(straight.state.conclusion(), resumed.state.conclusion());
        if straight.state.conclusion().is_none() {
            prop_assert_eq!(straight.state, resumed.state);
        }
    }

    /// A tunnel that was read from such bytes is one that can be run.
    #[test]
    fn bad_bytes_are_an_error_and_never_a_panic(
        ops in prop::collection::vec(decent(), 0..10),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut world = World::new();
        let mut script = Script::default();
        for op in &ops {
            script.play(&mut world, op);
        }
        world.hold();
        let mut bytes = Vec::new();
        prop_assume!(world.state.write(&mut bytes, world.now_ms).is_ok());
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let Ok(state) = TunnelState::read(&bytes, world.now_ms) else { return Ok(()) };
        world.state = state;
        world.client_sends(frame(0x81, b"x", true)).upstream_sends(frame(0x81, b"x", false));
        for direction in Direction::BOTH {
            world.tell(Event::Ended(direction));
        }
        world.pass(10_000);
    }

    #[test]
    fn random_bytes_are_an_error_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = TunnelState::read(&bytes, 1_000);
        let _ = TunnelState::read(&[&[1], &bytes[..]].concat(), 1_000);
    }
}
