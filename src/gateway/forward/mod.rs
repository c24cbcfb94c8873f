//! Forwarding: a request to its upstream and the response back, both at once while a long body is uploaded.

pub mod credentials;
mod delivery;
pub mod edits;
pub mod headers;
mod locations;
pub mod share;
pub mod sticky;
pub mod trace;
mod upload;

use std::pin::pin;
use std::time::Duration;

use crate::auth::credentials::is_token_parameter;
use crate::config::{HostSent, Route};
use crate::downstream::Outcome;
use crate::gateway::admission::Admission;
use crate::gateway::answer::failure::{Failure, UpstreamFault, UpstreamWait};
use crate::gateway::exchange::Exchange;
use crate::http::{BodyLength, FieldKind, is_host};
use crate::limits::{HOST_AND_PORT_BYTES_MAX, PROBED_MS, UNACKNOWLEDGED_MS};
use crate::message::{BodySink, BodySource, HeadWriter, Trailers, pump};
use crate::net::Transport;
use crate::upstream::{Expected, Lease};

use headers::Context;

pub use delivery::{Delivered, Delivery};
pub use locations::Locations;
pub use upload::{Sent, Upload};

/// Sends an admitted request to the upstream of its route and brings the response to the client. The request goes out
/// on a pooled connection if there is one. If that proves stale, or the member fails before it has said anything, it
/// goes out once more on a new one, to another member if there is one.
///
/// # Errors
/// [`Failure`].
pub async fn forward<U>(
    exchange: &mut Exchange<'_>,
    admission: &Admission<'_>,
) -> Result<Outcome<U>, Failure> {
    let core = exchange.core;
    let _slot = exchange.request_slot()?;
    let upstream = &core.snapshot.upstreams[admission.upstream()];
    let mut choice = sticky::choice(exchange, admission, upstream);
    let lease = upstream.lease(&mut choice, &core.resources.io).await?;
    match attempt(exchange, admission, lease, choice.has_another()).await {
        Err(Broken::Repeatable(failure)) if !upstream.may_retry() => return Err(failure),
        Err(Broken::Repeatable(_)) => {}
        Err(Broken::Final(failure)) => return Err(failure),
        Ok(outcome) => return Ok(outcome),
    }
    let lease = upstream.lease_new(&mut choice, &core.resources.io).await?;
    attempt(exchange, admission, lease, false).await.map_err(Broken::into_failure)
}

/// Why an attempt has failed.
enum Broken {
    /// The request may go out once more, and is as it was.
    Repeatable(Failure),
    /// It may not.
    Final(Failure),
}

impl Broken {
    fn into_failure(self) -> Failure {
        let (Broken::Repeatable(failure) | Broken::Final(failure)) = self;
        failure
    }
}

/// One attempt. `has_another`: there is a member that was not tried.
async fn attempt<U>(
    exchange: &mut Exchange<'_>,
    admission: &Admission<'_>,
    lease: Lease<'_>,
    has_another: bool,
) -> Result<Outcome<U>, Broken> {
    exchange.record.leased(exchange.core, &lease, admission.upstream());
    let checkpoint = exchange.client.checkpoint();
    let head = compose(exchange, admission, &lease);
    let (delivered, sent) = transmit(exchange, admission, &lease, head, has_another).await;
    exchange.call_over(admission, delivered.as_ref().err());
    match delivered {
        // A service that has left the body unread would take it for the next request.
        Ok(Delivered::Reusable) if exchange.request.may_leave_body_unread() => {}
        Ok(Delivered::Reusable) => lease.give_back(),
        Ok(Delivered::Spent) => {}
        Ok(Delivered::Surplus) => lease.distrust(),
        Err(failure) => {
            // That an idle connection was closed says nothing about the member.
            let is_members =
                failure.is_members() && !(lease.is_reused() && matches!(failure, Failure::Stale));
            let is_silent = match failure {
                Failure::Stale => lease.is_reused() || has_another,
                Failure::UpstreamTimeout(UpstreamWait::Head) => has_another,
                _ => false,
            };
            // RFC 9110 §9.2.2: "A proxy MUST NOT automatically retry non-idempotent requests."
            let is_safe = exchange.request.method.is_idempotent() || sent == 0;
            let may_repeat = is_silent && is_safe && exchange.client.rewind(checkpoint);
            let failure = match failure {
                Failure::Stale => Failure::UpstreamProtocol(UpstreamFault::closed(lease.transport())),
                failure => failure,
            };
            if is_members {
                lease.failed(failure.word());
            }
            return Err(if may_repeat { Broken::Repeatable(failure) } else { Broken::Final(failure) });
        }
    }
    Ok(Outcome::Complete)
}

/// The head that goes upstream.
fn compose(exchange: &Exchange<'_>, admission: &Admission<'_>, lease: &Lease<'_>) -> HeadWriter {
    let (core, request, route) = (exchange.core, exchange.request, admission.route());
    let authority = authority(exchange, admission, lease);
    let [prefix, path] = route.prefixes.apply(request.path());
    let target = |query| [request.method_name(), prefix, path, query];
    let names = &route.token_sources.queries;
    let mut head = if credentials::is_in_query(request, names) {
        let mut query = core.resources.io.buffers.buffer();
        credentials::put_query(&mut query, request.query(), |piece| is_token_parameter(piece, names));
        lease.head(&core.resources.io, target(query.filled()), authority)
    } else {
        lease.head(&core.resources.io, target(request.query()), authority)
    };
    headers::compose_request(&mut head, request, route, &context(exchange, admission));
    head
}

