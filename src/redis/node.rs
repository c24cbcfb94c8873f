//! One Redis as one core knows it: calls, and the task that connects, serves and connects again.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::backoff::Backoff;
use super::bell::Bell;
use super::breaker::BreakerState;
use super::call::{Unanswered, Unavailable};
use super::connection::Connection;
use super::handshake;
use super::metrics::{NodeMetrics, OutageMetrics, RedisMetrics};
use super::pipeline::{Leave, Pipeline};
use super::script::{CallWriter, Scripts};
use super::server::{Server, ServerTls};
use super::settings::Settings;
use super::slots::Seat;
use crate::clock;
use crate::limits::FIRST_RESOLUTION_MS;
use crate::net::{Endpoint, Io, Transport};
use crate::telemetry::metrics::Named;

/// One core's way to one Redis. Only that core uses it.
pub struct Node {
    settings: Settings,
    server: Server,
    io: Rc<Io>,
    outage: Arc<OutageMetrics>,
    pub(super) pipeline: Pipeline,
    /// The number of connections so far.
    generation: Cell<u64>,
    first_attempt: FirstAttempt,
}

/// What every Redis of a core has in common.
#[derive(Clone)]
pub struct Home {
    /// Timers and buffers.
    pub io: Rc<Io>,
    /// What is counted of all of them.
    pub metrics: Arc<RedisMetrics>,
    /// What is counted of each node of a cluster, by its address.
    pub nodes: Arc<Named<NodeMetrics>>,
    /// What became of requests that Redis did not decide.
    pub outage: Arc<OutageMetrics>,
    /// Rung when a master may be another one.
    pub bell: Bell,
    /// TLS to every server.
    pub tls: Option<HomeTls>,
}

/// TLS to every server of a core.
#[derive(Clone)]
pub struct HomeTls {
    /// What sessions are made with.
    pub client: Arc<ClientConfig>,
    /// What a server has to prove that it is.
    pub name: ServerName<'static>,
    /// A node of a cluster has to prove what the cluster calls it instead.
    pub names_of_nodes: bool,
}

impl Home {
    /// TLS to a server with this place in a cluster. Where TLS is wanted there is always some.
    fn server_tls(&self, seat: Option<&Seat>) -> Option<ServerTls> {
        let HomeTls { client, name, names_of_nodes } = self.tls.as_ref()?;
        let name = match seat {
            Some(seat) if *names_of_nodes => seat.server_name(),
            _ => name.clone(),
        };
        Some(ServerTls { client: client.clone(), name })
    }
}

