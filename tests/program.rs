//! The program as an operator meets it: exit codes, one-line errors, subcommands, layers, threads, the demo.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::*;
use realchat_gateway::config::LogFormat;

/// Exit code 2 and these lines on standard error, each found by its beginning; nothing on standard output.
#[track_caller]
fn refuses(builder: Builder, arguments: &[&str], expected: &[&str]) -> String {
    let (code, stdout, stderr) = builder.run(arguments);
    // `check` shows what is right all the same.
    assert!(code == Some(2) && (stdout.is_empty() || arguments == ["check"]), "{arguments:?}: {stderr}");
    assert!(!stdout.contains(SECRET));
    assert_eq!(stderr.lines().count(), expected.len(), "{stderr}");
    for part in expected {
        assert!(stderr.lines().any(|line| line.contains(part)), "no {part:?} in:\n{stderr}");
    }
    assert!(!stderr.contains(SECRET));
    stderr
}

/// A path of this test, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("realchat-it-{}-{name}", std::process::id()));
        let _ = fs::remove_file(&path);
        Scratch(path)
    }

    fn text(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn every_mistake_is_one_line_that_names_its_key() {
    let all = Gateway::builder;
    for arguments in [
        &["run"][..],
        &["check"],
        &["demo"],
        &["health"],
        &["token", "--user", "a"],
        &["explain", "GET", "/"],
    ] {
        refuses(all().env("PORT", "abc"), arguments, &["PORT: \"abc\""]);
    }
    refuses(all(), &["--prot", "1"], &["--prot"]);
    refuses(all(), &["serve"], &["serve"]);
    refuses(all(), &["--port", "70000"], &["PORT: \"70000\""]);
    refuses(all().env("CORES", "99"), &["run"], &["CORES: 99 cores are wanted"]);
    refuses(all().env("CORES", "1000,"), &["run"], &["CORES: the process may not use CPU 1000"]);
    refuses(all().env("CORES", "99"), &["check"], &["CORES: 99"]);
    refuses(all().without("JWT_SECRET"), &["run"], &["JWT_SECRET: is missing"]);
    refuses(all().env("JWT_SECRET", ""), &["run"], &["JWT_SECRET: is empty"]);
    refuses(all().upstream_url("auth", "https+unix://auth"), &["run"], &["UPSTREAM_AUTH_URL: "]);
    refuses(all().env("CONFIG_FILE", "/does/not/exist.toml"), &["run"], &["CONFIG_FILE: "]);
    refuses(all().env("JWT_SECRET_FILE", "/does/not/exist"), &["run"], &["JWT_SECRET"]);
    let both = all().env("IO_DRIVER", "epoll").env("REQUIRE_IO_URING", "true");
    let told = refuses(both, &["run"], &["IO_DRIVER: "]);
    assert!(told.contains("REQUIRE_IO_URING"), "{told}");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let wrong = Gateway::builder()
        .env("PORT", "x")
        .env("CORES", "none")
        .env("SHUTDOWN_TIMEOUT", "15")
        .upstream_url("message", "https+unix://message")
        .config("rate_limit_rps = 'fast'\nnonsense = 1\n");
    let expected = [
        "PORT: ",
        "CORES: ",
        "SHUTDOWN_TIMEOUT: ",
        "there is no TLS over a Unix socket",
        "RATE_LIMIT_RPS",
        "nonsense",
    ];
    refuses(wrong, &["run"], &expected);
}

#[test]
fn an_address_or_a_path_that_cannot_be_had_is_a_mistake_like_any_other() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("the port").port().to_string();
    let address = format!("127.0.0.1:{port}");
    let all = Gateway::builder;
    let cannot = format!("PORT: cannot listen on 127.0.0.1 port {port}: Address already in use");
    refuses(all().env("PORT", &port), &["run"], &[&cannot]);
    refuses(all().env("ADMIN_ADDR", &address), &["run"], &["ADMIN_ADDR: cannot listen on "]);
    refuses(all().env("BIND", "192.0.2.1"), &["run"], &["PORT: cannot listen on 192.0.2.1 port 0: "]);
    refuses(all().env("ACCESS_LOG", "/does/not/exist/log"), &["run"], &["ACCESS_LOG: /does/not/exist/log"]);
    refuses(all().env("PID_FILE", "/does/not/exist/pid"), &["run"], &["PID_FILE: /does/not/exist/pid"]);
    refuses(all().env("TRUSTED_PROXIES", "10.0.0.0/33"), &["run"], &["TRUSTED_PROXIES: "]);
    refuses(all().config("prot = 1\n"), &["run"], &["prot"]);
}

