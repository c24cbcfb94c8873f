//! The delivery of one response: its heads and its body go to the client while the rest of the request may still be on
//! its way up.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use super::headers::{self, Additions};
use super::locations::Locations;
use super::upload::Upload;
use crate::clock;
use crate::downstream::{Responder, ResponseBody};
use crate::gateway::answer::failure::{Failure, UpstreamBound};
use crate::gateway::core::Core;
use crate::gateway::record::Record;
use crate::http::{Request, Response};
use crate::limits::STREAM_AFTER_MS;
use crate::message::{BodyError, Trailers, pump};
use crate::net::{Elapsed, Timers};
use crate::upstream::{Arrived, Lease, ResponseReader};

/// One response from an upstream on its way to the client.
pub struct Delivery<'d, 'c> {
    /// The core.
    pub core: &'d Core,
    /// The connection that it comes on.
    pub lease: &'d Lease<'d>,
    /// What was asked.
    pub request: &'d Request,
    /// What is answered.
    pub response: &'d mut Response,
    /// What is remembered.
    pub record: &'d mut Record<'c>,
    /// The way to the client.
    pub responder: Responder<'d>,
    /// The way from the upstream.
    pub reader: ResponseReader<'d>,
    /// Whether trailer fields pass.
    pub trailers: Trailers,
    /// The service's own names in where it sends the client.
    pub locations: Option<Locations<'d>>,
    /// A response head is due this long after the end of the request, in milliseconds.
    pub head_timeout_ms: u64,
    /// When the request began to leave, in µs.
    pub begun_us: u64,
}

/// What a delivered response leaves of the upstream's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// Another exchange may use it.
    Reusable,
    /// It must be closed.
    Spent,
    /// It must be closed, and others to the upstream as well: it has sent more than one answer.
    Surplus,
}

impl Delivery<'_, '_> {
    /// Waits for the final head of the response. Interim heads go on to the client meanwhile.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn await_head<F>(&mut self, upload: &mut Upload<'_, F>) -> Result<(), Failure>
    where
        F: Future<Output = Result<(), BodyError>>,
    {
        loop {
            match self.next_head(upload).await? {
                Some(Arrived::Final) => break,
                Some(Arrived::Interim) => self.pass_interim().await?,
                None => {}
            }
        }
        self.lease.answered(self.core.resources.io.clock.now_us());
        self.record.upstream_head_us = Some(self.core.resources.stopwatch_us() - self.begun_us);
        Ok(())
    }

