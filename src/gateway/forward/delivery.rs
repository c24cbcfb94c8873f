//! The response on its way to the client, while the rest of the request may still be on its way up.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use crate::clock;
use crate::gateway::answer::failure::Failure;
use crate::gateway::core::heads::Request;
use crate::gateway::forward::body::{Body, BodyError, Encoding};
use crate::gateway::forward::headers::{self, Delivery};
use crate::gateway::forward::interim;
use crate::gateway::forward::response_reader::{Arrived, Reading};
use crate::gateway::record::Record;
use crate::http1::{Framing, HeadError, ResponseHead, Version};
use crate::net::{NEVER, Sink};

/// What came of a response that reached the client.
pub struct Delivered {
    /// The client's connection may carry another exchange.
    pub keep_alive: bool,
    /// So may the upstream's.
    pub upstream_may_go_on: bool,
}

/// How far the request has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// To its last byte.
    Wholly,
    /// The rest of the body is still to come.
    Partly,
    /// The upstream takes no more of it; it may have answered all the same.
    Abandoned,
}

/// The rest of the request's body, moving while the response is awaited and delivered.
pub struct Upload<'u, F> {
    /// What is still to be sent.
    pub rest: Pin<&'u mut F>,
    /// How far it has got.
    pub sent: Sent,
    /// When the request was sent, if it was.
    pub since_ms: u64,
    /// A response head is due so long after that, in milliseconds.
    pub head_wait_ms: u64,
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

/// Waits for the final head of the response, which then stands at the front of the buffer with this length.
pub async fn await_head<F: Future<Output = Result<(), BodyError>>>(
    request: &Request,
    response: &mut ResponseHead,
    record: &mut Record<'_>,
    reading: &mut Reading<'_>,
    upload: &mut Upload<'_, F>,
) -> Result<usize, Failure> {
    loop {
        let deadline = upload.head_deadline_ms();
        let first = upload.beside(pin!(reading.head(response, deadline))).await?;
        let First::Other(arrived) = first else { continue };
        match arrived? {
            Arrived::Final(length) => {
                record.upstream_head_us = Some(reading.core.resources.stopwatch_us() - reading.begun_us);
                return Ok(length);
            }
            Arrived::Interim(length) => {
                interim::pass(reading.core, request, response, reading, length).await?;
            }
        }
    }
}

/// Sends the response, whose head is in the buffer, to the client.
pub async fn respond<F: Future<Output = Result<(), BodyError>>>(
    request: &Request,
    response: &ResponseHead,
    record: &mut Record<'_>,
    reading: &mut Reading<'_>,
    upload: &mut Upload<'_, F>,
    length: usize,
    trailers: bool,
) -> Result<Delivered, Failure> {
    let core = reading.core;
    let framing = response.framing(request.head.method);
    let is_11 = request.head.version == Version::Http11;
    let has_end = matches!(framing, Framing::None | Framing::Length(_)) || is_11;
    let keep_alive = request.head.keep_alive && !core.resources.io.is_draining() && has_end;
    let is_chunked = is_11 && matches!(framing, Framing::Chunked | Framing::UntilClose);
    let said = match (is_chunked, response.declared) {
        (true, _) => Framing::Chunked,
        // Also for HEAD and 304, which say what they would have sent; RFC 9110 §8.6 forbids it for 204.
        (false, Framing::Length(length)) if response.status != 204 => Framing::Length(length),
        (false, _) => Framing::None,
    };
    let delivery =
        Delivery { request, id: &record.id, framing: said, keep_alive, quota: record.quota.as_ref() };
    let mut out = core.resources.io.buffers.buffer();
    let bytes = &reading.buffer.filled()[..length];
    headers::compose_response(&mut out, core, response, bytes, &delivery);
    reading.buffer.consume(length);

    let encoding = if is_chunked { Encoding::Chunked } else { Encoding::Raw };
    let mut body = Body::new(framing, encoding, u64::MAX, trailers);
    let mut sink = Sink::new(reading.client, &core.resources.io.timers, out, core.snapshot.client_pace());
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

/// Whose fault it is that a request's body did not get through.
pub fn upload_failure(error: BodyError) -> Failure {
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
