//! From a handshake to a tunnel: the upstream is asked on a connection of its own, and what it answers decides.

use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;

use crate::auth::Identity;
use crate::clock;
use crate::config::Route;
use crate::gateway::answer::failure::Failure;
use crate::gateway::exchange::After;
use crate::gateway::exchange::Exchange;
use crate::gateway::forward::body::BodyError;
use crate::gateway::forward::delivery::{Delivered, Sent, Upload, await_head, respond};
use crate::gateway::forward::response_reader::Reading;
use crate::gateway::forward::{settle, unreachable};
use crate::gateway::websocket::slots::UserSlot;
use crate::gateway::websocket::tunnel::{Handover, TunnelSlot};
use crate::gateway::websocket::{TunnelMetrics, handshake};
use crate::limit::Permit;
use crate::net::{Buffer, Sink, StreamSocket, Transport};
use crate::upstream::Lease;

/// Takes a handshake to its upstream. A 101 that answers it becomes a tunnel; any other answer goes to the client as
/// it is. Until then not one byte behind the client's head has gone upstream.
pub async fn upgrade(
    exchange: &mut Exchange<'_>,
    route: &Route,
    identity: &Identity,
    _permit: &Permit,
) -> Result<After, Failure> {
    let core = exchange.core;
    let rules = &core.snapshot.config.websocket;
    handshake::check(exchange.request, &rules.origins).map_err(Failure::Handshake)?;
    let admitted = admit(exchange, identity)?;
    // A pooled connection would be kept for ever, and might have been closed by now: a new one is as good.
    let upstream = &core.snapshot.upstreams[route.upstream];
    let lease = upstream.lease_new(&core.resources.io.timers).await.map_err(unreachable)?;
    exchange.record.endpoint = Some(lease.endpoint().clone());
    exchange.record.connect_us = lease.connect_us();
    exchange.record.reused = Some(false);
    let head = compose(exchange, route, identity);
    match ask(exchange, &lease, head, admitted).await? {
        Answered::Otherwise(delivered) => Ok(settle(exchange, lease, delivered).await),
        Answered::Switched(switched) => begin(exchange, &lease, switched, identity.expires_unix_s()).await,
    }
}

/// Counts a handshake while it lasts.
struct Pending<'c>(&'c TunnelMetrics);

impl Pending<'_> {
    fn begin(metrics: &TunnelMetrics) -> Pending<'_> {
        metrics.handshakes_pending.add(1);
        Pending(metrics)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.handshakes_pending.subtract(1);
    }
}

/// Room on a core, and under the user's bound, while a handshake lasts.
struct Admitted<'c> {
    slot: TunnelSlot,
    user_slot: Option<UserSlot>,
    _pending: Pending<'c>,
}

fn admit<'c>(exchange: &Exchange<'c>, identity: &Identity) -> Result<Admitted<'c>, Failure> {
    let core = exchange.core;
    let rules = &core.snapshot.config.websocket;
    if core.resources.io.is_draining() {
        return Err(Failure::Draining);
    }
    let slot = core.resources.tunnels.slot(rules).ok_or(Failure::Overloaded)?;
    let user_slot = match identity.user() {
        Some(user) if rules.per_user_max > 0 => {
            let user_slot = core.resources.tunnels.user_slots.take(user.as_str(), rules.per_user_max);
            Some(user_slot.ok_or(Failure::TooManyTunnels)?)
        }
        _ => None,
    };
    Ok(Admitted { slot, user_slot, _pending: Pending::begin(&core.resources.metrics.tunnels) })
}

fn compose(exchange: &Exchange<'_>, route: &Route, identity: &Identity) -> Buffer {
    let core = exchange.core;
    let mut out = core.resources.io.buffers.buffer();
    let context = exchange.context(identity);
    let authority = &core.snapshot.upstreams[route.upstream].authority;
    handshake::compose(&mut out, exchange.request, route, authority, &context);
    out
}

/// What the upstream made of a handshake.
enum Answered {
    /// The tunnel may begin.
    Switched(Switched),
    /// It sent another response, and the client has it.
    Otherwise(Delivered),
}