    /// The next head. `None`: the upload has ended, which changes the deadline: call again.
    async fn next_head<F>(&mut self, upload: &mut Upload<'_, F>) -> Result<Option<Arrived>, Failure>
    where
        F: Future<Output = Result<(), BodyError>>,
    {
        let deadline_ms = upload.head_deadline_ms();
        let head = pin!(self.reader.head(self.request.method, self.response, deadline_ms));
        Ok(upload.or_upload(head).await?.transpose()?)
    }

    /// Passes an interim response on, or swallows it: clients understand 103 (RFC 8297); an upstream's 100 is between
    /// it and the gateway, and the others are obsolete.
    async fn pass_interim(&mut self) -> Result<(), Failure> {
        let head = (self.response.status == 103 && self.responder.takes_interim()).then(|| {
            let bytes = self.reader.head_bytes();
            let mut head = self.responder.head(self.response.status, self.response.reason.of(bytes));
            headers::compose_interim(&mut head, self.response, bytes, self.record.edits);
            head
        });
        self.reader.consume_head();
        match head {
            Some(head) => self.responder.send_interim(head).await.map_err(Failure::of_client),
            None => Ok(()),
        }
    }

    /// Sends the final response, whose head was awaited, to the client.
    ///
    /// # Errors
    /// [`Failure`]; [`Failure::Cut`] if the response has begun already.
    pub async fn respond<F>(&mut self, upload: &mut Upload<'_, F>) -> Result<Delivered, Failure>
    where
        F: Future<Output = Result<(), BodyError>>,
    {
        if self.response.is_event_stream(self.reader.head_bytes()) {
            self.lease.become_stream().map_err(|_| Failure::UpstreamFull(UpstreamBound::Streams))?;
            self.lease.succeeded();
        }
        let bytes = self.reader.head_bytes();
        self.lease.note_keep_alive(bytes, &self.response.fields);
        let mut head = self.responder.head(self.response.status, self.response.reason.of(bytes));
        let (id, quota) = (self.record.id, self.record.quota.as_ref());
        let (cors, hsts) = (&self.core.snapshot.cors, self.record.hsts);
        let (locations, edits) = (self.locations.as_ref(), self.record.edits);
        let additions = Additions { request: self.request, id, quota, cors, hsts, locations, edits };
        headers::compose_response(&mut head, self.response, bytes, &additions);
        self.reader.consume_head();
        let Response { body: length, announced, .. } = *self.response;
        let mut sink =
            self.responder.respond(head, ResponseBody { length, announced, trailers: self.trailers });
        let pumped = {
            let mut source = self.reader.body();
            let mut pumping = pin!(pump(&mut source, &mut sink));
            match now_or_not(pumping.as_mut()).await {
                Some(pumped) => Ok(pumped),
                None => {
                    // If the drain cuts it off, this is what the client has got.
                    self.record.status = self.response.status;
                    go_on(self.lease, &self.core.resources.io.timers, upload, pumping).await
                }
            }
        };
        let sent = sink.sent();
        self.record.bytes_out += sent;
        match pumped {
            Ok(Ok(())) => {
                self.record.status = self.response.status;
                self.lease.succeeded();
            }
            Ok(Err(error)) => return Err(self.cut_short(Failure::of_download(error), sent)),
            Err(failure) => return Err(self.cut_short(failure, sent)),
        }
        if self.reader.has_surplus() {
            return Ok(Delivered::Surplus);
        }
        // A request of which the upstream still lacks the end would go on with the head of the next one.
        let is_reusable = upload.is_whole() && self.reader.is_reusable();
        Ok(if is_reusable { Delivered::Reusable } else { Delivered::Spent })
    }

    /// While nothing of a response has reached the client, there is still a choice.
    fn cut_short(&mut self, failure: Failure, sent: u64) -> Failure {
        if sent == 0 {
            return failure;
        }
        self.record.status = self.response.status;
        match failure.is_members() {
            true => self.lease.failed(failure.word()),
            false => self.lease.succeeded(),
        }
        self.responder.cut();
        // Which side broke matters more than how: both can be a reset.
        Failure::Cut(match failure {
            Failure::ClientGone(_) => failure.answer().1,
            _ => failure.word(),
        })
    }
}

/// The output of a future that is ready already. Otherwise it has begun, and is to be polled on.
async fn now_or_not<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    poll_fn(|context| match Pin::new(&mut future).poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// The rest of a response that did not come whole. What has come is acknowledged, since some services wait for that.
/// If it takes long, it is none of the requests in flight any more, as long as there is room among the long responses.
async fn go_on<F, T>(
    lease: &Lease<'_>,
    timers: &Timers,
    upload: &mut Upload<'_, F>,
    mut pumping: Pin<&mut impl Future<Output = T>>,
) -> Result<T, Failure>
where
    F: Future<Output = Result<(), BodyError>>,
{
    lease.transport().acknowledge();
    let long_from_ms = clock::now_ms() + STREAM_AFTER_MS;
    let pumped = {
        let until = pin!(timers.until(long_from_ms, pumping.as_mut()));
        upload.alongside(until).await?
    };
    match pumped {
        Ok(pumped) => Ok(pumped),
        Err(Elapsed) => {
            let _ = lease.become_stream();
            lease.succeeded();
            upload.alongside(pumping).await
        }
    }
}