/// Whether the first attempt to connect has ended, and the tasks that wait for that.
#[derive(Default)]
struct FirstAttempt {
    is_over: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl Node {
    /// A client without a connection; [`Node::run`] connects. Each script answers with an array of integers, at most
    /// [`REDIS_INTEGERS_MAX`](crate::limits::REDIS_INTEGERS_MAX) of them; the first tries out new connections.
    /// `seat`: its place in a cluster; `None`: it is in none.
    pub fn new(
        settings: Settings,
        scripts: &[&'static str],
        home: &Home,
        seat: Option<Rc<Seat>>,
    ) -> Rc<Node> {
        let Home { io, metrics, bell, .. } = home;
        let outage = seat.as_ref().map_or(&home.outage, |seat| seat.outage()).clone();
        let tls = home.server_tls(seat.as_deref());
        let first = seat.as_ref().map_or(0, |seat| seat.first_generation());
        Rc::new(Node {
            settings,
            server: Server::unresolved(tls),
            io: io.clone(),
            pipeline: Pipeline::new(
                Scripts::new(scripts),
                metrics.clone(),
                outage.clone(),
                (seat, bell.clone()),
            ),
            outage,
            generation: Cell::new(first),
            first_attempt: FirstAttempt::default(),
        })
    }

    /// Calls the first script. `write` writes the keys and arguments of the call; they are not kept during the wait.
    /// The budget begins at `asked_us`, which is the present.
    ///
    /// # Errors
    /// Why there is no answer within the budget.
    pub async fn call<const N: usize>(
        &self,
        asked_us: u64,
        write: impl Fn(CallWriter<'_>),
    ) -> Result<[i64; N], Unavailable> {
        self.call_script(0, asked_us, write).await
    }

    /// Calls the script at this place among those of the client, likewise.
    ///
    /// # Errors
    /// Why there is no answer within the budget.
    ///
    /// # Panics
    /// If there is no such script.
    pub async fn call_script<const N: usize>(
        &self,
        script: usize,
        asked_us: u64,
        write: impl Fn(CallWriter<'_>),
    ) -> Result<[i64; N], Unavailable> {
        let deadline_us = asked_us + self.settings.timeout_ms * 1_000;
        let times = (asked_us, deadline_us);
        self.pipeline.call(script, times, Leave::Own, write).await.map_err(|unanswered| match unanswered {
            Unanswered::Unavailable(why) => why,
            // Only a node of a cluster says so.
            Unanswered::Elsewhere(_) => Unavailable::Open,
        })
    }

    /// What Redis has said to the last call that it refused ([`Unavailable::Refused`]), once.
    pub fn take_refusal(&self) -> Option<String> {
        self.pipeline.refusal.borrow_mut().take()
    }

    /// The same for a call to a node of a cluster, which is made at the first of the times and has to be answered until
    /// the second.
    pub(super) async fn attempt<const N: usize>(
        &self,
        script: usize,
        times: (u64, u64),
        leave: Leave,
        write: impl Fn(CallWriter<'_>),
    ) -> Result<[i64; N], Unanswered> {
        if let Some(seat) = self.seat() {
            seat.use_at(times.0);
        }
        self.pipeline.call(script, times, leave, write).await
    }

    /// Its place in a cluster.
    pub(super) fn seat(&self) -> Option<&Seat> {
        self.pipeline.seat.as_deref()
    }

    /// The state of the circuit breaker.
    pub fn state(&self) -> BreakerState {
        self.pipeline.breaker.state()
    }

    /// Whether the log has said that it is out of reach.
    pub(super) fn is_announced(&self) -> bool {
        self.pipeline.breaker.is_announced()
    }

    /// The number of the connection, another one for every connection, because a new one may lead to a Redis without
    /// data. `None`: the circuit breaker is open.
    pub fn connection(&self) -> Option<u64> {
        self.pipeline.breaker.is_closed().then(|| self.generation.get())
    }

    /// Metrics of requests that Redis did not decide. The limiter counts them.
    pub fn outage(&self) -> &OutageMetrics {
        &self.outage
    }

    /// The addresses now.
    pub fn endpoints(&self) -> Arc<[Endpoint]> {
        self.server.endpoints()
    }

    /// Uses newly resolved addresses from the next attempt to connect on. A connection that works stays.
    pub fn replace_endpoints(&self, endpoints: Arc<[Endpoint]>) {
        self.server.replace_endpoints(endpoints);
        self.pipeline.wake_task();
    }

    /// Ends the client: another one has replaced it, and its last calls have had their time.
    pub fn retire(&self) {
        self.pipeline.retire();
    }

    /// Connects, serves calls, and connects again, until the client is retired.
    pub async fn run(self: Rc<Self>) {
        let mut connected = pin!(self.stay_connected());
        poll_fn(|context| {
            if self.pipeline.is_retired() {
                return Poll::Ready(());
            }
            self.pipeline.remember_task(context.waker());
            connected.as_mut().poll(context)
        })
        .await;
        self.pipeline.end_all_calls();
    }

    async fn stay_connected(&self) {
        self.resolved().await;
        let mut backoff = Backoff::default();
        loop {
            let transport = self.connect(&mut backoff).await;
            self.pipeline.breaker.close();
            self.generation.set(self.generation.get() + 1);
            self.first_attempt.ends();
            let since_ms = clock::now_ms();
            let cause = Connection::new(&self.pipeline, &transport, &self.io).serve().await;
            self.pipeline.disconnected(&cause);
            drop(transport);
            if clock::now_ms() - since_ms >= STEADY_MS {
                // The connection has worked, so the next attempt follows at once: a server may close idle ones.
                backoff = Backoff::default();
            } else {
                backoff.wait(&self.io.timers).await;
            }
        }
    }

    /// Waits for the first addresses, as long as a start waits for names.
    async fn resolved(&self) {
        let resolved = poll_fn(|context| {
            self.pipeline.remember_task(context.waker());
            if self.server.is_resolved() { Poll::Ready(()) } else { Poll::Pending }
        });
        let _ = self.io.timers.until(clock::now_ms() + FIRST_RESOLUTION_MS, resolved).await;
    }

    /// Tries until a connection works. Meanwhile the breaker logs a summary from time to time.
    async fn connect(&self, backoff: &mut Backoff) -> Transport {
        let Pipeline { breaker, metrics, scripts, .. } = &self.pipeline;
        let mut connecting = pin!(async {
            loop {
                breaker.half_open();
                metrics.reconnects.add(1);
                match handshake::connect(&self.server, &self.settings, scripts.at(0), &self.io).await {
                    Ok(transport) => return transport,
                    Err(cause) => breaker.open(&cause),
                }
                self.first_attempt.ends();
                backoff.wait(&self.io.timers).await;
            }
        });
        loop {
            match self.io.timers.until(clock::now_ms() + SUMMARY_MS, connecting.as_mut()).await {
                Ok(transport) => return transport,
                Err(_) => breaker.summarize(),
            }
        }
    }

    /// Waits until the first attempt to connect has succeeded or failed, or the coarse clock shows `deadline_ms`. A
    /// core calls it before it accepts its first client.
    pub async fn first_attempt(&self, deadline_ms: u64) {
        let tried = poll_fn(|context| {
            if self.first_attempt.is_over.get() {
                return Poll::Ready(());
            }
            self.first_attempt.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        });
        let _ = self.io.timers.until(deadline_ms, tried).await;
    }

    /// Whether the first attempt to connect has succeeded or failed.
    pub(super) fn is_tried(&self) -> bool {
        self.first_attempt.is_over.get()
    }

    /// Waits for the end of the first attempt to connect, until the precise clock shows `deadline_us`. Whether it has
    /// come. The core's timers are too coarse for the budget of a call.
    pub(super) async fn tried(&self, deadline_us: u64) -> bool {
        let left_us = deadline_us.saturating_sub(clock::now_us());
        let mut sleep = pin!(monoio::time::sleep(Duration::from_micros(left_us)));
        poll_fn(|context| {
            if self.is_tried() {
                return Poll::Ready(true);
            }
            let slept = sleep.as_mut().poll(context).map(|()| false);
            if slept.is_pending() {
                self.first_attempt.waiting.borrow_mut().push(context.waker().clone());
            }
            slept
        })
        .await
    }
}

impl FirstAttempt {
    fn ends(&self) {
        self.is_over.set(true);
        self.waiting.borrow_mut().drain(..).for_each(Waker::wake);
    }
}

/// A connection that has worked this long is replaced without a pause, in milliseconds.
const STEADY_MS: u64 = 10_000;
/// How often the log says that there is no connection, in milliseconds.
const SUMMARY_MS: u64 = 10_000;
