//! What time does to a tunnel: pings, deadlines, the drain.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::{Ping, Tunnel};
use crate::clock;
use crate::config::TokenExpiry;
use crate::limits::{TICK_MS, TUNNEL_CLOSE_MS};
use crate::net::NEVER;
use crate::telemetry::TunnelEnd;

/// Minds the times of a tunnel. It ends when the tunnel is to be cut off, whatever the courses wait for.
pub(super) async fn mind(tunnel: &Tunnel) {
    loop {
        let now_ms = clock::now_ms();
        let due_ms = tunnel.look(now_ms);
        if due_ms <= now_ms {
            return;
        }
        let (news, draining) = (tunnel.news.get(), tunnel.resources.io.is_draining());
        let changed = poll_fn(|_| {
            // Woken by a tick, by the drain, or because another part of the task was.
            match tunnel.news.get() != news || tunnel.resources.io.is_draining() != draining {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        });
        let _ = tunnel.resources.io.timers.until(due_ms, pin!(changed)).await;
    }
}

impl Tunnel {
    /// Does what is due, and says when to look again. Not later than now: the tunnel is to be cut off.
    fn look(&self, now_ms: u64) -> u64 {
        if let Some(cut_ms) = self.cut_ms() {
            return cut_ms;
        }
        let mut next_ms = NEVER;
        for (end, due_ms) in [
            (TunnelEnd::Drained, self.departure_ms()),
            (TunnelEnd::TokenExpired, self.expiry_ms(now_ms)),
            (TunnelEnd::LifetimeOver, after(self.begun_ms, self.rules.lifetime)),
            (TunnelEnd::PingUnanswered, self.pong_due_ms()),
            (TunnelEnd::Idle, after(self.heard_ms.get(), self.rules.idle)),
        ] {
            if due_ms <= now_ms && self.is_only_slow(end, now_ms) {
                return now_ms + TICK_MS;
            }
            if due_ms <= now_ms {
                self.part(end);
                return self.cut_ms().unwrap_or(next_ms);
            }
            next_ms = next_ms.min(due_ms);
        }
        next_ms.min(self.ping_ms(now_ms))
    }

    /// A client that could not answer a ping yet, because what was sent before it had not arrived, and that takes it,
    /// is alive.
    fn is_only_slow(&self, end: TunnelEnd, now_ms: u64) -> bool {
        let is_silence = matches!(end, TunnelEnd::PingUnanswered | TunnelEnd::Idle);
        let is_slow = is_silence && self.ping.get() != Ping::Idle && self.is_taking();
        if is_slow {
            self.heard_ms.set(now_ms);
            if self.ping.get() != Ping::Due {
                self.ping.set(Ping::Sent(now_ms));
            }
        }
        is_slow
    }

    /// When a goodbye, or the peers' own closing handshake, has taken too long.
    fn cut_ms(&self) -> Option<u64> {
        let (closing_ms, client_done_ms) = (self.closing_ms.get(), self.client_done_ms.get());
        let cut_ms = match self.farewell.get() {
            Some(farewell) => farewell.deadline_ms.min(client_done_ms.saturating_add(TUNNEL_CLOSE_MS)),
            None if closing_ms != NEVER => closing_ms + TUNNEL_CLOSE_MS,
            None => return None,
        };
        // Whatever has begun to end does so before the process.
        let is_draining = self.resources.io.is_draining();
        Some(if is_draining { cut_ms.min(self.resources.drain_schedule.deadline_ms()) } else { cut_ms })
    }

    fn departure_ms(&self) -> u64 {
        if !self.resources.io.is_draining() {
            return NEVER;
        }
        if self.leaves_ms.get() == NEVER {
            self.leaves_ms.set(self.resources.drain_schedule.next_ms());
        }
        self.leaves_ms.get()
    }

    /// The token's end on our clock. The wall clock may be set meanwhile, so it is asked again every minute.
    fn expiry_ms(&self, now_ms: u64) -> u64 {
        if self.expires_unix_s == NEVER || self.rules.token_expiry == TokenExpiry::Ignore {
            return NEVER;
        }
        let left_s = self.expires_unix_s.saturating_sub(clock::unix_s());
        now_ms + left_s.min(EXPIRY_LOOK_S) * 1_000
    }

    fn pong_due_ms(&self) -> u64 {
        match self.ping.get() {
            Ping::Sent(sent_ms) => after(sent_ms, self.rules.ping_interval * PONG_INTERVALS),
            Ping::Idle | Ping::Due => NEVER,
        }
    }

    /// Asks for a ping when the client has been silent for long enough, and says when that will be.
    fn ping_ms(&self, now_ms: u64) -> u64 {
        if self.ping.get() != Ping::Idle {
            return NEVER;
        }
        let due_ms = after(self.heard_ms.get(), self.rules.ping_interval);
        if due_ms > now_ms {
            return due_ms;
        }
        self.ping.set(Ping::Due);
        self.look_at_queue(Ping::Due);
        self.tell();
        NEVER
    }
}

/// Zero is never.
fn after(since_ms: u64, wait: Duration) -> u64 {
    if wait.is_zero() { NEVER } else { since_ms + wait.as_millis() as u64 }
}

/// A ping that is not answered within so many intervals ends the tunnel.
const PONG_INTERVALS: u32 = 2;
/// How often the wall clock is asked about a token, in seconds.
const EXPIRY_LOOK_S: u64 = 60;
