//! The upgrade: sends a handshake to the upstream on a new connection, and turns a valid 101 into a tunnel.

use std::future::pending;
use std::pin::pin;

use super::handshake;
use super::metrics::TunnelMetrics;
use super::online::{self, Arrival};
use super::slots::{TunnelSlot, UserSlot};
use super::tunnel::{Handover, Opened, Ownership, Registration, first_state};
use crate::auth::credentials::offered_handle;
use crate::auth::{Holder, Identity, Mark, User};
use crate::clock;
use crate::downstream::Outcome;
use crate::downstream::clients::Network;
use crate::gateway::admission::Admission;
use crate::gateway::answer::failure::{self, Failure, UpstreamFault, UpstreamWait};
use crate::gateway::core::Core;
use crate::gateway::exchange::{Exchange, ExchangeOutcome};
use crate::gateway::forward::{
    Delivered, Delivery, Sent, Upload, authority, context, locations, sticky, watch_peers,
};
use crate::message::{BodyError, HeadWriter, Trailers};
use crate::upstream::{Choice, Expected, Lease};

/// Takes an admitted handshake to the upstream of its route. A 101 that answers it becomes a tunnel; any other answer
/// goes to the client as it is. Until then not one byte behind the client's head goes upstream.
///
/// # Errors
/// [`Failure`].
pub async fn upgrade(
    exchange: &mut Exchange<'_>,
    admission: &Admission<'_>,
) -> Result<ExchangeOutcome, Failure> {
    let core = exchange.core;
    let rules = &core.snapshot.config.websocket;
    handshake::check(exchange.request, &rules.origins).map_err(Failure::Handshake)?;
    let _slot = exchange.request_slot()?;
    exchange.check_client_of_proxy()?;
    let mut slots = take_slots(exchange, admission.identity())?;
    if core.snapshot.config.online.is_on() {
        // Boxed, because it would be part of every exchange, and few have it.
        slots.arrival = Some(Box::pin(arrive(exchange, admission)).await?);
    }
    let mut slots = Some(slots);
    let upstream = &core.snapshot.upstreams[admission.upstream()];
    let mut choice = sticky::choice(exchange, admission, upstream);
    let (lease, answered) = match attempt(exchange, admission, &mut choice, &mut slots).await {
        Err(
            Failure::UpstreamProtocol(UpstreamFault::Closed) | Failure::UpstreamTimeout(UpstreamWait::Head),
        ) if choice.has_another() && slots.is_some() && upstream.may_retry() => {
            attempt(exchange, admission, &mut choice, &mut slots).await?
        }
        ended => ended?,
    };
    match answered {
        Answered::Otherwise(Delivered::Reusable) => lease.give_back(),
        Answered::Otherwise(Delivered::Spent) => {}
        Answered::Otherwise(Delivered::Surplus) => lease.distrust(),
        Answered::Switched(switched) => return begin(exchange, lease, switched, admission).await,
    }
    Ok(Outcome::Complete)
}

