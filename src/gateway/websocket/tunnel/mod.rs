//! A tunnel: two connections after a WebSocket handshake, frames going both ways, and a proper goodbye.
//!
//! ```text
//!            ┌──────────────────── Tunnel ────────────────────┐
//!  client ══▶│ course up:   track frames, judge, pass on      │══▶ upstream
//!         ◀══│ course down: the same, and our pings and Close │◀══
//!            │ minder: pings, deadlines, the drain            │
//!            └────────────────────────────────────────────────┘
//! ```
//!
//! All three are one small task. Each course is the only one that writes to its sink, so a frame of ours stands between
//! two of the peer's and never inside one. A tunnel on which nothing happens owns no buffer and no pipe.

mod access_context;
mod close;
mod adopt;
mod handover;
mod relay;
mod timers;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

pub use self::access_context::AccessContext;
pub use self::adopt::{adopt, begin};
pub use self::close::DrainSchedule;
pub use self::handover::{Handover, Sibling, TunnelSlot, Tunnels};

use self::close::Farewell;
use self::relay::Course;
use crate::clock;
use crate::config::WebSocket;
use crate::gateway::core::Resources;
use crate::gateway::websocket::slots::UserSlot;
use crate::net::{NEVER, StreamSocket, Transport};
use crate::telemetry::{TunnelEnd, TunnelRecord};
use crate::ws::{self, Header, Opcode, Verdict};

/// What both courses and the minder see. They take turns on one thread, so cells are enough.
struct Tunnel {
    resources: Rc<Resources>,
    client: Transport,
    upstream: Transport,
    rules: Arc<WebSocket>,
    has_extension: bool,
    /// When the token holds no longer, in seconds since 1970; [`NEVER`]: there is none.
    expires_unix_s: u64,
    begun_ms: u64,
    /// When the client last gave a sign of life.
    heard_ms: Cell<u64>,
    ping: Cell<Ping>,
    /// What our pings carry, so that their pongs are known.
    mark: [u8; 8],
    farewell: Cell<Option<Farewell>>,
    /// When the drain comes to this tunnel; [`NEVER`] before it has begun.
    leaves_ms: Cell<u64>,
    /// When the first Close frame passed; [`NEVER`]: none has.
    closing_ms: Cell<u64>,
    /// When the client had nothing more to say after our goodbye; [`NEVER`]: it may have.
    client_done_ms: Cell<u64>,
    /// Our own Close frame has gone to the client.
    has_told_client: Cell<bool>,
    /// Bytes that were given to the client's socket, ours included.
    written: Cell<u64>,
    /// Those of them that its kernel had acknowledged at the last look; [`NEVER`]: our ping did not have to wait.
    acknowledged: Cell<u64>,
    /// A peer that takes nothing more, but what it has sent may not have been read yet.
    broken: Cell<Option<Broken>>,
    /// The client has sent its last.
    is_up_over: Cell<bool>,
    end: Cell<Option<TunnelEnd>>,
    close_code: Cell<Option<u16>>,
    /// Counts what one of the three does that another may be waiting for.
    news: Cell<u32>,
    allowance: Allowance,
    tally: Tally,
    ticket: Option<Box<AccessContext>>,
    _slot: TunnelSlot,
    _user_slot: Option<Box<UserSlot>>,
}

/// One direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// From the client to the upstream.
    Up,
    /// From the upstream to the client.
    Down,
}

/// Where the gateway's own ping stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ping {
    /// None is needed.
    Idle,
    /// One is to be sent when the course down stands between two frames.
    Due,
    /// One was sent at this time, and the client has not been heard since.
    Sent(u64),
}

/// The connection of one of the peers broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Broken(TunnelEnd);

/// What stood behind the two halves of the handshake: it goes first.
struct Early {
    from_client: Box<[u8]>,
    from_upstream: Box<[u8]>,
}

impl Early {
    fn courses(self, tunnel: &Tunnel) -> (Course<'_>, Course<'_>) {
        (
            Course::new(tunnel, Side::Up, &self.from_client),
            Course::new(tunnel, Side::Down, &self.from_upstream),
        )
    }
}

