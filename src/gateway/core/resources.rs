//! What a core owns beyond every configuration: I/O, metrics, logs, request ids, the way to other cores' tunnels.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::live::{ListStanding, Live};
use super::metrics::Metrics;
use super::readiness::Readiness;
use super::request_id::RequestIds;
use super::roll_call::RollCall;
use crate::auth::{KeyRequests, Logout};
use crate::clock;

use crate::downstream::Pool;
use crate::downstream::clients::{Clients, Network};
use crate::gateway::websocket::handles::Renewals;
use crate::gateway::websocket::leashes::Leashes;
use crate::gateway::websocket::online::{Instance, Online};
use crate::gateway::websocket::pace::HandshakePace;
use crate::gateway::websocket::{Departures, DrainSchedule, Lines, Tunnels};
use crate::http::HeadPool;
use crate::limit::Store;
use crate::limits::{CUT_MS, HEAVY_SAMPLED};
use crate::net::Io;
use crate::redis::Bell;
use crate::storm::Storm;
use crate::telemetry::heavy::Heavy;
use crate::telemetry::spans::SpanLog;
use crate::telemetry::{AccessLog, DebugLines};
use crate::upstream::{self, CoreNumber};

/// The half of a core that no reload replaces. It lives on the core's thread; other threads read the metrics and the
/// readiness alone.
pub struct Resources {
    /// The requests of all cores for newer key sets.
    pub key_requests: Arc<KeyRequests>,
    /// Rung when a master of Redis may be another one.
    pub redis_bell: Bell,
    /// What its upstreams have in common.
    pub upstreams: Rc<upstream::Home>,
    /// Timers, buffers, pipes, and whether the core drains.
    pub io: Rc<Io>,
    /// Free parsed heads.
    pub heads: Rc<HeadPool>,
    /// The futures of exchanges, to be tidied and at last cut off.
    pub future_pools: RefCell<Vec<Rc<dyn Pool>>>,
    /// What each client holds at once.
    pub clients: Rc<Clients>,
    /// Requests since one was counted for its client.
    uncounted: Cell<u32>,
    /// Request ids.
    pub ids: RequestIds,
    /// This core's metrics.
    pub metrics: Metrics,
    /// This core's access-log buffer; `None`: no log.
    pub access_log: Option<RefCell<AccessLog>>,
    /// The spans of this core; `None`: they would have nowhere to go.
    pub spans: Option<RefCell<SpanLog>>,
    /// The debug lines that it may log.
    pub debug_lines: DebugLines,
    /// The readiness of the process.
    pub readiness: Arc<Readiness>,
    /// The tunnels of all cores: where one more may run.
    pub tunnels: Tunnels,
    /// The tunnels that can be told something from outside.
    pub leashes: Rc<Leashes>,
    /// Which tokens are revoked.
    pub live: Live,
    /// Renewals of WebSockets; `None`: there are none.
    pub renewals: Option<Renewals>,
    /// Where logouts go; `None`: there are none.
    pub logouts: Option<Logouts>,
    /// How fast WebSocket handshakes are taken.
    pub handshake_pace: HandshakePace,
    /// The tunnels that Redis knows of.
    pub online: Rc<Online>,
    /// When the drain comes to which tunnel.
    pub drain_schedule: DrainSchedule,
    /// The tunnels that move to another process.
    pub departures: Departures,
    /// The ways of tunnels from and to other processes.
    pub lines: Arc<Lines>,
    /// What is still open, for those who wait for the end of a drain.
    pub roll_call: RollCall,
    /// Who keeps the limiter's buckets.
    pub store: Store,
    /// What the core may hold.
    pub room: Room,
    /// Whether it holds much less than a while ago.
    pub storm: RefCell<Storm>,
}

/// What one core may hold: what the machine has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Client connections, unless the operator says how many.
    pub connections: usize,
    /// What bounds these.
    pub connections_bound: ConnectionsBound,
    /// Connections to upstreams, after which idle ones are closed.
    pub upstream_connections: usize,
    /// Bytes in buffers for slow peers.
    pub held_bytes: usize,
}

/// What bounds the client connections of a core, where the operator does not say how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionsBound {
    /// File descriptors.
    Files,
    /// The memory budget.
    Memory,
}

