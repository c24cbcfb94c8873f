//! A core that stands still: what it missed is in force when it goes on.
//!
//! A core stands still here because a task beside it waits on its thread, so a test decides when it goes on.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::*;
use crate::auth::{KeySets, Keys, mint};
use crate::config::testing::lowered_toml;
use crate::config::{Config, Lowered};
use crate::control::members::{Rosters, Service};
use crate::control::reload::{Reload, ReloadOutcome};
use crate::control::running::RunningConfig;
use crate::control::{Cores, Phase};
use crate::downstream::clients::Network;
use crate::gateway::core::{Metrics, Replacement, Room};
use crate::gateway::websocket::online::Instance;
use crate::gateway::websocket::slots::{TunnelSlots, UserSlots};
use crate::gateway::websocket::tunnel::rules::TunnelRules;
use crate::gateway::websocket::tunnel::state::{Beginning, TunnelState};
use crate::gateway::websocket::tunnel::{Handover, Registration, Sibling, Tunnels};
use crate::http::Scheme;
use crate::limit::Store;
use crate::limits::TUNNELS_GIVEN_MAX;
use crate::net::listener;
use crate::net::runtime::{Preference, ThreadRuntime};
use crate::route::RouteTable;
use crate::upstream::CoreNumber;

/// Two cores, and what the control thread has of them.
struct World {
    cores: Arc<Cores>,
    metrics: Vec<Metrics>,
    siblings: Arc<[Sibling]>,
    addresses: Vec<SocketAddr>,
    stalls: Vec<Sender<Stall>>,
    threads: Vec<JoinHandle<()>>,
    slots: TunnelSlots,
    config: Arc<Config>,
    reload: Arc<Reload>,
    /// What the next reload reads.
    file: Arc<Mutex<String>>,
}

/// Makes a core stand still from the moment that it says so until the other end of `until` is dropped.
struct Stall {
    begun: Sender<()>,
    until: Receiver<()>,
}

