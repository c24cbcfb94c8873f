//! A request to its upstream and the response back, both at once where the body takes its time.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use crate::auth::Identity;
use crate::clock;
use crate::config;
use crate::gateway::After;
use crate::gateway::body::{Body, BodyError, Encoding, Progress, Source};
use crate::gateway::error::Failure;
use crate::gateway::exchange::{Exchange, user_of};
use crate::gateway::headers::{self, Context, Delivery};
use crate::gateway::interim;
use crate::gateway::response::{Arrived, Reading};
use crate::http1::{Framing, HeadError, Version};
use crate::limit::Permit;
use crate::net::{Buffer, NEVER, Sink};
use crate::upstream::Lease;

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
    let mut out = core.buffers.buffer();
    let context = Context {
        core,
        id: &exchange.record.id,
        user: user_of(identity),
        peer: exchange.downstream.peer.ip().to_canonical(),
        is_peer_trusted: exchange.is_peer_trusted,
    };
    let authority = &core.upstreams[route.upstream].authority;
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
    let mut sink = Sink::new(lease.stream(), &core.timers, head, core.upstream_pace());
    let mut reading = Reading::new(core, lease.stream(), client, clock::now_us());
    let delivered = async {
        let sent = send_first(body, buffer, &mut sink).await?;
        if sent == Sent::Partly && request.head.expect_continue {
            interim::send_continue(core, client).await?;
        }
        let mut source =
            Source { stream: client, timers: &core.timers, pace: core.client_pace(), client: None };
        let rest = pin!(source.pump(body, buffer, &mut sink));
        let since_ms = clock::now_ms();
        let mut upload = Upload { rest, sent, since_ms, head_wait_ms: core.waits.upstream_head_ms };
        deliver(request, response, record, &mut reading, &mut upload, trailers).await
    }
    .await;
    (delivered, sink.sent())
}

/// The exchange is complete for the client: what becomes of the two connections.
async fn settle(exchange: &mut Exchange<'_>, lease: Lease<'_>, delivered: Delivered) -> After {
    if delivered.upstream_may_go_on {
        lease.give_back(&exchange.core.counters);
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

/// What came of a response that reached the client.
struct Delivered {
    keep_alive: bool,
    upstream_may_go_on: bool,
}

/// How far the request has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// To its last byte.
    Wholly,
    /// The rest of the body is still to come.
    Partly,
    /// The upstream takes no more of it; it may have answered all the same.
    Abandoned,
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

/// The rest of the request's body, moving while the response is awaited and delivered.
struct Upload<'u, F> {
    rest: Pin<&'u mut F>,
    sent: Sent,
    /// When the request was sent, if it was.
    since_ms: u64,
    head_wait_ms: u64,
}

/// What came first.
enum First<T> {
    Other(T),
    Upload,
}

impl<F: Future<Output = Result<(), BodyError>>> Upload<'_, F> {
    /// Lets the upload go on while `other` is waited for. Ends with either, or with what the client did wrong.
    async fn beside<T>(&mut self, mut other: impl Future<Output = T> + Unpin) -> Result<First<T>, Failure> {
        poll_fn(|context| {
            if let Poll::Ready(output) = Pin::new(&mut other).poll(context) {
                return Poll::Ready(Ok(First::Other(output)));
            }
            if self.sent != Sent::Partly {
                return Poll::Pending;
            }
            let Poll::Ready(ended) = self.rest.as_mut().poll(context) else { return Poll::Pending };
            self.since_ms = clock::now_ms();
            self.sent = match ended {
                Ok(()) => Sent::Wholly,
                Err(BodyError::SinkClosed) => Sent::Abandoned,
                Err(error) => return Poll::Ready(Err(upload_failure(error))),
            };
            Poll::Ready(Ok(First::Upload))
        })
        .await
    }

    /// The same to the end of `other`. It must be a future that may be polled on after the upload's end.
    async fn beside_all<T>(&mut self, mut other: impl Future<Output = T> + Unpin) -> Result<T, Failure> {
        loop {
            if let First::Other(output) = self.beside(&mut other).await? {
                return Ok(output);
            }
        }
    }

    /// A response head is due so long after the end of the request.
    fn head_deadline_ms(&self) -> u64 {
        match self.sent {
            Sent::Partly => NEVER,
            Sent::Wholly | Sent::Abandoned => self.since_ms + self.head_wait_ms,
        }
    }
}