#[test]
fn a_port_that_another_gateway_has_is_not_shared_with_it() {
    let first = Gateway::builder().start();
    let port = first.public.port().to_string();
    refuses(Gateway::builder().env("PORT", &port), &["run"], &["PORT: cannot listen on "]);
    let admin = first.admin.to_string();
    refuses(Gateway::builder().env("ADMIN_ADDR", &admin), &["run"], &["ADMIN_ADDR: cannot listen on "]);
    assert_eq!(first.ask(Request::new("GET", "/healthz")).status, 200);
}

#[test]
fn check_prints_what_is_in_force_and_starts_nothing() {
    let (code, stdout, stderr) =
        Gateway::builder().env("PORT", "8099").env("SHUTDOWN_DELAY", "7s").run(&["check"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = stdout.lines().map(words).collect();
    for line in ["PORT 8099", "SHUTDOWN_DELAY 7s", "CORES 1 core", "IO_DRIVER auto", "RATE_LIMIT_STORE off"] {
        assert!(lines.iter().any(|found| found == line), "{line} is missing in:\n{stdout}");
    }
    assert!(stdout.contains("/api/v1/conversations") && !stdout.contains(SECRET));

    let (code, _, stderr) = Gateway::builder().env("JWT_SECRET", "short").run(&["check"]);
    assert!(code == Some(0) && stderr.starts_with("warning: JWT_SECRET: is shorter"), "{stderr}");
}

#[test]
fn check_prints_what_it_can_judge_beside_every_mistake() {
    let config = "[upstreams.a]\nurl = 'http://a'\n[upstreams.b]\nuri = 'http://b'\nstreems = 1\n\
                  [[route]]\nname = 'fine'\npaths = ['/fine']\nupstream = 'a'\n\
                  [[route]]\nname = 'torn'\npaths = ['/torn']\nupstream = 'b'\nkindd = 'http'\naccess = 'all'\n";
    let builder = Gateway::builder().without("JWT_SECRET").env("PORT", "abc").config(config);
    let (code, stdout, stderr) = builder.run(&["check"]);
    let told: Vec<&str> = stderr.lines().collect();
    assert_eq!((code, told.len()), (Some(2), 6), "{stderr}");
    for part in [
        "is `url` meant?",
        "is `streams` meant?",
        "is `kind` meant?",
        "access \"all\"",
        "JWT_SECRET: is missing",
        "PORT: ",
    ] {
        assert!(told.iter().any(|line| line.contains(part)), "{part}: {stderr}");
    }
    assert!(stdout.contains("/fine") && stdout.contains("http://a:80"), "{stdout}");
    assert!(!stdout.contains("/torn") && !stdout.contains("\n  PORT "), "{stdout}");
}

#[test]
fn the_example_file_is_right() {
    let (code, stdout, stderr) =
        Gateway::builder().config(include_str!("../deploy/gateway.toml")).run(&["check"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("parcels"), "{stdout}");
}

#[test]
fn check_warns_of_spellings_past_a_limit_and_of_a_file_that_anybody_may_write() {
    let config = "[upstreams.auth]\nurl = 'http://a'\n\
                  [[route]]\nname = 'rest'\npaths = ['/auth/*']\nupstream = 'auth'\n\
                  [[route]]\nname = 'login'\npaths = ['/auth/login']\nupstream = 'auth'\n\
                  [[route.limit]]\nrate = 1\nburst = 1\n";
    let builder = SERVICES.iter().fold(Gateway::builder(), |builder, service| {
        builder.without(&format!("UPSTREAM_{}_URL", service.to_uppercase()))
    });
    let (code, _, stderr) = builder.config(config).run(&["check"]);
    assert!(
        code == Some(0) && stderr.starts_with("warning: route \"login\": its limit does not hold for"),
        "{stderr}"
    );

    let path = std::env::temp_dir().join(format!("realchat-it-{}-open.toml", std::process::id()));
    std::fs::write(&path, "port = 1\n").expect("a file");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).expect("our own file");
    let (code, _, stderr) =
        Gateway::builder().env("CONFIG_FILE", path.to_str().expect("UTF-8")).run(&["check"]);
    assert!(
        code == Some(0) && stderr.starts_with("warning: CONFIG_FILE: ") && stderr.contains("by everybody"),
        "{stderr}"
    );
    std::fs::write(&path, SECRET).expect("the same file");
    let secret =
        Gateway::builder().without("JWT_SECRET").env("JWT_SECRET_FILE", path.to_str().expect("UTF-8"));
    let (code, _, stderr) = secret.run(&["run"]);
    std::fs::remove_file(&path).expect("our own file");
    assert!(code == Some(2) && stderr.contains("is writable by everybody"), "{stderr}");
}

#[test]
fn a_pid_file_is_not_written_through_a_link() {
    let folder = std::env::temp_dir().join(format!("realchat-it-{}-pid", std::process::id()));
    std::fs::create_dir(&folder).expect("a new folder");
    let (victim, pid_file) = (folder.join("victim"), folder.join("pid"));
    std::fs::write(&victim, "precious").expect("a file");
    // The shell becomes the gateway, so it knows the process id beforehand.
    let plant = "ln -s \"$0\" \"$1.$$\" && shift && exec \"$@\"";
    let (victim_path, pid_path) = (victim.to_str().expect("UTF-8"), pid_file.to_str().expect("UTF-8"));
    let builder = Gateway::builder().env("PID_FILE", pid_path);
    let (code, _, stderr) = builder.under(&["sh", "-c", plant, victim_path, pid_path]).run(&["run"]);
    let left = std::fs::read_to_string(&victim).expect("it is there");
    std::fs::remove_dir_all(&folder).expect("our own folder");
    assert_eq!((code, left.as_str()), (Some(2), "precious"), "{stderr}");
    assert!(
        stderr.contains("PID_FILE: ") && stderr.contains("is there, and this gateway has not left it"),
        "{stderr}"
    );
}

#[test]
fn explain_tells_route_bucket_and_headers() {
    for (method, path, part) in [
        ("GET", "/api/v1/users/7", "rl:u:<user>"),
        ("POST", "/api/v1/auth/login", "{rl:ip:<client address>}:auth-login"),
        ("GET", "/ws", "426 upgrade_required"),
        ("GET", "/ws", "from header, subprotocol, query"),
        ("GET", "/nowhere", "404 no_route"),
        ("POST", "/api/v1/auth/Login/", "auth-login (upstream auth"),
        ("POST", "/api/v1/auth/Login/", "its paths: any case, with and without trailing slash"),
        ("GET", "/a//b", "refused         400"),
    ] {
        let (code, stdout, stderr) =
            Gateway::builder().env("RATE_LIMIT_STORE", "redis").run(&["explain", method, path]);
        assert_eq!(code, Some(0), "{stderr}");
        assert!(stdout.contains(part), "{part:?} is missing in:\n{stdout}");
    }
}

#[test]
fn a_minted_token_is_accepted() {
    let origin = Origin::echo();
    let issuer = |builder: Builder| {
        builder.env("JWT_ISSUER", "chat").env("JWT_AUDIENCE", "all").env("JWT_USER_CLAIM", "uid")
    };
    for kind in [|builder| builder, issuer as fn(Builder) -> Builder] {
        let builder = kind(Gateway::builder().everywhere(&origin));
        let (code, stdout, stderr) = builder.clone().run(&["token", "--user", "ann", "--ttl", "5m"]);
        assert_eq!((code, stderr.as_str(), stdout.lines().count()), (Some(0), "", 1));
        let gateway = builder.start();
        let response = gateway.ask(Request::new("GET", "/api/v1/users/me").bearer(stdout.trim()));
        assert_eq!(response.status, 200);
        assert_eq!(origin.last().field("x-internal-user-id"), Some("ann"));
    }
}

#[test]
fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
    let file = "shutdown_delay = '3s'\nshutdown_timeout = '3s'\nrate_limit_burst = 3\n";
    let builder = Gateway::builder().config(file).env("SHUTDOWN_TIMEOUT", "2s").env("RATE_LIMIT_BURST", "2");
    let (code, stdout, stderr) = builder.run(&["check", "--rate-limit-burst", "1"]);
    assert_eq!(code, Some(0), "{stderr}");
    let shown = |key: &str| {
        let line = stdout.lines().find(|line| line.trim_start().starts_with(key)).expect("a line");
        line.split_whitespace().nth(1).expect("a value").to_owned()
    };
    let found = ["RATE_LIMIT_BURST", "SHUTDOWN_TIMEOUT", "SHUTDOWN_DELAY", "RATE_LIMIT_RPS"].map(shown);
    assert_eq!(found, ["1", "2s", "3s", "10"]);
}

#[test]
fn an_upstream_behind_a_unix_socket_is_served() {
    use std::io::{Read, Write};
    let scratch = Scratch::new("upstream.sock");
    let listener = std::os::unix::net::UnixListener::bind(&scratch.0).expect("a socket");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (mut seen, mut space) = (Vec::new(), [0; 4096]);
            while let Ok(count @ 1..) = stream.read(&mut space) {
                seen.extend(&space[..count]);
                if seen.ends_with(b"\r\n\r\n") {
                    let head = String::from_utf8_lossy(&seen).to_lowercase();
                    let length = head.len();
                    let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{head}");
                    seen.clear();
                }
            }
        }
    });
    let url = format!("http+unix://{}", scratch.text().replace('/', "%2F"));
    let gateway = Gateway::builder().upstream_url("profile", &url).start();
    for _ in 0..2 {
        let response = gateway.get("/api/v1/users/me", "ann");
        assert_eq!(response.status, 200);
        assert!(response.text().contains("x-internal-user-id: ann\r\n"), "{}", response.text());
    }
    assert_eq!((gateway.metric("upstream_connects_total"), gateway.metric("upstream_reuses_total")), (1, 1));
}

