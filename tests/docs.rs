//! The documents say what the code does: codes, keys, metrics, log fields, paths and links.

mod own_services;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use realchat_gateway::auth::{CredentialError, TokenFault};
use realchat_gateway::config::key::About;
use realchat_gateway::config::keys::sections;
use realchat_gateway::config::routes::{LIMIT_KEYS, ROUTE_KEYS, RouteKey};
use realchat_gateway::http::ProtocolError;
use realchat_gateway::telemetry::{AccessRecord, TunnelEnd, TunnelRecord};

/// Where the gateway's own answers get their codes, besides `http1` and `auth`.
const ANSWERS: [&str; 3] =
    ["src/gateway/answer/failure.rs", "src/gateway/answer/reply.rs", "src/gateway/record.rs"];

/// What a reader takes in before trying it; the rest is in `docs/`.
const README_BYTES_MAX: usize = 10_000;

/// Names in capitals that are neither settings nor bounds of ours; the last is shown as a mistake.
/// `PAGE_PORT` is the demo's.
const FOREIGN_NAMES: [&str; 23] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "TCP_NODELAY",
    "TCP_NOTSENT_LOWAT",
    "TCP_QUICKACK",
    "SO_RCVBUF",
    "GATEWAY_COMMIT",
    "PAGE_PORT",
    "RUSTC_BOOTSTRAP",
    "TCP_USER_TIMEOUT",
    "RUST_LOG",
    "SKIP_INSTALL",
    "SO_REUSEPORT",
    "COOP_TASKRUN",
    "DEFER_TASKRUN",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    "MONOTONIC_USEC",
    "WATCHDOG_USEC",
    "CAP_NET_BIND_SERVICE",
    "JWT_SECERT",
];

#[test]
fn every_error_code_is_documented_and_no_other() {
    let listed: BTreeSet<(String, String)> = read("docs/errors.md").lines().filter_map(error_row).collect();
    let codes =
        |rows: &BTreeSet<(String, String)>| rows.iter().map(|row| row.1.clone()).collect::<BTreeSet<_>>();
    let known = known_errors();
    for (status, code) in &known {
        // Status 0: the answer is another's.
        let has = listed.iter().any(|row| row.1 == *code && (row.0 == *status || status == "0"));
        assert!(has, "docs/errors.md has no row for {status} {code}");
    }
    assert_eq!(codes(&listed), codes(&known), "docs/errors.md lists a code that does not exist");
}

#[test]
fn the_manual_has_the_tables_of_the_definitions() {
    let manual = read("docs/config.md");
    for section in sections::ALL {
        let rows = section.keys.iter().map(|key| setting_row(key.about()));
        let head = "| key | flag | default | bounds | meaning |\n|---|---|---|---|---|\n";
        let expected: String =
            std::iter::once(format!("### {}\n\n{head}", section.heading)).chain(rows).collect();
        assert!(manual.contains(&format!("{expected}\n")), "docs/config.md lacks this table:\n\n{expected}");
    }
    for (noun, keys) in [("route", &ROUTE_KEYS[..]), ("limit", &LIMIT_KEYS)] {
        let head = format!("| key of a {noun} | default | meaning |\n|---|---|---|\n");
        let expected: String = std::iter::once(head).chain(keys.iter().map(route_row)).collect();
        assert!(manual.contains(&format!("{expected}\n")), "docs/config.md lacks this table:\n\n{expected}");
    }
}

#[test]
fn every_name_in_capitals_exists() {
    let keys: BTreeSet<&str> = sections::all().map(|key| key.about().env).collect();
    let parts = fs::read_dir(root().join("src/limits")).expect("the folder of the bounds");
    let parts = parts.map(|part| fs::read_to_string(part.expect("a file").path()).expect("a text"));
    let limits = read("src/limits.rs") + &parts.collect::<String>();
    for (path, text) in documents() {
        for name in quoted(&text).flat_map(capitals) {
            let known = keys.contains(name)
                || limits.contains(&format!("const {name}:"))
                || FOREIGN_NAMES.contains(&name);
            assert!(known, "{path}: {name} is neither a setting nor a bound");
        }
    }
}

