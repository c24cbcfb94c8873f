//! The pages of the admin listener: health, readiness and metrics.

use std::cell::Cell;
use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;

use super::hosts::Stranger;
use super::issuers::{self, IssuerRow};
use super::upstreams::{self, UpstreamRow};
use crate::config::Config;
use crate::gateway::core::Metrics;
use crate::gateway::core::readiness::Readiness;
use crate::http::{Method, ProtocolError, Request};
use crate::net::Io;
use crate::net::runtime::Driver;
use crate::telemetry::metrics::prometheus::{self, Extra};
use crate::telemetry::metrics::{Counter, Gauge};
use crate::tls::Termination;

/// The state of the admin listener.
pub struct Admin {
    /// The readiness of the process.
    pub readiness: Arc<Readiness>,
    /// CPU, I/O driver and metrics of each core.
    pub cores: Vec<(usize, Driver, Metrics)>,
    /// The I/O driver of the control thread.
    pub control: Driver,
    /// Number of access-log lines that could not be written. `None` if the access log is off.
    pub access_log_refused: Option<Arc<Counter>>,
    /// Timers and buffers of the control thread.
    pub io: Rc<Io>,
    /// Set when the listener is handed over to the successor process.
    pub is_handed_over: Rc<Cell<bool>>,
    /// The version of the configuration that every core should have applied.
    pub config_version: Arc<Gauge>,
    /// Returns the current configuration.
    pub config: Box<dyn Fn() -> Arc<Config>>,
    /// Returns the upstreams and their members.
    pub upstreams: Box<dyn Fn() -> Vec<UpstreamRow>>,
    /// Returns the issuers and their keys.
    pub issuers: Box<dyn Fn() -> Vec<IssuerRow>>,
    /// Returns the current TLS towards clients.
    pub tls: Box<dyn Fn() -> Option<Arc<Termination>>>,
}

/// A response.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) reason: &'static str,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

impl Page {
    fn text(status: u16, reason: &'static str, body: String) -> Page {
        Page { status, reason, content_type: TEXT, body }
    }

    /// The response to a malformed request.
    pub(super) fn refused(error: ProtocolError) -> Page {
        Page::text(error.status(), "Refused", format!("{}\n", error.detail()))
    }

    /// The response to a request for another host, or of a page of another origin.
    pub(super) fn stranger(stranger: Stranger) -> Page {
        match stranger {
            // RFC 9110 §15.5.20: "not able to produce an authoritative response for the target URI".
            Stranger::Host => Page::text(
                421,
                "Misdirected Request",
                "this listener has no such name: ask by IP address, as localhost, or by a name in ADMIN_HOSTS\n".into(),
            ),
            Stranger::Origin => {
                Page::text(403, "Forbidden", "this listener does not answer pages of another origin\n".into())
            }
        }
    }
}

impl Admin {
    /// Returns the response to a request.
    pub(super) fn page(&self, request: &Request) -> Page {
        let is_read = matches!(request.method, Method::Get | Method::Head);
        match request.path() {
            b"/healthz" | b"/readyz" | b"/metrics" | b"/issuers" | b"/upstreams" if !is_read => {
                Page::text(405, "Method Not Allowed", "GET only\n".into())
            }
            b"/healthz" => Page::text(200, "OK", "ok\n".into()),
            b"/readyz" if self.readiness.get().is_ready() => Page::text(200, "OK", self.readiness_text()),
            b"/readyz" => Page::text(503, "Service Unavailable", self.readiness_text()),
            b"/metrics" => {
                Page { status: 200, reason: "OK", content_type: PROMETHEUS, body: self.metrics_text() }
            }
            b"/issuers" => Page::text(200, "OK", issuers::text(&(self.issuers)())),
            b"/upstreams" => {
                let rows = (self.upstreams)();
                match wants_json(request) {
                    true => {
                        Page { status: 200, reason: "OK", content_type: JSON, body: upstreams::json(&rows) }
                    }
                    false => Page::text(200, "OK", upstreams::text(&rows)),
                }
            }
            _ => Page::text(404, "Not Found", "not found\n".into()),
        }
    }

    fn readiness_text(&self) -> String {
        let mut text = format!("{}\n", self.readiness.get().text());
        for (index, (cpu, driver, metrics)) in self.cores.iter().enumerate() {
            let redis = if metrics.redis.breaker_open.get() > 0 { ", redis out of reach" } else { "" };
            let _ = write!(text, "core {index}: cpu {cpu}, {driver}{redis}");
            let (applied, wanted) = (metrics.core.config_version.get(), self.config_version.get());
            if applied != wanted {
                let _ = write!(text, ", configuration {applied} of {wanted}");
            }
            text.push('\n');
        }
        let _ = writeln!(text, "control: {}", self.control);
        text
    }

