//! Ends: by the peers, by the gateway, and by what breaks.

use super::world::{World, close, frame};
use crate::gateway::websocket::tunnel::phase::{Conclusion, Phase};
use crate::gateway::websocket::tunnel::rules::TunnelRules;
use crate::gateway::websocket::tunnel::testing::rules;
use crate::telemetry::TunnelEnd;

use Conclusion::{Graceful, Reset};

/// A tunnel that the gateway has begun to close, because its lifetime is over.
fn closing() -> World {
    let mut world = World::with(TunnelRules { lifetime_ms: 10_000.try_into().ok(), ..rules() });
    world.pass(10_000);
    world
}

#[test]
fn close_frames_pass_untouched_and_nothing_behind_them() {
    let mut world = World::new();
    world.client_sends([frame(0x81, b"a", true), close(4001, true), frame(0x81, b"late", true)].concat());
    assert_eq!(world.upstream.frames(), [(0x81, b"a".to_vec()), (0x88, vec![0x0f, 0xa1])]);
    assert_eq!(world.state.phase, Phase::PeerClosing { since_ms: world.now_ms });
    world
        .upstream_sends([frame(0x81, b"b", false), close(4002, false), frame(0x81, b"late", false)].concat());
    assert_eq!(world.client.frames(), [(0x81, b"b".to_vec()), (0x88, vec![0x0f, 0xa2])]);
    assert!(!world.client.got_end && !world.upstream.got_end, "the peers end their connections themselves");
    world.upstream.has_ended = true;
    world.turn();
    assert!(world.client.got_end);
    world.client.has_ended = true;
    world.turn();
    assert_eq!(world.over(), (Graceful, TunnelEnd::ClientClosed, Some(4001)));
}

#[test]
fn peers_that_do_not_close_after_their_close_frames_are_cut_off() {
    for answers in [true, false] {
        let mut world = World::new();
        world.upstream_sends(close(1000, false));
        if answers {
            world.client_sends(close(1000, true));
        }
        world.pass(4_999);
        assert!(world.state.conclusion().is_none());
        world.pass(1);
        assert_eq!(world.over(), (Graceful, TunnelEnd::UpstreamClosed, Some(1000)));
    }
}

#[test]
fn a_close_frame_that_its_sink_does_not_take_yet_has_not_passed() {
    let mut world = World::new();
    world.upstream.room = 3;
    world.client_sends(close(1000, true));
    world.pass(20_000);
    assert_eq!(world.state.phase, Phase::Open);
    world.upstream.room = 100;
    world.turn();
    assert_eq!(
        (world.upstream.close_code(), world.state.end()),
        (1000, (TunnelEnd::ClientClosed, Some(1000)))
    );
}

#[test]
fn a_client_that_answers_gets_the_end_and_the_tunnel_that_of_the_upstream() {
    let mut world = closing();
    assert_eq!((world.client.close_code(), world.upstream.close_code()), (1001, 1001));
    // What it still says goes nowhere, and what the upstream still says neither.
    world.client_sends([frame(0x81, b"wait", true), frame(0x89, b"", true)].concat());
    world.upstream_sends([frame(0x81, b"wait", false), close(1001, false)].concat());
    assert!(!world.client.got_end);
    world.client_sends(close(1001, true));
    assert!(world.client.got_end);
    assert_eq!((&world.client.got[..], &world.upstream.got[..]), (&b""[..], &b""[..]));
    world.upstream.has_ended = true;
    world.turn();
    assert_eq!(world.over(), (Graceful, TunnelEnd::LifetimeOver, Some(1001)));
}

#[test]
fn a_client_that_does_not_answer_is_cut_off() {
    let mut world = closing();
    world.client_sends(frame(0x81, b"what?", true));
    world.pass(4_999);
    assert!(world.state.conclusion().is_none() && !world.client.got_end);
    world.pass(1);
    assert_eq!(world.over(), (Graceful, TunnelEnd::LifetimeOver, Some(1001)));
}

#[test]
fn in_a_drain_a_client_that_has_answered_does_not_wait_for_the_deadline() {
    let mut world = World::new();
    world.drain(0, 60_000);
    world.pass(1_000);
    world.client_sends(close(1012, true));
    assert!(world.client.got_end);
    world.pass(4_999);
    assert!(world.state.conclusion().is_none());
    world.pass(1);
    assert_eq!(world.over(), (Graceful, TunnelEnd::Drained, Some(1012)));
}