/// A 101 that answers the handshake.
struct Switched {
    /// What the client gets in its place.
    answer: Buffer,
    /// What stood behind it.
    early: Vec<u8>,
    has_extension: bool,
    slot: TunnelSlot,
    user_slot: Option<UserSlot>,
}

/// Sends the handshake and waits for the answer.
async fn ask(
    exchange: &mut Exchange<'_>,
    lease: &Lease<'_>,
    head: Buffer,
    admitted: Admitted<'_>,
) -> Result<Answered, Failure> {
    let Exchange { core, downstream, request, response, record, .. } = exchange;
    let begun_ms = clock::now_ms();
    let mut reading =
        Reading::new(core, lease.transport(), &downstream.stream, core.resources.stopwatch_us());
    reading.may_switch = true;
    let mut sink =
        Sink::new(lease.transport(), &core.resources.io.timers, head, core.snapshot.upstream_pace());
    sink.flush().await.map_err(|_| Failure::UpstreamProtocol)?;
    let mut upload = Upload {
        rest: pin!(pending::<Result<(), BodyError>>()),
        sent: Sent::Wholly,
        since_ms: begun_ms,
        head_wait_ms: core.snapshot.config.websocket.handshake.as_millis() as u64,
    };
    let length = match await_head(request, response, record, &mut reading, &mut upload).await {
        // The connection was new: there is nothing to try again.
        Err(Failure::Stale) => return Err(Failure::UpstreamProtocol),
        found => found?,
    };
    if response.status != 101 {
        // Its response may take long, and is a request's like any other.
        drop(admitted);
        let respond = respond(request, response, record, &mut reading, &mut upload, length, false);
        return respond.await.map(Answered::Otherwise);
    }
    let (head, early) = reading.buffer.filled().split_at(length);
    if !handshake::is_answered(request, response, head) {
        return Err(Failure::UpstreamProtocol);
    }
    record.status = 101;
    let mut answer = core.resources.io.buffers.buffer();
    handshake::compose_switch(&mut answer, response, head, record.id.as_bytes());
    let has_extension = handshake::has_extension(response, head);
    let Admitted { slot, user_slot, .. } = admitted;
    Ok(Answered::Switched(Switched { answer, early: early.to_vec(), has_extension, slot, user_slot }))
}

/// Tells the client, and hands both connections over.
async fn begin(
    exchange: &mut Exchange<'_>,
    lease: &Lease<'_>,
    switched: Switched,
    expires_unix_s: Option<u64>,
) -> Result<After, Failure> {
    let core = exchange.core;
    // Duplicates: the exchange may still have polls of its own on the ring, and both connections may go to another
    // core. Before the 101, so that a lack of descriptors is still an answer.
    let (client, upstream) = match (duplicate(&exchange.downstream.stream), duplicate(lease.transport())) {
        (Ok(client), Ok(upstream)) => (client, upstream),
        _ => return Err(Failure::Overloaded),
    };
    let mut sink = Sink::new(
        &exchange.downstream.stream,
        &core.resources.io.timers,
        switched.answer,
        core.snapshot.client_pace(),
    );
    let sent = sink.flush().await;
    exchange.record.bytes_out += sink.sent();
    sent.map_err(|_| Failure::ClientGone)?;
    let buffer = &mut exchange.downstream.buffer;
    let early_in = buffer.filled().to_vec();
    buffer.clear();
    Ok(After::Tunnel(Box::new(Handover {
        client,
        upstream,
        early_in,
        early_out: switched.early,
        has_extension: switched.has_extension,
        expires_unix_s,
        rules: core.snapshot.config.websocket.clone(),
        ticket: exchange.record.ticket(core, exchange.request),
        slot: switched.slot,
        user_slot: switched.user_slot,
    })))
}

/// A second descriptor of a connection's socket. Errors: no file descriptors, or it is no plain socket.
fn duplicate(transport: &Transport) -> io::Result<OwnedFd> {
    transport.raw().map_or_else(|| Err(io::ErrorKind::Unsupported.into()), StreamSocket::duplicate)
}
