//! One upstream as one core sees it: its members, and leases of connections to them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use tracing::{info, warn};

use super::balance::{Balancer, Random, Seated, hash_of, subset};
use super::choice::{Choice, Wanted};
use super::handshake::TlsClient;
use super::home::Home;
use super::lease::{Lease, Use};
use super::member::Member;
use super::metrics::UpstreamMetrics;
use super::pool::PoolBounds;
use super::retry::RetryBudget;
use super::roster::{Roster, RosterMember, Standing};
use super::terms::Terms;
use crate::clock;
use crate::config::{self, BalancePolicy, Config, HashOn};
use crate::limits::MEMBERS_MAX;
use crate::net::{ConnectError, Io};
use crate::tls::Origination;

/// One internal service.
pub struct Upstream {
    terms: Terms,
    /// Every member.
    members: RefCell<Rc<[Rc<Member>]>>,
    /// Those among which this core chooses.
    chosen_from: RefCell<Rc<[Rc<Member>]>>,
    roster: RefCell<Roster>,
    balancer: Balancer,
    hash_on: RefCell<Rc<HashOn>>,
    policy: Cell<BalancePolicy>,
    retries: RetryBudget,
    /// TLS to it; `None`: there is none. Boxed: it is looked at only where a connection is opened.
    tls: Option<Box<TlsClient>>,
}

/// Why there is no lease.
#[derive(Debug)]
pub enum LeaseError {
    /// As many requests as allowed are in flight already.
    Overloaded,
    /// As many requests as allowed wait for a connection already.
    ConnectsPending,
    /// There is no connection.
    Connect(ConnectError),
}

impl Upstream {
    /// An upstream without members: until [`Upstream::replace_roster`] it is unreachable.
    pub fn new(
        written: &config::Upstream,
        tls: Option<&Origination>,
        config: &Config,
        home: Rc<Home>,
    ) -> Upstream {
        let seed = hash_of(written.name.as_bytes()) ^ home.seed ^ home.core.index as u64;
        let (retries, terms) = (RetryBudget::new(home.core.count), Terms::new(written, config, home));
        let upstream = Upstream {
            members: RefCell::new(Rc::new([])),
            chosen_from: RefCell::new(Rc::new([])),
            roster: RefCell::new(Arc::new([])),
            balancer: Balancer::new(Random::new(seed)),
            hash_on: RefCell::default(),
            policy: Cell::default(),
            retries,
            tls: tls.map(|tls| Box::new(TlsClient::new(tls, terms.metrics().clone()))),
            terms,
        };
        upstream.adjust_choice(written);
        upstream
    }

    /// Takes over the bounds, timeouts and balancing of a new configuration, in which the service itself is the same.
    pub fn adjust(&self, written: &config::Upstream, config: &Config) {
        self.terms.adjust(written, config);
        self.adjust_choice(written);
    }

    fn adjust_choice(&self, written: &config::Upstream) {
        let balancing = &written.balancing;
        self.balancer.adjust(balancing.policy, balancing.slow_start.as_millis() as u64);
        self.policy.set(balancing.policy);
        self.hash_on.replace(Rc::new(balancing.hash_on.clone()));
        self.look_at_roster();
    }

    /// What holds for every exchange with it.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// No configuration has the upstream any more: what is in flight goes on, and no connection is kept.
    pub fn retire(&self) {
        self.terms.pool().adjust(PoolBounds::default());
        self.terms.pool().clear();
    }

    /// Its members now.
    pub fn members(&self) -> Rc<[Rc<Member>]> {
        self.members.borrow().clone()
    }

    /// Takes over another roster. A member that stays keeps its state; the idle connections of one that is gone are
    /// closed.
    pub fn replace_roster(&self, roster: &Roster) {
        let before = self.members();
        let member = |wanted: &RosterMember| {
            let known = before.iter().find(|member| member.is(&wanted.record));
            let known = known.inspect(|known| known.seat().set(wanted.weight, wanted.since_ms));
            known.cloned().unwrap_or_else(|| {
                let member = Rc::new(Member::new(wanted, self.terms.home().core));
                self.balancer.seat(member.seat());
                member
            })
        };
        let members: Rc<[Rc<Member>]> = roster.iter().take(MEMBERS_MAX).map(member).collect();
        let is_gone = |member: &&Rc<Member>| !members.iter().any(|kept| Rc::ptr_eq(kept, member));
        before.iter().filter(is_gone).for_each(|member| member.withdraw());
        self.terms.pool().replace_members(&members);
        self.members.replace(members);
        self.roster.replace(roster.clone());
        self.look_at_roster();
    }

