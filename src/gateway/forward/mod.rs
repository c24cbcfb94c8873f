//! Forwarding: a request to its upstream and the response back, both at once while a long body is uploaded.

pub mod credentials;
mod delivery;
pub mod headers;
mod upload;

use std::pin::pin;

use crate::auth::credentials::is_token_parameter;
use crate::downstream::Outcome;
use crate::gateway::admission::Admission;
use crate::gateway::answer::failure::{Failure, UpstreamFault};
use crate::gateway::exchange::Exchange;
use crate::http::BodyLength;
use crate::message::{BodySink, BodySource, HeadWriter, Trailers, pump};
use crate::upstream::{Expected, Lease};

use headers::Context;

pub use delivery::{Delivered, Delivery};
pub use upload::{Sent, Upload};

/// Sends an admitted request to the upstream of its route and brings the response to the client. The request goes out
/// on a pooled connection if there is one; if that proves stale, once more on a new one.
///
/// # Errors
/// [`Failure`].
pub async fn forward<U>(
    exchange: &mut Exchange<'_>,
    admission: &Admission<'_>,
) -> Result<Outcome<U>, Failure> {
    let core = exchange.core;
    let _slot = exchange.request_slot()?;
    let upstream = &core.snapshot.upstreams[admission.route().upstream];
    let lease = upstream.lease(&core.resources.io).await?;
    match attempt(exchange, admission, lease).await {
        Err(Failure::Stale) => core.resources.metrics.upstream.retries.add(1),
        ended => return ended,
    }
    let lease = upstream.lease_new(&core.resources.io).await?;
    attempt(exchange, admission, lease).await
}

/// One attempt. [`Failure::Stale`]: the request may go out once more, and is as it was.
async fn attempt<U>(
    exchange: &mut Exchange<'_>,
    admission: &Admission<'_>,
    lease: Lease<'_>,
) -> Result<Outcome<U>, Failure> {
    exchange.record.leased(&lease);
    let checkpoint = exchange.client.checkpoint();
    let head = compose(exchange, admission, &lease);
    let (delivered, sent) = transmit(exchange, admission, &lease, head).await;
    match delivered {
        // A service that has left the body unread would take it for the next request.
        Ok(Delivered::Reusable) if exchange.request.may_leave_body_unread() => {}
        Ok(Delivered::Reusable) => lease.give_back(),
        Ok(Delivered::Spent) => {}
        Ok(Delivered::Surplus) => lease.distrust(),
        Err(Failure::Stale) => {
            let is_safe = exchange.request.method.is_idempotent() || sent == 0;
            let may_retry = lease.is_reused() && is_safe && exchange.client.rewind(checkpoint);
            let closed = Failure::UpstreamProtocol(UpstreamFault::closed(lease.transport()));
            return Err(if may_retry { Failure::Stale } else { closed });
        }
        Err(failure) => return Err(failure),
    }
    Ok(Outcome::Complete)
}

/// The head that goes upstream.
fn compose(exchange: &Exchange<'_>, admission: &Admission<'_>, lease: &Lease<'_>) -> HeadWriter {
    let (core, request, route) = (exchange.core, exchange.request, admission.route());
    let authority = &core.snapshot.upstreams[route.upstream].authority;
    let target = |query| [request.method_name(), request.path(), query];
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

/// What the upstream learns beside the request's own head.
pub fn context<'e>(exchange: &'e Exchange<'_>, admission: &'e Admission<'_>) -> Context<'e> {
    Context {
        ids: &exchange.core.resources.ids,
        id: &exchange.record.id,
        identity: admission.identity(),
        claim_fields: &admission.route().claim_fields,
        certified: exchange.certified(),
        peer: exchange.peer(),
        scheme: exchange.scheme(),
        is_peer_trusted: exchange.is_peer_trusted,
    }
}

/// Both directions of the exchange; and how many bytes of the request have left.
async fn transmit(
    exchange: &mut Exchange<'_>,
    admission: &Admission<'_>,
    lease: &Lease<'_>,
    head: HeadWriter,
) -> (Result<Delivered, Failure>, u64) {
    let Exchange { core, client, request, response, record, .. } = exchange;
    let trailers = match admission.route().trailers_forwarded {
        true => Trailers::Forward,
        false => Trailers::Drop,
    };
    let (mut body, responder) = client.split();
    let context = core.exchange_context(responder.client());
    let mut sink = lease.finish_request_head(&context, head, request, trailers);
    let delivery = Delivery {
        core,
        request,
        response,
        record,
        reader: lease.response_reader(&context, Expected::Response),
        responder,
        trailers,
        begun_us: core.resources.stopwatch_us(),
    };
    let may_repeat = lease.is_reused() && request.method.is_idempotent() && request.body != BodyLength::None;
    let repeats = if may_repeat { Repeats::Perhaps } else { Repeats::No };
    let delivered = deliver(delivery, &mut body, &mut sink, repeats).await;
    (delivered, sink.sent())
}

/// Whether a request's body may have to go out once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeats {
    /// There is none, or it will not.
    No,
    /// On another connection, if this one proves stale: what was read of it has to stay where it is.
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
    let head_timeout_ms = delivery.core.snapshot.timeouts.upstream_head;
    let rest = pin!(pump(body, sink));
    let mut upload = Upload::new(rest, sent, head_timeout_ms);
    delivery.await_head(&mut upload).await?;
    delivery.respond(&mut upload).await
}
