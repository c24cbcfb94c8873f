//! One service: its roster, the health of its members, and what the log says when that changes.

use std::sync::Arc;

use tracing::{info, warn};

use super::directory::ListedMember;
use super::service::Service;
use crate::control::Target;
use crate::control::health::{Change, Failing, Outage, Reason, Seen, UpstreamHealth, Word};
use crate::limits::{MEMBER_FAILING_LOG_MS, MEMBERS_FAILING_NAMED_MAX};
use crate::net::Endpoint;
use crate::upstream::{MemberRecord, Roster, RosterMember, Standing};

/// A service of the configuration.
pub(super) struct Enrolled {
    pub(super) target: Target,
    pub(super) name: String,
    /// `None`: its members are not known yet.
    pub(super) roster: Option<Roster>,
    /// Since when the members of the service before it belong to the upstream.
    joined: Vec<(Endpoint, u64)>,
    health: UpstreamHealth,
    /// In the order of the roster.
    notes: Vec<Note>,
    /// When it was said last that more members fail than are named.
    crowd_said_ms: Option<u64>,
    pub(super) ejections: u64,
    pub(super) connect_failures: u64,
}

/// What an operator wants to know about one member.
#[derive(Debug, Clone, Default)]
struct Note {
    /// Since when it is as it is.
    since_ms: u64,
    /// Why it was out, or is.
    last_error: Option<String>,
    failing: Failing,
    /// The log has named it as one that fails.
    is_named: bool,
}

/// A member, as an operator sees it.
pub(super) struct Sight<'e> {
    pub(super) member: &'e RosterMember,
    pub(super) reason: Option<&'e Reason>,
    pub(super) is_probed: bool,
    pub(super) since_ms: u64,
    pub(super) last_error: Option<&'e str>,
}

impl Enrolled {
    /// The service that takes the place of this one, which is written in another way: its members are new, but they
    /// are not new to the upstream where this one has them too.
    pub(super) fn succeeded_by(&self, service: &Service) -> Enrolled {
        let members = self.roster.as_deref().unwrap_or_default();
        let joined = members.iter().map(|member| (member.record.endpoint().clone(), member.since_ms));
        Enrolled { joined: joined.collect(), ..Enrolled::new(service) }
    }

    /// A service of which no member is known.
    pub(super) fn new(service: &Service) -> Enrolled {
        Enrolled {
            target: service.target.clone(),
            name: service.name.clone(),
            roster: None,
            joined: Vec::new(),
            health: UpstreamHealth::default(),
            notes: Vec::new(),
            crowd_said_ms: None,
            ejections: 0,
            connect_failures: 0,
        }
    }

