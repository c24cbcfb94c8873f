//! Starts the gateway: binds the sockets, then starts a pinned thread for each core. [`Process`] then runs the
//! control thread.

mod core_thread;
mod error;
mod machine;
mod memory;

use std::sync::{Arc, Mutex};

use crossbeam_channel::Sender;

use crate::auth::{self, KeyRequests, KeySets, Keys, token_fields};
use crate::config::{Config, Renewal, members_file};
use crate::control::certificates::CertificateWatch;
use crate::control::inherit::Inherited;
use crate::control::masters::MasterWatch;
use crate::control::members::{MemberWatch, Rosters, Service};
use crate::control::pid_file::PidFile;
use crate::control::process::{Process, RunningCore};
use crate::control::reload::{Load, Reload};
use crate::control::running::RunningConfig;
use crate::control::sockets::Sockets;
use crate::control::stream::writer::{self, Outgoing};
use crate::control::stream::{ControlStream, StreamState};
use crate::control::traces::TraceExporter;
use crate::control::{Cores, Desired, Target};
use crate::gateway::core::live::ListStanding;
use crate::gateway::core::readiness::Readiness;
use crate::gateway::core::{Logouts, Metrics, Prepared, Replacement, Room};
use crate::gateway::forward::edits;
use crate::gateway::websocket::handles::{Handles, Renewals};
use crate::gateway::websocket::online::Instance;
use crate::gateway::websocket::slots::{TunnelSlots, UserSlots};
use crate::gateway::websocket::tunnel::{Lines, Tunnels};
use crate::http::Scheme;
use crate::limit::Store;
use crate::net::listener::Socket;
use crate::redis::Bell;
use crate::route::RouteTable;
use crate::telemetry::AccessLogWriter;
use crate::telemetry::spans::SpanQueue;
use crate::tls::{Challenges, Origination, Termination};
use crate::upstream::CoreNumber;
use crate::worker::{Assignment, redis};

pub use error::LaunchError;

use machine::{choose_cpus, memory_budget};

