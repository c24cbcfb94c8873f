//! What an operator takes from `deploy/`, and `health`: each tried against the thing itself where CI has it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use realchat_gateway::config::keys::process::SHUTDOWN_TIMEOUT;
use realchat_gateway::config::keys::sections;
use rustix::process::Signal;
use serde_json::Value;

use crate::docs::capitals;
use crate::harness::*;

/// What `health` says of this gateway: its exit code, standard output, standard error.
#[track_caller]
fn health(builder: Builder) -> (Option<i32>, String, String) {
    builder.run(&["health"])
}

fn at_admin(address: &str) -> Builder {
    Gateway::builder().without("JWT_SECRET").env("ADMIN_ADDR", address)
}

#[test]
fn health_tells_a_ready_gateway() {
    let gateway = Gateway::builder().start();
    let (code, stdout, stderr) = health(at_admin(&gateway.admin.to_string()));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.starts_with("ready\ncore 0: cpu "), "{stdout}");
}

#[test]
fn health_asks_the_public_port_where_there_is_no_admin_listener() {
    let gateway = Gateway::builder().env("ADMIN_ADDR", "off").start();
    let port = gateway.public.port().to_string();
    for bind in ["127.0.0.1", "0.0.0.0"] {
        let asked = at_admin("off").env("PORT", &port).env("BIND", bind);
        assert_eq!(health(asked), (Some(0), "ready".into(), String::new()), "{bind}");
    }
}

#[test]
fn health_tells_a_gateway_that_drains() {
    let gateway = Gateway::builder().env("SHUTDOWN_DELAY", "5s").start();
    gateway.signal(Signal::TERM);
    gateway.wait_log("draining");
    let (code, stdout, _) = health(at_admin(&gateway.admin.to_string()));
    assert!(code == Some(1) && stdout.starts_with("draining\n"), "{code:?} {stdout}");
}

#[test]
fn health_counts_a_gateway_without_its_redis_as_well() {
    let gateway = Gateway::builder().env("RATE_LIMIT_STORE", "redis").env("REDIS_ADDR", NOBODY).start();
    eventually("it is degraded", || gateway.admin("/readyz").text().starts_with("degraded"));
    let (code, stdout, _) = health(at_admin(&gateway.admin.to_string()));
    assert!(code == Some(0) && stdout.starts_with("degraded\n"), "{code:?} {stdout}");
}

#[test]
fn health_ends_in_time_when_nobody_answers() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = silent.local_addr().expect("the port").to_string();
    for address in [NOBODY, &silent, "127.0.0.1:0"] {
        let start = Instant::now();
        let (code, stdout, stderr) = health(at_admin(address));
        assert_eq!((code, stdout.as_str(), stderr.lines().count()), (Some(1), "", 1), "{stderr}");
        assert!(stderr.starts_with("realchat-gateway: ADMIN_ADDR: "), "{stderr}");
        // It gives up after 3 s, and the image's health check has 5 s. This machine may have more to do.
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    }
}

#[test]
fn health_does_not_take_another_server_for_a_gateway() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = other.local_addr().expect("the port").to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = other.accept().expect("a client");
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<html>");
    });
    let (code, _, stderr) = health(at_admin(&address));
    assert!(code == Some(1) && stderr.contains("is not a realchat-gateway"), "{stderr}");
}

#[test]
fn every_setting_in_the_files_exists() {
    let foreign = ["REDISCLI_AUTH", "CLONE_NEW", "AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"];
    for name in ["compose.yaml", "kubernetes.yaml", "realchat-gateway.service", "realchat-gateway.socket"] {
        let text = read(name);
        let unknown: Vec<&str> = capitals(&text)
            .filter(|word| !foreign.contains(word) && !sections::all().any(|key| key.about().env == *word))
            .collect();
        assert!(unknown.is_empty(), "deploy/{name}: {unknown:?} are no settings");
    }
}