#[test]
fn each_core_is_a_thread_of_its_own_cpu_and_load_adds_none() {
    let origin = Origin::echo();
    let gateway = Gateway::builder().cores("2").everywhere(&origin).start();
    let mut masks = Vec::new();
    for task in fs::read_dir(format!("/proc/{}/task", gateway.pid())).expect("/proc").flatten() {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let value = |key: &str| {
            status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim().to_owned()
        };
        if value("Name:").starts_with("core-") {
            masks.push(value("Cpus_allowed_list:"));
        }
    }
    masks.sort_unstable();
    masks.dedup();
    assert_eq!(masks.len(), 2, "{masks:?}");
    assert!(masks.iter().all(|mask| mask.parse::<usize>().is_ok()), "one CPU each: {masks:?}");

    let before = gateway.threads();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let body = vec![b'x'; 200_000];
                    let request = Request::new("POST", "/api/v1/messages").token("ann").body(body);
                    assert_eq!(gateway.ask(request).status, 200);
                }
            });
        }
    });
    assert_eq!(gateway.threads(), before);
}

#[test]
fn one_core_is_one_core() {
    let gateway = Gateway::builder().without("CORES").start_with(&["run", "--cores", "1"]);
    assert_eq!(gateway.admin("/readyz").text().lines().filter(|line| line.starts_with("core ")).count(), 1);
    let gateway = Gateway::builder().without("CORES").start_with(&["--cores", "1,"]);
    assert!(gateway.admin("/readyz").text().contains("core 0: cpu 1,"));
}