impl World {
    fn start(toml: &str) -> World {
        let config = Arc::new(read(toml).expect("a configuration").config);
        let routes = Arc::new(RouteTable::new(&config.routes).expect("routes"));
        let first = Replacement {
            config: config.clone(),
            routes,
            keys: Arc::new(Keys::new(&config.jwt, &KeySets::unavailable(&config.jwt))),
            tls: None,
            challenges: Arc::default(),
            originations: Arc::default(),
        };
        let services = Service::all(None, &config);
        let targets = services.iter().map(|service| service.target.clone());
        let (cores, mailboxes) = Cores::new(2, Desired::first(first, targets)).expect("socket pairs");
        let instance = Arc::new(Instance::new(2));
        let metrics: Vec<Metrics> = (0..2).map(|_| Metrics::default()).collect();
        let (siblings, slots) = (cores.siblings(&metrics), TunnelSlots::new(2));
        let (mut addresses, mut stalls, mut threads) = (Vec::new(), Vec::new(), Vec::new());
        for (index, mailbox) in mailboxes.into_iter().enumerate() {
            let socket = listener::bind(Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), 0).expect("a port");
            addresses.push(socket.local_address().expect("an address"));
            let prepared = Prepared {
                number: CoreNumber { index, count: 2 },
                key_requests: Arc::default(),
                redis_bell: crate::redis::Bell::default(),
                metrics: metrics[index].clone(),
                access_log: None,
                spans: None,
                readiness: Arc::default(),
                tunnels: Tunnels::new(siblings.clone(), index, slots.clone(), Arc::<UserSlots>::default()),
                lines: Arc::default(),
                instance: instance.clone(),
                store: Store::Off,
                list_standing: None,
                renewals: None,
                logouts: None,
                room: Room {
                    connections: 1_024,
                    connections_bound: crate::gateway::core::ConnectionsBound::Files,
                    upstream_connections: 1_024,
                    held_bytes: 1 << 20,
                },
            };
            let assignment = Assignment { prepared, sockets: vec![(Scheme::Http, socket)], mailbox };
            let (sender, receiver) = channel();
            stalls.push(sender);
            threads.push(thread::spawn(move || run_core(assignment, receiver)));
        }
        cores.advance(Phase::Open);
        let file = Arc::new(Mutex::new(toml.to_owned()));
        let reload = Arc::new(Reload {
            load: {
                let file = file.clone();
                Box::new(move || read(&file.lock().expect("no panic")))
            },
            running: Arc::new(RunningConfig::new(config.clone())),
            cores: cores.clone(),
            metrics: metrics.clone(),
            rosters: Rosters::new(cores.clone(), &services),
            members: Mutex::new(None),
            masters: Mutex::new(None),
            redis_bell: crate::redis::Bell::new().1,
            redis: |_| None,
            reopen_log: Box::new(|| {}),
            turn: Mutex::default(),
            last: Arc::default(),
            keys: Mutex::default(),
            key_requests: Arc::default(),
            key_states: Arc::default(),
        });
        World { cores, metrics, siblings, addresses, stalls, threads, slots, config, reload, file }
    }

    /// Makes a core stand still until what is returned is dropped.
    fn stall(&self, core: usize) -> Sender<()> {
        let (begun, has_begun) = channel();
        let (end, until) = channel();
        self.stalls[core].send(Stall { begun, until }).expect("the core runs");
        has_begun.recv_timeout(PATIENCE).expect("the core comes to stand still");
        end
    }

    fn reload(&self, toml: &str) -> ReloadOutcome {
        *self.file.lock().expect("no panic") = toml.to_owned();
        self.reload.run()
    }

    /// Gives a core tunnels until it takes no more.
    fn fill_with_tunnels(&self, core: usize) {
        for nth in 0.. {
            let (client, upstream) = UnixStream::pair().expect("a pair");
            let handover = Handover {
                revoked_code: 1008,
                client: OwnedFd::from(client).into(),
                upstream: OwnedFd::from(upstream).into(),
                state: TunnelState::new(
                    TunnelRules::from(&*self.config.websocket),
                    Beginning {
                        has_extension: false,
                        expires_unix_s: None,
                        unix_s: 0,
                        ping_payload: [0; 8],
                        early_in: Vec::new(),
                        early_out: Vec::new(),
                        ownership: None,
                        context: None,
                    },
                    clock::now_ms(),
                ),
                registration: Registration {
                    network: Network::of([127, 0, 0, 1].into()),
                    route: "ws".into(),
                    user: None,
                    attendance: None,
                },
                slot: self.slots.take(core, u64::MAX).expect("a slot"),
                user_slot: None,
            };
            if (self.siblings[core].give)(Box::new(handover)).is_err() {
                assert_eq!(nth, TUNNELS_GIVEN_MAX);
                return;
            }
        }
    }

    /// The status of the answer of a core to a request with this token.
    fn ask(&self, core: usize, token: &str) -> String {
        let mut client = TcpStream::connect(self.addresses[core]).expect("the core listens");
        let head =
            format!("GET /api/v1/users/me HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
        client.write_all(head.as_bytes()).expect("a request");
        client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut answer = [0; 12];
        client.read_exact(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer[9..]).into_owned()
    }

    fn versions(&self) -> Vec<u64> {
        self.metrics.iter().map(|core| core.core.config_version.get()).collect()
    }

    fn listening(&self, core: usize) -> u64 {
        self.metrics[core].connections.listening.get()
    }

    fn stop(self) {
        self.cores.advance(Phase::Stopped);
        eventually("every core ends", || self.threads.iter().all(JoinHandle::is_finished));
        self.threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    }
}

/// The thread of a core, and beside it the task that makes it stand still.
fn run_core(assignment: Assignment, stalls: Receiver<Stall>) {
    let (mut runtime, _) = ThreadRuntime::build(Preference::Ring).expect("a runtime");
    runtime.block_on(async move {
        monoio::spawn(async move {
            loop {
                monoio::time::sleep(Duration::from_millis(1)).await;
                if let Ok(stall) = stalls.try_recv() {
                    stall.begun.send(()).expect("the test waits");
                    let _ = stall.until.recv();
                }
            }
        });
        run(assignment).await.expect("a core");
    });
}

