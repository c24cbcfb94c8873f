//! Which members of an upstream are out: those that the cores see failing, within bounds, and those whose probes fail.

use std::fmt;

use super::active::Active;
use super::outlier::{Outlier, Seen};
use crate::limits::{OUTLIER_MEMBERS_MIN, OUTLIER_REQUESTS_MIN, OUTLIER_WINDOW_MS};

/// What is known about one member.
#[derive(Debug, Clone, Default)]
pub struct MemberHealth {
    outlier: Outlier,
    active: Active,
    /// Why it is out; `None`: it is not.
    reason: Option<Reason>,
}

/// Why a member is out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// So many exchanges and connections failed without a success between them, over all cores.
    Row(u64),
    /// So many of a hundred of its requests succeed, far fewer than of the others, which is the second number.
    Rate(u64, u64),
    /// What its last probe found.
    Probe(String),
}

/// A member is out, or back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which one.
    pub index: usize,
    /// Why it is out; `None`: it is back.
    pub reason: Option<Reason>,
}

/// The members of one upstream, in the order of its roster.
#[derive(Debug, Clone, Default)]
pub struct UpstreamHealth {
    members: Vec<MemberHealth>,
    window_began_ms: Option<u64>,
}

impl UpstreamHealth {
    /// The members from now on. `kept`: for each of them what it was before, or what the cores have seen of a new one.
    pub fn replace(&mut self, kept: Vec<Result<usize, Seen>>) {
        let before = std::mem::take(&mut self.members);
        let member = |kept: Result<usize, Seen>| match kept {
            Ok(index) => before[index].clone(),
            Err(seen) => MemberHealth { outlier: Outlier::new(seen), ..MemberHealth::default() },
        };
        self.members = kept.into_iter().map(member).collect();
    }

    /// The members.
    pub fn members(&self) -> &[MemberHealth] {
        &self.members
    }

    /// Takes what the cores have seen of each member, and the time. Returns what was new of each, and who is out or
    /// back. `jitter` gives numbers from -0.1 to 0.1.
    ///
    /// A member is ejected only while at most half of all are out together with it, so the last one never is. Its
    /// probes may take it out all the same.
    pub fn look(
        &mut self,
        seen: &[Seen],
        now_ms: u64,
        jitter: &mut dyn FnMut() -> f64,
    ) -> (Vec<Seen>, Vec<Change>) {
        let mut all = Vec::with_capacity(seen.len());
        let mut changes = Vec::new();
        for (index, (member, seen)) in self.members.iter_mut().zip(seen).enumerate() {
            all.push(member.outlier.look(*seen));
            if member.outlier.returns(now_ms) && !member.active.is_out() {
                member.reason = None;
                changes.push(Change { index, reason: None });
            }
        }
        for index in 0..self.members.len() {
            if let Some(row) = self.members[index].outlier.row() {
                changes.extend(self.eject(index, Reason::Row(row), now_ms, jitter()));
            }
        }
        let began_ms = *self.window_began_ms.get_or_insert(now_ms);
        if now_ms - began_ms >= OUTLIER_WINDOW_MS {
            self.window_began_ms = Some(now_ms);
            for (index, reason) in self.slow_ones() {
                changes.extend(self.eject(index, reason, now_ms, jitter()));
            }
        }
        (all, changes)
    }

    /// Takes the result of a probe: `Err` says what was wrong. Returns whether the member is out or back now.
    pub fn probed(
        &mut self,
        index: usize,
        result: Result<(), String>,
        rise: u32,
        fall: u32,
    ) -> Option<Change> {
        let member = self.members.get_mut(index)?;
        let was_out = member.reason.is_some();
        member.active.probed(result.is_ok(), rise, fall);
        let reason = match (result, member.active.is_out()) {
            (Err(why), true) => Some(Reason::Probe(why)),
            // Its last good probes do not count before there are enough of them.
            (Ok(()), true) => member.reason.clone(),
            (_, false) if member.outlier.until_ms.is_some() => member.reason.clone(),
            (_, false) => None,
        };
        let is_change = reason.is_some() != was_out;
        member.reason = reason.clone();
        is_change.then_some(Change { index, reason })
    }

    /// Nothing is probed any more: what probes have said does not count. Returns who is back.
    pub fn forget_probes(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (index, member) in self.members.iter_mut().enumerate() {
            member.active = Active::default();
            if member.reason.is_some() && member.outlier.until_ms.is_none() {
                member.reason = None;
                changes.push(Change { index, reason: None });
            }
        }
        changes
    }

    /// Ejects a member, if it is not out and at most half of all are then.
    fn eject(&mut self, index: usize, reason: Reason, now_ms: u64, jitter: f64) -> Option<Change> {
        let out = self.members.iter().filter(|member| member.is_out()).count();
        let member = &mut self.members[index];
        if member.is_out() || (out + 1) * 2 > self.members.len() {
            return None;
        }
        let member = &mut self.members[index];
        member.outlier.eject(now_ms, jitter);
        member.reason = Some(reason.clone());
        Some(Change { index, reason: Some(reason) })
    }

    /// The members whose rate of success is far under that of the others, by the window that ends with this call.
    fn slow_ones(&mut self) -> Vec<(usize, Reason)> {
        let windows: Vec<(u64, u64)> = self.members.iter_mut().map(|one| one.outlier.end_window()).collect();
        let rate = |(successes, failures): (u64, u64)| successes as f64 / (successes + failures) as f64;
        let judged: Vec<(usize, f64)> = windows
            .into_iter()
            .enumerate()
            .filter(|(_, window)| window.0 + window.1 >= OUTLIER_REQUESTS_MIN)
            .map(|(index, window)| (index, rate(window)))
            .collect();
        if judged.len() < OUTLIER_MEMBERS_MIN {
            return Vec::new();
        }
        let mean = judged.iter().map(|(_, rate)| rate).sum::<f64>() / judged.len() as f64;
        let variance =
            judged.iter().map(|(_, rate)| (rate - mean).powi(2)).sum::<f64>() / judged.len() as f64;
        let least = mean - DEVIATIONS * variance.sqrt();
        let percent = |rate: f64| (rate * 100.0).round() as u64;
        let slow = judged.into_iter().filter(|(_, rate)| *rate < least && mean - rate > RATE_GAP_MIN);
        slow.map(|(index, rate)| (index, Reason::Rate(percent(rate), percent(mean)))).collect()
    }
}

impl MemberHealth {
    /// Whether requests should go to others.
    pub fn is_out(&self) -> bool {
        self.reason.is_some()
    }

    /// Why it is out.
    pub fn reason(&self) -> Option<&Reason> {
        self.reason.as_ref()
    }

    /// What its probes say.
    pub fn active(&self) -> &Active {
        &self.active
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Row(count) => write!(f, "{count} failures in a row"),
            Reason::Rate(own, others) => write!(f, "{own} % succeed, of all members' {others} %"),
            Reason::Probe(why) => write!(f, "health check: {why}"),
        }
    }
}

/// How many standard deviations under the mean a rate of success is far (Envoy's default).
const DEVIATIONS: f64 = 1.9;
/// Where nearly everything succeeds, the deviation is so small that a handful of failures would be far from the mean.
const RATE_GAP_MIN: f64 = 0.05;

#[cfg(test)]
mod tests;
