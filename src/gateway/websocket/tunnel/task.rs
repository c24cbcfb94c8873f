//! The task of a tunnel: polls both sockets and the clock, and lets each direction go as far as it can.
//!
//! It owns nothing that it could lose: what was taken from a socket is in the state, a buffer or a pipe of the tunnel.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::access_context::AccessContext;
use super::direction::Direction;
use super::event::Event;
use super::handover::Handover;
use super::lane::{Lane, Step};
use super::ownership::Ownership;
use super::phase::Conclusion;
use super::registration::Registration;
use super::rules::TunnelRules;
use super::sockets::{Interest, Sockets};
use super::state::{Beginning, TunnelState};
use super::timers::Drain;
use super::turn::Turn;
use super::waiter::Waiter;
use crate::clock;
use crate::config::{TokenExpiry, WebSocket};
use crate::downstream::clients::Holding;
use crate::gateway::core::Resources;
use crate::gateway::core::live::revoked_order;
use crate::gateway::websocket::leashes::Leashed;
use crate::gateway::websocket::online::Attending;
use crate::gateway::websocket::slots::{TunnelSlot, UserSlot};
use crate::limits::TUNNEL_RECEIVE_BYTES;
use crate::net::{NEVER, Transport};

/// A tunnel on this core.
pub(super) struct Tunnel {
    pub(super) sockets: Sockets,
    pub(super) state: TunnelState,
    pub(super) up: Lane,
    pub(super) down: Lane,
    /// Boxed, because nothing of it is looked at before the end.
    pub(super) places: Box<Places>,
}

/// Whose the tunnel is, and what it counts for until it is dropped.
pub(super) struct Places {
    pub(super) registration: Registration,
    _client: Holding,
    _tunnel: TunnelSlot,
    _user: Option<UserSlot>,
    attending: Option<Attending>,
}

/// Why a tunnel's task stops.
enum Carried {
    /// The tunnel is over.
    Over(Conclusion),
    /// It is called to move to another process.
    Called,
}

/// What became of a tunnel that was called.
pub(super) enum Left {
    /// It waits for the verdict of the new process.
    Gone,
    /// It goes on here.
    Stays(Box<Tunnel>),
    /// It has lost bytes and cannot go on.
    Broken(Box<Tunnel>),
}

/// A tunnel right after its handshake.
pub fn first_state(resources: &Resources, rules: &WebSocket, opened: Opened) -> TunnelState {
    let mut ping_payload = [0; 8];
    ping_payload.copy_from_slice(&resources.ids.next_hex()[..8]);
    let Opened { has_extension, expires_unix_s, ownership, early_in, early_out, context } = opened;
    let beginning = Beginning {
        has_extension,
        expires_unix_s: expires_unix_s.filter(|_| rules.token_expiry == TokenExpiry::Close),
        unix_s: clock::unix_s(),
        ping_payload,
        early_in,
        early_out,
        ownership: ownership.map(Box::new),
        context,
    };
    TunnelState::new(TunnelRules::from(rules), beginning, clock::now_ms())
}

/// What a handshake has led to.
pub struct Opened {
    /// The 101 named an extension.
    pub has_extension: bool,
    /// When the token holds no longer, in seconds since 1970.
    pub expires_unix_s: Option<u64>,
    /// Who holds it.
    pub ownership: Option<Ownership>,
    /// What the client sent behind its handshake.
    pub early_in: Vec<u8>,
    /// What the upstream sent behind its 101.
    pub early_out: Vec<u8>,
    /// For the access log.
    pub context: Option<Box<AccessContext>>,
}

/// Begins a tunnel, here or on the core that should have it.
pub fn begin(resources: &Rc<Resources>, handover: Box<Handover>) {
    resources.metrics.tunnels.opened.add(1);
    let attendance = &handover.registration.attendance;
    attendance.iter().for_each(|attendance| resources.online.opened(attendance));
    place(resources, handover);
}

/// Goes on with a tunnel of the process before, here or on the core that should have it.
pub(super) fn resume(resources: &Rc<Resources>, handover: Box<Handover>) {
    resources.metrics.tunnels.inherited.add(1);
    place(resources, handover);
}

fn place(resources: &Rc<Resources>, handover: Box<Handover>) {
    match resources.tunnels.hand_over(handover) {
        Ok(()) => resources.metrics.tunnels.handed_over.add(1),
        Err(handover) => adopt(resources, *handover),
    }
}

