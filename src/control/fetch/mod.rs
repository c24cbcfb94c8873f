//! One GET to a server that nobody vouches for: an issuer's keys, a member's health.
//!
//! The HTTP client is a library that speaks over one end of a socket pair. It has no timeout and no bound on what it
//! keeps, so everything that could hurt belongs to the pump at the other end: addresses, TLS, time and bytes. At its
//! bounds the pump closes the pair, which the library takes for the end of the connection.
//!
//! ```text
//! HTTP client ◀──socket pair──▶ pump ◀──TCP or TLS──▶ server
//! ```
//!
//! One request per connection, and no redirect is followed: where keys come from is the operator's decision.

mod client;
mod error;
mod pump;
mod request;
mod response;
#[cfg(test)]
mod tests;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

pub use error::FetchError;
pub use request::Get;
pub use response::Fetched;

use crate::limits::FETCH_HEAD_BYTES_MAX;
use crate::net::{self, ConnectError, Io};

/// Gets it.
///
/// # Errors
/// [`FetchError`].
pub async fn get(io: &Io, get: &Get<'_>) -> Result<Fetched, FetchError> {
    let secure = async |transport, deadline_ms| match get.tls {
        None => Ok(transport),
        Some(tls) => Box::pin(tls.secure(transport, io, deadline_ms)).await,
    };
    let connected = net::connect_any(get.endpoints.iter(), &io.timers, || get.deadline_ms, secure).await;
    let (server, _) = connected.map_err(FetchError::Connect)?;
    let (near, far) = pump::pair().map_err(|error| FetchError::Connect(ConnectError::Failed(error)))?;
    let bytes_max = get.body_bytes_max.saturating_mul(CODING_OVERHEAD).saturating_add(FETCH_HEAD_BYTES_MAX);
    let pumping = pump::pump(server, near, io, get.deadline_ms, bytes_max);
    let (response, pumped) = both(client::get(far, get), pumping).await;
    match (pumped, response) {
        // The client cannot know why its connection ended.
        (Some(Err(why)), Err(_)) => Err(why),
        (_, Err(why)) => Err(why),
        (_, Ok(response)) if response.body.len() > get.body_bytes_max => Err(FetchError::TooLong),
        (_, Ok(response)) => Ok(response),
    }
}

/// Both at once, until the client has ended. The pump alone may be left off: its waits are polls.
async fn both<C, P>(client: impl Future<Output = C>, pump: impl Future<Output = P>) -> (C, Option<P>) {
    let (mut client, mut pump) = (pin!(client), pin!(pump));
    let mut pumped = None;
    poll_fn(|context| {
        if pumped.is_none()
            && let Poll::Ready(end) = pump.as_mut().poll(context)
        {
            pumped = Some(end);
        }
        client.as_mut().poll(context).map(|response| (response, pumped.take()))
    })
    .await
}

/// A chunked body may be this many times as long on the wire as its bytes: chunks of less than that are an attack.
const CODING_OVERHEAD: usize = 2;