    fn metrics_text(&self) -> String {
        let cores = self.cores.iter().map(|(cpu, driver, metrics)| prometheus::Core {
            cpu: *cpu,
            driver: driver.text(),
            metrics,
        });
        let cores: Vec<_> = cores.collect();
        let control = [("driver", self.control.text())];
        let mut extra = vec![Extra {
            name: "control_driver",
            kind: "gauge",
            help: "The I/O driver of the control thread.",
            labels: &control,
            value: 1,
        }];
        extra.push(Extra {
            name: "config_version_wanted",
            kind: "gauge",
            help: "The version of the configuration that every core should apply.",
            labels: &[],
            value: self.config_version.get(),
        });
        extra.extend(self.access_log_refused.as_ref().map(|refused| Extra {
            name: "access_log_lines_refused",
            kind: "counter",
            help: "Access-log lines that could not be written: a full disk, a closed pipe.",
            labels: &[],
            value: refused.get(),
        }));
        let tls = (self.tls)();
        let certificates = tls.iter().flat_map(|tls| tls.certificates());
        let certificates: Vec<_> = certificates.map(|one| (one, one.facts.names())).collect();
        let labels: Vec<_> = certificates
            .iter()
            .map(|(one, names)| [("certificate", one.subject.as_str()), ("names", names.as_str())])
            .collect();
        extra.extend(certificates.iter().zip(&labels).map(|((one, _), labels)| Extra {
            name: "certificate_expiry_timestamp_seconds",
            kind: "gauge",
            help: "When a certificate expires, in seconds since 1970.",
            labels,
            value: one.facts.expires_unix_s,
        }));
        let rows = (self.upstreams)();
        let states = rows.iter().flat_map(|row| row.states().map(|(state, count)| (row, state, count)));
        let states: Vec<_> = states.collect();
        let labels: Vec<_> = states
            .iter()
            .map(|(row, state, _)| [("upstream", row.name.as_str()), ("state", *state)])
            .collect();
        extra.extend(states.iter().zip(&labels).map(|((_, _, count), labels)| Extra {
            name: "upstream_members",
            kind: "gauge",
            help: "Members of an upstream, by state: usable, or out.",
            labels,
            value: *count,
        }));
        let names: Vec<_> = rows.iter().map(|row| [("upstream", row.name.as_str())]).collect();
        extra.extend(rows.iter().zip(&names).map(|(row, labels)| Extra {
            name: "upstream_ejections",
            kind: "counter",
            help: "How often a member of an upstream was ejected for what the cores saw of it.",
            labels,
            value: row.ejections,
        }));
        extra.extend(rows.iter().zip(&names).map(|(row, labels)| Extra {
            name: "upstream_member_connect_failures",
            kind: "counter",
            help: "Connections to the members of an upstream that could not be opened.",
            labels,
            value: row.connect_failures,
        }));
        let issuers = (self.issuers)();
        let names: Vec<_> = issuers.iter().map(|row| [("issuer", row.name.as_str())]).collect();
        extra.extend(issuers.iter().zip(&names).map(|(row, labels)| Extra {
            name: "issuer_keys",
            kind: "gauge",
            help: "Keys in the key set of an issuer that are in force.",
            labels,
            value: row.key_count,
        }));
        extra.extend(issuers.iter().zip(&names).map(|(row, labels)| Extra {
            name: "issuer_keys_stale",
            kind: "gauge",
            help: "1: the key set of an issuer could not be had the last time.",
            labels,
            value: u64::from(row.error.is_some()),
        }));
        let aged = || issuers.iter().zip(&names).filter_map(|(row, labels)| Some((row.age_s?, labels)));
        extra.extend(aged().map(|(age_s, labels)| Extra {
            name: "issuer_keys_age_seconds",
            kind: "gauge",
            help: "Seconds since the key set of an issuer was had.",
            labels,
            value: age_s,
        }));
        let outcomes = issuers.iter().flat_map(|row| {
            let name = ("issuer", row.name.as_str());
            [([name, ("outcome", "success")], row.successes), ([name, ("outcome", "failure")], row.failures)]
        });
        let outcomes: Vec<_> = outcomes.collect();
        extra.extend(outcomes.iter().map(|(labels, value)| Extra {
            name: "issuer_key_fetches",
            kind: "counter",
            help: "How often the key set of an issuer was asked for, by outcome.",
            labels,
            value: *value,
        }));
        let mut text = String::new();
        prometheus::render(&cores, &Metrics::default(), &extra, &mut text);
        text
    }
}

/// Whether the page should be JSON: `?format=json`, or an `Accept` that names it.
fn wants_json(request: &Request) -> bool {
    let accepts =
        |value: &[u8]| value.to_ascii_lowercase().windows(JSON.len()).any(|part| part == JSON.as_bytes());
    match request.query() {
        b"?format=json" => true,
        b"?format=text" => false,
        _ => {
            let fields = request
                .fields
                .iter()
                .filter(|field| field.name.of(request.bytes()).eq_ignore_ascii_case(b"accept"));
            fields.map(|field| field.value.of(request.bytes())).any(accepts)
        }
    }
}

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