    /// The members are these from now on. One that stays keeps what is known about it. Returns whether that changes the
    /// roster.
    pub(super) fn set_members(&mut self, listed: &[ListedMember], cores: usize, now_ms: u64) -> bool {
        let before: &[RosterMember] = self.roster.as_deref().unwrap_or_default();
        let joined_ms = |endpoint: &Endpoint| {
            let joined = self.joined.iter().find(|(known, _)| known == endpoint);
            joined.map_or(now_ms, |(_, since_ms)| *since_ms)
        };
        let known = |endpoint: &Endpoint| before.iter().position(|one| one.record.endpoint() == endpoint);
        let (mut members, mut kept, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        for ListedMember { endpoint, weight } in listed {
            let index = known(endpoint);
            let new = || RosterMember {
                record: Arc::new(MemberRecord::new(endpoint.clone(), cores)),
                weight: *weight,
                standing: Standing::Usable,
                since_ms: joined_ms(endpoint),
            };
            members.push(RosterMember {
                weight: *weight,
                ..index.map_or_else(new, |index| before[index].clone())
            });
            kept.push(index.ok_or(Seen::default()));
            let new = Note { since_ms: now_ms, ..Note::default() };
            notes.push(index.map_or(new, |index| self.notes[index].clone()));
        }
        let roster: Roster = members.into();
        if self.roster.as_ref() == Some(&roster) {
            return false;
        }
        self.say_gone(&kept, now_ms);
        self.roster = Some(roster);
        self.health.replace(kept);
        self.notes = notes;
        true
    }

    /// Looks at what the cores have seen. Returns whether that changes the roster, and whether a connection has failed.
    pub(super) fn look(&mut self, now_ms: u64, jitter: &mut dyn FnMut() -> f64) -> (bool, bool) {
        let Some(roster) = &self.roster else { return (false, false) };
        let seen: Vec<Seen> = roster.iter().map(|member| Seen::of(&member.record)).collect();
        let (new, changes) = self.health.look(&seen, now_ms, jitter);
        self.ejections += changes.iter().filter(|change| change.reason.is_some()).count() as u64;
        let failed = new.iter().map(|new| new.connect_failures).sum::<u64>();
        self.connect_failures += failed;
        for (index, new) in new.into_iter().enumerate() {
            if let Some(word) = self.notes[index].failing.look(new, now_ms) {
                self.say(index, word, now_ms);
            }
        }
        for change in &changes {
            self.note(change, now_ms);
        }
        (!changes.is_empty() && self.update_standings(), failed > 0)
    }

    /// Takes the result of a probe. Returns whether that changes the roster.
    pub(super) fn probed(
        &mut self,
        endpoint: &Endpoint,
        result: Result<(), String>,
        (rise, fall): (u32, u32),
        now_ms: u64,
    ) -> bool {
        let members = self.roster.as_deref().unwrap_or_default();
        let Some(index) = members.iter().position(|one| one.record.endpoint() == endpoint) else {
            return false;
        };
        if let Err(why) = &result {
            self.notes[index].last_error = Some(format!("health check: {why}"));
        }
        let change = self.health.probed(index, result, rise, fall);
        change.iter().for_each(|change| self.note(change, now_ms));
        change.is_some() && self.update_standings()
    }

    /// The members are not probed any more: what probes have said does not count.
    pub(super) fn forget_probes(&mut self, now_ms: u64) {
        let changes = self.health.forget_probes();
        changes.iter().for_each(|change| self.note(change, now_ms));
        self.update_standings();
    }

    /// Whether there is a member to which requests should go.
    pub(super) fn is_usable(&self) -> bool {
        self.health.members().iter().any(|member| !member.is_out())
    }

    /// Its members, for an operator.
    pub(super) fn sights(&self) -> impl Iterator<Item = Sight<'_>> {
        let members = self.roster.as_deref().unwrap_or_default();
        members.iter().zip(self.health.members()).zip(&self.notes).map(|((member, health), note)| Sight {
            member,
            reason: health.reason(),
            is_probed: health.active().is_known(),
            since_ms: note.since_ms,
            last_error: note.last_error.as_deref(),
        })
    }

    fn update_standings(&mut self) -> bool {
        let Some(before) = &self.roster else { return false };
        let standing = |is_out: bool| if is_out { Standing::Ejected } else { Standing::Usable };
        let members = before.iter().zip(self.health.members());
        let roster: Roster = members
            .map(|(member, health)| RosterMember { standing: standing(health.is_out()), ..member.clone() })
            .collect();
        let is_other = roster != *before;
        self.roster = Some(roster);
        is_other
    }

    /// Keeps and tells that a member is out or back.
    fn note(&mut self, change: &Change, now_ms: u64) {
        let Some(member) = self.roster.as_deref().and_then(|roster| roster.get(change.index)) else { return };
        let (upstream, address) = (&self.name, member.record.endpoint().text());
        let note = &mut self.notes[change.index];
        let for_ms = now_ms.saturating_sub(note.since_ms);
        note.since_ms = now_ms;
        match &change.reason {
            Some(reason) => {
                let cause = member.record.last_cause().filter(|_| !matches!(reason, Reason::Probe(_)));
                note.last_error = Some(match (reason, cause) {
                    (Reason::Row(_), Some(cause)) => format!("{reason}, the last with {cause}"),
                    _ => reason.to_string(),
                });
                warn!(upstream, address, %reason, cause, "a member is out, requests go to others");
            }
            None => info!(upstream, address, for_ms, "a member is back"),
        }
    }