#[test]
fn a_frame_on_its_way_is_finished_before_our_close_whatever_the_client_says_meanwhile() {
    for says_close in [true, false] {
        let mut world = World::with(TunnelRules { lifetime_ms: 1_000.try_into().ok(), ..rules() });
        let whole = frame(0x82, &[9; 300_000], false);
        world.upstream_sends(&whole[..150_000]);
        world.pass(1_500);
        match says_close {
            true => _ = world.client_sends(close(1000, true)),
            false => world.client.has_ended = true,
        }
        world.pass(1_000);
        assert!(world.client.got == whole[..150_000] && !world.client.got_end);
        world.upstream_sends(&whole[150_000..]);
        let frames = world.client.frames();
        assert_eq!((frames.len(), &frames[0].1[..]), (2, &[9; 300_000][..]));
        assert_eq!((frames[1].0, &frames[1].1[..2]), (0x88, &1001_u16.to_be_bytes()[..]));
        assert!(world.client.got_end);
    }
}

#[test]
fn where_the_framing_is_lost_the_client_gets_the_end_right_behind_our_close() {
    let limited =
        TunnelRules { message_bytes_max: 1_000, message_rate_milli: 1, message_burst: 2, ..rules() };
    let many = frame(0x81, b"x", true).repeat(3);
    for (bytes, passed, end, code) in [
        (frame(0xf1, b"x", true), 0, TunnelEnd::ClientMisbehaved, 1002),
        (frame(0x81, b"x", false), 0, TunnelEnd::ClientMisbehaved, 1002),
        (frame(0x82, &[0; 1_001], true), 0, TunnelEnd::MessageTooBig, 1009),
        (many, 2, TunnelEnd::TooManyMessages, 1008),
    ] {
        let mut world = World::with(limited);
        world.client_sends(&bytes);
        assert_eq!(world.client.close_code(), code);
        assert!(world.client.got_end);
        let frames = world.upstream.frames();
        assert_eq!(
            (frames.len(), frames[passed].0, &frames[passed].1[..2]),
            (passed + 1, 0x88, &[3, 0xe9][..])
        );
        world.client_sends(frame(0x81, b"still there?", true)).client_sends(close(1002, true));
        assert_eq!(world.upstream.got, b"");
        (world.client.has_ended, world.upstream.has_ended) = (true, true);
        world.turn();
        assert_eq!(world.over(), (Graceful, end, Some(code)));
    }
}

#[test]
fn an_upstream_that_breaks_the_framing_gets_1002_and_the_client_may_answer() {
    let mut world = World::new();
    world.upstream_sends([frame(0x81, b"a", false), frame(0xf1, b"", false)].concat());
    let frames = world.client.frames();
    assert_eq!((frames.len(), &frames[1].1[..2]), (2, &1002_u16.to_be_bytes()[..]));
    assert_eq!(world.upstream.close_code(), 1002);
    assert!(!world.client.got_end);
    world.client_sends(close(1002, true));
    assert!(world.client.got_end);
    world.pass(5_000);
    assert_eq!(world.over(), (Graceful, TunnelEnd::UpstreamMisbehaved, Some(1002)));
}

#[test]
fn a_client_that_breaks_the_framing_instead_of_answering_is_discarded() {
    let mut world = closing();
    world.client_sends(frame(0xf1, b"", true)).client_sends(close(1001, true));
    assert!(!world.client.got_end && !world.upstream.got_end);
    world.client.has_ended = true;
    world.turn();
    assert!(world.client.got_end && world.upstream.got_end);
}

#[test]
fn the_first_reason_is_the_one_that_is_recorded() {
    // The client closes, then the upstream breaks the framing: the gateway has to close what is left.
    let mut world = World::new();
    world.client_sends(close(4000, true));
    world.upstream_sends(frame(0xf1, b"", false));
    assert_eq!(world.client.close_code(), 1002);
    world.pass(5_000);
    assert_eq!(world.over(), (Graceful, TunnelEnd::ClientClosed, Some(4000)));
    // And a peer's Close frame behind ours is not passed on.
    let mut world = closing();
    world.client.got.clear();
    world.upstream_sends(close(4001, false));
    assert_eq!((&world.client.got[..], world.state.end().1), (&b""[..], Some(1001)));
}

#[test]
fn a_peers_close_waits_for_ours_and_goes_no_further() {
    let mut world = World::with(TunnelRules { lifetime_ms: 1_000.try_into().ok(), ..rules() });
    let whole = frame(0x82, &[9; 1_000], false);
    world.upstream_sends(&whole[..500]);
    world.pass(2_000);
    world.upstream_sends([&whole[500..], &close(4001, false)[..]].concat());
    let codes: Vec<_> = world.client.frames().into_iter().skip(1).collect();
    assert_eq!(codes, [(0x88, [&1001_u16.to_be_bytes()[..], b"lifetime over"].concat())]);
}

