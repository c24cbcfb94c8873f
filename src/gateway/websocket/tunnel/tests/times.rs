//! What time does to a tunnel: pings, idleness, the lifetime, the token's end, the drain.

use super::world::{PING_PAYLOAD, World, close, frame};
use crate::gateway::websocket::tunnel::keepalive::Ping;
use crate::gateway::websocket::tunnel::phase::{Conclusion, Phase};
use crate::gateway::websocket::tunnel::rules::TunnelRules;
use crate::gateway::websocket::tunnel::testing::rules;
use crate::telemetry::TunnelEnd;

fn ping() -> (u8, Vec<u8>) {
    (0x89, PING_PAYLOAD.to_vec())
}

fn pong() -> Vec<u8> {
    frame(0x8a, &PING_PAYLOAD, true)
}

/// The Close frame that a client gets.
fn closed(code: u16, reason: &str) -> (u8, Vec<u8>) {
    (0x88, [&code.to_be_bytes(), reason.as_bytes()].concat())
}

#[test]
fn a_quiet_client_that_answers_pings_stays_and_its_pongs_go_no_further() {
    for idle_ms in [None, 40_000.try_into().ok()] {
        let mut world = World::with(TunnelRules { idle_ms, ..rules() });
        for round in 1..=5 {
            world.pass(29_999);
            assert_eq!(world.client.frames(), []);
            world.pass(1);
            assert_eq!((world.client.frames(), world.pings), (vec![ping()], round));
            world.client_sends(pong());
        }
        assert_eq!(world.upstream.got, b"");
        assert_eq!(world.state.phase, Phase::Open);
        // A pong of its own, and one that only looks like an answer, are the upstream's business.
        world.client_sends(frame(0x8a, b"", true)).client_sends(frame(0x8a, b"12345678", true));
        assert_eq!(world.upstream.frames(), [(0x8a, vec![]), (0x8a, b"12345678".to_vec())]);
    }
}

#[test]
fn a_client_that_talks_is_not_pinged_and_each_byte_of_a_long_frame_is_a_sign_of_life() {
    let mut world = World::new();
    for _ in 0..20 {
        world.pass(20_000);
        world.client_sends(frame(0x81, b"hi", true));
    }
    world.client_sends(&frame(0x82, &[1; 1_000], true)[..100]);
    for _ in 0..20 {
        world.pass(20_000);
        world.client_sends([1]);
    }
    assert_eq!((world.pings, world.state.phase), (0, Phase::Open));
}

#[test]
fn a_ping_that_is_not_answered_for_two_intervals_ends_the_tunnel() {
    let mut world = World::new();
    world.pass(89_999);
    assert_eq!(world.client.frames(), [ping()]);
    world.pass(1);
    assert_eq!(world.client.frames(), [closed(1001, "ping unanswered")]);
    assert_eq!((world.upstream.close_code(), world.pings), (1001, 1));
    world.pass(5_000);
    assert_eq!(world.over(), (Conclusion::Graceful, TunnelEnd::PingUnanswered, Some(1001)));
}

#[test]
fn anything_that_the_client_says_answers_a_ping() {
    for sign in [frame(0x81, b"x", true), frame(0x89, b"", true), frame(0x8a, b"other", true)] {
        let mut world = World::new();
        world.pass(80_000);
        world.client_sends(sign);
        assert_eq!(world.state.timers.keepalive.ping, Ping::Quiet);
        world.pass(29_999);
        assert_eq!((world.pings, world.state.phase), (1, Phase::Open));
    }
}

#[test]
fn a_ping_waits_for_the_end_of_a_frame_that_is_on_its_way() {
    let mut world = World::new();
    let whole = frame(0x82, &[9; 200_000], false);
    world.upstream_sends(&whole[..100_000]);
    world.pass(35_000);
    assert_eq!(world.client.got, &whole[..100_000]);
    world.upstream_sends(&whole[100_000..]);
    assert_eq!(world.client.frames(), [(0x82, vec![9; 200_000]), ping()]);
    // What is not written cannot be answered: its time begins with the ping.
    world.pass(59_999);
    assert_eq!(world.state.phase, Phase::Open);
    world.pass(1);
    assert_eq!(world.over_reason(), TunnelEnd::PingUnanswered);
}

#[test]
fn a_slow_reader_has_the_time_to_come_to_its_ping() {
    let mut world = World::new();
    world.upstream_sends(frame(0x82, &[9; 50_000], false));
    world.client.unacknowledged = 50_000;
    for _ in 0..30 {
        world.pass(10_000);
        world.client.unacknowledged -= 1_000;
    }
    assert_eq!((world.pings, world.state.phase), (1, Phase::Open));
    // It takes nothing more.
    let taken_ms = world.now_ms;
    while world.state.phase == Phase::Open {
        world.pass(1_000);
    }
    assert!(world.now_ms <= taken_ms + 2 * 60_000);
    assert_eq!(world.over_reason(), TunnelEnd::PingUnanswered);
}

#[test]
fn a_client_that_took_everything_before_the_ping_has_no_excuse() {
    let mut world = World::new();
    world.pass(30_000);
    world.upstream_sends(frame(0x82, &[9; 50_000], false));
    world.client.unacknowledged = 50_000;
    world.pass(30_000);
    world.client.unacknowledged = 0;
    world.pass(30_000);
    assert_eq!(world.over_reason(), TunnelEnd::PingUnanswered);
}