#[test]
fn the_kill_comes_after_the_drain() {
    let drain = seconds(SHUTDOWN_TIMEOUT.default);
    let service = read("realchat-gateway.service");
    let delay = seconds(value(&service, "Environment=SHUTDOWN_DELAY="));
    assert!(seconds(value(&service, "TimeoutStopSec=")) >= delay + drain + 5);
    let kubernetes = read("kubernetes.yaml");
    let delay = seconds(value(&kubernetes, "SHUTDOWN_DELAY: ")) + seconds(value(&kubernetes, "seconds: "));
    let drain = seconds(value(&kubernetes, "SHUTDOWN_TIMEOUT: "));
    assert!(seconds(value(&kubernetes, "terminationGracePeriodSeconds: ")) >= delay + drain + 5);
    assert!(seconds(value(&read("compose.yaml"), "stop_grace_period: ")) >= drain + 5);
}

#[test]
fn the_image_is_of_this_version() {
    let image = concat!("image: realchat-gateway:", env!("CARGO_PKG_VERSION"), "\n");
    assert!(read("kubernetes.yaml").contains(image), "deploy/kubernetes.yaml has another {image}");
}

/// containerd takes the OCI's own form of a profile and ignores what Docker adds, conditions (`includes`,
/// `excludes`) among it: a profile that has them means something else there.
#[test]
fn the_seccomp_profile_allows_io_uring_and_says_it_as_every_runtime_understands() {
    let profile: Value = serde_json::from_str(&read("seccomp.json")).expect("JSON");
    let keys: Vec<&String> = profile.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["architectures", "defaultAction", "defaultErrnoRet", "syscalls"]);
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    let (mut names, mut allowed) = (Vec::new(), Vec::new());
    for entry in profile["syscalls"].as_array().expect("a list") {
        for key in entry.as_object().expect("an object").keys() {
            assert!(["comment", "names", "action", "errnoRet", "args"].contains(&key.as_str()), "{key}");
        }
        let of_entry =
            entry["names"].as_array().expect("a list").iter().map(|name| name.as_str().expect("text"));
        if entry.get("args").is_none() {
            names.extend(of_entry.clone());
        }
        if entry["action"] == "SCMP_ACT_ALLOW" && entry.get("args").is_none() {
            allowed.extend(of_entry);
        }
    }
    for name in ["io_uring_setup", "io_uring_enter", "io_uring_register"] {
        assert!(allowed.contains(&name), "{name}");
    }
    for name in ["mount", "unshare", "setns", "bpf", "init_module", "clone3"] {
        assert!(!allowed.contains(&name), "{name}");
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "a call stands there twice");
}

#[test]
fn under_the_seccomp_profile_it_has_its_ring_and_without_the_three_calls_epoll() {
    let origin = Origin::echo();
    let mut profile: Value = serde_json::from_str(&read("seccomp.json")).expect("JSON");
    let driver = |builder: Builder| {
        let gateway = builder.everywhere(&origin).start();
        assert_eq!(gateway.get("/api/v1/users/me", "ann").status, 200);
        let text = gateway.admin("/readyz").text();
        text.lines().find_map(|line| line.strip_prefix("control: ")).expect("a driver").to_owned()
    };
    let under = |path: &Path| {
        let script = root().join("scripts/under-seccomp");
        let words = ["/usr/bin/python3", script.to_str().expect("UTF-8"), path.to_str().expect("UTF-8")];
        // What it lacks would be told by a gateway that does not start: better here.
        let tried = Command::new(words[0]).args(["-c", "import seccomp"]).output();
        let has_library = tried.is_ok_and(|output| output.status.success());
        assert!(has_library, "this needs python3-seccomp; scripts/test installs it");
        driver(Gateway::builder().under(&words))
    };
    // Where the kernel grants no ring, the profile cannot.
    let best = driver(Gateway::builder());
    assert_eq!(under(&root().join("deploy/seccomp.json")), best);

    let entries = profile["syscalls"].as_array_mut().expect("a list");
    entries.retain(|entry| entry["names"][0] != "io_uring_setup");
    let scratch = Scratch::new();
    let path = scratch.0.join("docker.json");
    fs::write(&path, profile.to_string()).expect("a file");
    assert_eq!(under(&path), "epoll");
}