/// Runs a tunnel to its end.
async fn run(tunnel: Box<Tunnel>, early: Early) {
    if let Err(Broken(end)) = tunnel.carry(early).await {
        tunnel.end.set(tunnel.end.get().or(Some(end)));
        // A peer must not take half a conversation for a whole one. After a goodbye of ours it does not; and a reset
        // could destroy that.
        if tunnel.is_unannounced() {
            tunnel.client.reset_on_close();
            tunnel.upstream.reset_on_close();
        }
    }
    tunnel.finish();
}

impl Tunnel {
    /// Registers both sockets with this core. Errors: the runtime's registration.
    fn new(resources: &Rc<Resources>, handover: Handover) -> io::Result<Tunnel> {
        let rules = handover.rules;
        let (client, upstream) = (
            Transport::Plain(StreamSocket::new(handover.client)?),
            Transport::Plain(StreamSocket::new(handover.upstream)?),
        );
        let patience = if rules.idle.is_zero() { PEER_PATIENCE } else { rules.idle };
        client.watch_peer(patience);
        upstream.watch_peer(patience);
        let now_ms = clock::now_ms();
        let mut mark = [0; 8];
        mark.copy_from_slice(&resources.ids.next_hex()[..8]);
        Ok(Tunnel {
            allowance: Allowance::new(&rules, now_ms),
            resources: resources.clone(),
            client,
            upstream,
            has_extension: handover.has_extension,
            expires_unix_s: handover.expires_unix_s.unwrap_or(NEVER),
            begun_ms: now_ms,
            heard_ms: Cell::new(now_ms),
            ping: Cell::new(Ping::Idle),
            mark,
            farewell: Cell::new(None),
            leaves_ms: Cell::new(NEVER),
            closing_ms: Cell::new(NEVER),
            client_done_ms: Cell::new(NEVER),
            has_told_client: Cell::new(false),
            written: Cell::new(0),
            acknowledged: Cell::new(NEVER),
            broken: Cell::new(None),
            is_up_over: Cell::new(false),
            end: Cell::new(None),
            close_code: Cell::new(None),
            news: Cell::new(0),
            tally: Tally::default(),
            ticket: handover.ticket,
            rules,
            _slot: handover.slot,
            _user_slot: handover.user_slot.map(Box::new),
        })
    }