    /// Among which members this core chooses: those that the control thread has not ejected, unless over half of them
    /// are; and of many, a part.
    fn look_at_roster(&self) {
        let (members, roster) = (self.members(), self.roster.borrow());
        let standing = members.iter().zip(roster.iter());
        let usable = standing.filter(|(_, wanted)| wanted.standing == Standing::Usable);
        let usable: Vec<Rc<Member>> = usable.map(|(member, _)| member.clone()).collect();
        let candidates = match self.balancer.ignores_ejections(usable.len(), members.len()) {
            true => members.to_vec(),
            false => usable,
        };
        let keys: Vec<u64> = candidates.iter().map(|member| member.seat().key()).collect();
        let part = match self.policy.get() {
            // A key has the same member on every core.
            BalancePolicy::Hash => None,
            _ => subset(&keys, self.terms.home().core, self.terms.home().seed),
        };
        let chosen_from: Rc<[Rc<Member>]> = match part {
            Some(part) => part.into_iter().map(|index| candidates[index].clone()).collect(),
            None => candidates.into(),
        };
        self.terms.set_choice(chosen_from.len() > 1);
        self.chosen_from.replace(chosen_from);
        self.tell_news(clock::now_ms());
    }

    fn tell_news(&self, now_ms: u64) {
        let upstream = &*self.terms.name;
        match self.balancer.take_news(now_ms) {
            Some(true) => warn!(upstream, "under half of the members are usable: all of them are used"),
            Some(false) => info!(upstream, "at least half of the members are usable again"),
            None => {}
        }
    }

    /// What its requests stay with one member by; `None`: nothing.
    pub fn hash_on(&self) -> Option<Rc<HashOn>> {
        (self.policy.get() == BalancePolicy::Hash && self.terms.has_choice())
            .then(|| self.hash_on.borrow().clone())
    }

    /// The next member for a request. It counts as tried.
    pub(super) fn choose(&self, choice: &mut Choice) -> Option<Rc<Member>> {
        let members = choice.members.get_or_insert_with(|| {
            self.retries.request();
            self.chosen_from.borrow().clone()
        });
        let index = match &members[..] {
            [] => None,
            [_] => (!choice.tried.has(0)).then_some(0),
            members => {
                let now_ms = clock::now_ms();
                let chosen = self.balancer.choose(members, &choice.tried, choice.key, now_ms);
                self.tell_news(now_ms);
                chosen
            }
        };
        let index = index?;
        choice.tried.add(index);
        Some(members[index].clone())
    }

    /// A lease of a connection to the member of choice: one that was used before and is alive, the one used last; else
    /// a new one, and that to the next member if the first one refuses.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn lease<'u>(&'u self, choice: &mut Choice, io: &Io) -> Result<Lease<'u>, LeaseError> {
        let slot = self.terms.request_slot().ok_or(LeaseError::Overloaded)?;
        let member = self.choose(choice).ok_or(LeaseError::Connect(ConnectError::NoAddress))?;
        if let Some(connection) = self.terms.pool().take(&member, clock::now_ms()) {
            self.metrics().reuses.add(1);
            return Ok(Lease::new(&self.terms, slot, connection, Use::Reused));
        }
        self.connect(slot, member, (choice, Wanted::Any), io).await
    }

    /// A lease of a new connection. If every member was tried, each one may be tried again.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn lease_new<'u>(&'u self, choice: &mut Choice, io: &Io) -> Result<Lease<'u>, LeaseError> {
        let slot = self.terms.request_slot().ok_or(LeaseError::Overloaded)?;
        let member = self.choose(choice).or_else(|| {
            choice.forget_tries();
            self.choose(choice)
        });
        let member = member.ok_or(LeaseError::Connect(ConnectError::NoAddress))?;
        self.connect(slot, member, (choice, Wanted::New), io).await
    }

    /// Whether a request may be sent once more. If so, that is counted.
    pub fn may_retry(&self) -> bool {
        let is_allowed = self.retries.take();
        let metrics = self.metrics();
        if is_allowed {
            metrics.retries.add(1)
        } else {
            metrics.retries_denied.add(1)
        }
        is_allowed
    }

    pub(super) fn tls(&self) -> Option<&TlsClient> {
        self.tls.as_deref()
    }

    /// What is counted of it on this core.
    pub fn metrics(&self) -> &UpstreamMetrics {
        self.terms.metrics()
    }

    /// Closes idle connections that are too old or that the upstream has closed. To be called every second.
    pub fn sweep(&self, now_ms: u64) {
        self.retries.second();
        self.terms.pool().sweep(now_ms);
    }

    /// Closes every idle connection.
    pub fn close_idle(&self) {
        self.terms.pool().clear();
    }
}

#[cfg(test)]
mod tests;