#[test]
fn an_end_without_a_close_frame_passes_as_it_came_and_the_other_direction_goes_on() {
    let mut world = World::new();
    world.client.has_ended = true;
    world.client_sends(frame(0x81, b"last", true));
    assert_eq!((world.upstream.frames().len(), world.upstream.got_end), (1, true));
    world.upstream_sends(frame(0x82, &[5; 100_000], false)).upstream_sends(close(1000, false));
    assert_eq!(world.client.frames().len(), 2);
    world.upstream.has_ended = true;
    world.turn();
    assert_eq!(world.over(), (Graceful, TunnelEnd::ClientGone, Some(1000)));

    let mut world = World::new();
    world.upstream.has_ended = true;
    world.turn();
    world.client_sends(frame(0x82, &[5; 100_000], true));
    assert_eq!((world.upstream.frames().len(), world.client.got_end), (1, true));
    world.client.has_ended = true;
    world.turn();
    assert_eq!(world.over(), (Graceful, TunnelEnd::UpstreamGone, None));
}

#[test]
fn a_reset_that_nobody_announced_becomes_one_of_both_sides() {
    for is_client in [true, false] {
        for bytes in [0, 1, 50, 60_000] {
            let mut world = World::new();
            let part = &frame(0x82, &[7; 100_000], is_client)[..bytes];
            let (peer, end) = match is_client {
                true => (&mut world.client, TunnelEnd::ClientGone),
                false => (&mut world.upstream, TunnelEnd::UpstreamGone),
            };
            peer.sends.extend(part);
            peer.is_lost = true;
            world.turn();
            assert_eq!(world.over(), (Reset, end, None));
            assert!(!world.client.got_end && !world.upstream.got_end);
        }
    }
}

#[test]
fn after_a_close_frame_a_reset_ends_in_order() {
    // Of the one that has not closed.
    let mut world = World::new();
    world.client_sends(close(1000, true));
    world.upstream.is_lost = true;
    world.turn();
    assert_eq!(world.over(), (Graceful, TunnelEnd::ClientClosed, Some(1000)));
    // Of the one that has: its end passes, and the other may still answer.
    let mut world = World::new();
    world.client_sends(close(1000, true));
    world.client.is_lost = true;
    world.turn();
    assert!(world.upstream.got_end && world.state.conclusion().is_none());
    world.upstream.has_ended = true;
    world.turn();
    assert_eq!(world.over(), (Graceful, TunnelEnd::ClientClosed, Some(1000)));
}

#[test]
fn the_last_words_of_a_peer_that_takes_nothing_more_still_pass() {
    let mut world = World::new();
    world.upstream.refuses = true;
    world.upstream.sends.extend([frame(0x81, b"bye", false), close(4003, false)].concat());
    world.client.sends.extend(frame(0x81, b"hello?", true));
    world.turn();
    assert_eq!(world.client.frames(), [(0x81, b"bye".to_vec()), (0x88, 4003_u16.to_be_bytes().to_vec())]);
    assert!(matches!(world.state.phase, Phase::PeerClosing { .. }));
    world.pass(5_000);
    assert_eq!(world.over(), (Graceful, TunnelEnd::UpstreamClosed, Some(4003)));
}

#[test]
fn a_broken_tunnel_ends_by_a_reset_when_the_last_words_are_over_and_not_by_a_fin() {
    let mut world = World::new();
    world.upstream.refuses = true;
    world.client_sends(frame(0x81, b"hello?", true));
    assert!(matches!(world.state.phase, Phase::Broken(_)));
    world.upstream_sends(frame(0x81, b"bye", false));
    assert_eq!(world.client.frames().len(), 1);
    world.upstream.has_ended = true;
    world.turn();
    assert_eq!((world.over(), world.client.got_end), ((Reset, TunnelEnd::UpstreamGone, None), false));
}

#[test]
fn a_peer_that_takes_nothing_does_not_keep_the_tunnel_of_one_that_is_gone() {
    let mut world = World::new();
    world.client.room = 0;
    world.upstream_sends(frame(0x82, &[9; 100_000], false));
    world.upstream.is_lost = true;
    world.client.unacknowledged = 50_000;
    world.pass(125_000);
    assert_eq!(world.over(), (Graceful, TunnelEnd::Idle, Some(1001)));
}

#[test]
fn a_sink_that_is_lost_during_our_close_ends_in_order() {
    let mut world = World::with(TunnelRules { lifetime_ms: 1_000.try_into().ok(), ..rules() });
    world.upstream.refuses = true;
    world.pass(1_000);
    assert_eq!(world.client.close_code(), 1001);
    (world.client.has_ended, world.upstream.has_ended) = (true, true);
    world.turn();
    assert_eq!(world.over(), (Graceful, TunnelEnd::LifetimeOver, Some(1001)));
}