#[test]
fn every_end_of_a_tunnel_is_documented() {
    for end in TunnelEnd::ALL {
        let text = end.text();
        assert!(read("docs/websocket.md").contains(&format!("`{text}`")), "docs/websocket.md: no {text}");
    }
}

#[test]
fn every_field_of_the_access_log_is_explained() {
    let record = AccessRecord {
        time_us: 0,
        request_id: b"id",
        trace_id: Some(b"t"),
        client: [127, 0, 0, 1].into(),
        method: b"GET",
        path: b"/",
        host: Some(b"h"),
        user_agent: Some(b"a"),
        route: Some("r"),
        user: Some("u"),
        status: 200,
        code: Some("c"),
        cause: Some("x"),
        limit: Some("l"),
        bytes_in: 1,
        bytes_out: 1,
        total_us: 1,
        connect_us: Some(1),
        upstream_head_us: Some(1),
        upstream_name: Some("n"),
        upstream: Some("a"),
        reused: Some(true),
        protocol: Some("v"),
        tls_version: Some("v"),
        tls_cipher: Some("c"),
        sni: Some("n"),
        tunnel: Some(TunnelRecord {
            messages_in: 1,
            messages_out: 1,
            end: TunnelEnd::Drained,
            close_code: Some(1012),
        }),
    };
    let mut line = Vec::new();
    record.write_json(&mut line);
    let line: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&line).expect("JSON");
    let text = read("docs/requests.md");
    let rows: BTreeSet<&str> = section(&text, "## The access log")
        .filter_map(|row| row.strip_prefix("| `")?.split('`').next())
        .collect();
    assert_eq!(rows, line.keys().map(String::as_str).collect());
}

#[test]
fn every_link_and_every_path_leads_somewhere() {
    let mut broken = Vec::new();
    for (path, text) in documents() {
        let here = root().join(&path);
        for link in links(&text).filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { here.clone() } else { here.with_file_name("").join(file) };
            if !target.exists() || !(anchor.is_empty() || has_heading(&target, anchor)) {
                broken.push(format!("{path}: {link}"));
            }
        }
        let is_path = |text: &&str| {
            ["src/", "tests/", "docs/", "deploy/", "scripts/"].iter().any(|dir| text.starts_with(dir))
        };
        broken.extend(
            quoted(&text)
                .filter(is_path)
                .filter(|name| !root().join(name).exists())
                .map(|name| format!("{path}: {name}")),
        );
    }
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn the_map_names_every_module_and_every_file_of_tests() {
    let map = read("docs/ARCHITECTURE.md");
    let library = read("src/lib.rs");
    for module in library.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')) {
        assert!(
            map.contains(&format!("| `{module}` |")) || map.contains(&format!("`{module}` |")),
            "{module}"
        );
    }
    let (binary, manifest) = (read("tests/it.rs"), read("Cargo.toml"));
    for file in fs::read_dir(root().join("tests")).expect("tests").flatten() {
        let path = file.path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
        if path.extension().is_some_and(|extension| extension == "rs") && name != "it" {
            let is_known = binary.contains(&format!("mod {name};\n"))
                || manifest.contains(&format!("path = \"tests/{name}.rs\"\n"));
            assert!(is_known, "neither tests/it.rs nor Cargo.toml knows {name}");
            assert!(map.contains(&format!("`tests/{name}.rs`")), "docs/ARCHITECTURE.md does not name {name}");
        }
    }
}

#[test]
fn the_readme_is_short_and_leads_to_every_document() {
    let readme = read("README.md");
    assert!(readme.len() < README_BYTES_MAX, "README.md has {} bytes", readme.len());
    for (path, _) in documents() {
        assert!(
            path == "README.md" || readme.contains(&format!("]({path})")),
            "README.md has no link to {path}"
        );
    }
}

