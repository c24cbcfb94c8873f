//! What a tunnel does that is told to end from outside, or whose token is renewed.

use super::world::{World, frame};
use crate::auth::{Holder, Mark, Subject};
use crate::gateway::websocket::tunnel::Ownership;
use crate::gateway::websocket::tunnel::event::Event;
use crate::gateway::websocket::tunnel::farewell::Farewell;
use crate::gateway::websocket::tunnel::phase::{Conclusion, Phase};
use crate::gateway::websocket::tunnel::rules::TunnelRules;
use crate::gateway::websocket::tunnel::testing::rules;
use crate::telemetry::TunnelEnd;

pub(super) fn ownership() -> Ownership {
    let mark = |subject| Some(Mark::of(subject, "x"));
    let holder = Holder {
        token: mark(Subject::Token),
        session: mark(Subject::Session),
        ..Holder::someone("alice", 1_700_000_000)
    };
    Ownership { holder, handle: Some(Mark::of_handle(b"secret")), route: Mark::of_route("chat") }
}

fn told(world: &mut World, code: u16, reason: &str) {
    let farewell = Farewell::new(code, reason).expect("a farewell");
    world.tell(Event::Ordered { end: TunnelEnd::Revoked, farewell: &farewell });
    world.turn();
}

#[test]
fn it_says_goodbye_with_these_words_between_two_frames() {
    let mut world = World::new();
    let text = frame(0x81, b"half of a text", false);
    world.upstream_sends(&text[..5]);
    told(&mut world, 4401, "banned");
    assert_eq!(world.client.got, text[..5], "not inside a frame");
    assert_eq!(world.upstream.close_code(), 1001);
    world.upstream_sends(&text[5..]);
    let close = (0x88, [&4401_u16.to_be_bytes()[..], b"banned"].concat());
    assert_eq!(world.client.frames(), [(0x81, b"half of a text".to_vec()), close]);
    world.pass(5_000);
    assert_eq!(world.over(), (Conclusion::Graceful, TunnelEnd::Revoked, Some(4401)));
}

#[test]
fn the_first_goodbye_holds() {
    let mut world = World::new();
    told(&mut world, 4401, "banned");
    told(&mut world, 1000, "another");
    assert_eq!(world.client.close_code(), 4401);
    let mut leaving = World::new();
    leaving.drain(0, 10_000);
    leaving.pass(1);
    told(&mut leaving, 4401, "banned");
    assert_eq!((leaving.client.close_code(), leaving.upstream.close_code()), (1012, 1001));
    leaving.pass(10_000);
    assert_eq!(leaving.over().1, TunnelEnd::Drained);
}

#[test]
fn a_renewed_token_moves_the_end() {
    let mut world = World::expiring(rules(), Some(10));
    world.state.ownership = Some(Box::new(ownership()));
    let begun_s = world.unix_s();
    world.pass(9_000);
    let holder = Holder { expires_unix_s: begun_s + 30, ..ownership().holder };
    world.tell(Event::Renewed { holder, unix_s: begun_s + 9 });
    world.pass(20_000);
    assert_eq!(world.state.phase, Phase::Open);
    assert_eq!(world.state.ownership().map(|ownership| ownership.holder), Some(holder));
    world.pass(1_000);
    assert_eq!(world.client.close_code(), 1008);
    // Where the end of the token does not matter, neither does this one.
    let mut careless = World::new();
    careless.tell(Event::Renewed { holder, unix_s: begun_s });
    careless.pass(29_999);
    careless.pass(60_000);
    assert_eq!(careless.state.timers.expiry, None);
}

#[test]
fn its_lifetime_has_an_end_by_the_wall_clock() {
    let mut world = World::with(TunnelRules { lifetime_ms: 60_000.try_into().ok(), ..rules() });
    let ends_unix_s = Some(world.unix_s() + 60);
    for passed_ms in [0, 20_000, 39_000] {
        world.pass(passed_ms);
        assert_eq!(world.state.lifetime_ends_unix_s(world.unix_s(), world.now_ms), ends_unix_s);
    }
    assert_eq!(World::new().state.lifetime_ends_unix_s(0, 0), None);
}