#[test]
fn out_of_descriptors_it_waits_says_so_and_goes_on() {
    let gateway = Gateway::builder().start();
    gateway.ask(Request::new("GET", "/healthz"));
    let pid = rustix::process::Pid::from_raw(gateway.pid() as i32);
    let limit = |files: u64| {
        let maximum = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
        let limit = rustix::process::Rlimit { current: Some(files), maximum };
        rustix::process::prlimit(pid, rustix::process::Resource::Nofile, limit).expect("prlimit");
    };
    let is_open = |fd: &u64| fs::symlink_metadata(format!("/proc/{}/fd/{fd}", gateway.pid())).is_ok();
    let free = (0..).find(|fd| !is_open(fd)).expect("a free descriptor");
    limit(free + 4);
    let mut clients: Vec<Client> = (0..12).map(|_| gateway.client()).collect();
    let line = gateway.wait_log("cannot accept connections");
    assert!(line.contains("WARN") && line.contains("EMFILE") && line.contains("failures="), "{line}");
    let before = cpu_ticks(gateway.pid());
    std::thread::sleep(Duration::from_millis(600));
    let spent = cpu_ticks(gateway.pid()) - before;
    assert!(spent <= 15, "{spent} ticks of 10 ms in 600 ms: it spins");
    assert_eq!(gateway.log().iter().filter(|line| line.contains("cannot accept")).count(), 1, "said once");
    limit(1024);
    clients.iter_mut().for_each(Client::expect_open);
    assert!(gateway.metric("accept_failures_total") > 0);
}