/// Starts all threads. The cores do not accept connections yet. `load` reads the configuration again for a reload.
/// `inherited` contains the descriptors from a service manager or predecessor process.
///
/// # Errors
/// Returns [`LaunchError::Mistakes`] for mistakes of the operator, and [`LaunchError::Machine`] if the machine lacks
/// a required resource.
pub fn launch(config: Config, load: Load, inherited: Inherited) -> Result<Process, LaunchError> {
    let cpus = choose_cpus(&config.cores)?;
    let routes = Arc::new(RouteTable::new(&config.routes).map_err(LaunchError::Mistakes)?);
    let tls =
        Termination::load(&config.tls, inherited.ticket_secrets.as_ref()).map_err(LaunchError::Mistakes)?;
    let originations = Origination::load_all(&config).map_err(LaunchError::Mistakes)?;
    let (mut key_sets, warnings) = KeySets::of_files(&config.jwt).map_err(LaunchError::Mistakes)?;
    inherited.key_sets.give(&config.jwt, &mut key_sets);
    let keys = Keys::new(&config.jwt, &key_sets);
    warnings.iter().chain(keys.left_out()).for_each(|warning| tracing::warn!("{warning}"));
    let challenges = config.https.challenges.as_deref().map_or_else(Challenges::default, Challenges::read);
    let (config, challenges) = (Arc::new(config), Arc::new(challenges));
    let sockets = Sockets::new(&config, cpus.len(), inherited).map_err(LaunchError::Mistakes)?;
    let public = sockets.address().map_err(LaunchError::machine("PORT"))?;
    let tls_address = sockets.tls_address().map_err(LaunchError::machine("TLS_PORT"))?;
    let for_successor = sockets.for_successor().map_err(LaunchError::machine("sockets"))?;
    let pid_file = prepare_pid_file(&config)?;
    let access_log = AccessLogWriter::start(&config.access_log)
        .map_err(|error| LaunchError::access_log(&config, &error))?;
    let (redis_bell, heard) = Bell::new();
    let spans = config.traces.url().map(|_| SpanQueue::new());
    let shared = Shared {
        readiness: Arc::default(),
        key_requests: Arc::default(),
        redis_bell,
        store: Store::new(&config.rate_limit),
        room: machine::room(cpus.len(), memory_budget(config.memory_budget)),
        lines: Arc::default(),
        list_standing: config.control.stream.as_ref().map(|_| Arc::default()),
    };
    let services = Service::all(redis_service(&config).as_ref(), &config);
    let first = Replacement {
        config: config.clone(),
        routes,
        keys: Arc::new(keys),
        challenges,
        tls,
        originations: Arc::new(originations),
    };
    let first = Desired::first(first, services.iter().map(|service| service.target.clone()));
    let running = Arc::new(RunningConfig::new(config.clone()));
    let control = &config.control;
    let writes = control.renewal == Renewal::On || control.logout.is_some();
    let sender = writes.then(|| writer::start(running.clone())).transpose();
    let sender = sender.map_err(LaunchError::machine("control-writer"))?;
    let (cores, wanted, handles) = start_cores(
        cpus,
        (sockets.public, sockets.tls),
        (access_log.as_ref(), spans.as_ref()),
        &shared,
        (first, sender),
    )?;
    let traces = spans.map(|queue| TraceExporter::start(&config.traces, queue)).transpose();
    let traces = traces.map_err(LaunchError::machine("OTEL_EXPORTER_OTLP_ENDPOINT"))?.flatten();
    let Shared { readiness, store, key_requests, room, lines, list_standing, .. } = shared;
    let rosters = Rosters::new(wanted.clone(), &services);
    let members = MemberWatch::begin(services, &config, &rosters).map_err(LaunchError::machine("names"))?;
    let originations = wanted.configuration().originations.clone();
    let masters = MasterWatch::begin((&config, &originations), &wanted, &rosters, heard.clone())
        .map_err(LaunchError::machine("masters"))?;
    let reload = Arc::new(Reload {
        load,
        running: running.clone(),
        cores: wanted.clone(),
        metrics: cores.iter().map(|core| core.metrics.clone()).collect(),
        rosters,
        members: Mutex::new(members),
        masters: Mutex::new(masters),
        redis_bell: heard,
        keys: Mutex::default(),
        key_requests,
        key_states: Arc::default(),
        redis: redis_service,
        reopen_log: reopener(access_log.as_ref()),
        turn: Mutex::default(),
        last: Arc::default(),
    });
    reload.keep_keys();
    reload.wait_for_keys();
    let stream = list_standing
        .map(|standing| {
            let state = Arc::new(StreamState::new(standing, &config.control));
            ControlStream::start(running.clone(), wanted.clone(), state, handles)
        })
        .transpose()
        .map_err(LaunchError::machine("control-stream"))?;
    stream.iter().for_each(ControlStream::wait_for_first);
    let is_watched = config.tls.port.is_some() || config.https.challenges.is_some();
    let certificates = is_watched
        .then(|| CertificateWatch::start(reload.clone()))
        .transpose()
        .map_err(LaunchError::machine("certificates"))?;
    let admin = sockets.admin;
    Ok(Process {
        config,
        running,
        reload,
        cores,
        wanted,
        readiness,
        room,
        store,
        access_log,
        traces,
        admin,
        for_successor,
        lines,
        pid_file,
        public,
        tls: tls_address,
        certificates,
        stream,
    })
}

/// State that all cores start with.
struct Shared {
    readiness: Arc<Readiness>,
    key_requests: Arc<KeyRequests>,
    redis_bell: Bell,
    store: Store,
    room: Room,
    lines: Arc<Lines>,
    list_standing: Option<Arc<ListStanding>>,
}

/// The sockets of each core: the public ones, and those for HTTPS if there are any.
type SocketsOfCores = (Vec<Vec<Socket>>, Option<Vec<Vec<Socket>>>);

/// The running cores, the way to them, and the handles of their WebSockets.
type StartedCores = (Vec<RunningCore>, Arc<Cores>, Option<Arc<Handles>>);

