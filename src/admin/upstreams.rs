//! The page of upstreams: who their members are, who of them is out and why, and what the cores have seen of each.

use std::fmt::Write;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::upstream::MemberRecord;

/// An upstream, as an operator sees it.
pub struct UpstreamRow {
    /// Its name.
    pub name: String,
    /// Where its members come from.
    pub source: String,
    /// Its members.
    pub members: Vec<MemberRow>,
    /// How often a member was ejected for what the cores have seen of it.
    pub ejections: u64,
    /// Connections to its members that could not be opened.
    pub connect_failures: u64,
}

/// A member, as an operator sees it.
pub struct MemberRow {
    /// Its address.
    pub address: String,
    /// Its part of the requests.
    pub weight: u32,
    /// Why it is out; `None`: it is not.
    pub reason: Option<String>,
    /// Whether it was probed.
    pub is_probed: bool,
    /// For how long it is as it is, in seconds.
    pub since_s: u64,
    /// Why it was out last, or what its last failed probe found.
    pub last_error: Option<String>,
    /// What the cores have seen of it.
    pub record: Arc<MemberRecord>,
}

impl UpstreamRow {
    /// Its members by state: how many are usable, and how many are out.
    pub(super) fn states(&self) -> [(&'static str, u64); 2] {
        let out = self.members.iter().filter(|member| member.reason.is_some()).count() as u64;
        [("usable", self.members.len() as u64 - out), ("out", out)]
    }

    /// Requests that are in flight to its members.
    pub(super) fn in_flight(&self) -> u64 {
        self.members.iter().map(MemberRow::in_flight).sum()
    }
}

impl MemberRow {
    /// Requests that are in flight to it.
    pub(super) fn in_flight(&self) -> u64 {
        self.record.cores().iter().map(|core| core.in_flight.get()).sum()
    }

    fn state(&self) -> &'static str {
        if self.reason.is_some() { "out" } else { "usable" }
    }
}

/// As a table for people.
pub(super) fn text(rows: &[UpstreamRow]) -> String {
    let mut text = String::new();
    for row in rows {
        let UpstreamRow { name, source, members, ejections, connect_failures } = row;
        let [(_, usable), _] = row.states();
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "{name}: {usable} of {} usable, from {source}, ejections {ejections}, \
             failed connections {connect_failures}",
            members.len()
        );
        for member in members {
            let [in_flight, idle, successes, failures, connect_failures] = sums(&member.record);
            let MemberRow { address, weight, since_s, .. } = member;
            let _ = write!(
                text,
                "  {address}  {} for {since_s}s, weight {weight}, in flight {in_flight}, idle {idle}, \
                 successes {successes}, failures {failures}, failed connections {connect_failures}",
                member.state()
            );
            match (&member.reason, &member.last_error) {
                (Some(reason), _) => drop(writeln!(text, ": {reason}")),
                (None, Some(error)) => drop(writeln!(text, ", last error: {error}")),
                (None, None) => text.push('\n'),
            }
        }
    }
    if rows.is_empty() {
        text.push_str("no upstreams\n");
    }
    text
}

/// As JSON for programs: the same, and the numbers of each core.
pub(super) fn json(rows: &[UpstreamRow]) -> String {
    format!("{}\n", json!({ "upstreams": values(rows) }))
}

/// Each upstream as a value of JSON.
pub(super) fn values(rows: &[UpstreamRow]) -> Vec<Value> {
    let member = |member: &MemberRow| {
        let [in_flight, idle, successes, failures, connect_failures] = sums(&member.record);
        let cores = member.record.cores().iter().map(|core| {
            json!({
                "in_flight": core.in_flight.get(),
                "idle": core.idle.get(),
                "successes": core.successes.get(),
                "failures": core.failures.get(),
                "connect_failures": core.connect_failures.get(),
            })
        });
        json!({
            "address": member.address,
            "weight": member.weight,
            "state": member.state(),
            "reason": member.reason,
            "since_seconds": member.since_s,
            "probed": member.is_probed,
            "last_error": member.last_error,
            "in_flight": in_flight,
            "idle": idle,
            "successes": successes,
            "failures": failures,
            "connect_failures": connect_failures,
            "cores": cores.collect::<Vec<Value>>(),
        })
    };
    rows.iter()
        .map(|row| {
            json!({
                "name": row.name,
                "source": row.source,
                "ejections": row.ejections,
                "connect_failures": row.connect_failures,
                "members": row.members.iter().map(member).collect::<Vec<Value>>(),
            })
        })
        .collect()
}

/// In flight, idle, successes, failures and failed connections, over all cores.
fn sums(record: &MemberRecord) -> [u64; 5] {
    record.cores().iter().fold([0; 5], |sums, core| {
        let seen = [
            core.in_flight.get(),
            core.idle.get(),
            core.successes.get(),
            core.failures.get(),
            core.connect_failures.get(),
        ];
        std::array::from_fn(|nth| sums[nth] + seen[nth])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Endpoint;

    fn rows() -> Vec<UpstreamRow> {
        let member = |last: u8, reason: Option<&str>, last_error: Option<&str>| {
            let record = MemberRecord::new(Endpoint::tcp(([127, 0, 0, last], 80).into()), 2);
            record.core(0).in_flight.set(1);
            record.core(1).in_flight.set(2);
            record.core(1).successes.add(7);
            MemberRow {
                address: record.endpoint().text().to_owned(),
                weight: 3,
                reason: reason.map(str::to_owned),
                is_probed: false,
                since_s: 5,
                last_error: last_error.map(str::to_owned),
                record: Arc::new(record),
            }
        };
        let members = vec![
            member(1, None, None),
            member(2, Some("5 failures in a row"), Some("5 failures in a row")),
            member(3, None, Some("health check: status 503")),
        ];
        let source = "srv _chat._tcp.example".to_owned();
        vec![UpstreamRow { name: "chat".to_owned(), source, members, ejections: 1, connect_failures: 4 }]
    }

    #[test]
    fn a_person_sees_one_line_for_each_member() {
        let text = text(&rows());
        let expected = [
            "chat: 2 of 3 usable, from srv _chat._tcp.example, ejections 1, failed connections 4",
            "  127.0.0.1:80  usable for 5s, weight 3, in flight 3, idle 0, successes 7, failures 0, failed connections \
             0",
            "  127.0.0.2:80  out for 5s, weight 3, in flight 3, idle 0, successes 7, failures 0, failed connections 0: \
             5 failures in a row",
            "  127.0.0.3:80  usable for 5s, weight 3, in flight 3, idle 0, successes 7, failures 0, failed connections \
             0, last error: health check: status 503",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
        assert_eq!(super::text(&[]), "no upstreams\n");
    }

    #[test]
    fn a_program_sees_each_core() {
        let seen: Value = serde_json::from_str(&json(&rows())).expect("JSON");
        let member = &seen["upstreams"][0]["members"][1];
        assert_eq!((&member["state"], &member["in_flight"]), (&json!("out"), &json!(3)));
        assert_eq!(member["cores"][1]["in_flight"], 2);
        assert_eq!(member["reason"], "5 failures in a row");
        assert_eq!(seen["upstreams"][0]["members"][0]["reason"], Value::Null);
    }
}
