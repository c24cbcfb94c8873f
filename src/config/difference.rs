//! The changes between the running configuration and a new one, for the log of a reload.

use std::collections::BTreeMap;
use std::fmt;

use super::describe::{issuer_row, route_row, show, written_issuers};
use super::key::{AnyKey, OnReload, Shown};
use super::keys::sections;
use super::meaning::{Config, Issuer};
use super::upstream_text;

/// A setting, upstream or route that changes. Printed, it is `KEY: from "…" to "…"`; of a secret it says only that
/// it is another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key, or `route NAME`, or `upstream NAME`.
    pub subject: String,
    /// The old value as `check` prints it. `None`: there was none, or it is a secret.
    pub from: Option<String>,
    /// The new value as `check` prints it. `None`: there is none any more, or it is a secret.
    pub to: Option<String>,
    /// Whether only a new process can take the new value.
    pub needs_restart: bool,
}

/// All changes: settings in the order of `check`, then upstreams and routes by name.
#[must_use]
pub fn difference(running: &Config, wanted: &Config) -> Vec<Change> {
    // The text of a setting may depend on another one: what a reload takes is shown as it will be after the reload.
    let settled = settle(running, wanted.clone());
    let mut changes: Vec<Change> =
        sections::all().filter_map(|key| change(key, running, wanted, &settled)).collect();
    compare("upstream", &upstreams(running), &upstreams(wanted), &mut changes);
    compare("route", &routes(running), &routes(wanted), &mut changes);
    compare("issuer", &issuers(running), &issuers(wanted), &mut changes);
    changes.extend(other_keys(running, wanted));
    changes
}

/// The configuration after a reload: the wanted one, except for settings that need a restart. Those keep their
/// running values.
#[must_use]
pub fn settle(running: &Config, mut wanted: Config) -> Config {
    for key in sections::all() {
        if let OnReload::NeedsRestart(keep) = key.about().on_reload {
            keep(running, &mut wanted);
        }
    }
    wanted
}

/// The change of one setting, if there is one.
fn change(key: &dyn AnyKey, running: &Config, wanted: &Config, settled: &Config) -> Option<Change> {
    let about = key.about();
    let needs_restart = matches!(about.on_reload, OnReload::NeedsRestart(_));
    let (env, from) = show(key, running)?;
    let subject = env.to_owned();
    if let Shown::Secret { differs, .. } = about.shown
        && differs(running, wanted)
    {
        return Some(Change { subject, from: None, to: None, needs_restart });
    }
    let (_, to) = show(key, if needs_restart { wanted } else { settled })?;
    (from != to).then_some(Change { subject, from: Some(from), to: Some(to), needs_restart })
}

/// Descriptions by name.
type Named = BTreeMap<String, String>;

fn upstreams(config: &Config) -> Named {
    config.upstreams.iter().map(|known| (known.name.clone(), upstream_text::show(known))).collect()
}

fn routes(config: &Config) -> Named {
    let row = |route| route_row(config, route)[1..].join(" ").trim_end().to_owned();
    config.routes.iter().map(|route| (route.name.clone(), row(route))).collect()
}

fn issuers(config: &Config) -> Named {
    let row = |issuer| issuer_row(issuer)[1..].join(" ").trim_end().to_owned();
    written_issuers(config).map(|issuer| (issuer.name.clone(), row(issuer))).collect()
}

/// The issuers that stay the same but for what their files hold.
fn other_keys(running: &Config, wanted: &Config) -> Vec<Change> {
    let before = |name: &str| written_issuers(running).find(|issuer| issuer.name == name);
    let is_other = |now: &&Issuer| {
        before(&now.name).is_some_and(|before| {
            (&before.secrets, &before.pem) != (&now.secrets, &now.pem)
                && issuer_row(before) == issuer_row(now)
        })
    };
    let others = written_issuers(wanted).filter(is_other);
    let change = |issuer: &Issuer| Change {
        subject: format!("issuer {}", issuer.name),
        from: None,
        to: None,
        needs_restart: false,
    };
    others.map(change).collect()
}

