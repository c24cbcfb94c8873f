//! What `/metrics` shows: the groups of all cores, and what is known of the process, its members, issuers and
//! certificates.

use super::state::{Admin, SpanFigures};
use super::{predecessor, process};
use crate::gateway::core::readiness::Status;
use crate::telemetry::metrics::{Exposition, Kind};

use Kind::{Counter, Gauge};

/// What the build was told to be made from; empty: it was told nothing.
pub(super) const COMMIT: &str = match option_env!("GATEWAY_COMMIT") {
    Some(commit) => commit,
    None => "",
};

/// Everything.
pub(super) fn exposition(admin: &Admin) -> Exposition {
    let mut all = Exposition::default();
    let build = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("commit", COMMIT),
        ("control_driver", admin.control.text()),
    ];
    all.number(
        "build_info",
        Gauge,
        "The version that runs, the commit that it was built from, and the I/O driver of its control thread.",
        &build,
        1,
    );
    for (cpu, driver, metrics) in &admin.cores {
        let cpu = cpu.to_string();
        let labels = [("core", cpu.as_str()), ("driver", driver.text())];
        all.number("driver", Gauge, "The I/O driver of each core.", &labels, 1);
        metrics.each_group(&cpu, &mut |labels, group| all.group(labels, group));
    }
    of_process(admin, &mut all);
    of_spans(admin, &mut all);
    predecessor::expose((admin.predecessor)(), &mut all);
    of_certificates(admin, &mut all);
    of_members(admin, &mut all);
    of_issuers(admin, &mut all);
    admin.stream.iter().for_each(|group| all.group(&[], &**group));
    process::expose(&mut all);
    all
}

fn of_process(admin: &Admin, all: &mut Exposition) {
    for status in Status::ALL {
        let is_it = admin.readiness.get() == status;
        let help = "1 for the state that the process is in, 0 for the others.";
        all.number("state", Gauge, help, &[("state", status.text())], u64::from(is_it));
    }
    let (wanted, last) = (admin.config_version.get(), &admin.last_reload);
    all.number(
        "config_version_wanted",
        Gauge,
        "The version of the configuration that every core should apply.",
        &[],
        wanted,
    );
    let help = "1: the last reload was taken; 0: it was refused, or a core did not take it.";
    all.number("config_last_reload_successful", Gauge, help, &[], u64::from(last.is_taken()));
    let help = "When a reload was last taken, or the process began, in seconds since 1970.";
    all.number("config_last_reload_success_timestamp_seconds", Gauge, help, &[], last.unix_s());
    if let Some(refused) = &admin.access_log_refused {
        let help = "Access-log lines that could not be written: a full disk, a closed pipe.";
        all.number("access_log_lines_refused", Counter, help, &[], refused.get());
    }
}

fn of_spans(admin: &Admin, all: &mut Exposition) {
    let Some(SpanFigures { exported, undelivered, refused }) = (admin.spans)() else { return };
    all.number("spans_exported", Counter, "Spans that the collector has taken.", &[], exported);
    for (reason, count) in [("undelivered", undelivered), ("refused", refused)] {
        let help = "Spans that were lost, by reason.";
        all.number("spans_dropped", Counter, help, &[("reason", reason)], count);
    }
}

fn of_certificates(admin: &Admin, all: &mut Exposition) {
    let tls = (admin.tls)();
    for one in tls.iter().flat_map(|tls| tls.certificates()) {
        let names = one.facts.names();
        let labels = [("certificate", one.subject.as_str()), ("names", names.as_str())];
        let help = "When a certificate expires, in seconds since 1970.";
        all.number("certificate_expiry_timestamp_seconds", Gauge, help, &labels, one.facts.expires_unix_s);
    }
}

fn of_members(admin: &Admin, all: &mut Exposition) {
    for row in (admin.upstreams)() {
        let upstream = [("upstream", row.name.as_str())];
        for (state, count) in row.states() {
            let help = "Members of an upstream, by state: usable, or out.";
            all.number("upstream_members", Gauge, help, &[upstream[0], ("state", state)], count);
        }
        let help = "Requests that are in flight to an upstream now.";
        all.number("upstream_in_flight", Gauge, help, &upstream, row.in_flight());
        let help = "How often a member of an upstream was ejected for what the cores saw of it.";
        all.number("upstream_ejections", Counter, help, &upstream, row.ejections);
        let help = "Connections to the members of an upstream that could not be opened.";
        all.number("upstream_member_connect_failures", Counter, help, &upstream, row.connect_failures);
    }
}

fn of_issuers(admin: &Admin, all: &mut Exposition) {
    for row in (admin.issuers)() {
        let issuer = [("issuer", row.name.as_str())];
        let help = "Keys in the key set of an issuer that are in force.";
        all.number("issuer_keys", Gauge, help, &issuer, row.key_count);
        let help = "1: the key set of an issuer could not be had the last time.";
        all.number("issuer_keys_stale", Gauge, help, &issuer, u64::from(row.error.is_some()));
        if let Some(age_s) = row.age_s {
            let help = "Seconds since the key set of an issuer was had.";
            all.number("issuer_keys_age_seconds", Gauge, help, &issuer, age_s);
        }
        for (outcome, count) in [("success", row.successes), ("failure", row.failures)] {
            let help = "How often the key set of an issuer was asked for, by outcome.";
            all.number("issuer_key_fetches", Counter, help, &[issuer[0], ("outcome", outcome)], count);
        }
    }
}