/// The `Host` that the upstream gets. It decides neither where the connection leads nor whom a certificate has to name.
pub fn authority<'a>(
    exchange: &'a Exchange<'_>,
    admission: &'a Admission<'_>,
    lease: &Lease<'a>,
) -> &'a [u8] {
    let own: &[u8] = &lease.terms().authority;
    match host_sent(exchange, admission) {
        HostSent::Upstream => own,
        HostSent::Name(name) => name.as_bytes(),
        // HTTP/1.0 may name none; and what is too long for a host stands in the head twice then.
        HostSent::Client if !(1..=HOST_AND_PORT_BYTES_MAX).contains(&exchange.request.host().len()) => own,
        HostSent::Client => exchange.request.host(),
    }
}

/// Which `Host` the upstream gets: as its route says, or as the upstream itself does.
fn host_sent<'a>(exchange: &'a Exchange<'_>, admission: &'a Admission<'_>) -> &'a HostSent {
    let own = &exchange.core.snapshot.config.upstreams[admission.upstream()].host_sent;
    admission.route().host_sent.as_ref().unwrap_or(own)
}

/// The service's own names in where it sends the client. `None`: it was told the client's, or is to be believed.
pub fn locations<'l, 'c: 'l>(exchange: &Exchange<'c>, admission: &'l Admission<'_>) -> Option<Locations<'l>> {
    let (snapshot, request) = (&exchange.core.snapshot, exchange.request);
    let written = &snapshot.config.upstreams[admission.upstream()];
    if *host_sent(exchange, admission) != HostSent::Upstream || !written.rewrite_location {
        return None;
    }
    let claimed = request.only(FieldKind::XForwardedHost).filter(|_| exchange.is_peer_trusted);
    let authority = claimed.filter(|host| is_host(host)).unwrap_or(request.host());
    let authority = if authority.len() <= HOST_AND_PORT_BYTES_MAX { authority } else { b"" };
    let upstream = &*snapshot.upstreams[admission.upstream()];
    let (prefixes, scheme) = (&admission.route().prefixes, exchange.client_scheme());
    Some(Locations { written, upstream, prefixes, scheme, authority })
}

/// What the upstream learns beside the request's own head.
pub fn context<'e>(exchange: &'e Exchange<'_>, admission: &'e Admission<'_>) -> Context<'e> {
    Context {
        ids: &exchange.core.resources.ids,
        trace: exchange.record.trace.as_deref(),
        id: exchange.record.id,
        identity: admission.identity(),
        claim_fields: &admission.route().claim_fields,
        certified: exchange.certified(),
        peer: exchange.peer(),
        scheme: exchange.scheme(),
        is_peer_trusted: exchange.is_peer_trusted,
        has_handles: exchange.core.resources.renewals.is_some(),
        via: &exchange.core.snapshot.config.via,
        version: exchange.client.version(),
    }
}

/// Both directions of the exchange; and how many bytes of the request have left.
async fn transmit(
    exchange: &mut Exchange<'_>,
    admission: &Admission<'_>,
    lease: &Lease<'_>,
    head: HeadWriter,
    has_another: bool,
) -> (Result<Delivered, Failure>, u64) {
    let locations = locations(exchange, admission);
    let Exchange { core, client, request, response, record, .. } = exchange;
    let trailers = match admission.route().trailers_forwarded {
        true => Trailers::Forward,
        false => Trailers::Drop,
    };
    let (mut body, responder) = client.split();
    let route = admission.route();
    watch_peers(route, responder.transport(), lease);
    let context = core.exchange_context(responder.client(), lease.terms(), route);
    let mut sink = lease.finish_request_head(&context, head, request, trailers);
    let delivery = Delivery {
        core,
        lease,
        request,
        response,
        record,
        reader: lease.response_reader(&context, Expected::Response),
        responder,
        trailers,
        locations,
        head_timeout_ms: route.timeouts.head_ms(lease.terms().head_timeout_ms()),
        begun_us: core.resources.stopwatch_us(),
    };
    let may_fail_over = lease.is_reused() || has_another;
    let may_repeat = may_fail_over && request.method.is_idempotent() && request.body != BodyLength::None;
    let repeats = if may_repeat { Repeats::Perhaps } else { Repeats::No };
    let delivered = deliver(delivery, &mut body, &mut sink, repeats).await;
    (delivered, sink.sent())
}

/// Where no timeout ends a wait, the kernel has to tell of a peer that has vanished: one that has lost its network says
/// nothing at all. And where a client has long to take its response, the kernel must not be less patient.
pub fn watch_peers(route: &Route, client: &Transport, lease: &Lease<'_>) {
    if route.timeouts.body_ms(0) > u64::from(UNACKNOWLEDGED_MS) {
        client.wait_for_window();
    }
    if route.timeouts.are_endless() {
        let patience = Duration::from_millis(PROBED_MS);
        client.probe_peer(patience);
        lease.transport().probe_peer(patience);
    }
}

/// Whether a request's body may have to go out once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeats {
    /// There is none, or it will not.
    No,
    /// On another connection, if this one fails: what was read of it has to stay where it is.
    Perhaps,
}

/// The request up, the response down.
async fn deliver(
    mut delivery: Delivery<'_, '_>,
    body: &mut BodySource<'_>,
    sink: &mut BodySink<'_>,
    repeats: Repeats,
) -> Result<Delivered, Failure> {
    let sent = upload::send_first(body, sink).await?;
    if sent == Sent::Partial && delivery.request.expects_continue {
        delivery.responder.send_continue().await.map_err(Failure::of_client)?;
    }
    if sent == Sent::Whole && repeats == Repeats::No {
        body.park();
    }
    if sent == Sent::Whole {
        delivery.lease.sent(delivery.core.resources.io.clock.now_us());
    }
    let rest = pin!(pump(body, sink));
    let mut upload = Upload::new(rest, sent, delivery.head_timeout_ms);
    delivery.await_head(&mut upload).await?;
    delivery.respond(&mut upload).await
}
