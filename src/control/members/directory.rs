//! What names and files have said so far, when each of them is asked again, and which members follow from it. It asks
//! nobody and reads no clock: [`super::watch`] does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::service::Service;
use crate::config::{Members, UpstreamAddress, WeightedAddress};
use crate::limits::{
    ADDRESSES_MAX, ASK_AGAIN_MS, MEMBER_FAILING_LOG_MS, MEMBERS_FILE_LOOK_MS, MEMBERS_MAX,
    QUESTIONS_AT_ONCE_MAX, SRV_TARGETS_MAX,
};
use crate::net::Endpoint;

/// Something to find out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    /// The addresses of a name, as the system finds them.
    Host(String),
    /// The addresses of a name, from a DNS server.
    DnsHost(String),
    /// The SRV records of a name.
    Srv(String),
    /// The members that a file lists, and whether they have to speak TLS.
    File(PathBuf, bool),
}

/// The answer to a [`Question`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Addresses(Vec<IpAddr>),
    Targets(Vec<SrvTarget>),
    Listed(Vec<WeightedAddress>),
}

/// One SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SrvTarget {
    pub(super) priority: u16,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) weight: u16,
}

/// A member: an address and its part of the requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedMember {
    /// The address.
    pub endpoint: Endpoint,
    /// 1 or more.
    pub weight: u32,
}

/// What an answer means for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// It went wrong, and had not before.
    Failed(String),
    /// It goes wrong for so many milliseconds by now.
    StillFailed(String, u64),
    /// It goes well again, after so many milliseconds.
    Recovered(u64),
    /// There is nothing to say.
    None,
}

/// All questions of a configuration.
pub(super) struct Directory {
    services: Vec<Service>,
    known: BTreeMap<Question, Known>,
    refresh_ms: u64,
    /// Whether every name is asked of a DNS server.
    is_dns_only: bool,
    /// The services of which it was said that they have too many members.
    crowded: BTreeSet<String>,
}

/// What is known about the answer to one question.
#[derive(Default)]
struct Known {
    found: Option<Found>,
    due_ms: u64,
    asked_ms: Option<u64>,
    is_in_flight: bool,
    /// Answers in a row that were none.
    failures: u32,
    said: Option<Said>,
}

/// What was said of a question without an answer.
struct Said {
    why: String,
    begun_ms: u64,
    said_ms: u64,
}

impl Directory {
    /// Nothing is known yet. `refresh` is the longest time until a name is asked again.
    pub(super) fn new(services: Vec<Service>, refresh: Duration, is_dns_only: bool) -> Directory {
        let refresh_ms = (refresh.as_millis() as u64).max(ASK_AGAIN_MS);
        let (known, crowded) = (BTreeMap::new(), BTreeSet::new());
        let mut directory = Directory { services, known, refresh_ms, is_dns_only, crowded };
        directory.update_questions();
        directory
    }

    /// The services whose members are found here.
    pub(super) fn services(&self) -> &[Service] {
        &self.services
    }

    /// The services that a question is about.
    pub(super) fn concerned(&self, question: &Question) -> impl Iterator<Item = &Service> {
        self.services.iter().filter(|service| self.questions(service).contains(question))
    }

    /// The questions whose time has come. Each of them has to be answered; until then it is not asked again.
    pub(super) fn due(&mut self, now_ms: u64) -> Vec<Question> {
        let in_flight = self.known.values().filter(|known| known.is_in_flight).count();
        let is_due = |known: &Known| !known.is_in_flight && known.due_ms <= now_ms;
        let mut due = Vec::new();
        for (question, known) in self.known.iter_mut().filter(|(_, known)| is_due(known)) {
            if in_flight + due.len() >= QUESTIONS_AT_ONCE_MAX {
                break;
            }
            (known.is_in_flight, known.asked_ms) = (true, Some(now_ms));
            due.push(question.clone());
        }
        due
    }

