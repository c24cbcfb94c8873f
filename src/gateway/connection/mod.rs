//! The life of a client connection: one exchange after another, and an orderly end.

mod serving;
mod streams;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;

use crate::clock;
use crate::downstream::clients::{GivesWay, Network};
use crate::downstream::h1::{Connection, HeadFailure, Received};
use crate::downstream::{FuturePool, HandshakeFailure, Next, Outcome, Settings, proxied};
use crate::gateway::answer::failure::Failure;
use crate::gateway::answer::{local, reply};
use crate::gateway::core::{ActiveCore, Beginning, Core, Resources};
use crate::gateway::exchange::{About, Exchange, ExchangeOutcome};
use crate::gateway::websocket::tunnel;
use crate::http::Scheme;
use crate::http1::RequestHead;
use crate::limits::{REFUSED_REQUEST_MS, ROOM_MADE_AT_ONCE};
use crate::net::Transport;
use crate::net::tls::{Fault, TlsStream};

use streams::Streams;

/// A function that serves the client connections of one core, each from its first byte to its close. The acceptor has
/// already counted the connection.
pub fn server(active: Rc<ActiveCore>) -> impl Fn(Rc<Core>, Transport, SocketAddr, Scheme) {
    let streams = Streams::new(&active);
    let clock = active.core().resources.io.clock.clone();
    let pool = FuturePool::new(clock, move |active, connection| turn(active, connection, streams.clone()));
    active.core().resources.future_pools.borrow_mut().push(pool.clone());
    let begin = Rc::new(move |core: &Core, transport: Transport, peer: SocketAddr, scheme: Scheme| {
        let Some(transport) = transport_of(core, transport, scheme) else {
            return core.resources.metrics.connections.open.subtract(1);
        };
        // A trusted proxy is about to use its idle connections for any of its clients.
        let gives_way = if core.trusts(peer.ip()) { GivesWay::Never } else { GivesWay::Waiting };
        let connection = connection(core, transport, peer, gives_way);
        monoio::spawn(serve(active.clone(), pool.clone(), connection));
    });
    move |core, transport, peer, scheme| match core.beginning(peer.ip(), scheme) {
        Beginning::Direct => begin(&core, transport, peer, scheme),
        Beginning::Unserved => unserved(&core),
        Beginning::Proxied => {
            let begin = begin.clone();
            monoio::spawn(async move {
                if let Some((transport, client)) = proxied(&core, transport, peer, scheme).await {
                    begin(&core, transport, client, scheme);
                }
            });
        }
    }
}

/// Waits for what a load balancer says of a connection. `None`: the connection is not served.
async fn proxied(
    core: &Core,
    transport: Transport,
    peer: SocketAddr,
    scheme: Scheme,
) -> Option<(Transport, SocketAddr)> {
    let Core { resources, snapshot } = core;
    let deadline_ms = clock::now_ms() + snapshot.downstream.request_head_ms;
    let Ok(client) = proxied::client(&resources.io, &transport, deadline_ms).await else {
        unserved(core);
        return None;
    };
    let client = client.unwrap_or(peer);
    let (ip, metrics) = (client.ip(), &resources.metrics.connections);
    let own = resources.clients.connections(Network::of(ip));
    if own < core.connections_per_address_max() || core.trusts(ip) {
        return Some((transport, client));
    }
    metrics.refused.add(1);
    metrics.refused_per_address.add(1);
    resources.metrics.refusal_notes.look(&resources.clients, clock::now_ms());
    if let Some(mut told) = turn_away(core, transport, (client, scheme), Failure::TooManyConnections).await {
        told.linger(&resources.io).await;
    }
    metrics.open.subtract(1);
    None
}

/// A connection that does not begin as it should is over.
fn unserved(core: &Core) {
    let metrics = &core.resources.metrics.connections;
    metrics.proxy_header_failures.add(1);
    metrics.open.subtract(1);
}

