//! One request's way to its client and back, on a stream.

use crate::downstream::clients::Place;
use crate::downstream::outcome::Outcome;
use crate::downstream::response_body::ResponseBody;
use crate::downstream::settings::Settings;
use crate::http::{BodyLength, push_decimal};
use crate::http2::ErrorCode;
use crate::message::Trailers;
use crate::message::h2::{H2Body, H2Head, H2Sink, H2Source, Link, Position, StreamId, send_interim};
use crate::net::buffer::Mark;
use crate::net::{Buffer, Io, Pace, SendError};

use super::request::Way;

/// One request on a stream.
pub struct H2Stream<'c> {
    io: &'c Io,
    settings: &'c Settings,
    pub(in crate::downstream) link: &'c Link,
    id: StreamId,
    pub(in crate::downstream) client: Place,
    pub(in crate::downstream) body: H2Body,
    /// How long the client may take to move its body, or to take the response, in milliseconds.
    pub(in crate::downstream) body_ms: u64,
}

/// Where a request's body stood, to send it once more.
#[derive(Clone)]
pub struct H2Checkpoint((Position, u32, Mark));

impl<'c> H2Stream<'c> {
    /// A request that has come. `body_bytes_max`: the bound of its body.
    pub(in crate::downstream) fn new(
        io: &'c Io,
        settings: &'c Settings,
        way: Way<'c>,
        body_bytes_max: u64,
    ) -> H2Stream<'c> {
        let Way { link, id, client } = way;
        let body = H2Body::new(io.buffers.buffer(), body_bytes_max);
        H2Stream { io, settings, link, id, client, body, body_ms: settings.body_ms }
    }

    pub(in crate::downstream) fn split(&mut self) -> (H2Source<'_>, H2Responder<'_>) {
        let H2Stream { io, settings, link, id, body, body_ms, .. } = self;
        let (link, id, timers, pace) = (*link, *id, &*io.timers, settings.pace_of(*body_ms));
        let source = H2Source { link, id, timers, body, pace: pace.clone() };
        (source, H2Responder { io, pace, link, id })
    }

    /// The way for an answer of the gateway's own. What is held of the request meanwhile is no more than has come.
    pub(in crate::downstream) fn answer(&mut self) -> H2Responder<'_> {
        self.body.park();
        self.split().1
    }

    /// The exchange ends here, whatever is missing.
    pub(in crate::downstream) fn cut(&self) {
        self.link.conclude(self.id, ErrorCode::InternalError);
    }

    pub(in crate::downstream) fn checkpoint(&self) -> H2Checkpoint {
        H2Checkpoint(self.body.mark())
    }

    pub(in crate::downstream) fn rewind(&mut self, checkpoint: H2Checkpoint) -> bool {
        self.body.rewind(checkpoint.0)
    }

    /// What the outcome of the exchange means for the stream. The others of its connection go on in any case.
    pub(in crate::downstream) fn conclude<U>(&mut self, outcome: &Outcome<U>) {
        let is_complete = matches!(outcome, Outcome::Complete);
        if is_complete {
            self.link.finished();
        }
        // RFC 9113 §8.1: "When this is true, a server MAY request that the client abort transmission of a request
        // without error by sending a RST_STREAM with an error code of NO_ERROR after sending a complete response".
        let code = if is_complete { ErrorCode::NoError } else { ErrorCode::InternalError };
        self.link.conclude(self.id, code);
    }
}

/// Writes responses to one request on a stream.
pub struct H2Responder<'r> {
    io: &'r Io,
    pace: Pace,
    pub(in crate::downstream) link: &'r Link,
    id: StreamId,
}

impl<'r> H2Responder<'r> {
    pub(in crate::downstream) fn buffer(&self) -> Buffer {
        self.io.buffers.buffer()
    }

    /// Sends an interim head.
    pub(in crate::downstream) async fn send(&self, text: Buffer) -> Result<(), SendError> {
        let head = H2Head::of_text(text);
        send_interim(self.link, self.id, &self.io.timers, self.pace.clone(), head).await
    }

    pub(in crate::downstream) fn respond(&self, mut text: Buffer, body: ResponseBody) -> H2Sink<'r> {
        let announced = match body.length {
            BodyLength::Unknown => None,
            BodyLength::None | BodyLength::Exact(_) => body.announced,
        };
        if let Some(length) = announced {
            text.put_all([b"content-length: ", push_decimal(length, &mut [0; 20]), b"\r\n"]);
        }
        let (head, trailers): (H2Head, Trailers) = (H2Head::of_text(text), body.trailers);
        let pace = self.pace.clone();
        H2Sink::new(self.link, self.id, &self.io.timers, pace, head, (body.length, trailers))
    }
}