/// What the starting thread prepares for one core.
pub struct Prepared {
    /// Which core it is.
    pub number: CoreNumber,
    /// The requests of all cores for newer key sets.
    pub key_requests: Arc<KeyRequests>,
    /// Rung when a master of Redis may be another one.
    pub redis_bell: Bell,
    /// The core's metrics.
    pub metrics: Metrics,
    /// The core's access log; `None`: no log.
    pub access_log: Option<AccessLog>,
    /// The core's spans; `None`: they would have nowhere to go.
    pub spans: Option<SpanLog>,
    /// The readiness of the process.
    pub readiness: Arc<Readiness>,
    /// The tunnels of all cores.
    pub tunnels: Tunnels,
    /// The ways of tunnels from and to other processes.
    pub lines: Arc<Lines>,
    /// The process among all that share a Redis.
    pub instance: Arc<Instance>,
    /// Who keeps the limiter's buckets.
    pub store: Store,
    /// What the core may hold.
    pub room: Room,
    /// Whether the list of revocations can be relied on; `None`: sessions are not controlled from outside.
    pub list_standing: Option<Arc<ListStanding>>,
    /// Renewals of WebSockets; `None`: there are none.
    pub renewals: Option<Renewals>,
    /// Where logouts go; `None`: there are none.
    pub logouts: Option<Logouts>,
}

/// Sends a logout to all instances. It never waits; false: too many are on their way.
pub type Logouts = Arc<dyn Fn(Logout) -> bool + Send + Sync>;

impl Resources {
    /// The resources of the core that runs on this thread.
    pub fn new(prepared: Prepared) -> Resources {
        let io = Rc::<Io>::default();
        io.buffers.set_held_max(prepared.room.held_bytes);
        let (live, leashes) = (Live::new(prepared.list_standing), Rc::<Leashes>::default());
        leashes.keep(live.is_on());
        if let Some(renewals) = &prepared.renewals {
            leashes.share(renewals.handles.clone(), prepared.number.index);
        }
        let (open_max, metrics) = (prepared.room.upstream_connections, prepared.metrics.upstreams.clone());
        let online = Online::new(prepared.instance, prepared.number.index, prepared.metrics.online.clone());
        Resources {
            key_requests: prepared.key_requests,
            redis_bell: prepared.redis_bell,
            upstreams: Rc::new(upstream::Home::new(prepared.number, open_max, metrics)),
            io,
            heads: Rc::default(),
            future_pools: RefCell::default(),
            clients: Rc::default(),
            uncounted: Cell::default(),
            ids: RequestIds::new(),
            roll_call: RollCall::new(prepared.metrics.presences.clone()),
            metrics: prepared.metrics,
            access_log: prepared.access_log.map(RefCell::new),
            spans: prepared.spans.map(RefCell::new),
            debug_lines: DebugLines::default(),
            readiness: prepared.readiness,
            tunnels: prepared.tunnels,
            leashes,
            live,
            renewals: prepared.renewals,
            logouts: prepared.logouts,
            handshake_pace: HandshakePace::default(),
            online: Rc::new(online),
            drain_schedule: DrainSchedule::default(),
            departures: Departures::default(),
            lines: prepared.lines,
            store: prepared.store,
            room: prepared.room,
            storm: RefCell::default(),
        }
    }

    /// A stopwatch for the durations in the access log, in µs. Without an access log it stands still, which saves
    /// reading the clock.
    pub fn stopwatch_us(&self) -> u64 {
        if self.access_log.is_some() { clock::now_us() } else { 0 }
    }

    /// A client asks. One request of many counts for them all.
    pub fn asks(&self, client: IpAddr) {
        let uncounted = self.uncounted.get() + 1;
        self.uncounted.set(uncounted % HEAVY_SAMPLED);
        if uncounted == HEAVY_SAMPLED {
            let who = Heavy::Address(Network::of(client).address());
            self.metrics.talkers.add(who, u64::from(HEAVY_SAMPLED), self.io.timers.ticked_ms());
        }
    }

    /// Frees the memory of the pools that nobody needed since the last call.
    pub fn tidy(&self) {
        self.io.buffers.tidy();
        self.heads.tidy();
        self.future_pools.borrow().iter().for_each(|pool| pool.tidy());
    }

    /// The time of a drain is over: every exchange that is left ends here, and has its line in the access log.
    pub async fn cut(&self) {
        self.future_pools.borrow().iter().for_each(|pool| pool.cut());
        self.io.timers.wake_all();
        let deadline_ms = clock::now_ms() + CUT_MS;
        while self.metrics.requests.in_flight.get() > 0 && clock::now_ms() < deadline_ms {
            monoio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Hands the access-log lines of this core to their writer, and its spans to who sends them on.
    pub fn flush_logs(&self) {
        if let Some(spans) = &self.spans {
            spans.borrow_mut().flush();
        }
        if let Some(log) = &self.access_log {
            log.borrow_mut().flush();
        }
    }
}