/// What a connection is carried by. `None`: it is closed, because there are too many handshakes.
fn transport_of(core: &Core, transport: Transport, scheme: Scheme) -> Option<Transport> {
    match (scheme, transport) {
        (Scheme::Https, Transport::Plain(socket)) => {
            let Resources { io, metrics, clients, .. } = &*core.resources;
            let begin = || io.handshakes.begin(clients.leaving());
            let make_room = || clients.make_room_for_handshakes(ROOM_MADE_AT_ONCE, clock::now_ms()) > 0;
            let Some(in_flight) = begin().or_else(|| make_room().then(begin).flatten()) else {
                metrics.tls.failures.at(HandshakeFailure::Overloaded.reason()).add(1);
                return None;
            };
            let config = core.snapshot.tls.as_ref()?.server.clone();
            let tls = TlsStream::server(socket, config, &io.buffers, in_flight)?;
            Some(Transport::Tls(Box::new(tls)))
        }
        (_, transport) => Some(transport),
    }
}

fn connection(core: &Core, transport: Transport, peer: SocketAddr, gives_way: GivesWay) -> Box<Connection> {
    let Resources { io, clients, .. } = &*core.resources;
    let presence = clients.enter(Network::of(peer.ip()), gives_way);
    Box::new(Connection::new(io, transport, peer, presence))
}

/// Serves one request of a connection over a bound, and closes the connection: what asks for the health of the process
/// learns it, because a full gateway is not a dead one. Anything else is refused with `refusal`.
/// Returned, it still has to linger.
pub async fn turn_away(
    core: &Core,
    transport: Transport,
    (peer, scheme): (SocketAddr, Scheme),
    refusal: Failure,
) -> Option<Box<Connection>> {
    let Core { resources, snapshot } = core;
    let transport = transport_of(core, transport, scheme)?;
    let mut connection = connection(core, transport, peer, GivesWay::Never);
    if connection.is_handshaking() {
        let deadline_ms = clock::now_ms() + REFUSED_REQUEST_MS;
        let secured = resources.io.timers.until(deadline_ms, pin!(connection.handshake(&resources.io))).await;
        let secured = secured.unwrap_or(Err(HandshakeFailure::TimedOut));
        count_handshake(core, &connection, secured);
        secured.ok()?;
    }
    let settings = Settings { request_head_ms: REFUSED_REQUEST_MS, ..snapshot.downstream };
    if !connection.first_bytes(&resources.io, &settings).await {
        return None;
    }
    let received = connection.head(&resources.io, &settings, &resources.heads).await;
    let (Received::Request(mut heads, _) | Received::Refused(mut heads, _)) = received else {
        return None;
    };
    // The default head is one of a connection that closes.
    let about = About::default();
    let mut exchange = Exchange::h1(core, &about, &mut connection, RequestHead::default(), &mut heads);
    let outcome: ExchangeOutcome = match local::probe(exchange.request) {
        Some(probe) => local::answer(&mut exchange, &probe).await,
        None => reply::refuse(&mut exchange, refusal).await,
    };
    exchange.finish();
    matches!(outcome, Outcome::Complete).then_some(connection)
}

/// The task that waits for the next request is small, and all that an idle connection costs; the future that serves the
/// request is on loan from the core. Not an `async fn`: that would keep each argument twice, as it came and as the
/// variable that it becomes.
#[allow(clippy::manual_async_fn)]
fn serve<T, F>(
    active: Rc<ActiveCore>,
    pool: Rc<FuturePool<T, F>>,
    mut connection: Box<Connection>,
) -> impl Future<Output = ()>
where
    T: Fn(Rc<ActiveCore>, Box<Connection>) -> F,
    F: Future<Output = Option<Box<Connection>>>,
{
    async move {
        while await_request(&active, &mut connection).await {
            match pool.run(active.clone(), connection).await {
                Some(again) => connection = again,
                None => break,
            }
        }
        active.core().resources.metrics.connections.open.subtract(1);
    }
}

/// Waits until something of a request has arrived. False: nothing will.
async fn await_request(active: &ActiveCore, connection: &mut Connection) -> bool {
    let core = active.core();
    connection.first_bytes(&core.resources.io, &core.snapshot.downstream).await
}

