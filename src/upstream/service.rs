//! One upstream as one core sees it: its members, and leases of connections to them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::balance::Balance;
use super::handshake::TlsClient;
use super::lease::{Lease, Use};
use super::member::Member;
use super::metrics::UpstreamMetrics;
use super::pool::{Connection, Pool};
use super::roster::{CoreNumber, Roster, RosterMember};
use super::slot::{UpstreamSlot, UpstreamSlots};
use crate::clock;
use crate::config::{self, Config};
use crate::net::{self, ConnectError, Io, Transport};
use crate::tls::Origination;

/// One internal service.
pub struct Upstream {
    /// Its name in routes, logs and metrics.
    pub name: Rc<str>,
    /// Whether a connection carries more than one request.
    is_reusing: bool,
    /// What it gets as `Host`.
    pub authority: Box<[u8]>,
    members: RefCell<Rc<[Rc<Member>]>>,
    balance: Balance,
    pool: Pool,
    slots: UpstreamSlots,
    /// TLS to it; `None`: there is none. Boxed: it is looked at only where a connection is opened.
    tls: Option<Box<TlsClient>>,
    connect_timeout_ms: Cell<u64>,
    core: CoreNumber,
    metrics: Arc<UpstreamMetrics>,
}

/// Why there is no lease.
#[derive(Debug)]
pub enum LeaseError {
    /// As many requests as allowed are in flight already.
    Overloaded,
    /// There is no connection.
    Connect(ConnectError),
}

impl Upstream {
    /// An upstream without members: until [`Upstream::replace_roster`] it is unreachable.
    pub fn new(
        written: &config::Upstream,
        tls: Option<&Origination>,
        config: &Config,
        core: CoreNumber,
        metrics: Arc<UpstreamMetrics>,
    ) -> Upstream {
        let keep_alive = config.timeouts.upstream_keep_alive;
        let idle_max = idle_max(written.connection_reuse, config);
        Upstream {
            is_reusing: written.connection_reuse,
            name: written.name.as_str().into(),
            authority: written.authority.as_bytes().into(),
            members: RefCell::new(Rc::new([])),
            balance: Balance::default(),
            pool: Pool::new(&written.name, idle_max, keep_alive, metrics.clone()),
            slots: UpstreamSlots::new(config.sizes.upstream_in_flight),
            tls: tls.map(|tls| Box::new(TlsClient::new(tls, metrics.clone()))),
            connect_timeout_ms: Cell::new(config.timeouts.upstream_connect.as_millis() as u64),
            core,
            metrics,
        }
    }

    /// Takes over the bounds and timeouts of a new configuration, in which the upstream itself is the same.
    pub fn adjust(&self, config: &Config) {
        self.pool.adjust(idle_max(self.is_reusing, config), config.timeouts.upstream_keep_alive);
        self.slots.set_max(config.sizes.upstream_in_flight);
        self.connect_timeout_ms.set(config.timeouts.upstream_connect.as_millis() as u64);
    }

    /// No configuration has the upstream any more: what is in flight goes on, and no connection is kept.
    pub fn retire(&self) {
        self.pool.adjust(0, Duration::ZERO);
        self.pool.clear();
    }

    /// Its members now.
    pub fn members(&self) -> Rc<[Rc<Member>]> {
        self.members.borrow().clone()
    }

    /// Takes over another roster. A member that stays keeps its state; an idle connection to a member that is gone ends
    /// with its next lease.
    pub fn replace_roster(&self, roster: &Roster) {
        let before = self.members();
        let member = |wanted: &RosterMember| {
            let known = before.iter().find(|member| member.is(&wanted.record));
            known.cloned().unwrap_or_else(|| Rc::new(Member::new(wanted.record.clone(), self.core)))
        };
        let members: Rc<[Rc<Member>]> = roster.iter().map(member).collect();
        let is_gone = |member: &&Rc<Member>| !members.iter().any(|kept| Rc::ptr_eq(kept, member));
        before.iter().filter(is_gone).for_each(|member| member.withdraw());
        self.members.replace(members);
    }