/// Goes on with a tunnel on this core.
pub fn adopt(resources: &Rc<Resources>, handover: Handover) {
    // Without a place in the runtime both connections close, which both peers see.
    let Ok(tunnel) = Tunnel::new(resources, handover) else { return };
    tunnel.sockets.count_begin();
    monoio::spawn(run(Box::new(tunnel)));
}

/// Runs a tunnel to its end, or until it moves to another process.
pub(super) async fn run(mut tunnel: Box<Tunnel>) {
    let conclusion = loop {
        match tunnel.carry().await {
            Carried::Over(conclusion) => break conclusion,
            Carried::Called => match tunnel.leave() {
                Left::Gone => return,
                Left::Stays(stayed) => tunnel = stayed,
                Left::Broken(broken) => {
                    tunnel = broken;
                    break Conclusion::Reset;
                }
            },
        }
    };
    match conclusion {
        Conclusion::Reset => {
            tunnel.sockets.client.reset_on_close();
            tunnel.sockets.upstream.reset_on_close();
        }
        // What counts as sent has to leave. Boxed, because it would be part of every tunnel, and is rare.
        _ if tunnel.sockets.has_unsent() => Box::pin(tunnel.sockets.settle()).await,
        _ => {}
    }
    tunnel.sockets.count_end(&tunnel.state);
    if let Some(attending) = tunnel.places.attending.take() {
        attending.end(tunnel.state.end().0);
    }
}

impl Tunnel {
    /// Registers both sockets with this core. Errors: the runtime's registration.
    fn new(resources: &Rc<Resources>, handover: Handover) -> io::Result<Tunnel> {
        let client = Transport::attach(handover.client, &resources.io.buffers)?;
        client.bound_receiving(TUNNEL_RECEIVE_BYTES);
        let upstream = Transport::attach(handover.upstream, &resources.io.buffers)?;
        let idle_ms = handover.state.rules.idle_ms;
        let patience = idle_ms.map_or(PEER_PATIENCE, |idle_ms| Duration::from_millis(idle_ms.get()));
        client.watch_peer(patience);
        upstream.watch_peer(patience);
        let (ownership, attendance) = (handover.state.ownership(), &handover.registration.attendance);
        let is_leashed = resources.leashes.are_kept() || attendance.is_some();
        let lifetime_ends_unix_s = handover.state.lifetime_ends_unix_s(clock::unix_s(), clock::now_ms());
        let leash = ownership
            .filter(|_| is_leashed)
            .map(|ownership| take_leash(resources, ownership, lifetime_ends_unix_s, handover.revoked_code));
        let pull = || leash.as_ref().map(Leashed::pull);
        let attending = attendance.as_ref().map(|attendance| resources.online.keep(attendance, pull()));
        let sockets = Sockets { resources: resources.clone(), client, upstream, leash };
        Ok(Tunnel {
            state: handover.state,
            up: Lane::new(Direction::Up, &sockets),
            down: Lane::new(Direction::Down, &sockets),
            sockets,
            places: Box::new(Places {
                _client: resources.clients.enter_tunnel(handover.registration.network),
                registration: handover.registration,
                _tunnel: handover.slot,
                _user: handover.user_slot,
                attending,
            }),
        })
    }

    /// Carries frames until the tunnel is over. Dropped at any time it loses nothing: all is in the tunnel.
    async fn carry(&mut self) -> Carried {
        let Tunnel { sockets, state, up, down, .. } = self;
        let sockets = &*sockets;
        let (up_wait, down_wait, timer) = (pin!(None), pin!(None), pin!(None));
        let mut up_wait = Waiter::new(up_wait, |interest| sockets.wait(Direction::Up, interest));
        let mut down_wait = Waiter::new(down_wait, |interest| sockets.wait(Direction::Down, interest));
        let mut timer = Waiter::new(timer, |at_ms| sockets.timers().sleep_until(at_ms));
        poll_fn(move |context| {
            loop {
                let mut turn = Turn { sockets, state: &mut *state, now_ms: clock::now_ms() };
                sockets.leash.iter().for_each(|leash| obey(leash, &mut turn, context));
                // A direction may make work for the other one, so both are asked until neither has any.
                advance(up, &mut turn, &mut up_wait, context);
                let has_moved = advance(down, &mut turn, &mut down_wait, context);
                let was_due = check_clock(&mut turn, &mut timer, context);
                if let Some(conclusion) = turn.state.conclusion() {
                    return Poll::Ready(Carried::Over(conclusion));
                }
                if sockets.resources.departures.calls() && !turn.state.stays {
                    return Poll::Ready(Carried::Called);
                }
                if !has_moved && !was_due {
                    return Poll::Pending;
                }
            }
        })
        .await
    }
}