/// User and system time of a process, in ticks of 10 ms.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("/proc");
    let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
    fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

fn demo(builder: Builder) -> Gateway {
    let builder = builder.without("JWT_SECRET").without("RATE_LIMIT_STORE").without("ACCESS_LOG");
    // Not the page's own default, which other tests would want at the same time.
    builder.env("PAGE_PORT", "0").start_with(&["demo"])
}

/// Where the demo says that its page is.
fn page_of(gateway: &Gateway) -> SocketAddr {
    let line = gateway.wait_stdout("# Chat in two tabs: ");
    let port = line.split("http://localhost:").nth(1).and_then(|rest| rest.split('/').next());
    SocketAddr::from(([127, 0, 0, 1], port.expect("a port").parse().expect("a number")))
}

/// The harness's builder without the upstreams that lead nowhere.
fn bare() -> Builder {
    ["AUTH", "MESSAGE", "DELIVERY", "PROFILE", "CONVERSATION"]
        .iter()
        .fold(Gateway::builder(), |builder, name| builder.without(&format!("UPSTREAM_{name}_URL")))
}

#[test]
fn the_demos_three_lines_work_when_pasted() {
    // `localhost` may be ::1 first: curl tries both.
    let gateway = demo(bare());
    gateway.wait_stdout("curl -i localhost");
    let lines: Vec<String> = gateway.stdout().into_iter().filter(|line| line.contains("curl ")).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    let page = gateway.wait_stdout("# Chat in two tabs: ");
    let script = format!("{}\n{}\necho; echo ----\n{}\n{page}\n", lines[0], lines[1], lines[2]);
    let output = Command::new("sh").arg("-c").arg(script).stdin(Stdio::null()).output().expect("sh");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let (second, third) = output.split_once("----").unwrap_or_else(|| panic!("{output}"));
    assert!(second.starts_with("HTTP/1.1 200") && second.contains("alice"), "{output}");
    assert!(third.trim_start().starts_with("HTTP/1.1 401") && third.contains("token_missing"), "{output}");
}

