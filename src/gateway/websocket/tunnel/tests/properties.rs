//! What holds for every tunnel, whatever happens on it.

use proptest::prelude::*;

use super::world::{PING_PAYLOAD, World, close, frame, take_frames};
use crate::gateway::websocket::tunnel::phase::Phase;
use crate::gateway::websocket::tunnel::rules::TunnelRules;
use crate::gateway::websocket::tunnel::testing::rules;

/// Something that happens.
#[derive(Debug, Clone)]
pub(super) enum Op {
    /// A peer sends a data frame of this many bytes.
    Frame {
        is_client: bool,
        bytes: usize,
    },
    /// A peer sends the beginning of a frame, and later the rest.
    Part {
        is_client: bool,
        bytes: usize,
    },
    Control {
        is_client: bool,
        first: u8,
    },
    Close {
        is_client: bool,
    },
    Noise {
        is_client: bool,
        bytes: Vec<u8>,
    },
    End {
        is_client: bool,
    },
    Lose {
        is_client: bool,
    },
    Refuse {
        is_client: bool,
    },
    Room {
        is_client: bool,
        bytes: usize,
    },
    /// Reads give no more than this.
    ReadMax(usize),
    Unacknowledged(u64),
    Pong,
    Wall(i64),
    Pass(u64),
    Drain {
        departs_ms: u64,
        cut_ms: u64,
    },
}

/// What may happen between peers that keep to the protocol.
pub(super) fn decent() -> impl Strategy<Value = Op> {
    let is_client = any::<bool>;
    let bytes = || prop_oneof![6 => 0..400_usize, 1 => 30_000..80_000_usize];
    prop_oneof![
        8 => (is_client(), bytes()).prop_map(|(is_client, bytes)| Op::Frame { is_client, bytes }),
        2 => (is_client(), bytes()).prop_map(|(is_client, bytes)| Op::Part { is_client, bytes }),
        2 => (is_client(), prop_oneof![Just(0x89), Just(0x8a)])
            .prop_map(|(is_client, first)| Op::Control { is_client, first }),
        4 => (is_client(), prop_oneof![Just(0), 1..200_usize, Just(usize::MAX)])
            .prop_map(|(is_client, bytes)| Op::Room { is_client, bytes }),
        2 => prop_oneof![1..20_usize, Just(usize::MAX)].prop_map(Op::ReadMax),
        2 => (0..5_000_u64).prop_map(Op::Unacknowledged),
        2 => Just(Op::Pong),
        4 => (0..40_000_u64).prop_map(Op::Pass),
    ]
}

/// What may happen at all.
fn anything() -> impl Strategy<Value = Op> {
    let is_client = any::<bool>;
    prop_oneof![
        30 => decent(),
        1 => is_client().prop_map(|is_client| Op::Close { is_client }),
        1 => (is_client(), prop::collection::vec(any::<u8>(), 1..30))
            .prop_map(|(is_client, bytes)| Op::Noise { is_client, bytes }),
        1 => is_client().prop_map(|is_client| Op::End { is_client }),
        1 => is_client().prop_map(|is_client| Op::Lose { is_client }),
        1 => is_client().prop_map(|is_client| Op::Refuse { is_client }),
        1 => (-1_000..1_000_i64).prop_map(Op::Wall),
        1 => (0..10_000_u64, 0..20_000_u64)
            .prop_map(|(departs_ms, cut_ms)| Op::Drain { departs_ms, cut_ms }),
    ]
}

/// Data of one kind of byte: something of another kind inside of it shows.
const FILL: u8 = 0x5a;

/// Peers that remember which frames they have not finished.
#[derive(Default)]
pub(super) struct Script {
    rest_of: [Vec<u8>; 2],
}

