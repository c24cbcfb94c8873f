//! What a new configuration changes of the running one, and what it cannot: for the log of a reload.

use std::collections::BTreeMap;
use std::fmt;

use super::describe::{route_row, sections};
use super::{Config, RateLimit, address};

/// One setting, upstream or route that is another now. Shown, it is `KEY: from "…" to "…"`; of a secret only that
/// it is another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key, or `route NAME`, or `upstream NAME`.
    pub subject: String,
    /// As `check` prints it; `None`: it was not there, or it is a secret.
    pub from: Option<String>,
    /// As `check` prints it; `None`: it is not there any more, or it is a secret.
    pub to: Option<String>,
    /// What holds the old value is made at the start: only a new process takes the new one.
    pub needs_restart: bool,
}

/// Everything that differs, by the order of `check`.
#[must_use]
pub fn difference(running: &Config, wanted: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    // What is shown of one setting may depend on another: what can be taken over is shown as it will be.
    let settled = settle(running, wanted.clone());
    let rows = |config| sections(config).into_iter().flat_map(|(_, rows)| rows);
    for ((key, from), ((_, to), (_, asked))) in rows(running).zip(rows(&settled).zip(rows(wanted))) {
        let needs_restart = FIXED.contains(&key);
        let to = if needs_restart { asked } else { to };
        let change = |from, to| Change { subject: key.to_owned(), from, to, needs_restart };
        match key {
            "JWT_SECRET" if running.jwt.secrets != wanted.jwt.secrets => changes.push(change(None, None)),
            "REDIS_PASSWORD" if running.redis.password != wanted.redis.password => {
                changes.push(change(None, None));
            }
            _ if from != to => changes.push(change(Some(from), Some(to))),
            _ => {}
        }
    }
    compare("upstream", &upstreams(running), &upstreams(wanted), &mut changes);
    compare("route", &routes(running), &routes(wanted), &mut changes);
    changes
}

/// The wanted configuration as far as a running process can take it over: the rest of it is the running one's.
#[must_use]
pub fn settle(running: &Config, wanted: Config) -> Config {
    Config {
        listen: running.listen.clone(),
        admin_addr: running.admin_addr,
        cores: running.cores.clone(),
        io_driver: running.io_driver,
        access_log: running.access_log.clone(),
        pid_file: running.pid_file.clone(),
        rate_limit: RateLimit { store: running.rate_limit.store, ..wanted.rate_limit },
        ..wanted
    }
}

type Named = BTreeMap<String, String>;

fn upstreams(config: &Config) -> Named {
    config.upstreams.iter().map(|known| (known.name.clone(), address::show_upstream(known))).collect()
}

fn routes(config: &Config) -> Named {
    let row = |route| route_row(config, route)[1..].join(" ").trim_end().to_owned();
    config.routes.iter().map(|route| (route.name.clone(), row(route))).collect()
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
            (None, None) => write!(f, "{subject}: another secret"),
            (None, Some(to)) => write!(f, "{subject}: new, {to:?}"),
            (Some(_), None) => write!(f, "{subject}: gone"),
            (Some(from), Some(to)) => write!(f, "{subject}: from {from:?} to {to:?}"),
        }
    }
}

/// What sockets, threads and files are made of; [`settle`] keeps the same.
const FIXED: [&str; 8] =
    ["PORT", "BIND", "ADMIN_ADDR", "CORES", "IO_DRIVER", "ACCESS_LOG", "PID_FILE", "RATE_LIMIT_STORE"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Mistakes, Written, lower};

    const SECRET: &str = "jwt_secret = '0123456789abcdef0123456789abcdef'\n";

    fn config(toml: &str) -> Config {
        let mut mistakes = Mistakes::default();
        let file = Written::from_toml(&format!("{SECRET}{toml}"), "gateway.toml", &mut mistakes);
        assert_eq!(mistakes.to_string(), "");
        lower(Written::default(), file).expect(toml).config
    }

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
            told(&one, &file("r", "http://a", "/y")),
            ["route r: from \"protected http any /x a\" to \"protected http any /y a\""]
        );
        assert_eq!(
            told(&one, &file("s", "http://a", "/x")),
            ["route r: gone", "route s: new, \"protected http any /x a\""]
        );
    }

    #[test]
    fn of_a_secret_only_that_it_is_another() {
        let other =
            "jwt_secret_previous = 'hunter2hunter2hunter2hunter2hunter2'\nredis_password = 'hunter2'\n";
        let told = told("", other);
        assert_eq!(told[..1], ["JWT_SECRET: another secret"]);
        assert!(told.contains(&"REDIS_PASSWORD: another secret".to_owned()), "{told:?}");
        assert!(!told.join("").contains("hunter2"));
    }

    #[test]
    fn what_needs_a_restart_is_kept_and_said() {
        let other = "port = 1\nbind = '::1'\nadmin_addr = 'off'\ncores = 2\nio_driver = 'epoll'\naccess_log = 'off'\n\
                     pid_file = '/a/b'\nrate_limit_store = 'memory'\nbody_timeout = '1s'\n";
        let (running, wanted) = (config(""), config(other));
        let changes = difference(&running, &wanted);
        let fixed: Vec<&str> =
            changes.iter().filter(|change| change.needs_restart).map(|c| c.subject.as_str()).collect();
        assert_eq!(fixed, FIXED);
        let left = difference(&running, &settle(&running, wanted));
        assert_eq!(
            left.iter().map(Change::to_string).collect::<Vec<_>>(),
            ["BODY_TIMEOUT: from \"30s\" to \"1s\""]
        );
    }
}