#[test]
fn systemd_finds_nothing_to_complain_of_in_the_units() {
    let scratch = Scratch::new();
    let binary = env!("CARGO_BIN_EXE_realchat-gateway");
    let names = ["realchat-gateway.service", "realchat-gateway.socket"];
    for name in names {
        let text = read(name).replace("/usr/local/bin/realchat-gateway", binary);
        fs::write(scratch.0.join(name), text).expect("a file");
    }
    let analyze = |arguments: &[&str]| {
        let mut command = Command::new("systemd-analyze");
        let output = command.args(arguments).current_dir(&scratch.0).output();
        let output = output.expect("systemd-analyze, of the package systemd; scripts/test installs it");
        (
            output.status.success(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    };
    let version = analyze(&["--version"]).1;
    let version: u32 = version.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    let service = format!("./{}", names[0]);
    let (_, told) = analyze(&["verify", "--man=no", &service, &format!("./{}", names[1])]);
    // It looks at units of the host as well; and `notify-reload` came with 253.
    let is_ours = |line: &&str| line.contains("realchat-gateway");
    let is_known = |line: &&str| version < 253 && line.ends_with("ignoring: notify-reload");
    let ours: Vec<&str> = told.lines().filter(is_ours).filter(|line| !is_known(line)).collect();
    assert!(ours.is_empty(), "\n{}\n", ours.join("\n"));
    // Offline since 250. Exposure in tenths, the less the better: a service that hardens nothing has 96.
    if version >= 250 {
        let (is_below, told) =
            analyze(&["security", "--offline=true", "--threshold=16", "--no-pager", &service]);
        assert!(is_below, "{told}");
    }
}

#[test]
fn alerts_and_panels_are_of_metrics_that_exist_and_alerts_fire_when_they_should() {
    let alerts = read("alerts.yaml");
    let dashboard: Value = serde_json::from_str(&read("grafana.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    for question in ["(a)", "(b)", "(c)", "(d)", "(e)", "(f)", "(g)", "(h)", "(i)", "(j)"] {
        let answers =
            |panel: &&Value| panel["description"].as_str().is_some_and(|text| text.contains(question));
        assert!(panels.iter().any(|panel| answers(&panel)), "no panel for {question}");
    }
    let queries = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("queries"));
    let queries: String =
        queries.map(|target| target["expr"].as_str().expect("a query").to_owned() + "\n").collect();
    let manual = include_str!("../docs/metrics.md");
    let is_of_name = |c: char| c.is_ascii_lowercase() || c == '_';
    for part in (alerts.clone() + &queries).split("realchat_gateway_").skip(1) {
        let name = part.split(|c| !is_of_name(c)).next().unwrap_or_default();
        let name = name.trim_end_matches("_bucket").trim_end_matches("_total");
        assert!(manual.contains(&format!("`{name}`")), "{name} is no metric");
    }
    let runbook = include_str!("../docs/runbook.md");
    for part in alerts.split("docs/runbook.md#").skip(1) {
        let anchor = part.split([':', '"']).next().unwrap_or_default();
        assert!(runbook.contains(&format!("(#{anchor})")), "docs/runbook.md has no #{anchor}");
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let mut promtool = Command::new("promtool");
    let Ok(judged) = promtool.args(["test", "rules", "alerts_test.yaml"]).current_dir(folder).output() else {
        eprintln!("left out: there is no promtool");
        return;
    };
    let told = String::from_utf8_lossy(&[judged.stdout, judged.stderr].concat()).into_owned();
    assert!(judged.status.success(), "{told}");
}

#[test]
fn every_sysctl_exists_and_has_its_reason() {
    let (mut above, mut count) = (String::new(), 0);
    for line in read("sysctl.conf").lines() {
        if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            assert!(above.starts_with("# ") && above.ends_with('.'), "{key} has no reason");
            let path = format!("/proc/sys/{}", key.replace('.', "/"));
            // Since Linux 6.6.
            assert!(Path::new(&path).exists() || key == "kernel.io_uring_disabled", "{key} is no setting");
            count += 1;
        }
        above = line.to_owned();
    }
    assert!(count >= 10, "{count} settings");
}

#[test]
fn redis_grants_the_gateways_user_what_it_needs_and_nothing_else() {
    let file = read("redis-acl.conf");
    let rule = file.lines().find(|line| line.starts_with("user gateway ")).expect("the user");
    let (_, rights) = rule.split_once("resetkeys").expect("keys");
    let manual = fs::read_to_string(root().join("docs/rate-limiting.md")).expect("the manual");
    assert!(manual.contains(rights), "docs/rate-limiting.md has other rights than {rights}");

    let scratch = Scratch::new();
    let acl = scratch.0.join("redis-acl.conf");
    fs::write(&acl, file.replace(&"0".repeat(64), PASSWORD_SHA256)).expect("a file");
    let redis = Redis::start_with(&["--include", acl.to_str().expect("UTF-8")]);
    let origin = Origin::echo();
    let gateway = Gateway::builder()
        .everywhere(&origin)
        .env("RATE_LIMIT_STORE", "redis")
        .env("RATE_LIMIT_BURST", "3")
        .env("RATE_LIMIT_RPS", "0.01")
        .env("RATE_LIMIT_ON_REDIS_FAILURE", "closed")
        .env("REDIS_ADDR", &redis.addr())
        .env("REDIS_USERNAME", "gateway")
        .env("REDIS_PASSWORD", PASSWORD)
        .start();
    gateway.wait_log("Redis answers");
    // A user's bucket, and one of a route's own: its key begins with a brace.
    let login = || Request::new("POST", "/api/v1/auth/login").body("{}");
    let mine: Vec<u16> = (0..4).map(|_| gateway.get("/api/v1/users/me", "ann").status).collect();
    let logins: Vec<u16> = (0..4).map(|_| gateway.ask(login()).status).collect();
    assert_eq!((mine, logins), (vec![200, 200, 200, 429], vec![200, 200, 200, 429]));

    let mut client = redis.client();
    assert!(client.ask(&["PING"]).starts_with("-NOAUTH"), "nobody without a name");
    assert!(client.ask(&["AUTH", "gateway", "0"]).starts_with("-WRONGPASS"));
    assert_eq!(client.ask(&["AUTH", "gateway", PASSWORD]), "OK");
    for refused in [
        &["GET", "session:ann"][..],
        &["SET", "session:ann", "1"],
        &["DEL", "rl:u:ann"],
        &["KEYS", "*"],
        &["EVAL", "return 1", "0"],
        &["SCRIPT", "FLUSH"],
        &["CONFIG", "GET", "*"],
        &["ACL", "LIST"],
        &["SELECT", "1"],
        &["SUBSCRIBE", "a"],
        &["FLUSHALL"],
        &["SHUTDOWN"],
    ] {
        let reply = client.ask(refused);
        assert!(reply.starts_with("-NOPERM"), "{refused:?}: {reply}");
    }
}

/// A folder of one test, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("deploy").replace(':', "-");
        let path = std::env::temp_dir().join(format!("realchat-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What stands behind the first line that begins so, white space aside.
fn value<'t>(text: &'t str, beginning: &str) -> &'t str {
    let found = text.lines().find_map(|line| line.trim_start().strip_prefix(beginning));
    found.unwrap_or_else(|| panic!("no {beginning}"))
}

/// `15s` or `15`.
fn seconds(text: &str) -> u64 {
    text.trim_end_matches('s').parse().unwrap_or_else(|_| panic!("{text} are no seconds"))
}

fn read(name: &str) -> String {
    let path = root().join("deploy").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Of the gateway's user in Redis.
const PASSWORD: &str = "a password of the tests";

/// `printf %s PASSWORD | sha256sum`
const PASSWORD_SHA256: &str = "9762bc33a4476302177e965d51ebf563e1957ca50c1019c407373a0dfafe5979";

#[test]
fn scripts_tell_what_they_do_and_take_no_option_that_they_do_not_know() {
    for name in ["bench", "soak", "test", "under-seccomp"] {
        let run = |option: &str| {
            let script = format!("{}/scripts/{name}", env!("CARGO_MANIFEST_DIR"));
            let command = Command::new(script)
                .arg(option)
                .env("PATH", "/usr/bin:/bin")
                .env("SKIP_INSTALL", "1")
                .output();
            command.expect("the script starts")
        };
        let help = run("--help");
        assert!(help.status.success() && !help.stdout.is_empty(), "{name}: {help:?}");
        let refused = run("--nonsense");
        assert_eq!((refused.status.code(), refused.stdout.len()), (Some(2), 0), "{name}: {refused:?}");
    }
}

#[test]
fn the_probes_of_kubernetes_ask_the_admin_port() {
    let text = include_str!("../deploy/kubernetes.yaml");
    let probes: Vec<&str> = text.lines().filter(|line| line.contains("httpGet:")).collect();
    assert_eq!(probes.len(), 3, "{probes:?}");
    assert!(probes.iter().all(|line| line.contains("port: admin")), "{probes:?}");
}