impl Script {
    pub(super) fn play(&mut self, world: &mut World, op: &Op) {
        match op {
            Op::Frame { is_client, bytes } => {
                self.say(world, *is_client, frame(0x82, &vec![FILL; *bytes], *is_client));
            }
            Op::Part { is_client, bytes } => {
                let mut whole = frame(0x82, &vec![FILL; *bytes], *is_client);
                let rest = whole.split_off(whole.len() / 2);
                self.say(world, *is_client, whole);
                self.rest_of[usize::from(*is_client)] = rest;
            }
            Op::Control { is_client, first } => self.say(world, *is_client, frame(*first, b"x", *is_client)),
            Op::Close { is_client } => self.say(world, *is_client, close(4000, *is_client)),
            Op::Noise { is_client, bytes } => self.say(world, *is_client, bytes.clone()),
            Op::Pong => self.say(world, true, frame(0x8a, &PING_PAYLOAD, true)),
            Op::End { is_client } => world.peer(*is_client).has_ended = true,
            Op::Lose { is_client } => world.peer(*is_client).is_lost = true,
            Op::Refuse { is_client } => world.peer(*is_client).refuses = true,
            Op::Room { is_client, bytes } => world.peer(*is_client).room = *bytes,
            Op::ReadMax(bytes) => world.read_bytes_max = *bytes,
            Op::Unacknowledged(bytes) => world.client.unacknowledged = *bytes,
            Op::Wall(ahead_s) => world.wall_ahead_s = *ahead_s,
            Op::Pass(ms) => world.pass(*ms),
            Op::Drain { departs_ms, cut_ms } => world.drain(*departs_ms, *cut_ms),
        }
        world.turn();
    }

    /// Finishes the frame that was begun, and sends this.
    fn say(&mut self, world: &mut World, is_client: bool, bytes: Vec<u8>) {
        let rest = std::mem::take(&mut self.rest_of[usize::from(is_client)]);
        let peer = world.peer(is_client);
        if !peer.has_ended && !peer.is_lost {
            peer.sends.extend(rest);
            peer.sends.extend(bytes);
        }
    }
}

pub(super) fn some_rules() -> impl Strategy<Value = TunnelRules> {
    (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(pings, idles, lives, is_limited)| TunnelRules {
            ping_interval_ms: if pings { 30_000.try_into().ok() } else { None },
            idle_ms: if idles { 70_000.try_into().ok() } else { None },
            lifetime_ms: if lives { 200_000.try_into().ok() } else { None },
            message_rate_milli: if is_limited { 500 } else { 0 },
            message_burst: 5,
            ..rules()
        },
    )
}

/// Whole frames, of which the data is unbroken; and at the end perhaps one that was cut off.
fn check_frames(got: &[u8]) -> Result<(), TestCaseError> {
    let mut rest = got.to_vec();
    for (first, payload) in take_frames(&mut rest) {
        prop_assert!(first == 0x82 || matches!(first, 0x88..=0x8a), "a frame {:02x}", first);
        prop_assert!(first != 0x82 || payload.iter().all(|byte| *byte == FILL), "something is inside");
    }
    let is_data = rest.first() == Some(&0x82);
    prop_assert!(!is_data || rest.iter().skip(14).all(|byte| *byte == FILL), "something is inside");
    Ok(())
}

proptest! {
    /// Phases, ends and pings are checked with every event, in [`World::tell`].
    #[test]
    fn whatever_happens_a_tunnel_goes_on_or_ends_at_its_deadline(
        rules in some_rules(),
        token_s in prop::option::of(0..300_u64),
        has_pipes in any::<bool>(),
        ops in prop::collection::vec(anything(), 1..60),
    ) {
        let mut world = World::expiring(rules, token_s);
        world.has_pipes = has_pipes;
        let mut script = Script::default();
        for op in &ops {
            script.play(&mut world, op);
            world.pass(0);
            prop_assert!(world.state.next_deadline_ms().is_none_or(|at_ms| at_ms > world.now_ms));
        }
        let is_ending = matches!(world.state.phase, Phase::PeerClosing { .. } | Phase::Closing(_));
        world.pass(20_000);
        prop_assert!(!is_ending || world.state.conclusion().is_some(), "{:?}", world.state);
        let end = world.state.end;
        world.pass(1_000_000);
        prop_assert!(end.is_none() || world.state.end == end);
    }

    #[test]
    fn frames_of_ours_are_between_those_of_the_peers_and_never_inside(
        rules in some_rules(),
        has_pipes in any::<bool>(),
        ops in prop::collection::vec(decent(), 1..80),
        drains in any::<bool>(),
    ) {
        let mut world = World::with(rules);
        world.has_pipes = has_pipes;
        let mut script = Script::default();
        for op in &ops {
            script.play(&mut world, op);
        }
        if drains {
            world.drain(0, 5_000);
        }
        (world.client.room, world.upstream.room) = (usize::MAX, usize::MAX);
        world.pass(6_000);
        check_frames(&world.client.got)?;
        check_frames(&world.upstream.got)?;
    }
}
