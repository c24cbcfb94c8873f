//! Configurations for tests.

use super::describe::describe;
use super::key::{AnyKey, Section, Shown};
use super::keys::control::{BACKCHANNEL_LOGOUT_CLIENTS, BACKCHANNEL_LOGOUT_PATH};
use super::keys::control::{REVOCATION_MAX_STALE, REVOCATION_ON_REDIS_FAILURE};
use super::keys::control::{REVOCATION_STREAM, SESSION_RENEW};
use super::keys::limits::REDIS_USERNAME;
use super::keys::listen::PROXY_PROTOCOL;
use super::keys::redis_tls::{REDIS_CA_FILE, REDIS_CERT_FILE, REDIS_KEY_FILE, REDIS_SERVER_NAME};
use super::keys::tls::{
    TLS_CERT_FILE, TLS_CLIENT_AUTH, TLS_CLIENT_HEADERS, TLS_KEY_FILE, TLS_PORT, TLS_PROXY_PROTOCOL,
};
use super::keys::tokens::{JWT_SECRET, JWT_SECRET_FILE};
use super::keys::traces::TRACE_SAMPLE;
use super::lower::{Lowered, lower, lower_beside};
use super::meaning::Config;
use super::mistake::Mistakes;
use super::written::Written;
use crate::config::keys::redis_sentinel::{REDIS_SENTINEL_PASSWORD, REDIS_SENTINEL_USERNAME};

/// A secret that is long enough.
pub(crate) const GOOD_SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The configuration of a file with this text, and a good secret.
pub(crate) fn config(toml: &str) -> Config {
    lowered_toml(toml).unwrap_or_else(|mistakes| panic!("{mistakes}")).config
}

/// Lowers a file with this text, under a good secret.
pub(crate) fn lowered_toml(toml: &str) -> Result<Lowered, Mistakes> {
    let mut mistakes = Mistakes::default();
    let file = Written::from_toml(toml, "gateway.toml", &mut mistakes);
    lower_beside(mistakes, Written::default().with(&JWT_SECRET, GOOD_SECRET), file)
}

/// Lowers these flags, with a good secret if there is none among them.
pub(crate) fn lowered(flags: &[(&dyn AnyKey, &str)]) -> Result<Lowered, Mistakes> {
    let written = settings(flags);
    let has_secret = written.get(&JWT_SECRET).or(written.get(&JWT_SECRET_FILE)).is_some();
    let written = if has_secret { written } else { written.with(&JWT_SECRET, GOOD_SECRET) };
    lower(written, Written::default())
}

/// These flags and nothing else.
pub(crate) fn settings(flags: &[(&dyn AnyKey, &str)]) -> Written {
    let mut written = Written::default();
    for (key, text) in flags {
        written.write(key.about().env, (*text).to_owned(), None);
    }
    written
}

/// Checks that each setting with this text changes exactly these lines of `check`; the beginning of a line is enough.
/// Every setting of the section that `check` prints must be among the cases, except those that need another one.
#[track_caller]
pub(crate) fn moves(section: &Section, cases: &[(&dyn AnyKey, &str, &str)]) {
    let default = describe(&config(""));
    for (key, text, expected) in cases {
        let env = key.about().env;
        let lowered = lowered(&[(*key, text)]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let shown = describe(&lowered.config);
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        // Spaces only align the columns.
        let lines = shown.lines().map(words).zip(default.lines().map(words));
        let changed: Vec<String> = lines.filter(|(now, then)| now != then).map(|(now, _)| now).collect();
        let is_expected = changed.len() == expected.lines().count()
            && changed.iter().zip(expected.lines()).all(|(line, start)| line.starts_with(start));
        assert!(is_expected, "{env}: {changed:?}");
        assert!(!shown.contains("hunter2") && !shown.contains(GOOD_SECRET));
    }
    for about in section.keys.iter().map(|key| key.about()) {
        let is_case = cases.iter().any(|(key, ..)| key.about().env == about.env);
        let needs_another = NEED_ANOTHER.contains(&about.env);
        assert!(
            is_case || needs_another || matches!(about.shown, Shown::Elsewhere),
            "{}: no case",
            about.env
        );
    }
}

/// Settings that are a mistake, or nothing, without another one.
const NEED_ANOTHER: [&str; 21] = [
    TRACE_SAMPLE.env,
    REDIS_USERNAME.env,
    REDIS_SENTINEL_USERNAME.env,
    REDIS_SENTINEL_PASSWORD.env,
    REDIS_CA_FILE.env,
    REDIS_SERVER_NAME.env,
    REDIS_CERT_FILE.env,
    REDIS_KEY_FILE.env,
    REVOCATION_STREAM.env,
    REVOCATION_ON_REDIS_FAILURE.env,
    REVOCATION_MAX_STALE.env,
    SESSION_RENEW.env,
    BACKCHANNEL_LOGOUT_PATH.env,
    BACKCHANNEL_LOGOUT_CLIENTS.env,
    PROXY_PROTOCOL.env,
    TLS_PORT.env,
    TLS_PROXY_PROTOCOL.env,
    TLS_CERT_FILE.env,
    TLS_KEY_FILE.env,
    TLS_CLIENT_AUTH.env,
    TLS_CLIENT_HEADERS.env,
];

/// Checks that each setting refuses this text, with one mistake that names it.
#[track_caller]
pub(crate) fn refuses(cases: &[(&dyn AnyKey, &str)]) {
    for (key, text) in cases {
        let told = lowered(&[(*key, text)]).expect_err(text).to_string();
        assert!(told.starts_with(&format!("{}: ", key.about().env)), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}

/// A file in the temporary directory, removed when it is dropped.
pub(crate) struct TempFile(std::path::PathBuf);

impl TempFile {
    pub(crate) fn new(name: &str, bytes: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("realchat-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).expect("a temporary file");
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("a path in UTF-8")
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The URL of a key set.
pub(crate) fn keys_url(text: &str) -> super::KeysUrl {
    super::keys_url::parse(text, super::keys_url::PlainHttp::Anywhere).expect("a URL")
}