fn compare(noun: &str, before: &Named, after: &Named, changes: &mut Vec<Change>) {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names.into_iter().filter(|name| before.get(*name) != after.get(*name)) {
        changes.push(Change {
            subject: format!("{noun} {name}"),
            from: before.get(name).cloned(),
            to: after.get(name).cloned(),
            needs_restart: false,
        });
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { subject, from, to, .. } = self;
        match (from, to) {
            (None, None) => write!(f, "{subject}: another secret or key"),
            (None, Some(to)) => write!(f, "{subject}: new, {to:?}"),
            (Some(_), None) => write!(f, "{subject}: gone"),
            (Some(from), Some(to)) => write!(f, "{subject}: from {from:?} to {to:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{TempFile, config};

    fn told(before: &str, after: &str) -> Vec<String> {
        difference(&config(before), &config(after)).iter().map(Change::to_string).collect()
    }

    #[test]
    fn equal_configurations_do_not_differ() {
        let file = "port = 1\n[upstreams.a]\nurl = 'http://a'\n[[route]]\nname = 'r'\npaths = ['/']\nupstream = 'a'\n";
        assert_eq!(told("", ""), [""; 0]);
        assert_eq!(told(file, file), [""; 0]);
    }

    #[test]
    fn a_setting_is_told_with_both_values() {
        assert_eq!(
            told("body_max_bytes = '1KiB'\n", "keep_alive_timeout = '5s'\n"),
            ["KEEP_ALIVE_TIMEOUT: from \"75s\" to \"5s\"", "BODY_MAX_BYTES: from \"1KiB\" to \"10MiB\""]
        );
    }

    #[test]
    fn routes_and_upstreams_are_told_by_name() {
        let file = |name: &str, url: &str, path: &str| {
            format!(
                "[upstreams.a]\nurl = '{url}'\n[[route]]\nname = '{name}'\npaths = ['{path}']\nupstream = 'a'\n"
            )
        };
        let one = file("r", "http://a", "/x");
        assert_eq!(
            told(&one, &file("r", "http://b", "/x")),
            ["upstream a: from \"http://a:80\" to \"http://b:80\""]
        );
        assert_eq!(
            told(&one, &file("r", "http://a'\nconnection_reuse = 'false", "/x")),
            ["upstream a: from \"http://a:80\" to \"http://a:80, connection_reuse = false\""]
        );
        assert_eq!(
            told(&file("r", "https://a", "/x"), &file("r", "https://a'\ntls.ca_file = '/b.pem", "/x")),
            ["upstream a: from \"https://a:443\" to \"https://a:443, ca_file = /b.pem\""]
        );
        assert_eq!(
            told(&one, &file("r", "http://a", "/y")),
            ["route r: from \"protected http any /x a\" to \"protected http any /y a\""]
        );
        assert_eq!(
            told(&one, &file("s", "http://a", "/x")),
            ["route r: gone", "route s: new, \"protected http any /x a\""]
        );
    }

    #[test]
    fn issuers_are_told_by_name_and_so_are_other_keys_in_their_files() {
        let file = TempFile::new("difference-issuer", b"a secret of thirty-two bytes or so");
        let text = |rest: &str| {
            let path = file.path();
            format!(
                "[[issuer]]\nname = 'corp'\nissuer = 'i'\naudiences = ['a']\nsecret_file = '{path}'\n{rest}"
            )
        };
        let before = config(&text(""));
        assert_eq!(told(&text(""), &text("leeway = '5s'\n")).len(), 1);
        assert!(told("", &text(""))[0].starts_with("issuer corp: new"), "{:?}", told("", &text("")));
        std::fs::write(file.path(), b"another one, as long as the one before").expect("our own file");
        let changes = difference(&before, &config(&text("")));
        let lines: Vec<String> = changes.iter().map(Change::to_string).collect();
        assert_eq!(lines, ["issuer corp: another secret or key"]);
    }

    #[test]
    fn of_a_secret_only_that_it_is_another() {
        let other =
            "jwt_secret_previous = 'hunter2hunter2hunter2hunter2hunter2'\nredis_password = 'hunter2'\n";
        let told = told("", other);
        assert_eq!(told[..1], ["JWT_SECRET: another secret or key"]);
        assert!(told.contains(&"REDIS_PASSWORD: another secret or key".to_owned()), "{told:?}");
        assert!(!told.join("").contains("hunter2"));
    }

    #[test]
    fn a_reload_keeps_and_reports_what_needs_a_restart() {
        let other = "port = 1\nbind = '::1'\nadmin_addr = 'off'\ncores = 2\nio_driver = 'epoll'\naccess_log = 'off'\n\
                     pid_file = '/a/b'\nrate_limit_store = 'memory'\nbody_timeout = '1s'\n";
        let (running, wanted) = (config(""), config(other));
        let changes = difference(&running, &wanted);
        let fixed: Vec<&str> =
            changes.iter().filter(|change| change.needs_restart).map(|c| c.subject.as_str()).collect();
        let expected = [
            "PORT",
            "BIND",
            "ADMIN_ADDR",
            "CORES",
            "IO_DRIVER",
            "ACCESS_LOG",
            "PID_FILE",
            "RATE_LIMIT_STORE",
        ];
        assert_eq!(fixed, expected);
        let left = difference(&running, &settle(&running, wanted));
        assert_eq!(
            left.iter().map(Change::to_string).collect::<Vec<_>>(),
            ["BODY_TIMEOUT: from \"30s\" to \"1s\""]
        );
    }
}
