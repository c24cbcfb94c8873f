//! The life of a client connection: heads one after the other, an exchange for each, and an orderly end.

use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::gateway::core::ActiveCore;
use crate::gateway::downstream::{Downstream, Received};
use crate::gateway::exchange::After;
use crate::gateway::future_pool::FuturePool;
use crate::gateway::pipeline;
use crate::gateway::websocket::tunnel;
use crate::net::Transport;

/// What serves the client connections of one core, each from its first byte to its close. Whoever accepted one has
/// counted it.
pub fn server(active: Rc<ActiveCore>) -> impl Fn(Transport, SocketAddr) {
    let pool = FuturePool::new(turn);
    move |stream, peer| {
        let downstream = Box::new(Downstream::new(&active.core(), stream, peer));
        monoio::spawn(serve(active.clone(), pool.clone(), downstream));
    }
}

/// What waits for the next request is small, and all that an idle connection costs; what serves it is on loan from the
/// core. Not an `async fn`: that would keep each argument twice, as it came and as the variable that it becomes.
#[allow(clippy::manual_async_fn)]
fn serve<T, F>(
    active: Rc<ActiveCore>,
    pool: Rc<FuturePool<T, F>>,
    mut downstream: Box<Downstream>,
) -> impl Future<Output = ()>
where
    T: Fn(Rc<ActiveCore>, Box<Downstream>) -> F,
    F: Future<Output = Option<Box<Downstream>>>,
{
    async move {
        let connections = active.core().resources.metrics.connections.clone();
        while downstream.first_bytes(&active.core()).await {
            match pool.run(active.clone(), downstream).await {
                Some(again) => downstream = again,
                None => break,
            }
        }
        connections.open.subtract(1);
    }
}

/// The next request, of which something has arrived: its head, the exchange, and what follows from it. The connection
/// comes back if it may carry another one.
async fn turn(active: Rc<ActiveCore>, mut downstream: Box<Downstream>) -> Option<Box<Downstream>> {
    let received = downstream.head(&active.core()).await;
    // A reload may have come while the head was awaited.
    let core = active.core();
    let after = match received {
        Received::Head(mut heads) => pipeline::exchange(&core, &mut downstream, &mut heads).await,
        Received::Refused(mut heads, failure) => {
            pipeline::refuse_head(&core, &mut downstream, &mut heads, failure).await
        }
        Received::Nothing => return None,
    };
    match after {
        After::KeepAlive => return Some(downstream),
        After::Linger => downstream.linger(&core).await,
        After::Close => {}
        After::Tunnel(handover) => tunnel::begin(&core.resources, handover),
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_output<A, B, C, O>(_: fn(A, B, C) -> O) -> usize {
        size_of::<O>()
    }

    fn size_of_task<T, F>(_: T) -> usize
    where
        T: Fn(Rc<ActiveCore>, Box<Downstream>) -> F,
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
