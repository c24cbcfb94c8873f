//! How a request is served, in any version of HTTP: the pipeline, or the answer to a head that breaks HTTP.

use std::future::{Future, poll_fn};
use std::pin::pin;

use crate::gateway::answer::reply;
use crate::gateway::exchange::{Exchange, ExchangeOutcome};
use crate::gateway::pipeline;
use crate::http::ProtocolError;

/// Serves a request. While it waits, it answers the roll call of a core that drains.
pub(super) async fn serve(exchange: &mut Exchange<'_>) -> ExchangeOutcome {
    let (core, about) = (exchange.core, exchange.about());
    let mut serving = pin!(pipeline::serve(exchange));
    poll_fn(|context| {
        let polled = serving.as_mut().poll(context);
        if polled.is_pending() && core.resources.roll_call.is_open() {
            about.answer(core);
        }
        polled
    })
    .await
}

/// Answers a head that breaks HTTP.
pub(super) async fn refuse(exchange: &mut Exchange<'_>, error: ProtocolError) -> ExchangeOutcome {
    let failure = exchange.malformed(error).await;
    reply::refuse(exchange, failure).await
}