#[test]
fn the_documents_are_read_as_they_should_be() {
    assert_eq!(error_row("| 400 | `bare_lf` | x |"), Some(("400".into(), "bare_lf".into())));
    assert_eq!(error_row("| status | code | when |"), None);
    assert_eq!(links("a [b](c.md#d) [e](f)").collect::<Vec<_>>(), ["c.md#d", "f"]);
    assert_eq!(quoted("a `b c` d `e`").collect::<Vec<_>>(), ["b c", "e"]);
    assert_eq!(capitals("JWT_SECRET=a X PORT_B").collect::<Vec<_>>(), ["JWT_SECRET", "PORT_B"]);
    assert_eq!(
        answers(r#"A => (404, "no_route"),"#).collect::<Vec<_>>(),
        [("404".into(), "no_route".into())]
    );
}

/// The row of a setting in the manual.
fn setting_row(setting: About) -> String {
    let About { env, flag, bounds, help, more, .. } = setting;
    let default = match setting.default {
        Some(default) => format!("`{default}`"),
        None if env == "JWT_SECRET" => "required".to_owned(),
        None => "none".to_owned(),
    };
    let space = if more.is_empty() { "" } else { " " };
    format!("| `{env}` | `--{flag}` | {default} | {bounds} | {help}.{space}{more} |\n")
}

/// The row of a key of routes in the manual.
fn route_row(key: &RouteKey) -> String {
    format!("| `{}` | {} | {} |\n", key.name, key.default, key.help)
}

/// Status and code of every answer, from the code.
fn known_errors() -> BTreeSet<(String, String)> {
    let own = |code: &str, status: u16| (status.to_string(), code.to_owned());
    let mut known: BTreeSet<_> =
        ProtocolError::ALL.iter().map(|error| own(error.code(), error.status())).collect();
    let invalid = CredentialError::Invalid(TokenFault::Malformed);
    let credentials = [CredentialError::Missing, invalid, CredentialError::Expired, CredentialError::Revoked];
    known.extend(credentials.map(|error| own(error.code(), 401)));
    known.insert(own(CredentialError::RevocationsStale.code(), 503));
    for file in ANSWERS {
        known.extend(answers(&read(file)));
    }
    known
}

/// Every `(404, "code")`.
fn answers(source: &str) -> impl Iterator<Item = (String, String)> {
    source.split('(').filter_map(|rest| {
        let (status, rest) = rest.split_once(", \"")?;
        let (code, rest) = rest.split_once('"')?;
        let is_answer =
            !status.is_empty() && status.bytes().all(|byte| byte.is_ascii_digit()) && rest.starts_with(')');
        is_answer.then(|| (status.to_owned(), code.to_owned()))
    })
}

/// Status and code of a row of an error table.
fn error_row(line: &str) -> Option<(String, String)> {
    let mut cells = line.strip_prefix("| ")?.split(" | ");
    let status = cells.next()?;
    let code = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
    Some((status.to_owned(), code.to_owned()))
}

/// The lines below a heading, down to the next one of its rank.
fn section<'t>(text: &'t str, heading: &'t str) -> impl Iterator<Item = &'t str> {
    text.lines().skip_while(move |line| *line != heading).skip(1).take_while(|line| !line.starts_with("## "))
}

fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// What stands between backticks, outside of code blocks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|part| part.split('`').skip(1).step_by(2))
}

/// Words of at least two parts in capitals.
pub(crate) fn capitals(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| {
        word.contains('_')
            && !word.starts_with('_')
            && !word.ends_with('_')
            && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    })
}

fn has_heading(file: &Path, anchor: &str) -> bool {
    let text = fs::read_to_string(file).unwrap_or_default();
    let slug =
        |heading: &str| heading.to_lowercase().replace(' ', "-").replace([',', '`', '.', ':', '/'], "");
    text.lines()
        .filter_map(|line| line.strip_prefix('#'))
        .any(|line| slug(line.trim_start_matches('#').trim()) == anchor)
}

fn documents() -> Vec<(String, String)> {
    let mut paths: Vec<String> = ["README.md", "CHANGELOG.md"].map(str::to_owned).into();
    for file in fs::read_dir(root().join("docs")).expect("docs").flatten() {
        let name = file.file_name().into_string().expect("a name in UTF-8");
        // Pictures are there too.
        paths.extend(name.ends_with(".md").then(|| format!("docs/{name}")));
    }
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
