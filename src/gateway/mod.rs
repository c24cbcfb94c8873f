//! The life of a connection: heads one after the other, an exchange for each, and a decent end.

pub mod body;
pub mod client;
pub mod core;
pub mod cors;
pub mod deliver;
mod desks;
pub mod downstream;
pub mod error;
pub mod exchange;
pub mod forward;
pub mod handshake;
pub mod headers;
pub mod health;
pub mod in_force;
pub mod local;
pub mod heads;
pub mod interim;
pub mod record;
pub mod reply;
pub mod response;
pub mod seats;
pub mod tunnel;
pub mod upgrade;

use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;

pub use self::core::Core;
use crate::net::Stream;
use desks::Desks;
use downstream::{Downstream, Received};
pub use in_force::{InForce, Replacement};

/// What serves the client connections of one core, each from its first byte to its close. Whoever accepted one has
/// counted it.
pub fn server(in_force: Rc<InForce>) -> impl Fn(Stream, SocketAddr) {
    let desks = Desks::new(turn);
    move |stream, peer| {
        let downstream = Box::new(Downstream::new(&in_force.core(), stream, peer));
        monoio::spawn(serve(in_force.clone(), desks.clone(), downstream));
    }
}

/// What waits for the next request is small, and all that an idle connection costs; what serves it is on loan from the
/// core. Not an `async fn`: that would keep each argument twice, as it came and as the variable that it becomes.
#[allow(clippy::manual_async_fn)]
fn serve<T, F>(
    in_force: Rc<InForce>,
    desks: Rc<Desks<T, F>>,
    mut downstream: Box<Downstream>,
) -> impl Future<Output = ()>
where
    T: Fn(Rc<InForce>, Box<Downstream>) -> F,
    F: Future<Output = Option<Box<Downstream>>>,
{
    async move {
        let counters = in_force.core().counters.clone();
        while downstream.first_bytes(&in_force.core()).await {
            match desks.seat(in_force.clone(), downstream).await {
                Some(again) => downstream = again,
                None => break,
            }
        }
        counters.connections_open.subtract(1);
    }
}

/// The next request, of which something has arrived: its head, the exchange, and what follows from it. The connection
/// comes back if it may carry another one.
async fn turn(in_force: Rc<InForce>, mut downstream: Box<Downstream>) -> Option<Box<Downstream>> {
    let received = downstream.head(&in_force.core()).await;
    // A reload may have come while the head was awaited.
    let core = in_force.core();
    let after = match received {
        Received::Head(mut heads) => exchange::exchange(&core, &mut downstream, &mut heads).await,
        Received::Refused(mut heads, failure) => {
            exchange::refuse_head(&core, &mut downstream, &mut heads, failure).await
        }
        Received::Nothing => return None,
    };
    match after {
        After::KeepAlive => return Some(downstream),
        After::Linger => downstream.linger(&core).await,
        After::Close => {}
        After::Tunnel(handover) => tunnel::begin(&core, handover),
    }
    None
}

/// What becomes of the client's connection after an exchange.
pub enum After {
    /// The next request may come.
    KeepAlive,
    /// Our answer is on its way while the client may still be sending: say that we are done, and read on for
    /// a bounded time, because a reset would eat the answer (RFC 9112 §9.6).
    Linger,
    /// Nothing is left to say.
    Close,
    /// A tunnel goes on with duplicates of both connections.
    Tunnel(Box<tunnel::Handover>),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_output<A, B, C, O>(_: fn(A, B, C) -> O) -> usize {
        size_of::<O>()
    }

    fn size_of_task<T, F>(_: T) -> usize
    where
        T: Fn(Rc<InForce>, Box<Downstream>) -> F,
        F: Future<Output = Option<Box<Downstream>>>,
    {
        size_of_output(serve::<T, F>)
    }

    /// What a connection costs while nothing happens on it: its task, and its socket and buffer beside it.
    #[test]
    fn an_idle_connection_is_a_small_task() {
        assert!(size_of_task(turn) <= 384, "{} bytes", size_of_task(turn));
        assert!(size_of::<Downstream>() <= 192, "{} bytes", size_of::<Downstream>());
    }
}