    /// Tells that a member fails, that it still does, or that it is well again. Of many that fail, some are named.
    fn say(&mut self, index: usize, word: Word, now_ms: u64) {
        let Some(member) = self.roster.as_deref().and_then(|roster| roster.get(index)) else { return };
        let (upstream, address, cause) =
            (&self.name, member.record.endpoint().text(), member.record.last_cause());
        let named = self.notes.iter().filter(|note| note.is_named).count();
        if word == Word::Begun && named >= MEMBERS_FAILING_NAMED_MAX {
            if self.crowd_said_ms.is_none_or(|said_ms| now_ms - said_ms >= MEMBER_FAILING_LOG_MS) {
                self.crowd_said_ms = Some(now_ms);
                let failing = self.notes.iter().filter(|note| note.failing.outage(now_ms).is_some()).count();
                warn!(upstream, failing, named, "more members fail than are named here: see /upstreams");
            }
            return;
        }
        let note = &mut self.notes[index];
        match word {
            Word::Begun => {
                note.is_named = true;
                warn!(upstream, address, cause, "a member fails");
            }
            Word::Lasts(Outage { ms, failures }) if note.is_named => {
                warn!(upstream, address, cause, for_ms = ms, failures, "a member still fails");
            }
            Word::Over(Outage { ms, failures }) if note.is_named => {
                note.is_named = false;
                info!(upstream, address, for_ms = ms, failures, "a member is well again");
            }
            Word::Lasts(_) | Word::Over(_) => {}
        }
    }

