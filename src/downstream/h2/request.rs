//! A request that has come on a stream.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use crate::downstream::clients::Place;
use crate::http::{Heads, LentHeads, ProtocolError};
use crate::message::h2::{Gone, Link, StreamId};

/// A request on a stream. Dropped, its exchange is over.
pub struct H2Request {
    pub(super) link: Rc<Link>,
    pub(super) id: StreamId,
    pub(super) client: Place,
    /// Its head, and room for that of the response.
    pub(super) heads: LentHeads,
    /// Its head is one that HTTP refuses.
    pub refused: Option<ProtocolError>,
}

/// The way of one request: its connection, its stream, and whose it is.
#[derive(Clone, Copy)]
pub struct Way<'c> {
    pub(super) link: &'c Link,
    pub(super) id: StreamId,
    pub(super) client: Place,
}

impl H2Request {
    /// The way to the client, and the heads of the exchange.
    pub fn parts(&mut self) -> (Way<'_>, &mut Heads) {
        (Way { link: &self.link, id: self.id, client: self.client }, &mut self.heads)
    }
}

impl Way<'_> {
    /// Of the final response: the status, and the bytes so far. `None`: it has not begun.
    pub fn answered(self) -> Option<(u16, u64)> {
        self.link.answered(self.id)
    }

    /// Runs a future to its end, or until the client has given up the stream.
    ///
    /// # Errors
    /// Why there is nobody to serve any more.
    pub async fn unless_gone<F: Future>(self, mut future: Pin<&mut F>) -> Result<F::Output, Gone> {
        poll_fn(|context| {
            if let Poll::Ready(gone) = self.link.poll_gone(self.id, context) {
                return Poll::Ready(Err(gone));
            }
            future.as_mut().poll(context).map(Ok)
        })
        .await
    }
}

impl Drop for H2Request {
    fn drop(&mut self) {
        self.link.close(self.id);
    }
}