    /// When the next question is due. `None`: not before another one is answered.
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        let waiting = self.known.values().filter(|known| !known.is_in_flight);
        if self.known.len() - waiting.clone().count() >= QUESTIONS_AT_ONCE_MAX {
            return None;
        }
        waiting.map(|known| known.due_ms).min()
    }

    /// Whether every question was answered at least once, in whichever way.
    pub(super) fn is_settled(&self) -> bool {
        self.known.values().all(|known| known.found.is_some() || known.failures > 0)
    }

    /// Takes an answer. An empty one counts as none: what was known before stays.
    pub(super) fn answered(
        &mut self,
        question: &Question,
        answer: Result<(Found, Option<Duration>), String>,
        now_ms: u64,
    ) -> Turn {
        let refresh_ms = self.refresh_ms;
        // The answer to a question that nobody has any more is not needed.
        let Some(known) = self.known.get_mut(question) else { return Turn::None };
        known.is_in_flight = false;
        let answer = answer.and_then(|(found, ttl)| match found.is_empty() {
            true => Err(question.nobody()),
            false => Ok((found, ttl)),
        });
        let (turn, wait_ms) = match answer {
            Ok((found, ttl)) => {
                let recovered = |said: Said| Turn::Recovered(now_ms.saturating_sub(said.begun_ms));
                let turn = known.said.take().map_or(Turn::None, recovered);
                known.failures = 0;
                known.found = Some(found.bounded());
                let ttl_ms = ttl.map_or(refresh_ms, |ttl| ttl.as_millis() as u64);
                (turn, ttl_ms.clamp(ASK_AGAIN_MS, refresh_ms))
            }
            Err(why) => {
                known.failures = known.failures.saturating_add(1);
                (question.turn(known, why, now_ms), (ASK_AGAIN_MS << known.failures.min(16)) / 2)
            }
        };
        let wait_ms = if matches!(question, Question::File(..)) { MEMBERS_FILE_LOOK_MS } else { wait_ms };
        known.due_ms = now_ms + wait_ms.min(refresh_ms);
        self.update_questions();
        turn
    }

    /// A connection to a member of this service has failed: what leads to its members is asked at once, but no sooner
    /// than [`ASK_AGAIN_MS`] after the last time.
    pub(super) fn hurry(&mut self, nth: usize, now_ms: u64) {
        let Some(service) = self.services.get(nth) else { return };
        for question in self.questions(service) {
            let Some(known) = self.known.get_mut(&question) else { continue };
            let soonest_ms = known.asked_ms.map_or(0, |asked_ms| asked_ms + ASK_AGAIN_MS);
            known.due_ms = known.due_ms.min(soonest_ms.max(now_ms));
        }
    }

    /// The members of a service, sorted by address. `None`: nothing that leads to one has been answered yet.
    pub(super) fn members(&self, service: &Service) -> Option<Vec<ListedMember>> {
        let mut members = match &service.members {
            Members::Listed(listed) => self.of_list(listed),
            Members::Srv(name) => self.of_targets(self.targets(name)),
            Members::File(path) => self.of_list(self.listed(path, service.is_tls)),
        };
        members.sort_by(|a, b| order(&a.endpoint).cmp(&order(&b.endpoint)).then(b.weight.cmp(&a.weight)));
        members.dedup_by(|later, first| later.endpoint == first.endpoint);
        Some(members).filter(|members| !members.is_empty())
    }

    /// A service has too many members. Returns whether that is still to be said.
    pub(super) fn say_crowded(&mut self, service: &str) -> bool {
        self.crowded.insert(service.to_owned())
    }

    /// Makes the questions those that the services have now.
    fn update_questions(&mut self) {
        let wanted: BTreeSet<Question> =
            self.services.iter().flat_map(|service| self.questions(service)).collect();
        self.known.retain(|question, _| wanted.contains(question));
        for question in wanted {
            self.known.entry(question).or_default();
        }
    }

    /// What has to be known for the members of a service.
    fn questions(&self, service: &Service) -> Vec<Question> {
        let hosts = |listed: &[WeightedAddress]| {
            listed.iter().filter_map(|one| self.question(&one.address)).collect::<Vec<_>>()
        };
        match &service.members {
            Members::Listed(listed) => hosts(listed),
            Members::Srv(name) => {
                let targets = self.targets(name).iter().map(|target| Question::DnsHost(target.host.clone()));
                std::iter::once(Question::Srv(name.clone())).chain(targets).collect()
            }
            Members::File(path) => {
                let mut questions = hosts(self.listed(path, service.is_tls));
                questions.push(Question::File(path.clone(), service.is_tls));
                questions
            }
        }
    }

    /// What has to be asked for an address, if it is a name.
    fn question(&self, address: &UpstreamAddress) -> Option<Question> {
        match address {
            UpstreamAddress::Tcp { host, .. } if host.parse::<IpAddr>().is_err() => {
                Some(match self.is_dns_only {
                    true => Question::DnsHost(host.clone()),
                    false => Question::Host(host.clone()),
                })
            }
            UpstreamAddress::Tcp { .. } | UpstreamAddress::Unix(_) => None,
        }
    }

    fn targets(&self, name: &str) -> &[SrvTarget] {
        match self.found(&Question::Srv(name.to_owned())) {
            Some(Found::Targets(targets)) => targets,
            _ => &[],
        }
    }

    fn listed(&self, path: &std::path::Path, is_tls: bool) -> &[WeightedAddress] {
        match self.found(&Question::File(path.to_owned(), is_tls)) {
            Some(Found::Listed(listed)) => listed,
            _ => &[],
        }
    }

    fn addresses(&self, question: &Question) -> &[IpAddr] {
        match self.found(question) {
            Some(Found::Addresses(addresses)) => addresses,
            _ => &[],
        }
    }

    fn found(&self, question: &Question) -> Option<&Found> {
        self.known.get(question).and_then(|known| known.found.as_ref())
    }

    fn of_list(&self, listed: &[WeightedAddress]) -> Vec<ListedMember> {
        let mut members = Vec::new();
        for WeightedAddress { address, weight } in listed {
            let mut add = |endpoint| members.push(ListedMember { endpoint, weight: *weight });
            match (address, self.question(address)) {
                (UpstreamAddress::Unix(path), _) => add(Endpoint::unix(path)),
                (UpstreamAddress::Tcp { port, .. }, Some(question)) => {
                    let found = self.addresses(&question).iter();
                    found.for_each(|ip| add(Endpoint::tcp(SocketAddr::new(*ip, *port))));
                }
                (UpstreamAddress::Tcp { host, port }, None) => {
                    let literal = host.parse().ok().map(|ip| SocketAddr::new(ip, *port));
                    literal.into_iter().for_each(|address| add(Endpoint::tcp(address)));
                }
            }
        }
        members
    }

    /// The members of the lowest priority that has any. A weight of 0 is the smallest there is.
    fn of_targets(&self, targets: &[SrvTarget]) -> Vec<ListedMember> {
        let mut best: Option<(u16, Vec<ListedMember>)> = None;
        for SrvTarget { priority, host, port, weight } in targets {
            let found = self.addresses(&Question::DnsHost(host.clone())).iter();
            let members = found.map(|ip| ListedMember {
                endpoint: Endpoint::tcp(SocketAddr::new(*ip, *port)),
                weight: u32::from(*weight).max(1),
            });
            let members: Vec<_> = members.collect();
            match &mut best {
                _ if members.is_empty() => {}
                Some((known, all)) if known == priority => all.extend(members),
                Some((known, _)) if *known < *priority => {}
                _ => best = Some((*priority, members)),
            }
        }
        best.map(|(_, members)| members).unwrap_or_default()
    }
}