#[test]
fn a_client_that_says_nothing_at_all_ends_at_the_idle_timeout() {
    let mut world = World::with(TunnelRules { ping_interval_ms: None, ..rules() });
    world.upstream_sends(frame(0x81, b"are you there?", false));
    world.client.got.clear();
    world.pass(119_999);
    assert_eq!(world.state.phase, Phase::Open);
    world.pass(1);
    assert_eq!(world.client.frames(), [closed(1001, "idle")]);
    assert_eq!(world.upstream.close_code(), 1001);
}

#[test]
fn a_ping_that_never_found_its_place_ends_with_the_idle_timeout() {
    let mut world = World::new();
    world.upstream_sends(&frame(0x82, &[9; 1_000], false)[..500]);
    world.pass(119_999);
    assert_eq!((world.pings, world.state.phase), (0, Phase::Open));
    world.pass(1);
    assert_eq!(world.over_reason(), TunnelEnd::Idle);
    world.pass(5_000);
    assert_eq!(world.over(), (Conclusion::Graceful, TunnelEnd::Idle, Some(1001)));
    assert_eq!(world.client.got.len(), 4 + 496, "nothing of ours inside the frame");
}

#[test]
fn a_lifetime_ends_a_busy_tunnel_too() {
    let mut world = World::with(TunnelRules { lifetime_ms: 10_000.try_into().ok(), ..rules() });
    for _ in 0..10 {
        assert_eq!(world.state.phase, Phase::Open);
        world.pass(1_000);
        world.client_sends(frame(0x81, b"hi", true));
    }
    assert_eq!(world.client.frames(), [closed(1001, "lifetime over")]);
}

#[test]
fn a_tunnel_ends_with_its_token_by_the_wall_clock() {
    let quiet = TunnelRules { ping_interval_ms: None, idle_ms: None, ..rules() };
    // The clock is set meanwhile: that is noticed within a minute.
    for (token_s, ahead_s, ends_s) in
        [(2, 0, 2), (0, 0, 0), (600, 0, 600), (600, 590, 60), (600, 1_000_000, 60), (90, -60, 150)]
    {
        let mut world = World::expiring(quiet, Some(token_s));
        world.wall_ahead_s = ahead_s;
        world.pass(ends_s * 1_000 - u64::from(ends_s > 0));
        let is_open = world.state.phase == Phase::Open;
        assert_eq!(is_open, ends_s > 0, "{token_s} {ahead_s}");
        world.pass(1);
        assert_eq!(world.client.frames(), [closed(1008, "token expired")], "{token_s} {ahead_s}");
        assert_eq!(world.upstream.close_code(), 1001);
    }
    let mut forever = World::with(quiet);
    assert_eq!(forever.state.next_deadline_ms(), None);
    forever.pass(1_000_000_000);
    assert_eq!(forever.state.phase, Phase::Open);
}

#[test]
fn a_drain_comes_at_its_turn_and_leaves_what_time_there_is() {
    let mut world = World::new();
    world.drain(3_000, 20_000);
    world.pass(2_999);
    world.client_sends(frame(0x81, b"still here", true));
    assert_eq!((world.client.frames().len(), world.upstream.frames().len()), (0, 1));
    world.pass(1);
    assert_eq!(world.client.frames(), [closed(1012, "service restart")]);
    assert_eq!(world.upstream.close_code(), 1001);
    // Nobody answers.
    world.pass(16_999);
    assert!(world.state.conclusion().is_none());
    world.pass(1);
    assert_eq!(world.over(), (Conclusion::Graceful, TunnelEnd::Drained, Some(1012)));
}

#[test]
fn whatever_has_begun_to_end_does_so_before_the_process() {
    let mut world = World::new();
    world.client_sends(close(1000, true));
    world.drain(0, 1_000);
    world.pass(999);
    assert!(world.state.conclusion().is_none());
    world.pass(1);
    assert_eq!(world.over(), (Conclusion::Graceful, TunnelEnd::ClientClosed, Some(1000)));
    let mut late = World::new();
    late.drain(500, 100);
    late.pass(500);
    assert_eq!(late.over(), (Conclusion::Graceful, TunnelEnd::Drained, Some(1012)));
}

#[test]
fn a_client_that_has_sent_its_last_is_pinged_and_then_let_go() {
    let mut world = World::new();
    world.client.has_ended = true;
    world.pass(30_000);
    assert!(world.upstream.got_end);
    assert_eq!(world.client.frames(), [ping()]);
    world.pass(60_000);
    assert_eq!(world.client.frames(), [closed(1001, "ping unanswered")]);
    assert!(world.client.got_end, "there is nothing that the client could answer");
    world.upstream.has_ended = true;
    world.turn();
    assert_eq!(world.over(), (Conclusion::Graceful, TunnelEnd::ClientGone, Some(1001)));
}

impl World {
    /// Why the gateway closes.
    #[track_caller]
    fn over_reason(&self) -> TunnelEnd {
        match self.state.phase {
            Phase::Closing(closing) => closing.reason,
            other => panic!("{other:?}"),
        }
    }
}