#[test]
fn the_demos_page_is_on_its_own_port_and_may_call_the_gateway() {
    let gateway = demo(bare());
    let page = page_of(&gateway);
    let html = Client::connect(page).send(Request::new("GET", "/").bytes()).read_response();
    assert_eq!((html.status, html.field("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = html.field("content-security-policy").expect("a policy");
    assert!(policy.contains(&format!("ws://localhost:{} ", gateway.public.port())), "{policy}");
    let login = |origin: &str| {
        let body = r#"{"user":"bob","password":"builder"}"#;
        gateway.ask(Request::new("POST", "/api/v1/auth/login").field("Origin", origin).body(body))
    };
    for host in ["localhost", "127.0.0.1"] {
        let origin = format!("http://{host}:{}", page.port());
        let response = login(&origin);
        let allowed = response.field("access-control-allow-origin");
        assert_eq!((response.status, allowed), (200, Some(origin.as_str())));
    }
    assert_eq!(login("http://localhost:1").field("access-control-allow-origin"), None);

    let written = demo(bare().env("CORS_ALLOWED_ORIGINS", "https://chat.test"));
    let origin = format!("http://localhost:{}", page_of(&written).port());
    let request = Request::new("GET", "/healthz").field("Origin", &origin);
    assert_eq!(written.ask(request).field("access-control-allow-origin"), None, "what was written wins");
}

#[test]
fn the_pages_port_is_judged_as_the_others_are() {
    let expected = ["PAGE_PORT: \"80a\" is not a whole number from 0 to 65535", "PORT: \"x\""];
    refuses(bare().env("PAGE_PORT", "80a").env("PORT", "x"), &["demo"], &expected);
    refuses(bare().env("PAGE_PORT", ""), &["demo"], &["PAGE_PORT: \"\""]);
    refuses(bare().env("PORT", "8082"), &["demo", "--page-port", "8082"], &["PAGE_PORT: 8082 is PORT too"]);
    let (code, _, stderr) = bare().env("PAGE_PORT", "80a").run(&["check"]);
    assert_eq!(code, Some(0), "it is the demo's alone: {stderr}");

    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("the port").port().to_string();
    let (code, stdout, stderr) = bare().env("PAGE_PORT", &port).run(&["demo"]);
    assert_eq!((code, stdout.as_str(), stderr.lines().count()), (Some(1), "", 1), "{stderr}");
    assert!(stderr.contains(&format!("PAGE_PORT: cannot listen on 127.0.0.1 port {port}: ")), "{stderr}");
}

#[test]
fn the_demo_listens_on_loopback_unless_told_otherwise() {
    let public = |builder: Builder| {
        let line = demo(builder).wait_log("gateway is listening");
        line.split("public=").nth(1).and_then(|rest| rest.split(' ').next()).expect("an address").to_owned()
    };
    let address = public(bare().without("BIND"));
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let address = public(bare().env("BIND", "127.0.0.7"));
    assert!(address.starts_with("127.0.0.7:"), "{address}");
}

#[test]
fn the_demo_limits_in_memory() {
    let gateway = demo(bare());
    let mut client = gateway.client();
    let answers: Vec<Response> = (0..25)
        .map(|_| client.send(Request::new("GET", "/api/v1/users/me").bytes()).read_response())
        .collect();
    assert!(answers[..20].iter().all(|response| response.status == 401));
    let limited = answers.iter().find(|response| response.status == 429).expect("the burst is 20");
    assert_eq!(limited.field("retry-after"), Some("1"));
}

#[test]
fn the_demos_backends_keep_state_and_echo_headers() {
    let gateway = demo(bare().env("RATE_LIMIT_STORE", "off"));
    let json = |path: &str, body: &str| {
        Request::new("POST", path).field("Content-Type", "application/json").body(body)
    };
    let user = r#"{"user":"zoe","password":"a long password"}"#;
    assert!((200..300).contains(&gateway.ask(json("/api/v1/auth/register", user)).status));
    let login = gateway.ask(json("/api/v1/auth/login", user)).json();
    let token = login["token"].as_str().expect("a token").to_owned();
    for service in ["users", "conversations", "messages"] {
        let path = format!("/api/v1/{service}/echo");
        let response =
            gateway.ask(Request::new("GET", &path).bearer(&token).field("X-Internal-User-Id", "root"));
        assert_eq!(response.status, 200, "{path}");
        let text = response.text().to_lowercase();
        assert!(
            text.contains("x-internal-user-id") && text.contains("zoe") && !text.contains("root"),
            "{text}"
        );
    }
    assert_eq!(gateway.stop().code(), Some(0));
}

#[test]
fn a_panic_on_any_thread_takes_the_process_down_and_says_where() {
    if std::env::var_os("PANIC_ON_A_CORE").is_some() {
        realchat_gateway::telemetry::log::Log::install(LogFormat::Text).expect("a log").abort_on_panic();
        let core =
            std::thread::Builder::new().name("core-7".into()).spawn(|| panic!("an invariant is broken"));
        let _ = core.expect("a thread").join();
        // The process is gone before this line.
        std::process::exit(0);
    }
    let this = "program::a_panic_on_any_thread_takes_the_process_down_and_says_where";
    let child = std::process::Command::new(std::env::current_exe().expect("the path of this test"))
        .args(["--exact", this, "--nocapture"])
        .env("PANIC_ON_A_CORE", "1")
        .output()
        .expect("a child process");
    let signal = std::os::unix::process::ExitStatusExt::signal(&child.status);
    assert_eq!(signal, Some(6), "SIGABRT: {child:?}");
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(said.contains("core-7") && said.contains("an invariant is broken"), "{said}");
}

#[test]
fn what_the_machine_and_the_routes_contradict_is_told_with_all_the_rest() {
    let config = "[upstreams.a]\nurl = \"http://127.0.0.1:1\"\n\
        [[route]]\nname = \"one\"\npaths = [\"/x/{p}\"]\nupstream = \"a\"\n\
        [[route]]\nname = \"two\"\npaths = [\"/x/*\"]\nupstream = \"a\"\n";
    let builder = Gateway::builder().config(config).env("PORT", "x").cores("4000");
    let (code, _, stderr) = builder.run(&["check"]);
    assert_eq!(code, Some(2), "{stderr}");
    for part in ["PORT: ", "CORES: ", "one", "two"] {
        assert!(stderr.contains(part), "{part} is not told in:\n{stderr}");
    }
}