/// Sends the handshake to the next member of the choice. `slots` are left if the member has said nothing.
async fn attempt<'c>(
    exchange: &mut Exchange<'c>,
    admission: &Admission<'_>,
    choice: &mut Choice,
    slots: &mut Option<Slots<'_>>,
) -> Result<(Lease<'c>, Answered), Failure> {
    let core = exchange.core;
    let upstream = &core.snapshot.upstreams[admission.upstream()];
    // A tunnel keeps its connection, so a pooled one has no advantage, and it may be stale.
    let lease = upstream.lease_new(choice, &core.resources.io).await?;
    exchange.record.leased(core, &lease, admission.upstream());
    let head = compose(exchange, admission, &lease);
    let marker = handshake::marker(exchange.request, admission.route());
    let asked = ask(exchange, &lease, head, (admission, marker), slots).await;
    exchange.call_over(admission, asked.as_ref().err());
    match asked {
        Ok(answered) => Ok((lease, answered)),
        Err(failure) => {
            let failure = match failure {
                Failure::Stale => Failure::UpstreamProtocol(UpstreamFault::closed(lease.transport())),
                failure => failure,
            };
            if failure.is_members() {
                lease.failed(failure.word());
            }
            Err(failure)
        }
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

/// A slot on a core, and one under the user's bound, while a handshake lasts.
struct Slots<'c> {
    tunnel: TunnelSlot,
    user: Option<UserSlot>,
    arrival: Option<Box<Arrival>>,
    _pending: Pending<'c>,
}

fn take_slots<'c>(exchange: &Exchange<'c>, identity: &Identity) -> Result<Slots<'c>, Failure> {
    let resources = &exchange.core.resources;
    let rules = &exchange.core.snapshot.config.websocket;
    if resources.io.is_draining() {
        return Err(Failure::Draining);
    }
    let tunnel = resources.tunnels.slot(rules, exchange.core.connections_max()).ok_or(Failure::Overloaded)?;
    let user = match identity.user() {
        Some(user) if rules.per_user_max > 0 => {
            let slot = resources.tunnels.user_slots.take(user.as_str(), rules.per_user_max);
            Some(slot.ok_or(Failure::TooManyTunnels)?)
        }
        _ => None,
    };
    // At last, so that only a handshake which would go on takes from the pace: strangers take nothing of it.
    if let Some(per_second) = rules.handshake_rate {
        let taken = resources.handshake_pace.take(per_second, clock::now_us(), resources.ids.next_word());
        taken.map_err(Failure::HandshakesPaced)?;
    }
    Ok(Slots { tunnel, user, arrival: None, _pending: Pending::begin(&resources.metrics.tunnels) })
}

/// The handshake gets its place among the user's sockets on all instances.
async fn arrive(exchange: &Exchange<'_>, admission: &Admission<'_>) -> Result<Box<Arrival>, Failure> {
    let core = exchange.core;
    let (user, route) = (admission.identity().user().map(User::as_str), &admission.route().name);
    let arrived = online::arrive(&core.resources.online, core.snapshot.redis.as_deref(), user, route).await;
    arrived.map(Box::new).map_err(|online::Full| Failure::TooManyTunnelsAnywhere)
}

fn compose(exchange: &Exchange<'_>, admission: &Admission<'_>, lease: &Lease<'_>) -> HeadWriter {
    let (core, route) = (exchange.core, admission.route());
    let out = core.resources.io.buffers.buffer();
    let authority = authority(exchange, admission, lease);
    handshake::compose(out, exchange.request, route, authority, &context(exchange, admission))
}

/// The upstream's answer to a handshake.
enum Answered {
    /// The tunnel may begin.
    Switched(Switched),
    /// The upstream sent another response, and the client has it.
    Otherwise(Delivered),
}

/// A 101 that answers the handshake.
struct Switched {
    /// What the client gets in its place.
    head: HeadWriter,
    /// What the upstream sent behind it.
    early: Vec<u8>,
    has_extension: bool,
    tunnel_slot: TunnelSlot,
    user_slot: Option<UserSlot>,
    arrival: Option<Box<Arrival>>,
}

