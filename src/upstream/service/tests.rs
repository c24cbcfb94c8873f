//! Tests of one upstream over real sockets.

use super::super::roster::{CoreNumber, roster};
use super::*;
use crate::net::Endpoint;
use crate::net::runtime::{Preference, ThreadRuntime};
use crate::telemetry::metrics::Named;
use std::net::TcpListener;

fn home() -> Rc<Home> {
    Rc::new(Home::new(CoreNumber::ONLY, 100, Arc::new(Named::new("upstream"))))
}

fn upstream(endpoints: &[Endpoint]) -> Upstream {
    let config = config::testing::config("");
    let upstream = Upstream::new(&config.upstreams[0], None, &config, home());
    upstream.replace_roster(&roster(endpoints, None, 1, 0));
    upstream
}

/// Where each of four new connections leads, by index of the listener; `None`: there is no connection.
fn leads(endpoints: Vec<Endpoint>) -> Vec<Option<usize>> {
    let upstream = upstream(&endpoints);
    let (mut runtime, _) = ThreadRuntime::build(Preference::Ring).expect("a runtime");
    runtime.block_on(async {
        let (io, mut leads) = (Io::default(), Vec::new());
        for _ in 0..4 {
            let lease = upstream.lease_new(&mut Choice::default(), &io).await.ok();
            leads.push(lease.and_then(|lease| endpoints.iter().position(|known| known == lease.endpoint())));
        }
        leads
    })
}

fn listen() -> (TcpListener, Endpoint) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = Endpoint::tcp(listener.local_addr().expect("its address"));
    (listener, endpoint)
}

#[test]
fn several_members_are_used_in_turn() {
    let ((_first, one), (_second, two)) = (listen(), listen());
    let leads = leads(vec![one, two]);
    assert!(leads[0] != leads[1] && leads[..2] == leads[2..], "{leads:?}");
}

#[test]
fn a_member_that_refuses_is_passed_over() {
    let ((closed, one), (_second, two)) = (listen(), listen());
    drop(closed);
    assert_eq!(leads(vec![one, two]), [Some(1); 4]);
}

/// TLS to whoever this certificate is of.
fn origination(certificate: &rcgen::Certificate) -> Arc<Origination> {
    let file = config::testing::TempFile::new("upstream-ca", certificate.pem().as_bytes());
    let written = format!(
        "[upstreams.a]\nurl = 'https://orders.example'\ntls.ca_file = '{}'\n\
         [[route]]\nname = 'r'\npaths = ['/']\nupstream = 'a'\n",
        file.path()
    );
    let all = Origination::load_all(&config::testing::config(&written)).expect("a usable file");
    all["a"].clone()
}

