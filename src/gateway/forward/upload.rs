//! The rest of a request's body on its way up, while the response is awaited and delivered.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use crate::clock;
use crate::gateway::answer::failure::Failure;
use crate::message::{BodyError, BodySink, BodySource, Progress, flush, transfer};
use crate::net::NEVER;

/// How far the request has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// To its last byte.
    Whole,
    /// The rest of the body is still to come.
    Partial,
    /// The upstream takes no more of it; it may have answered all the same.
    Abandoned,
}

/// The upload of one request.
pub struct Upload<'u, F> {
    /// Sends what is left.
    rest: Pin<&'u mut F>,
    sent: Sent,
    /// When the request was sent, if it was.
    since_ms: u64,
    /// A response head is due this long after that, in milliseconds.
    head_timeout_ms: u64,
}

impl<'u, F: Future<Output = Result<(), BodyError>>> Upload<'u, F> {
    /// An upload that has got as far as this.
    pub fn new(rest: Pin<&'u mut F>, sent: Sent, head_timeout_ms: u64) -> Upload<'u, F> {
        Upload { rest, sent, since_ms: clock::now_ms(), head_timeout_ms }
    }

    /// The upstream has the whole request.
    pub fn is_whole(&self) -> bool {
        self.sent == Sent::Whole
    }

    /// Polls `other` while the upload goes on. `None`: the upload has ended first.
    ///
    /// # Errors
    /// What the client did wrong.
    pub async fn or_upload<T>(
        &mut self,
        mut other: impl Future<Output = T> + Unpin,
    ) -> Result<Option<T>, Failure> {
        poll_fn(|context| {
            if let Poll::Ready(output) = Pin::new(&mut other).poll(context) {
                return Poll::Ready(Ok(Some(output)));
            }
            if self.sent != Sent::Partial {
                return Poll::Pending;
            }
            let Poll::Ready(ended) = self.rest.as_mut().poll(context) else { return Poll::Pending };
            self.since_ms = clock::now_ms();
            self.sent = match ended {
                Ok(()) => Sent::Whole,
                Err(BodyError::SinkClosed(_)) => Sent::Abandoned,
                Err(error) => return Poll::Ready(Err(Failure::of_upload(error))),
            };
            Poll::Ready(Ok(None))
        })
        .await
    }

    /// Runs `other` to its end while the upload goes on. `other` must be a future that may be polled after the upload
    /// has ended.
    ///
    /// # Errors
    /// What the client did wrong.
    pub async fn alongside<T>(&mut self, mut other: impl Future<Output = T> + Unpin) -> Result<T, Failure> {
        loop {
            if let Some(output) = self.or_upload(&mut other).await? {
                return Ok(output);
            }
        }
    }

    /// When a response head is due: a while after the end of the request.
    pub fn head_deadline_ms(&self) -> u64 {
        match self.sent {
            Sent::Partial => NEVER,
            Sent::Whole | Sent::Abandoned => self.since_ms + self.head_timeout_ms,
        }
    }
}

/// Sends the head and what has arrived of the body, in one write.
///
/// # Errors
/// What the client did wrong, or the upstream does not take it in time.
pub(super) async fn send_first(body: &mut BodySource<'_>, sink: &mut BodySink<'_>) -> Result<Sent, Failure> {
    let sent = match transfer(body, sink).await {
        Ok(progress) => flush(body, sink).await.map(|()| progress),
        Err(error) => Err(error),
    };
    match sent {
        Ok(Progress::Complete) => Ok(Sent::Whole),
        Ok(Progress::Partial) => Ok(Sent::Partial),
        Err(BodyError::SinkClosed(_)) => Ok(Sent::Abandoned),
        Err(error) => Err(Failure::of_upload(error)),
    }
}