/// Lets a direction go as far as it can. True: it did something. A fast peer does not keep the core: after
/// [`READS_PER_TURN`](crate::limits::READS_PER_TURN) full reads the next wait lets other tasks run.
fn advance<F, M>(
    lane: &mut Lane,
    turn: &mut Turn<'_>,
    wait: &mut Waiter<'_, Interest, F, M>,
    context: &mut Context<'_>,
) -> bool
where
    F: Future<Output = io::Result<()>>,
    M: Fn(Interest) -> F,
{
    let mut has_moved = false;
    loop {
        // A sink that has no room is not tried again before it has.
        let step = match wait.wants() {
            Some(Interest::Room) => Step::Wait(Interest::Room),
            _ => lane.step(turn),
        };
        match step {
            Step::Done => {}
            Step::Rest => return has_moved,
            Step::Wait(interest) => match wait.poll(interest, context) {
                Poll::Pending => return has_moved,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => lane.lost(turn, interest),
            },
        }
        has_moved = true;
    }
}

/// The leash of a tunnel that begins. What was revoked since the token
/// was looked at ends the tunnel at once; what is revoked from now on finds it by its leash.
fn take_leash(
    resources: &Resources,
    ownership: Ownership,
    lifetime_ends_unix_s: Option<u64>,
    revoked_code: u16,
) -> Leashed {
    let Resources { leashes, live, .. } = resources;
    let leash = leashes.take(ownership, lifetime_ends_unix_s);
    if live.refuses(&ownership.holder) {
        leash.end(&revoked_order(revoked_code));
    }
    leash
}

/// Passes on what the tunnel is told from outside.
fn obey(leash: &Leashed, turn: &mut Turn<'_>, context: &Context<'_>) {
    let (order, renewed) = leash.look(context.waker());
    if let Some(holder) = renewed {
        turn.tell(Event::Renewed { holder, unix_s: clock::unix_s() });
    }
    if let Some(order) = order {
        turn.tell(Event::Ordered { end: order.end, farewell: &order.farewell });
    }
}

/// Looks at the clock and at the drain. True: something was due.
fn check_clock<F, M>(
    turn: &mut Turn<'_>,
    timer: &mut Waiter<'_, u64, F, M>,
    context: &mut Context<'_>,
) -> bool
where
    F: Future<Output = ()>,
    M: Fn(u64) -> F,
{
    let Resources { io, drain_schedule, departures, roll_call, .. } = &*turn.sockets.resources;
    if io.is_draining() && !turn.state.is_draining() && !departures.is_under_way() {
        let (departs_ms, cut_ms) = (drain_schedule.next_ms(), drain_schedule.cut_ms());
        turn.tell(Event::Drain(Drain { departs_ms, cut_ms }));
    }
    if roll_call.is_open()
        && let Some(context) = turn.state.context()
    {
        roll_call.answer(context.begun_us / 1_000, true, context.route.as_deref(), &context.id);
    }
    let deadline_ms = turn.state.next_deadline_ms().unwrap_or(NEVER);
    if deadline_ms <= turn.now_ms {
        let unacknowledged = turn.sockets.unacknowledged();
        turn.tell(Event::Deadline { unix_s: clock::unix_s(), unacknowledged });
        return true;
    }
    // A deadline that has moved away is looked at again when the old one comes: most do so with every message. Where
    // there is none the wait is for the drain, which wakes all waits.
    let at_ms = timer.wants().map_or(deadline_ms, |armed_ms| armed_ms.min(deadline_ms));
    timer.poll(at_ms, context).is_ready()
}