    /// Both directions until both have ended, or one breaks, or the minder has waited long enough.
    async fn carry(&self, early: Early) -> Result<(), Broken> {
        let mut minder = pin!(timers::mind(self));
        let (mut up, mut down) = early.courses(self);
        let (mut up, mut down) = (pin!(up.run()), pin!(down.run()));
        let (mut is_up_over, mut is_down_over) = (false, false);
        poll_fn(|context| {
            loop {
                let news = self.news.get();
                if minder.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Ok(()));
                }
                if !is_up_over && let Poll::Ready(ended) = up.as_mut().poll(context) {
                    ended?;
                    is_up_over = true;
                    self.is_up_over.set(true);
                }
                if !is_down_over && let Poll::Ready(ended) = down.as_mut().poll(context) {
                    ended?;
                    is_down_over = true;
                }
                if is_up_over && is_down_over {
                    return Poll::Ready(Ok(()));
                }
                if let Some(broken) = self.broken.get().filter(|_| self.is_unannounced()) {
                    let is_other_over =
                        if broken.0 == TunnelEnd::UpstreamGone { is_down_over } else { is_up_over };
                    if is_other_over {
                        return Poll::Ready(Err(broken));
                    }
                }
                if self.news.get() == news {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// Neither a peer nor the gateway has said that the tunnel ends.
    fn is_unannounced(&self) -> bool {
        self.farewell.get().is_none() && self.closing_ms.get() == NEVER
    }

    /// What becomes of a frame.
    fn judge(&self, side: Side, header: &Header, payload: &[u8]) -> Verdict {
        // Also before a Close frame of the peer's: it would take the place of ours.
        if self.is_calling(side) {
            return Verdict::Hold;
        }
        let is_message = matches!(header.opcode, Opcode::Text | Opcode::Binary);
        if side == Side::Down {
            self.resources.metrics.tunnels.frames_out.add(1);
            self.resources.metrics.tunnels.messages_out.add(u64::from(is_message));
            self.tally.messages_out.set(self.tally.messages_out.get() + u64::from(is_message));
            return Verdict::Pass;
        }
        self.heard();
        self.resources.metrics.tunnels.frames_in.add(1);
        if header.opcode == Opcode::Pong && ws::carries(header, payload, &self.mark) {
            return Verdict::Swallow;
        }
        // Fragments are counted by their size; everything else that costs the upstream a look counts.
        let is_counted = is_message || matches!(header.opcode, Opcode::Ping | Opcode::Pong);
        if is_counted && !self.allowance.take(&self.rules, clock::now_ms()) {
            return Verdict::TooMany;
        }
        self.resources.metrics.tunnels.messages_in.add(u64::from(is_message));
        self.tally.messages_in.set(self.tally.messages_in.get() + u64::from(is_message));
        Verdict::Pass
    }

    /// The client lives.
    fn heard(&self) {
        self.heard_ms.set(clock::now_ms());
        if self.ping.replace(Ping::Idle) != Ping::Idle {
            // The next ping is due earlier than what the minder waits for.
            self.tell();
        }
    }

    /// Bytes of frames have gone on.
    fn moved(&self, side: Side, bytes: usize, is_spliced: bool) {
        let metrics = &self.resources.metrics;
        let bytes = bytes as u64;
        let (total, own) = match side {
            Side::Up => (&metrics.tunnels.bytes_in, &self.tally.bytes_in),
            Side::Down => (&metrics.tunnels.bytes_out, &self.tally.bytes_out),
        };
        total.add(bytes);
        own.set(own.get() + bytes);
        let way = if is_spliced { &metrics.tunnels.bytes_spliced } else { &metrics.tunnels.bytes_copied };
        way.add(bytes);
        match side {
            Side::Up => self.heard(),
            Side::Down => self.written.set(self.written.get() + bytes),
        }
    }

    /// A ping is about to be sent, or has to wait for the end of a frame: how far is the client? If it has to wait for
    /// nothing, what the client takes later says nothing of it.
    fn look_at_queue(&self, ping: Ping) {
        let queued = self.unacknowledged();
        let has_to_wait = queued > 0 || ping == Ping::Due;
        self.acknowledged.set(if has_to_wait { self.written.get().saturating_sub(queued) } else { NEVER });
    }

    /// The ping had or has to wait for other bytes, and the client's kernel has acknowledged more of them than at the
    /// last look: the client reads, and has not come to the ping.
    fn is_taking(&self) -> bool {
        if self.acknowledged.get() == NEVER {
            return false;
        }
        let acknowledged = self.written.get().saturating_sub(self.unacknowledged());
        acknowledged > self.acknowledged.replace(acknowledged)
    }

    fn unacknowledged(&self) -> u64 {
        self.client.raw().map_or(0, StreamSocket::unacknowledged)
    }

    /// After our Close frame and the client's the connection ends: the server closes first (RFC 6455 §7.1.1).
    fn end_client_if_done(&self) {
        if self.has_told_client.get() && self.client_done_ms.get() != NEVER {
            self.client.shutdown_write();
        }
    }

    /// A Close frame has passed: the peers end the conversation themselves.
    fn saw_close(&self, side: Side, code: Option<u16>) {
        if self.closing_ms.get() == NEVER {
            self.closing_ms.set(clock::now_ms());
            self.close_code.set(self.close_code.get().or(code));
        }
        self.saw_end(match side {
            Side::Up => TunnelEnd::ClientClosed,
            Side::Down => TunnelEnd::UpstreamClosed,
        });
    }

    /// The first end that is seen is the one that is told.
    fn saw_end(&self, end: TunnelEnd) {
        self.end.set(self.end.get().or(Some(end)));
        self.tell();
    }

    /// Something has changed that another part of the tunnel may be waiting for.
    fn tell(&self) {
        self.news.set(self.news.get().wrapping_add(1));
    }

    fn finish(&self) {
        let metrics = &self.resources.metrics;
        metrics.tunnels.open.subtract(1);
        metrics.connections.open.subtract(1);
        let end = self.end.get().unwrap_or(TunnelEnd::ClientGone);
        metrics.tunnels.closed.at(end as usize).add(1);
        metrics.tunnels.pipes_open.set(self.resources.io.pipes.open() as u64);
        let Tally { bytes_in, bytes_out, messages_in, messages_out } = &self.tally;
        let record = TunnelRecord {
            messages_in: messages_in.get(),
            messages_out: messages_out.get(),
            end,
            close_code: self.close_code.get(),
        };
        if let (Some(ticket), Some(log)) = (&self.ticket, &self.resources.access_log) {
            ticket.finish(&mut log.borrow_mut(), bytes_in.get(), bytes_out.get(), record);
        }
    }
}

/// What went through one tunnel.
#[derive(Default)]
struct Tally {
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
    messages_in: Cell<u64>,
    messages_out: Cell<u64>,
}

/// How many messages a client may still send: a token bucket of the tunnel's own.
struct Allowance {
    /// Millionths of a message.
    left: Cell<u64>,
    filled_ms: Cell<u64>,
}

impl Allowance {
    fn new(rules: &WebSocket, now_ms: u64) -> Allowance {
        Allowance { left: Cell::new(Allowance::capacity(rules)), filled_ms: Cell::new(now_ms) }
    }

    fn capacity(rules: &WebSocket) -> u64 {
        u64::from(rules.message_burst) * MILLIONTHS
    }

    /// One message. False: it is too many.
    fn take(&self, rules: &WebSocket, now_ms: u64) -> bool {
        // Thousandths per second are millionths per millisecond.
        let rate_milli = u64::from(rules.message_rate.milli());
        if rate_milli == 0 {
            return true;
        }
        let passed_ms = now_ms.saturating_sub(self.filled_ms.replace(now_ms));
        let left = self.left.get().saturating_add(passed_ms.saturating_mul(rate_milli));
        let left = left.min(Allowance::capacity(rules));
        let has_one = left >= MILLIONTHS;
        self.left.set(if has_one { left - MILLIONTHS } else { left });
        has_one
    }
}

const MILLIONTHS: u64 = 1_000_000;
/// How long a peer's kernel may stay silent where `WS_IDLE_TIMEOUT` says nothing.
const PEER_PATIENCE: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::config;

    fn allowance(rate: &str, burst: u32) -> impl Fn(u64) -> bool {
        let config = config(&format!("ws_messages_per_second = {rate}\nws_messages_burst = {burst}\n"));
        let allowance = Allowance::new(&config.websocket, 1_000);
        move |now_ms| allowance.take(&config.websocket, now_ms)
    }

    #[test]
    fn a_burst_passes_then_the_rate_holds_and_idle_time_fills_no_more_than_the_burst() {
        let take = allowance("2.5", 3);
        assert_eq!([1_000, 1_000, 1_000, 1_000].map(&take), [true, true, true, false]);
        assert_eq!([1_399, 1_400, 1_400, 1_799, 1_800].map(&take), [false, true, false, false, true]);
        assert_eq!([99_000; 4].map(&take), [true, true, true, false]);
    }

    #[test]
    fn a_rate_of_zero_is_no_bound() {
        assert!((0..1_000).all(|_| allowance("0", 1)(5)));
    }

    /// What a tunnel costs while nothing happens on it, besides what the runtime and the kernel keep for two polls.
    #[test]
    fn an_idle_tunnel_is_a_small_task() {
        fn size_of_future<F: Future>(_: fn(Box<Tunnel>, Early) -> F) -> usize {
            size_of::<F>() + size_of::<Tunnel>()
        }
        assert!(size_of_future(run) <= 1_760, "{} bytes", size_of_future(run));
    }
}