impl Question {
    /// Why an empty answer is none.
    fn nobody(&self) -> String {
        match self {
            Question::Host(name) | Question::DnsHost(name) => format!("{name} has no address"),
            Question::Srv(name) => format!("{name} has no SRV record that leads anywhere"),
            Question::File(path, _) => format!("{} lists no member", path.display()),
        }
    }

    /// What is said of a failure. A file that is being written is broken for a moment, so only the second look at it
    /// is believed, and each mistake in it is said.
    fn turn(&self, known: &mut Known, why: String, now_ms: u64) -> Turn {
        let is_new = match (self, &known.said) {
            (Question::File(..), said) => {
                known.failures >= 2 && said.as_ref().is_none_or(|said| said.why != why)
            }
            (_, said) => said.is_none(),
        };
        let begun_ms = known.said.as_ref().map_or(now_ms, |said| said.begun_ms);
        match &mut known.said {
            Some(said) if !is_new && now_ms.saturating_sub(said.said_ms) >= MEMBER_FAILING_LOG_MS => {
                (said.why, said.said_ms) = (why.clone(), now_ms);
                Turn::StillFailed(why, now_ms.saturating_sub(begun_ms))
            }
            _ if is_new => {
                known.said = Some(Said { why: why.clone(), begun_ms, said_ms: now_ms });
                Turn::Failed(why)
            }
            _ => Turn::None,
        }
    }
}

impl Found {
    fn is_empty(&self) -> bool {
        match self {
            Found::Addresses(addresses) => addresses.is_empty(),
            Found::Targets(targets) => targets.is_empty(),
            Found::Listed(listed) => listed.is_empty(),
        }
    }

    /// In an order that does not depend on the answer's, and no more than there may be.
    fn bounded(mut self) -> Found {
        match &mut self {
            Found::Addresses(addresses) => {
                addresses.sort_unstable();
                addresses.dedup();
                addresses.truncate(ADDRESSES_MAX);
            }
            Found::Targets(targets) => {
                targets.sort_unstable();
                targets.dedup();
                targets.truncate(SRV_TARGETS_MAX);
            }
            Found::Listed(listed) => listed.truncate(MEMBERS_MAX),
        }
        self
    }
}

/// Addresses before paths, each in their own order.
fn order(endpoint: &Endpoint) -> (Option<SocketAddr>, &str) {
    match endpoint {
        Endpoint::Tcp(address, _) => (Some(*address), ""),
        Endpoint::Unix(_, text) => (None, text),
    }
}

#[cfg(test)]
mod tests;
