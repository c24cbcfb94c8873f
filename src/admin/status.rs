//! The status page and its figures: everything that an operator asks first, in one page that loads nothing else and
//! asks for `/status.json` each second. A poll takes none of the listener's places between two answers, as an open
//! stream would.

use std::fmt::Write;
use std::sync::OnceLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::issuers::IssuerRow;
use super::state::Admin;
use super::{metrics, moment, process, upstreams};
use crate::clock;
use crate::telemetry::log;

/// The page.
pub(super) const HTML: &str = include_str!("status.html");

/// Its `Content-Security-Policy`: it runs its own script and no other, and asks nobody but this listener. What it shows
/// comes from a configuration and a log, which may have anything in them.
pub(super) fn policy() -> &'static str {
    static POLICY: OnceLock<String> = OnceLock::new();
    POLICY.get_or_init(|| {
        let mut policy = "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; \
                          form-action 'none'; frame-ancestors 'none'"
            .to_owned();
        for (directive, tag) in [("script-src", "script"), ("style-src", "style")] {
            let hash = STANDARD.encode(digest(&SHA256, inside(tag).as_bytes()));
            let _ = write!(policy, "; {directive} 'sha256-{hash}'");
        }
        policy
    })
}

/// What stands in the page between the tags of this name.
fn inside(tag: &str) -> &'static str {
    let behind = HTML.split_once(&format!("<{tag}>")).map_or("", |(_, behind)| behind);
    behind.split_once(&format!("</{tag}>")).map_or("", |(inside, _)| inside)
}

/// Everything that `/metrics` says, the members of upstreams, the issuers, what goes on at this moment, and the latest
/// lines of the log.
pub(super) fn json(admin: &Admin) -> String {
    let (unix_us, started_unix_s) = (clock::unix_us(), process::started_unix_s().unwrap_or(0));
    let issuer = |row: &IssuerRow| {
        let IssuerRow { name, source, keys, error, .. } = row;
        json!({ "name": name, "state": row.state(), "source": source, "keys": keys, "error": error })
    };
    let figures = json!({
        "unix_ms": unix_us / 1_000,
        "started_unix_s": started_unix_s,
        "uptime_s": (unix_us / 1_000_000).saturating_sub(started_unix_s),
        "version": env!("CARGO_PKG_VERSION"),
        "commit": metrics::COMMIT,
        "state": admin.readiness.get().text(),
        "metrics": metrics::exposition(admin).json(),
        "upstreams": upstreams::values(&(admin.upstreams)()),
        "issuers": (admin.issuers)().iter().map(issuer).collect::<Vec<Value>>(),
        "in_flight": moment::in_flight(admin),
        "talkers": moment::talkers(admin),
        "limited": moment::limited(admin),
        "log": log::recent(),
    });
    format!("{figures}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_script_and_one_style_and_its_policy_names_both() {
        for tag in ["script", "style"] {
            assert_eq!(HTML.matches(&format!("<{tag}")).count(), 1, "{tag}");
            assert!(inside(tag).len() > 500, "{tag}");
        }
        assert_eq!(policy().matches("'sha256-").count(), 2);
        for outside in ["http://", "https://", "src=", "onclick", "innerHTML", "style=\""] {
            assert!(!HTML.contains(outside), "{outside}");
        }
    }
}