/// Starts the thread of every core. Each core gets the sockets at its index.
fn start_cores(
    cpus: Vec<core_affinity::CoreId>,
    (public, tls): SocketsOfCores,
    (access_log, spans): (Option<&AccessLogWriter>, Option<&SpanQueue>),
    shared: &Shared,
    (first, sender): (Desired, Option<Sender<Outgoing>>),
) -> Result<StartedCores, LaunchError> {
    let io_driver = first.configuration.config.io_driver;
    let (wanted, mailboxes) = Cores::new(cpus.len(), first).map_err(LaunchError::machine("core"))?;
    let metrics: Vec<Metrics> = cpus.iter().map(|_| Metrics::default()).collect();
    let siblings = wanted.siblings(&metrics);
    let instance = Arc::new(Instance::new(cpus.len()));
    let control = &wanted.configuration().config.control;
    let logouts = sender.clone().filter(|_| control.logout.is_some());
    let logouts = logouts
        .map(|sender| Arc::new(move |logout| sender.try_send(Outgoing::Logout(logout)).is_ok()) as Logouts);
    let renewals = sender.filter(|_| control.renewal == Renewal::On).map(|sender| Renewals {
        handles: Arc::new(Handles::new(wanted.tellers())),
        send: Arc::new(move |renewal| sender.try_send(Outgoing::Renewal(renewal)).is_ok()),
    });
    let (slots, user_slots) = (TunnelSlots::new(cpus.len()), Arc::<UserSlots>::default());
    let (count, mut cores) = (cpus.len(), Vec::new());
    let tls = tls.into_iter().flatten().chain(std::iter::repeat_with(Vec::new));
    let sockets = public.into_iter().zip(tls).map(|(http, https)| {
        let http = http.into_iter().map(|socket| (Scheme::Http, socket));
        http.chain(https.into_iter().map(|socket| (Scheme::Https, socket))).collect()
    });
    let each = cpus.into_iter().zip(sockets).zip(mailboxes).zip(metrics);
    for (index, (((cpu, sockets), mailbox), metrics)) in each.enumerate() {
        let prepared = Prepared {
            number: CoreNumber { index, count },
            key_requests: shared.key_requests.clone(),
            redis_bell: shared.redis_bell.clone(),
            metrics: metrics.clone(),
            access_log: access_log.map(|log| log.core_log(metrics.access_log.clone())),
            spans: spans.map(|queue| queue.core_log(metrics.spans.clone())),
            readiness: shared.readiness.clone(),
            tunnels: Tunnels::new(siblings.clone(), index, slots.clone(), user_slots.clone()),
            lines: shared.lines.clone(),
            instance: instance.clone(),
            store: shared.store.clone(),
            room: shared.room,
            list_standing: shared.list_standing.clone(),
            renewals: renewals.clone(),
            logouts: logouts.clone(),
        };
        let assignment = Assignment { prepared, sockets, mailbox };
        let (thread, driver) = core_thread::start(index, cpu, assignment, io_driver)?;
        cores.push(RunningCore { thread, cpu: cpu.id, driver, metrics });
    }
    Ok((cores, wanted, renewals.map(|renewals| renewals.handles)))
}

/// Returns the mistakes that a well-formed configuration can still have: CPUs that are not available, conflicting
/// routes, and certificates and authorities that cannot be used.
pub fn check(config: &Config) -> Vec<String> {
    let mut mistakes = Vec::new();
    if let Err(LaunchError::Mistakes(wrong)) = choose_cpus(&config.cores) {
        mistakes.extend(wrong);
    }
    if let Err(wrong) = RouteTable::new(&config.routes) {
        mistakes.extend(wrong);
    }
    mistakes.extend(token_fields::mistakes(&config.routes));
    mistakes.extend(edits::mistakes(&config.routes));
    if let Err(wrong) = Termination::load(&config.tls, None) {
        mistakes.extend(wrong);
    }
    if let Err(wrong) = Origination::load_all(config) {
        mistakes.extend(wrong);
    }
    mistakes.extend(auth::mistakes(&config.jwt));
    mistakes.extend(members_file::mistakes(&config.upstreams));
    mistakes
}

fn prepare_pid_file(config: &Config) -> Result<Option<PidFile>, LaunchError> {
    let Some(path) = config.pid_file.as_deref() else { return Ok(None) };
    let prepared = PidFile::prepare(path);
    prepared.map(Some).map_err(|error| LaunchError::not_writable("PID_FILE", path, &error))
}

fn redis_service(config: &Config) -> Option<Service> {
    let (address, _) = redis::configured(config)?;
    let members = redis::members(&address);
    Some(Service { target: Target::Redis(address), name: "redis".to_owned(), members, is_tls: false })
}

fn reopener(log: Option<&AccessLogWriter>) -> Box<dyn Fn() + Send + Sync> {
    match log {
        Some(log) => Box::new(log.reopener()),
        None => Box::new(|| {}),
    }
}
