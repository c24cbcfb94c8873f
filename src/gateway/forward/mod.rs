//! A request to its upstream and the response back, both at once where the body takes its time.

pub mod body;
pub mod delivery;
pub mod headers;
pub mod interim;
pub mod response_reader;

use std::pin::pin;

use crate::auth::Identity;
use crate::clock;
use crate::config;
use crate::gateway::answer::failure::Failure;
use crate::gateway::exchange::{After, Exchange};
use crate::gateway::forward::body::{Body, BodyError, Progress, Source};
use crate::gateway::forward::delivery::{Delivered, Sent, Upload, await_head, respond, upload_failure};
use crate::gateway::forward::response_reader::Reading;
use crate::limit::Permit;
use crate::net::ConnectError;
use crate::net::{Buffer, Sink};
use crate::upstream::{Lease, LeaseError};

/// Sends the request on the leased connection and brings its response to the client. The evidence of every
/// step before is an argument: no request gets here without it.
pub async fn forward(
    exchange: &mut Exchange<'_>,
    route: &config::Route,
    identity: &Identity,
    _permit: &Permit,
    lease: Lease<'_>,
) -> Result<After, Failure> {
    exchange.record.endpoint = Some(lease.endpoint().clone());
    exchange.record.connect_us = lease.connect_us();
    exchange.record.reused = Some(lease.is_reused());
    let (mark, body) = (exchange.downstream.buffer.mark(), exchange.body.clone());
    let head = compose(exchange, route, identity);
    let (delivered, sent) = transmit(exchange, &lease, head, route.trailers_forwarded).await;
    match delivered {
        Ok(delivered) => Ok(settle(exchange, lease, delivered).await),
        Err(Failure::Stale) => {
            let is_safe = exchange.request.head.method.is_idempotent() || sent == 0;
            if !(lease.is_reused() && is_safe && exchange.downstream.buffer.rewind(mark)) {
                return Err(Failure::UpstreamProtocol);
            }
            exchange.body = body;
            Err(Failure::Stale)
        }
        Err(failure) => Err(failure),
    }
}

/// The head that goes upstream.
fn compose(exchange: &Exchange<'_>, route: &config::Route, identity: &Identity) -> Buffer {
    let core = exchange.core;
    let mut out = core.resources.io.buffers.buffer();
    let context = exchange.context(identity);
    let authority = &core.snapshot.upstreams[route.upstream].authority;
    headers::compose_request(&mut out, exchange.request, route, authority, &context);
    out
}

/// Both directions of the exchange; and how many bytes of the request have left.
async fn transmit(
    exchange: &mut Exchange<'_>,
    lease: &Lease<'_>,
    head: Buffer,
    trailers: bool,
) -> (Result<Delivered, Failure>, u64) {
    let Exchange { core, downstream, request, response, body, record, .. } = exchange;
    let (client, buffer) = (&downstream.stream, &mut downstream.buffer);
    let mut sink =
        Sink::new(lease.transport(), &core.resources.io.timers, head, core.snapshot.upstream_pace());
    let mut reading = Reading::new(core, lease.transport(), client, core.resources.stopwatch_us());
    let delivered = async {
        let sent = send_first(body, buffer, &mut sink).await?;
        if sent == Sent::Partly && request.head.expect_continue {
            interim::send_continue(core, client).await?;
        }
        let mut source = Source {
            stream: client,
            timers: &core.resources.io.timers,
            pace: core.snapshot.client_pace(),
            client: None,
        };
        let rest = pin!(source.pump(body, buffer, &mut sink));
        let since_ms = clock::now_ms();
        let mut upload = Upload { rest, sent, since_ms, head_wait_ms: core.snapshot.timeouts.upstream_head };
        let length = await_head(request, response, record, &mut reading, &mut upload).await?;
        respond(request, response, record, &mut reading, &mut upload, length, trailers).await
    }
    .await;
    (delivered, sink.sent())
}

/// The exchange is complete for the client: what becomes of the two connections.
pub async fn settle(exchange: &mut Exchange<'_>, lease: Lease<'_>, delivered: Delivered) -> After {
    if delivered.upstream_may_go_on {
        lease.give_back();
    }
    if delivered.keep_alive {
        return exchange.discard_rest().await;
    }
    // The client meant to go on, so more of it may be on its way.
    match exchange.request.head.keep_alive || !exchange.body.is_complete() {
        true => After::Linger,
        false => After::Close,
    }
}

/// The head and what has arrived of the body, in one write.
async fn send_first(body: &mut Body, buffer: &mut Buffer, sink: &mut Sink<'_>) -> Result<Sent, Failure> {
    let progress = body.transfer(buffer, sink).await;
    let sent = match progress {
        Ok(progress) => sink.flush().await.map(|()| progress).map_err(BodyError::from),
        Err(error) => Err(error),
    };
    match sent {
        Ok(Progress::Complete) => Ok(Sent::Wholly),
        Ok(Progress::Partial) => Ok(Sent::Partly),
        Err(BodyError::SinkClosed) => Ok(Sent::Abandoned),
        Err(error) => Err(upload_failure(error)),
    }
}

/// There is no connection to the upstream.
pub fn unreachable(error: LeaseError) -> Failure {
    match error {
        LeaseError::Overloaded => Failure::UpstreamFull,
        LeaseError::Connect(ConnectError::TimedOut) => Failure::ConnectTimeout,
        LeaseError::Connect(ConnectError::NoAddress | ConnectError::Failed(_)) => Failure::Unreachable,
    }
}
