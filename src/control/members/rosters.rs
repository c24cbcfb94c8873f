//! Who the members of each service are now, and who of them is out. Whoever finds out something about them, the thread
//! of names or the control thread, says it here, and the cores get the roster that follows.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::directory::ListedMember;
use super::enrolled::Enrolled;
use super::service::Service;
use crate::admin::{MemberRow, UpstreamRow};
use crate::clock;
use crate::config::{Health, ReadyRequires};
use crate::control::jitter::jitter;
use crate::control::{Cores, Target};
use crate::gateway::core::Replacement;
use crate::net::Endpoint;

/// The rosters of all services of the configuration.
pub struct Rosters {
    cores: Arc<Cores>,
    enrolled: Mutex<Vec<Enrolled>>,
}

impl Rosters {
    /// The rosters of these services, none of which has a known member.
    pub fn new(cores: Arc<Cores>, services: &[Service]) -> Arc<Rosters> {
        let rosters = Rosters { cores, enrolled: Mutex::default() };
        rosters.enrol(services);
        Arc::new(rosters)
    }

    /// These services have rosters as well from now on.
    pub fn enrol(&self, services: &[Service]) {
        let mut enrolled = self.lock();
        for service in services {
            if !enrolled.iter().any(|known| known.target == service.target) {
                let before = enrolled.iter().find(|known| known.name == service.name);
                let new =
                    before.map_or_else(|| Enrolled::new(service), |before| before.succeeded_by(service));
                enrolled.push(new);
            }
        }
    }

    /// Puts another configuration in force on every core. Its services, and no others, have rosters from now on.
    pub fn configure(&self, configuration: Replacement, services: &[Service]) {
        let mut enrolled = self.lock();
        enrolled.retain(|known| services.iter().any(|service| service.target == known.target));
        let now_ms = clock::now_ms();
        for upstream in configuration.config.upstreams.iter().filter(|upstream| upstream.health.is_none()) {
            let target = Target::upstream(upstream);
            if let Some(known) = enrolled.iter_mut().find(|known| known.target == target) {
                known.forget_probes(now_ms);
            }
        }
        let rosters = enrolled.iter().map(|known| (known.target.clone(), known.roster.clone())).collect();
        // Under the lock: what is found meanwhile comes after it.
        self.cores.configure(configuration, rosters);
    }

    /// The members of a service are these from now on. One that stays keeps what is known about it.
    pub fn set_members(&self, target: &Target, listed: &[ListedMember]) {
        let count = self.cores.count();
        self.change(target, |known| known.set_members(listed, count, clock::now_ms()));
    }

    /// Takes the result of a probe of the member at this address. `Err` says what was wrong.
    pub fn probed(&self, target: &Target, endpoint: &Endpoint, result: Result<(), String>, health: &Health) {
        let thresholds = (health.rise, health.fall);
        self.change(target, |known| known.probed(endpoint, result, thresholds, clock::now_ms()));
    }

    /// Looks at what the cores have seen of the members of all upstreams. Returns the upstreams to whose members
    /// connections have failed since the last look.
    pub fn look(&self, now_ms: u64) -> Vec<Target> {
        let mut failed = Vec::new();
        for known in self.lock().iter_mut().filter(|known| matches!(known.target, Target::Upstream(..))) {
            let (is_changed, has_failed) = known.look(now_ms, &mut jitter);
            if is_changed {
                self.tell(known);
            }
            failed.extend(has_failed.then(|| known.target.clone()));
        }
        failed
    }

    /// Whether there is a service of which no member is known.
    pub fn lack_members(&self) -> bool {
        self.lock().iter().any(|known| known.roster.is_none())
    }

    /// The addresses of a service now.
    pub fn endpoints(&self, target: &Target) -> Vec<Endpoint> {
        let enrolled = self.lock();
        let known = enrolled.iter().find(|known| known.target == *target);
        let members =
            known.into_iter().flat_map(|known| known.roster.iter().flat_map(|roster| roster.iter()));
        members.map(|member| member.record.endpoint().clone()).collect()
    }

    /// Whether readiness requires an upstream that has no usable member.
    pub fn misses(&self, required: &ReadyRequires) -> bool {
        let is_required = |name: &String| match required {
            ReadyRequires::Nothing => false,
            ReadyRequires::EveryUpstream => true,
            ReadyRequires::Upstreams(names) => names.contains(name),
        };
        if *required == ReadyRequires::Nothing {
            return false;
        }
        self.lock().iter().any(|known| match &known.target {
            Target::Upstream(name, _) => is_required(name) && !known.is_usable(),
            Target::Redis(_) => false,
        })
    }

    /// The upstreams as an operator sees them, by name.
    pub fn rows(&self) -> Vec<UpstreamRow> {
        let now_ms = clock::now_ms();
        let row = |known: &Enrolled| {
            let Target::Upstream(name, source) = &known.target else { return None };
            let members = known.sights().map(|sight| MemberRow {
                address: sight.member.record.endpoint().text().to_owned(),
                weight: sight.member.weight,
                reason: sight.reason.map(ToString::to_string),
                is_probed: sight.is_probed,
                since_s: now_ms.saturating_sub(sight.since_ms) / 1_000,
                last_error: sight.last_error.map(str::to_owned),
                record: sight.member.record.clone(),
            });
            Some(UpstreamRow {
                name: name.clone(),
                source: source.to_string(),
                members: members.collect(),
                ejections: known.ejections,
                connect_failures: known.connect_failures,
            })
        };
        let mut rows: Vec<UpstreamRow> = self.lock().iter().filter_map(row).collect();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        rows
    }

    /// Changes a service, and tells the cores if its roster is another one then.
    fn change(&self, target: &Target, change: impl FnOnce(&mut Enrolled) -> bool) {
        let mut enrolled = self.lock();
        if let Some(known) = enrolled.iter_mut().find(|known| known.target == *target)
            && change(known)
        {
            self.tell(known);
        }
    }

    fn tell(&self, known: &Enrolled) {
        known.roster.iter().for_each(|roster| self.cores.set_roster(&known.target, roster));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Enrolled>> {
        self.enrolled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