/// Reads the response and sends it to the client.
async fn deliver<F: Future<Output = Result<(), BodyError>>>(
    request: &crate::gateway::heads::Request,
    response: &mut crate::http1::ResponseHead,
    record: &mut crate::gateway::record::Record<'_>,
    reading: &mut Reading<'_>,
    upload: &mut Upload<'_, F>,
    trailers: bool,
) -> Result<Delivered, Failure> {
    let core = reading.core;
    let length = loop {
        let deadline = upload.head_deadline_ms();
        let first = upload.beside(pin!(reading.head(response, deadline))).await?;
        match first {
            First::Upload => {}
            First::Other(arrived) => match arrived? {
                Arrived::Final(length) => break length,
                Arrived::Interim(length) => interim::pass(core, request, response, reading, length).await?,
            },
        }
    };
    record.upstream_head_us = Some(clock::now_us() - reading.begun_us);
    let framing = response.framing(request.head.method);
    let is_11 = request.head.version == Version::Http11;
    let has_end = matches!(framing, Framing::None | Framing::Length(_)) || is_11;
    let keep_alive = request.head.keep_alive && !core.draining.get() && has_end;
    let is_chunked = is_11 && matches!(framing, Framing::Chunked | Framing::UntilClose);
    let said = match (is_chunked, response.declared) {
        (true, _) => Framing::Chunked,
        // Also for HEAD and 304, which say what they would have sent; RFC 9110 §8.6 forbids it for 204.
        (false, Framing::Length(length)) if response.status != 204 => Framing::Length(length),
        (false, _) => Framing::None,
    };
    let delivery =
        Delivery { request, id: &record.id, framing: said, keep_alive, quota: record.quota.as_ref() };
    let mut out = core.buffers.buffer();
    let bytes = &reading.buffer.filled()[..length];
    headers::compose_response(&mut out, core, response, bytes, &delivery);
    reading.buffer.consume(length);

    let encoding = if is_chunked { Encoding::Chunked } else { Encoding::Raw };
    let mut body = Body::new(framing, encoding, u64::MAX, trailers);
    let mut sink = Sink::new(reading.client, &core.timers, out, core.client_pace());
    let pumped = {
        let pump = pin!(reading.source.pump(&mut body, &mut reading.buffer, &mut sink));
        upload.beside_all(pump).await
    };
    record.bytes_out += sink.sent();
    match pumped {
        Ok(Ok(())) => record.status = response.status,
        // Nothing of it has reached the client: there is still a choice.
        Ok(Err(error)) if sink.sent() == 0 => return Err(download_failure(error)),
        Err(failure) if sink.sent() == 0 => return Err(failure),
        Ok(Err(_)) | Err(_) => {
            record.status = response.status;
            if !has_end {
                // Only the connection's end tells this client where the body ends: it must not be one in order.
                reading.client.reset_on_close();
            }
            return Err(Failure::Cut);
        }
    }
    // A request of which the upstream still lacks the end would go on with the head of the next one.
    let upstream_may_go_on = upload.sent == Sent::Wholly
        && response.keep_alive
        && framing != Framing::UntilClose
        && reading.buffer.is_empty();
    Ok(Delivered { keep_alive, upstream_may_go_on })
}

fn upload_failure(error: BodyError) -> Failure {
    match error {
        BodyError::Framing(HeadError::BodyIncomplete) | BodyError::SourceClosed | BodyError::ClientGone => {
            Failure::ClientGone
        }
        BodyError::Framing(error) => Failure::Request(error),
        BodyError::SourceTimedOut => Failure::BodyTimeout,
        BodyError::TooLarge => Failure::BodyTooLarge,
        BodyError::SinkTimedOut => Failure::UpstreamTimeout,
        BodyError::SinkClosed => Failure::UpstreamProtocol,
    }
}

fn download_failure(error: BodyError) -> Failure {
    match error {
        BodyError::SinkClosed | BodyError::SinkTimedOut | BodyError::ClientGone => Failure::ClientGone,
        BodyError::SourceTimedOut => Failure::UpstreamTimeout,
        BodyError::Framing(_) | BodyError::SourceClosed | BodyError::TooLarge => Failure::UpstreamProtocol,
    }
}