    /// Tells that members which failed belong to the upstream no longer: nothing else would say that it is over.
    fn say_gone(&self, kept: &[Result<usize, Seen>], now_ms: u64) {
        let members = self.roster.as_deref().unwrap_or_default();
        for (index, (member, note)) in members.iter().zip(&self.notes).enumerate() {
            let (true, Some(Outage { ms, failures })) = (note.is_named, note.failing.outage(now_ms)) else {
                continue;
            };
            if !kept.contains(&Ok(index)) {
                let (upstream, address) = (&self.name, member.record.endpoint().text());
                info!(upstream, address, for_ms = ms, failures, "a member that failed is gone");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Members;
    use crate::config::testing::config;
    use crate::limits::EJECT_MS_FIRST;

    fn enrolled() -> Enrolled {
        let service = Service::all(None, &config("")).remove(0);
        Enrolled::new(&service)
    }

    fn listed(last: &[u8]) -> Vec<ListedMember> {
        let member = |last: &u8| ListedMember {
            endpoint: Endpoint::tcp(([127, 0, 0, *last], 80).into()),
            weight: u32::from(*last),
        };
        last.iter().map(member).collect()
    }

    fn roster(known: &Enrolled) -> Roster {
        known.roster.clone().expect("members")
    }

    fn standings(known: &Enrolled) -> Vec<Standing> {
        roster(known).iter().map(|member| member.standing).collect()
    }

    #[test]
    fn a_member_that_stays_keeps_its_record_and_its_verdict() {
        let mut known = enrolled();
        assert!(known.set_members(&listed(&[1, 2]), 2, 5));
        assert!(!known.set_members(&listed(&[1, 2]), 2, 6), "the same again");
        let before = roster(&known);
        before[1].record.core(0).failures.add(3);
        before[1].record.core(1).failures.add(2);
        before[0].record.core(1).successes.add(1);
        assert_eq!(known.look(1_000, &mut || 0.0), (true, false));
        assert_eq!(standings(&known), [Standing::Usable, Standing::Ejected]);
        assert!(known.set_members(&listed(&[2, 3]), 2, 2_000));
        assert_eq!(standings(&known), [Standing::Ejected, Standing::Usable]);
        assert!(Arc::ptr_eq(&roster(&known)[0].record, &before[1].record));
        let seen: Vec<(u64, u32)> =
            roster(&known).iter().map(|member| (member.since_ms, member.weight)).collect();
        assert_eq!(seen, [(5, 2), (2_000, 3)]);
        assert_eq!(known.look(1_000 + EJECT_MS_FIRST, &mut || 0.0), (true, false));
        assert_eq!(standings(&known), [Standing::Usable; 2]);
        assert_eq!((known.ejections, known.connect_failures), (1, 0));
    }

    #[test]
    fn a_member_that_a_reload_brings_is_new_and_the_others_are_not() {
        let mut before = enrolled();
        before.set_members(&listed(&[1, 2]), 1, 5);
        let service = Service {
            target: before.target.clone(),
            name: before.name.clone(),
            members: Members::one(crate::config::UpstreamAddress::Unix("/run/a".into())),
            is_tls: false,
        };
        let mut after = before.succeeded_by(&service);
        assert!(after.roster.is_none());
        after.set_members(&listed(&[2, 3]), 1, 9);
        let since: Vec<u64> = roster(&after).iter().map(|member| member.since_ms).collect();
        assert_eq!(since, [5, 9]);
    }

    #[test]
    fn failed_connections_are_told_and_counted_even_when_their_member_has_gone() {
        let mut known = enrolled();
        known.set_members(&listed(&[1]), 1, 0);
        roster(&known)[0].record.core(0).connect_failures.add(2);
        assert_eq!(known.look(1_000, &mut || 0.0), (false, true));
        assert_eq!(known.look(1_250, &mut || 0.0), (false, false));
        known.set_members(&listed(&[2]), 1, 2_000);
        assert_eq!((known.look(2_250, &mut || 0.0), known.connect_failures), ((false, false), 2));
    }

    #[test]
    fn the_cause_of_the_last_failure_is_told() {
        let mut known = enrolled();
        known.set_members(&listed(&[1, 2]), 1, 0);
        let record = roster(&known)[0].record.clone();
        record.note_cause("ECONNREFUSED");
        record.core(0).failures.add(5);
        known.look(1_000, &mut || 0.0);
        let told = known.sights().next().and_then(|sight| sight.last_error);
        assert_eq!(told, Some("5 failures in a row, the last with ECONNREFUSED"));
    }

    #[test]
    fn of_many_members_that_fail_some_are_named_and_one_that_goes_makes_room() {
        let mut known = enrolled();
        let all: Vec<u8> = (1..=20).collect();
        known.set_members(&listed(&all), 1, 0);
        let named = |known: &Enrolled| known.notes.iter().filter(|note| note.is_named).count();
        let fail = |known: &mut Enrolled, now_ms: u64| {
            roster(known).iter().for_each(|member| member.record.core(0).failures.add(1));
            known.look(now_ms, &mut || 0.0);
        };
        fail(&mut known, 1_000);
        assert_eq!((named(&known), known.crowd_said_ms), (MEMBERS_FAILING_NAMED_MAX, Some(1_000)));
        fail(&mut known, 1_250);
        known.set_members(&listed(&all[4..]), 1, 2_000);
        assert_eq!(named(&known), MEMBERS_FAILING_NAMED_MAX - 4);
        for member in roster(&known).iter() {
            member.record.core(0).successes.add(50);
        }
        known.look(3_000, &mut || 0.0);
        known.look(4_250, &mut || 0.0);
        assert_eq!(named(&known), 0, "they are well");
    }

    #[test]
    fn probes_take_out_even_the_last_one_and_are_forgotten_when_there_are_none_any_more() {
        let mut known = enrolled();
        assert!(!known.is_usable(), "nobody is known");
        known.set_members(&listed(&[1]), 1, 0);
        let endpoint = listed(&[1])[0].endpoint.clone();
        assert!(known.is_usable());
        assert!(known.probed(&endpoint, Err("status 503".to_owned()), (2, 3), 1));
        assert!(!known.is_usable() && standings(&known) == [Standing::Ejected]);
        let sight = known.sights().next().expect("one member");
        assert_eq!(sight.reason.map(ToString::to_string).as_deref(), Some("health check: status 503"));
        assert!(!known.probed(&listed(&[9])[0].endpoint, Err(String::new()), (2, 3), 1), "it went meanwhile");
        known.forget_probes(2);
        assert!(known.is_usable() && standings(&known) == [Standing::Usable]);
    }
}
