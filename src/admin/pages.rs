//! The pages of the admin listener: health, readiness, metrics and status.

use std::fmt::Write;

use super::hosts::Stranger;
use super::state::Admin;
use super::{issuers, metrics, status, upstreams};
use crate::http::{Field, Method, ProtocolError, Request};
use crate::telemetry::metrics::Format;

/// A response.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) reason: &'static str,
    pub(super) content_type: &'static str,
    /// The `Content-Security-Policy` of a page for browsers.
    pub(super) policy: Option<&'static str>,
    pub(super) body: String,
}

impl Page {
    fn text(status: u16, reason: &'static str, body: String) -> Page {
        Page { status, reason, content_type: TEXT, policy: None, body }
    }

    fn of_type(content_type: &'static str, body: String) -> Page {
        Page { status: 200, reason: "OK", content_type, policy: None, body }
    }

    /// The response to a malformed request.
    pub(super) fn refused(error: ProtocolError) -> Page {
        Page::text(error.status(), "Refused", format!("{}\n", error.detail()))
    }

    /// The response to a request without the token.
    pub(super) fn unauthorized() -> Page {
        Page::text(
            401,
            "Unauthorized",
            "this listener asks for its token: Authorization: Bearer TOKEN\n".into(),
        )
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
            b"/" | b"/healthz" | b"/readyz" | b"/metrics" | b"/issuers" | b"/upstreams" | b"/status.json"
                if !is_read =>
            {
                Page::text(405, "Method Not Allowed", "GET only\n".into())
            }
            b"/" => Page { policy: Some(status::policy()), ..Page::of_type(HTML, status::HTML.to_owned()) },
            b"/status.json" => Page::of_type(JSON, status::json(self)),
            b"/healthz" => Page::text(200, "OK", "ok\n".into()),
            b"/readyz" if self.readiness.get().is_ready() => Page::text(200, "OK", self.readiness_text()),
            b"/readyz" => Page::text(503, "Service Unavailable", self.readiness_text()),
            b"/metrics" => {
                let format = wanted_format(request);
                let body = metrics::exposition(self).text(format);
                Page::of_type(content_type(format), body)
            }
            b"/issuers" => Page::text(200, "OK", issuers::text(&(self.issuers)())),
            b"/upstreams" => {
                let rows = (self.upstreams)();
                match wants_json(request) {
                    true => Page::of_type(JSON, upstreams::json(&rows)),
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
}

/// Whether the page should be JSON: `?format=json`, or an `Accept` that names it.
fn wants_json(request: &Request) -> bool {
    match request.query() {
        b"?format=json" => true,
        b"?format=text" => false,
        _ => accepts(request, JSON),
    }
}

/// Prometheus asks for OpenMetrics by name, among others that it would take as well.
fn wanted_format(request: &Request) -> Format {
    if accepts(request, "application/openmetrics-text") { Format::OpenMetrics } else { Format::Prometheus }
}

fn content_type(format: Format) -> &'static str {
    match format {
        Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
    }
}

/// Whether an `Accept` names this type.
fn accepts(request: &Request, media_type: &str) -> bool {
    let names = |value: &[u8]| {
        value.to_ascii_lowercase().windows(media_type.len()).any(|part| part == media_type.as_bytes())
    };
    let is_accept = |field: &&Field| field.name.of(request.bytes()).eq_ignore_ascii_case(b"accept");
    request.fields.iter().filter(is_accept).any(|field| names(field.value.of(request.bytes())))
}

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
