//! The life of a connection that has several requests at once: each is a task of its own.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;

use super::serving;
use crate::downstream::h1::Connection;
use crate::downstream::h2::{Bench, H2Connection, H2Request};
use crate::downstream::{FuturePool, Servers};
use crate::gateway::answer::failure::Failure;
use crate::gateway::answer::reply;
use crate::gateway::core::{ActiveCore, Core};
use crate::gateway::exchange::{About, Exchange, ExchangeOutcome};
use crate::message::h2::Gone;

/// What the connections of one core with several requests have in common.
pub(super) struct Streams {
    /// Begins the task of a request.
    begin: Box<dyn Fn(Rc<ActiveCore>, H2Request)>,
    bench: Rc<RefCell<Bench>>,
}

impl Streams {
    /// For the core that runs on this thread.
    pub(super) fn new(active: &ActiveCore) -> Rc<Streams> {
        let pool = FuturePool::new(active.core().resources.io.clock.clone(), serve);
        active.core().resources.future_pools.borrow_mut().push(pool.clone());
        let servers = Servers::new(move |(active, request)| pool.run(active, request));
        active.core().resources.future_pools.borrow_mut().push(servers.clone());
        let begin = move |active, request| servers.serve((active, request));
        Rc::new(Streams { begin: Box::new(begin), bench: Rc::default() })
    }

    /// Goes on with a connection, in a task of its own.
    pub(super) fn take(self: &Rc<Self>, active: &Rc<ActiveCore>, connection: Connection) {
        let Core { resources, snapshot } = &*active.core();
        let shared = (self.bench.clone(), resources.metrics.http2.clone());
        let connection = H2Connection::new(connection, &resources.io, &snapshot.downstream, shared);
        resources.metrics.connections.open.add(1);
        monoio::spawn(receive(active.clone(), self.clone(), Box::new(connection)));
    }
}

/// Begins the requests of a connection, until it is over.
async fn receive(active: Rc<ActiveCore>, streams: Rc<Streams>, mut connection: Box<H2Connection>) {
    while let Some(request) = next(&active, &mut connection).await {
        (streams.begin)(active.clone(), request);
    }
    active.core().resources.metrics.connections.open.subtract(1);
}

async fn next(active: &ActiveCore, connection: &mut H2Connection) -> Option<H2Request> {
    let Core { resources, snapshot } = &*active.core();
    connection.next(&resources.io, &snapshot.downstream, &resources.heads).await
}

/// One request: the exchange, until it or its stream is over.
async fn serve(active: Rc<ActiveCore>, mut request: H2Request) {
    let core = active.core();
    let refused = request.refused;
    let (way, heads) = request.parts();
    let about = About::default();
    let mut exchange = Exchange::h2(&core, &about, way, heads);
    let outcome: Result<ExchangeOutcome, Gone> = {
        let served = pin!(async {
            match refused {
                None => serving::serve(&mut exchange).await,
                Some(error) => serving::refuse(&mut exchange, error).await,
            }
        });
        way.unless_gone(served).await
    };
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(gone) => give_up(&mut exchange, way.answered(), cause(gone)).await,
    };
    exchange.client.conclude(&outcome).await;
    exchange.finish();
}

/// Nobody waits for the response any more. The record has what has become of it.
async fn give_up(
    exchange: &mut Exchange<'_>,
    answered: Option<(u16, u64)>,
    cause: &'static str,
) -> ExchangeOutcome {
    let Some((status, bytes)) = answered else {
        return reply::refuse(exchange, Failure::ClientGone(cause)).await;
    };
    exchange.record.status = status;
    exchange.record.bytes_out += bytes;
    reply::refuse(exchange, Failure::Cut(cause)).await
}

fn cause(gone: Gone) -> &'static str {
    match gone {
        Gone::Reset => "stream_reset",
        Gone::Connection => "closed",
    }
}