/// The next request: its head, the exchange, and what follows from it. The connection comes back if it may carry
/// another one.
async fn turn(
    active: Rc<ActiveCore>,
    mut connection: Box<Connection>,
    streams: Rc<Streams>,
) -> Option<Box<Connection>> {
    if connection.is_handshaking() {
        let secured = secure(&active.core(), connection).await?;
        if secured.tls().and_then(TlsStream::agreed).is_some_and(|agreed| agreed.is_h2) {
            streams.take(&active, *secured);
            return None;
        }
        return Some(secured);
    }
    if connection.may_be_h2(&active.core().snapshot.downstream) && is_h2(&active, &mut connection).await {
        streams.take(&active, *connection);
        return None;
    }
    let received = head(&active, &mut connection).await;
    // A reload may have come while the head was awaited.
    let core = active.core();
    let about = About::default();
    let (outcome, next) = match received {
        Received::Request(mut heads, head) => {
            exchange(Exchange::h1(&core, &about, &mut connection, head, &mut heads), None).await
        }
        Received::Refused(mut heads, failure) => {
            let headless = Exchange::h1(&core, &about, &mut connection, RequestHead::default(), &mut heads);
            exchange(headless, Some(failure)).await
        }
        Received::Nothing => return None,
    };
    match next {
        Next::KeepAlive => return Some(connection),
        Next::Linger => connection.linger(&core.resources.io).await,
        Next::Close => {}
    }
    if let Outcome::Upgraded(handover) = outcome {
        tunnel::begin(&core.resources, handover);
    }
    None
}

/// Finishes the TLS handshake: the connection comes back for its first request.
async fn secure(core: &Core, mut connection: Box<Connection>) -> Option<Box<Connection>> {
    let io = &core.resources.io;
    let secured = connection.handshake(io).await;
    count_handshake(core, &connection, secured);
    if secured.is_ok() {
        return Some(connection);
    }
    if secured == Err(HandshakeFailure::Fault(Fault::PlainHttp)) && connection.speak_plainly().is_ok() {
        let mut heads = core.resources.heads.take();
        let about = About::default();
        let mut exchange = Exchange::h1(core, &about, &mut connection, RequestHead::default(), &mut heads);
        let outcome: ExchangeOutcome = reply::refuse(&mut exchange, Failure::PlainHttp).await;
        exchange.finish();
        if matches!(outcome, Outcome::Complete) {
            connection.linger(io).await;
        }
    }
    None
}

fn count_handshake(core: &Core, connection: &Connection, secured: Result<(), HandshakeFailure>) {
    let metrics = &core.resources.metrics.tls;
    match (secured, connection.tls().and_then(TlsStream::agreed)) {
        (Err(failure), _) => metrics.failures.at(failure.reason()).add(1),
        (Ok(()), agreed) => {
            metrics.handshakes.at(usize::from(agreed.is_some_and(|agreed| agreed.is_resumed))).add(1);
        }
    }
}

/// Whether the client speaks HTTP/2 from its first byte.
async fn is_h2(active: &ActiveCore, connection: &mut Connection) -> bool {
    let Core { resources, snapshot } = &*active.core();
    connection.is_h2(&resources.io, &snapshot.downstream).await
}

async fn head(active: &ActiveCore, connection: &mut Connection) -> Received {
    let Core { resources, snapshot } = &*active.core();
    connection.head(&resources.io, &snapshot.downstream, &resources.heads).await
}

/// One exchange from its head to its record. `refused`: the head is not one.
async fn exchange(mut exchange: Exchange<'_>, refused: Option<HeadFailure>) -> (ExchangeOutcome, Next) {
    let outcome = match refused {
        None => serving::serve(&mut exchange).await,
        Some(HeadFailure::Protocol(error)) => serving::refuse(&mut exchange, error).await,
        Some(HeadFailure::TimedOut) => reply::refuse(&mut exchange, Failure::HeadTimeout).await,
    };
    let next = exchange.client.conclude(&outcome).await;
    exchange.finish();
    (outcome, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_output<A, B, C, O>(_: fn(A, B, C) -> O) -> usize {
        size_of::<O>()
    }

    fn size_of_task<T, F>(_: T) -> usize
    where
        T: Fn(Rc<ActiveCore>, Box<Connection>) -> F,
        F: Future<Output = Option<Box<Connection>>>,
    {
        size_of_output(serve::<T, F>)
    }

    fn unreachable_streams() -> Rc<Streams> {
        unreachable!("the future is never made")
    }

    /// What a connection costs while nothing happens on it: its task, and its socket and buffer beside it.
    #[test]
    fn an_idle_connection_is_a_small_task() {
        let bytes = size_of_task(|active, connection| turn(active, connection, unreachable_streams()));
        assert!(bytes <= 384, "{bytes} bytes");
        assert!(size_of::<Connection>() <= 192, "{} bytes", size_of::<Connection>());
    }
}