fn read(toml: &str) -> Result<Lowered, crate::config::Mistakes> {
    lowered_toml(toml)
}

fn token(config: &Config) -> String {
    let now_s = crate::clock::unix_s();
    mint::mint(&config.jwt, "ann", Duration::from_secs(60), now_s).expect("a token")
}

#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
const UPSTREAM: &str =
    "[upstreams.a]\nurl = 'http://127.0.0.1:1'\n[[route]]\nname = 'r'\npaths = ['/api/*']\nupstream = 'a'\n";

fn with_issuer(issuer: &str) -> String {
    format!("jwt_issuer = '{issuer}'\n{UPSTREAM}")
}

#[test]
fn a_reload_that_a_core_slept_through_is_in_force_when_it_goes_on() {
    let world = World::start(&with_issuer("one"));
    let withdrawn = token(&world.config);
    assert_eq!((world.ask(0, &withdrawn), world.ask(1, &withdrawn)), ("502".into(), "502".into()));

    let stalled = world.stall(1);
    world.fill_with_tunnels(1);
    assert_eq!(world.reload(&with_issuer("two")), ReloadOutcome::Incomplete);
    assert_eq!(world.versions(), [2, 1]);
    // The files are in force on the other core, and not everywhere.
    assert_eq!(world.reload(&with_issuer("two")), ReloadOutcome::Incomplete);
    assert_eq!((world.ask(0, &withdrawn), world.versions()), ("401".into(), vec![2, 1]));

    drop(stalled);
    eventually("the core catches up", || world.versions() == [2, 2]);
    assert_eq!(world.ask(1, &withdrawn), "401");
    assert_eq!(world.reload(&with_issuer("two")), ReloadOutcome::Unchanged);
    world.stop();
}

#[test]
fn a_core_that_slept_through_a_reload_has_the_addresses_of_the_services_that_it_brought() {
    let world = World::start(&with_issuer("one"));
    let origin = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = origin.local_addr().expect("an address").port();
    let moved = |issuer: &str| with_issuer(issuer).replace(":1'", &format!(":{port}'"));
    let stalled = world.stall(1);
    world.fill_with_tunnels(1);
    assert_eq!(world.reload(&moved("one")), ReloadOutcome::Incomplete);
    // This one finds the upstream in the running configuration.
    assert_eq!(world.reload(&moved("two")), ReloadOutcome::Incomplete);
    drop(stalled);
    eventually("the core catches up", || world.versions() == [3, 3]);
    let token = token(&read(&moved("two")).expect("a configuration").config);
    // A thread that nobody joins: it would wait for ever for a core that does not know the address.
    thread::spawn(move || {
        let (mut asked, _) = origin.accept().expect("a connection");
        let mut head = [0; 4_096];
        let _ = asked.read(&mut head);
        asked.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").expect("an answer");
        let _ = asked.read(&mut head);
    });
    assert_eq!(world.ask(1, &token), "204");
    world.stop();
}

#[test]
fn a_core_that_slept_through_its_drain_and_its_stop_obeys_both() {
    let world = World::start(UPSTREAM);
    eventually("both cores listen", || world.listening(0) == 1 && world.listening(1) == 1);
    let stalled = world.stall(1);
    world.fill_with_tunnels(1);
    let drain = Drain {
        listeners: ListenerDrain::Close,
        begun_ms: clock::now_ms(),
        timeout_ms: 10_000,
        tunnels_ms: 0,
    };
    world.cores.advance(Phase::Draining(drain));
    eventually("the other core drains", || world.listening(0) == 0);
    assert_eq!(world.listening(1), 1);
    drop(stalled);
    eventually("the core drains", || world.listening(1) == 0);
    eventually("what waited for the core gets its end", || world.slots.taken(1) == 0);

    let stalled = world.stall(1);
    world.cores.advance(Phase::Stopped);
    eventually("the other core ends", || world.threads[0].is_finished());
    assert!(!world.threads[1].is_finished());
    drop(stalled);
    world.stop();
}