/// Sends the handshake and waits for the answer.
async fn ask(
    exchange: &mut Exchange<'_>,
    lease: &Lease<'_>,
    head: HeadWriter,
    (admission, marker): (&Admission<'_>, Option<&[u8]>),
    slots: &mut Option<Slots<'_>>,
) -> Result<Answered, Failure> {
    let locations = locations(exchange, admission);
    let Exchange { core, client, request, response, record, .. } = exchange;
    let (mut body, responder) = client.split();
    body.park();
    let route = admission.route();
    watch_peers(route, responder.transport(), lease);
    let context = core.exchange_context(responder.client(), lease.terms(), route);
    let timeout_ms = core.snapshot.config.websocket.handshake.as_millis() as u64;
    let timeout_ms = timeout_ms.min(route.timeouts.head_ms(lease.terms().head_timeout_ms()));
    let mut delivery = Delivery {
        core,
        lease,
        request,
        response,
        record,
        reader: lease.response_reader(&context, Expected::Switch),
        responder,
        trailers: Trailers::Drop,
        locations,
        head_timeout_ms: timeout_ms,
        begun_us: core.resources.stopwatch_us(),
    };
    let sent = lease.finish_handshake(&context, head).flush().await;
    sent.map_err(|error| Failure::of_upload(error.into()))?;
    let rest = pin!(pending::<Result<(), BodyError>>());
    let mut upload = Upload::new(rest, Sent::Whole, timeout_ms);
    lease.sent(core.resources.io.clock.now_us());
    delivery.await_head(&mut upload).await?;
    let Some(slots) = slots.take() else { return Err(Failure::Overloaded) };
    if delivery.response.status != 101 {
        // The response is delivered as that of any request, and may take long: it needs no slot.
        drop(slots);
        return delivery.respond(&mut upload).await.map(Answered::Otherwise);
    }
    let switched = switched(&mut delivery, marker, slots)?;
    lease.succeeded();
    Ok(Answered::Switched(switched))
}

/// Whether a 101 answers the handshake, and what the client gets in its place.
fn switched(
    delivery: &mut Delivery<'_, '_>,
    marker: Option<&[u8]>,
    slots: Slots<'_>,
) -> Result<Switched, Failure> {
    let Delivery { request, response, record, reader, responder, .. } = delivery;
    let bytes = reader.head_bytes();
    if !handshake::is_answered(request, response, bytes) {
        return Err(Failure::UpstreamProtocol(UpstreamFault::Accept));
    }
    record.status = 101;
    let mut head = responder.head(101, failure::reason(101).as_bytes());
    handshake::compose_switch(&mut head, response, bytes, record.id.as_bytes(), (marker, record.edits));
    Ok(Switched {
        head,
        early: reader.early().to_vec(),
        has_extension: handshake::has_extension(response, bytes),
        tunnel_slot: slots.tunnel,
        user_slot: slots.user,
        arrival: slots.arrival,
    })
}

/// Sends the 101 to the client, and hands both connections over to a tunnel.
async fn begin(
    exchange: &mut Exchange<'_>,
    lease: Lease<'_>,
    switched: Switched,
    admission: &Admission<'_>,
) -> Result<ExchangeOutcome, Failure> {
    let identity = admission.identity();
    // Before the 101, so that a lack of descriptors is still an answer.
    let (client, upstream) = match (exchange.client.duplicate(), lease.duplicate()) {
        (Ok(client), Ok(upstream)) => (client, upstream),
        _ => return Err(Failure::Overloaded),
    };
    let sent = exchange.client.split().1.switch(switched.head).await;
    exchange.record.bytes_out += sent.map_err(Failure::of_client)?;
    let context = exchange.record.hand_over(exchange.core, exchange.request, exchange.client.tls());
    let client = exchange.client.upgrade(client);
    let opened = Opened {
        has_extension: switched.has_extension,
        expires_unix_s: identity.expires_unix_s(),
        ownership: identity.holder().map(|holder| ownership(exchange, admission, holder)),
        early_in: client.early,
        early_out: switched.early,
        context,
    };
    let Core { resources, snapshot } = exchange.core;
    Ok(Outcome::Upgraded(Box::new(Handover {
        client: client.transport,
        upstream: lease.detach(upstream),
        state: first_state(resources, &snapshot.config.websocket, opened),
        registration: Registration {
            network: Network::of(exchange.record.client),
            route: (*admission.route().name).into(),
            user: identity.user().map(|user| user.as_str().into()),
            attendance: switched.arrival.and_then(|arrival| arrival.into_attendance()),
        },
        revoked_code: snapshot.config.websocket.revoked_code,
        slot: switched.tunnel_slot,
        user_slot: switched.user_slot,
    })))
}

/// Who holds the tunnel.
fn ownership(exchange: &Exchange<'_>, admission: &Admission<'_>, holder: Holder) -> Ownership {
    let handle = match exchange.core.resources.renewals {
        Some(_) => offered_handle(exchange.request),
        None => None,
    };
    Ownership { holder, handle, route: Mark::of_route(&admission.route().name) }
}