    /// A lease of a connection that was used before and is alive, the one used last; else of a new one.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn lease(&self, io: &Io) -> Result<Lease<'_>, LeaseError> {
        let slot = self.slot()?;
        if let Some(connection) = self.pool.take(clock::now_ms()) {
            self.metrics.reuses.add(1);
            return Ok(Lease::new(&self.pool, slot, connection, Use::Reused));
        }
        self.connect(slot, io).await.map_err(LeaseError::Connect)
    }

    /// A lease of a new connection, to the first member that accepts, and whose TLS handshake succeeds, within one time
    /// limit.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn lease_new(&self, io: &Io) -> Result<Lease<'_>, LeaseError> {
        let slot = self.slot()?;
        self.connect(slot, io).await.map_err(LeaseError::Connect)
    }

    fn slot(&self) -> Result<UpstreamSlot<'_>, LeaseError> {
        let slot = self.slots.take();
        if slot.is_none() {
            self.metrics.overloads.add(1);
        }
        slot.ok_or(LeaseError::Overloaded)
    }

    async fn connect<'u>(&'u self, slot: UpstreamSlot<'u>, io: &Io) -> Result<Lease<'u>, ConnectError> {
        let members = self.members();
        let begun_us = clock::now_us();
        let deadline_ms = clock::now_ms() + self.connect_timeout_ms.get();
        let secure = async |transport: Transport, deadline_ms| match &self.tls {
            None => Ok(transport),
            // Boxed, because it would be part of every exchange, and is rare.
            Some(tls) => Box::pin(tls.secure(transport, io, deadline_ms)).await,
        };
        let order = self.balance.order(&members);
        match net::connect_any(order, &io.timers, || deadline_ms, secure).await {
            Ok((transport, member)) => {
                self.metrics.connects.add(1);
                member.succeeded();
                let connection = Box::new(Connection { transport, member: member.clone() });
                let connect_us = clock::now_us() - begun_us;
                Ok(Lease::new(&self.pool, slot, connection, Use::First { connect_us }))
            }
            Err(error) => {
                self.metrics.connect_failures.add(1);
                Err(error)
            }
        }
    }

    /// Closes idle connections that are too old or that the upstream has closed.
    pub fn sweep(&self, now_ms: u64) {
        self.pool.sweep(now_ms);
    }

    /// Closes every idle connection.
    pub fn close_idle(&self) {
        self.pool.clear();
    }
}

/// The idle connections that are kept.
fn idle_max(is_reusing: bool, config: &Config) -> usize {
    if is_reusing { config.sizes.upstream_idle } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::super::roster::roster;
    use super::*;
    use crate::net::Endpoint;
    use crate::net::runtime::{Preference, ThreadRuntime};
    use std::net::TcpListener;

    fn upstream(endpoints: &[Endpoint]) -> Upstream {
        let config = config::testing::config("");
        let upstream = Upstream::new(&config.upstreams[0], None, &config, CoreNumber::ONLY, Arc::default());
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
                let lease = upstream.lease_new(&io).await.ok();
                leads.push(
                    lease.and_then(|lease| endpoints.iter().position(|known| known == lease.endpoint())),
                );
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
        assert_eq!(leads(vec![one, two]), [Some(0), Some(1), Some(0), Some(1)]);
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
        let all = Origination::load_all(&config::testing::config(&written).upstreams).expect("a usable file");
        all["a"].clone()
    }

    #[test]
    fn a_member_that_refuses_the_handshake_is_passed_over() {
        let made = rcgen::generate_simple_self_signed(["orders.example".to_owned()]).expect("a certificate");
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let server = server.expect("versions").with_no_client_auth();
        let server =
            server.with_single_cert(vec![made.cert.der().clone()], key.into()).expect("a certificate");
        let ((refusing, one), (serving, two)) = (listen(), listen());
        std::thread::spawn(move || refusing.incoming().for_each(drop));
        std::thread::spawn(move || {
            let (mut socket, _) = serving.accept().expect("a connection");
            let mut session = rustls::ServerConnection::new(Arc::new(server)).expect("a session");
            while session.complete_io(&mut socket).is_ok_and(|moved| moved != (0, 0)) {}
        });
        let config = config::testing::config("");
        let metrics = Arc::<UpstreamMetrics>::default();
        let tls = origination(&made.cert);
        let upstream =
            Upstream::new(&config.upstreams[0], Some(&tls), &config, CoreNumber::ONLY, metrics.clone());
        upstream.replace_roster(&roster(&[one, two.clone()], None, 1, 0));
        let (mut runtime, _) = ThreadRuntime::build(Preference::Ring).expect("a runtime");
        runtime.block_on(async {
            let io = Io::default();
            let lease = upstream.lease_new(&io).await.expect("a lease");
            assert_eq!(lease.endpoint(), &two);
            assert!(lease.transport().tls().is_some() && io.buffers.held() == 0);
        });
        let failures: Vec<u32> = upstream.members().iter().map(|member| member.failures()).collect();
        assert_eq!(failures, [1, 0]);
        assert_eq!((metrics.handshakes.get(), metrics.handshake_failures.get()), (1, 1));
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
        runtime.block_on(async { assert!(upstream.lease_new(&Io::default()).await.is_err()) });
        assert_eq!(upstream.members()[0].failures(), 1);
        upstream.replace_roster(&roster(&[two.clone(), one], Some(&first), 1, 0));
        let failures: Vec<u32> = upstream.members().iter().map(|member| member.failures()).collect();
        assert_eq!(failures, [0, 1]);
        upstream.replace_roster(&roster(&[two], None, 1, 0));
        assert_eq!(upstream.members().len(), 1);
    }
}