#[test]
fn a_member_that_refuses_the_handshake_is_passed_over() {
    let made = rcgen::generate_simple_self_signed(["orders.example".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let server = server.expect("versions").with_no_client_auth();
    let server = server.with_single_cert(vec![made.cert.der().clone()], key.into()).expect("a certificate");
    let ((refusing, one), (serving, two)) = (listen(), listen());
    std::thread::spawn(move || refusing.incoming().for_each(drop));
    std::thread::spawn(move || {
        let server = Arc::new(server);
        for socket in serving.incoming() {
            let mut socket = socket.expect("a connection");
            let mut session = rustls::ServerConnection::new(server.clone()).expect("a session");
            std::thread::spawn(
                move || {
                    while session.complete_io(&mut socket).is_ok_and(|moved| moved != (0, 0)) {}
                },
            );
        }
    });
    let config = config::testing::config("");
    let tls = origination(&made.cert);
    let upstream = Upstream::new(&config.upstreams[0], Some(&tls), &config, home());
    upstream.replace_roster(&roster(&[one, two.clone()], None, 1, 0));
    let (mut runtime, _) = ThreadRuntime::build(Preference::Ring).expect("a runtime");
    runtime.block_on(async {
        let io = Io::default();
        // The turn of the one that refuses is one of the first two.
        for _ in 0..2 {
            let lease = upstream.lease_new(&mut Choice::default(), &io).await.expect("a lease");
            assert_eq!(lease.endpoint(), &two);
            assert!(lease.transport().tls().is_some() && io.buffers.held() == 0);
        }
    });
    let failures: Vec<u32> = upstream.members().iter().map(|member| member.failures()).collect();
    assert_eq!(failures, [1, 0]);
    let metrics = upstream.metrics();
    assert_eq!((metrics.handshakes.get(), metrics.handshake_failures.get()), (2, 1));
}

#[test]
fn without_a_member_there_is_no_connection() {
    assert_eq!(leads(vec![]), [None; 4]);
}

#[test]
fn a_member_keeps_its_state_while_its_address_stays() {
    let ((closed, one), (_second, two)) = (listen(), listen());
    drop(closed);
    let upstream = upstream(&[]);
    let first = roster(std::slice::from_ref(&one), None, 1, 0);
    upstream.replace_roster(&first);
    let (mut runtime, _) = ThreadRuntime::build(Preference::Ring).expect("a runtime");
    runtime.block_on(async {
        assert!(upstream.lease_new(&mut Choice::default(), &Io::default()).await.is_err())
    });
    assert_eq!(upstream.members()[0].failures(), 1);
    upstream.replace_roster(&roster(&[two.clone(), one], Some(&first), 1, 0));
    let failures: Vec<u32> = upstream.members().iter().map(|member| member.failures()).collect();
    assert_eq!(failures, [0, 1]);
    upstream.replace_roster(&roster(&[two], None, 1, 0));
    assert_eq!(upstream.members().len(), 1);
}

/// Leads so many leases through the upstream, one after another, and gives each back. Returns where they led.
async fn calm(upstream: &Upstream, io: &Io, count: usize) -> Vec<(Endpoint, bool)> {
    let mut led = Vec::new();
    for _ in 0..count {
        let lease = upstream.lease(&mut Choice::default(), io).await.expect("a lease");
        led.push((lease.endpoint().clone(), lease.is_reused()));
        lease.give_back();
    }
    led
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let (mut runtime, _) = ThreadRuntime::build(Preference::Ring).expect("a runtime");
    runtime.block_on(future)
}

#[test]
fn idle_connections_are_kept_by_member_and_go_with_it() {
    let ((_first, one), (_second, two)) = (listen(), listen());
    let all = roster(&[one.clone(), two.clone()], None, 1, 0);
    let upstream = upstream(&[]);
    upstream.replace_roster(&all);
    block_on(async {
        let io = Io::default();
        let led = calm(&upstream, &io, 10).await;
        assert_eq!(led.iter().filter(|(endpoint, _)| *endpoint == one).count(), 5);
        assert_eq!(led.iter().filter(|(_, is_reused)| *is_reused).count(), 8, "one connection to each");
        let idle = || all.iter().map(|member| member.record.core(0).idle.get()).collect::<Vec<_>>();
        assert_eq!(idle(), [1, 1]);
        upstream.replace_roster(&roster(std::slice::from_ref(&two), Some(&all), 1, 0));
        assert_eq!((idle(), upstream.metrics().idle.get()), (vec![0, 1], 1), "at once");
        let led = calm(&upstream, &io, 3).await;
        assert!(led.iter().all(|(endpoint, is_reused)| *endpoint == two && *is_reused));
    });
}

#[test]
fn one_that_is_ejected_gets_nothing_unless_too_many_are() {
    let ((_first, one), (_second, two), (_third, three)) = (listen(), listen(), listen());
    let all = roster(&[one.clone(), two, three], None, 1, 0);
    let with = |ejected: usize| -> Roster {
        let member = |(index, member): (usize, &RosterMember)| match index < ejected {
            true => RosterMember { standing: Standing::Ejected, ..member.clone() },
            false => member.clone(),
        };
        all.iter().enumerate().map(member).collect()
    };
    let upstream = upstream(&[]);
    block_on(async {
        let io = Io::default();
        upstream.replace_roster(&with(1));
        let led = calm(&upstream, &io, 10).await;
        assert!(led.iter().all(|(endpoint, _)| *endpoint != one), "two of three are usable");
        upstream.replace_roster(&with(2));
        let led = calm(&upstream, &io, 9).await;
        assert_eq!(led.iter().filter(|(endpoint, _)| *endpoint == one).count(), 3, "one of three is too few");
    });
}

#[test]
fn the_idle_connections_of_one_upstream_give_way_to_another_one() {
    let ((_first, one), (_second, two)) = (listen(), listen());
    let config = config::testing::config("");
    let home = Rc::new(Home::new(CoreNumber::ONLY, 4, Arc::new(Named::new("upstream"))));
    let [full, other] = [(0, one), (1, two)].map(|(index, endpoint)| {
        let upstream = Upstream::new(&config.upstreams[index], None, &config, home.clone());
        upstream.replace_roster(&roster(&[endpoint], None, 1, 0));
        upstream
    });
    block_on(async {
        let io = Io::default();
        let mut leases = Vec::new();
        for _ in 0..4 {
            leases.push(full.lease(&mut Choice::default(), &io).await.expect("a lease"));
        }
        leases.into_iter().for_each(Lease::give_back);
        assert_eq!(full.metrics().idle.get(), 4);
        calm(&other, &io, 2).await;
        let idle = [&full, &other].map(|upstream| upstream.metrics().idle.get());
        assert_eq!(idle, [3, 1], "three of the full one, one of the other");
        assert_eq!(full.members()[0].seen().idle.get(), 3);
        let busy = full.lease(&mut Choice::default(), &io).await.expect("a lease");
        assert!(busy.is_reused(), "the newest are still there");
    });
}

#[test]
fn a_connection_is_used_for_so_long_and_for_so_many_exchanges() {
    let ((_first, one), config) = (listen(), config::testing::config("upstream_connection_requests = 3\n"));
    let aged = config::testing::config("upstream_connection_age = '1s'\n");
    let upstream = Upstream::new(&config.upstreams[0], None, &config, home());
    upstream.replace_roster(&roster(&[one], None, 1, 0));
    block_on(async {
        let io = Io::default();
        let reused =
            |led: Vec<(Endpoint, bool)>| led.iter().map(|(_, is_reused)| *is_reused).collect::<Vec<_>>();
        assert_eq!(reused(calm(&upstream, &io, 5).await), [false, true, true, false, true]);
        upstream.adjust(&aged.upstreams[0], &aged);
        upstream.close_idle();
        assert_eq!(reused(calm(&upstream, &io, 2).await), [false, true]);
        upstream.sweep(clock::now_ms() + 899);
        assert_eq!(upstream.metrics().idle.get(), 1);
        upstream.sweep(clock::now_ms() + 1_101);
        assert_eq!(upstream.metrics().idle.get(), 0, "a tenth more at most");
    });
}

#[test]
fn few_requests_may_wait_for_a_connection_and_few_may_be_in_flight() {
    let ((_first, one), config) = (listen(), config::testing::config(""));
    let mut written = config.upstreams[0].clone();
    (written.bounds.in_flight, written.bounds.streams) = (Some(1), Some(1));
    let upstream = Upstream::new(&written, None, &config, home());
    upstream.replace_roster(&roster(&[one], None, 1, 0));
    block_on(async {
        let io = Io::default();
        let long = upstream.lease(&mut Choice::default(), &io).await.expect("a lease");
        let refused = upstream.lease(&mut Choice::default(), &io).await.err();
        assert!(matches!(refused, Some(LeaseError::Overloaded)), "{refused:?}");
        assert_eq!(long.become_stream(), Ok(()));
        let other = upstream.lease(&mut Choice::default(), &io).await.expect("there is room again");
        assert!(other.become_stream().is_err());
        drop(long);
        assert_eq!(other.become_stream(), Ok(()));
        written.bounds.pending_connects = Some(0);
        upstream.adjust(&written, &config);
        let refused = upstream.lease(&mut Choice::default(), &io).await.err();
        assert!(matches!(refused, Some(LeaseError::ConnectsPending)), "{refused:?}");
    });
}