/// How long a peer's kernel may stay silent where `WS_IDLE_TIMEOUT` says nothing.
const PEER_PATIENCE: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::sync::Arc;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;
    use crate::config::testing::config;
    use crate::gateway::core::Prepared;
    use crate::gateway::websocket::slots::TunnelSlots;
    use crate::gateway::websocket::tunnel::Tunnels;
    use crate::limit::Store;
    use crate::net::StreamSocket;
    use crate::net::runtime::{Preference, ThreadRuntime};

    fn resources(slots: &TunnelSlots) -> Rc<Resources> {
        Rc::new(Resources::new(Prepared {
            number: crate::upstream::CoreNumber::ONLY,
            key_requests: Arc::default(),
            redis_bell: Default::default(),
            metrics: Default::default(),
            access_log: None,
            spans: None,
            readiness: Arc::default(),
            tunnels: Tunnels::new([].into(), 0, slots.clone(), Arc::default()),
            lines: Arc::default(),
            instance: Arc::new(crate::gateway::websocket::online::Instance::new(1)),
            store: Store::Off,
            list_standing: None,
            renewals: None,
            logouts: None,
            room: crate::gateway::core::Room {
                connections: 1,
                connections_bound: crate::gateway::core::ConnectionsBound::Files,
                upstream_connections: 1,
                held_bytes: 1 << 20,
            },
        }))
    }

    /// What a client sends right behind its handshake: the beginning of a text.
    const EARLY: &[u8] = b"\x81\x85\0\0\0\0ear";

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).expect("a pair")
    }

    /// A tunnel, and its two peers.
    fn tunnel() -> (Tunnel, StreamSocket, StreamSocket) {
        let slots = TunnelSlots::new(1);
        let ((client, our_client), (our_upstream, upstream)) = (pair(), pair());
        let resources = resources(&slots);
        let opened = Opened {
            early_in: EARLY.to_vec(),
            early_out: b"\x81\x05early".to_vec(),
            has_extension: false,
            expires_unix_s: None,
            ownership: None,
            context: None,
        };
        let handover = Handover {
            state: first_state(&resources, &config("").websocket, opened),
            registration: Registration {
                network: crate::downstream::clients::Network::of([127, 0, 0, 1].into()),
                route: "ws".into(),
                user: None,
                attendance: None,
            },
            client: our_client.into(),
            upstream: our_upstream.into(),
            revoked_code: 1008,
            slot: slots.take(0, 1).expect("a slot"),
            user_slot: None,
        };
        let tunnel = Tunnel::new(&resources, handover).expect("a place in the runtime");
        let peer = |socket| StreamSocket::new(socket).expect("a place in the runtime");
        (tunnel, peer(client), peer(upstream))
    }

    /// The rest of a text, then frames of a client's that are copied and others that are spliced.
    fn frames() -> Vec<u8> {
        let mut bytes = b"ly".to_vec();
        for length in [3_u64, 100_000, 70_000, 0, 400_000, 125].repeat(4) {
            match u8::try_from(length) {
                Ok(short) => bytes.extend([0x82, 0x80 | short]),
                Err(_) => {
                    bytes.extend([0x82, 0xff]);
                    bytes.extend(length.to_be_bytes());
                }
            }
            bytes.extend([0; 4]);
            bytes.extend(std::iter::repeat_n(length as u8, length as usize));
        }
        bytes
    }

    #[test]
    fn a_task_that_is_dropped_at_any_time_and_begun_again_loses_nothing() {
        for preference in [Preference::Ring, Preference::Epoll] {
            let (mut runtime, _) = ThreadRuntime::build(preference).expect("a runtime");
            runtime.block_on(async {
                let (mut tunnel, client, upstream) = tunnel();
                let sent = frames();
                let (mut unsent, mut got, mut space, mut drops) =
                    (&sent[..], Vec::<u8>::new(), [0; 5_000], 0);
                while got.len() < EARLY.len() + sent.len() {
                    let piece = &unsent[..unsent.len().min(50_000)];
                    unsent = &unsent[client.try_send(piece).expect("a tunnel").unwrap_or(0)..];
                    let a_moment = Duration::from_micros(300);
                    assert!(
                        monoio::time::timeout(a_moment, tunnel.carry()).await.is_err(),
                        "the tunnel is over"
                    );
                    drops += 1;
                    for _ in 0..drops % 20 {
                        let read = upstream.try_recv(&mut space).expect("a tunnel").unwrap_or(0);
                        got.extend(&space[..read]);
                    }
                }
                assert!(got == [EARLY, &sent[..]].concat(), "after {drops} drops");
                let read = client.try_recv(&mut space).expect("a tunnel");
                assert_eq!((read, &space[..7]), (Some(7), &b"\x81\x05early"[..]));
                assert!(tunnel.sockets.resources.metrics.tunnels.bytes_spliced.get() > 0);
            });
        }
    }

    /// What a tunnel costs while nothing happens on it, besides what the runtime and the kernel keep for two polls.
    #[test]
    fn an_idle_tunnel_is_a_small_task() {
        fn size_of_future<F: Future>(_: fn(Box<Tunnel>) -> F) -> usize {
            size_of::<F>()
        }
        let size = size_of_future(run) + size_of::<Tunnel>();
        // Of these, 40 are for what it can be told from outside: whose it is, and the leash.
        assert!(size <= 1_584, "{} bytes: {} of them state", size, size_of::<TunnelState>());
    }
}
