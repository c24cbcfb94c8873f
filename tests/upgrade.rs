//! A new process takes over under load, and no client notices; one that fails takes over nothing.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::harness::*;

fn a_request() -> Request {
    Request::new("GET", "/api/v1/users/me").token("ann")
}

/// No client has seen anything.
#[track_caller]
fn unnoticed(load: Load) {
    let (answers, failures) = load.stop();
    assert!(answers > 100, "only {answers} answers: this proves little");
    assert!(
        failures.is_empty(),
        "{} of {answers}: {:#?}",
        failures.len(),
        &failures[..failures.len().min(20)]
    );
}

#[track_caller]
fn ended(process: Pid) {
    eventually("the process ends", || test_kill_process(process).is_err());
}

#[test]
fn ten_upgrades_ten_reloads_and_three_that_fail_go_unnoticed() {
    let origin = Origin::fixed("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    for driver in ["auto", "epoll"] {
        let builder = Gateway::builder().cores("2").everywhere(&origin).config("body_timeout = '30s'\n");
        let mut gateway = builder.env("IO_DRIVER", driver).upgradable().start();
        let load = Load::start(gateway.public, &a_request(), 4);
        let rounds = if driver == "auto" { 10 } else { 2 };
        for round in 0..rounds {
            let old = gateway.in_charge();
            let new = gateway.upgrade().expect("an upgrade");
            assert_ne!(old, new);
            gateway.rewrite_config(&format!("body_timeout = '{}s'\n", 10 + round));
            kill_process(new, Signal::HUP).expect("the new process takes signals");
            gateway.wait_log(&format!("to \"{}s\"", 10 + round));
            if round < 3 {
                gateway.replace_program("/bin/false");
                let why = gateway.upgrade().expect_err("no gateway is started");
                assert!(why.contains("ERROR") && why.contains("exit status: 1"), "{why}");
                assert_eq!(gateway.in_charge(), new);
                gateway.replace_program(PROGRAM);
            }
            load.goes_on();
        }
        unnoticed(load);
        // The first one drains as the others do.
        assert_eq!(gateway.wait().code(), Some(0));
        let last = gateway.in_charge();
        kill_process(last, Signal::TERM).expect("the last one takes signals");
        ended(last);
    }
}

/// The proof above is one only if its clients see what a careless restart does.
#[test]
fn the_same_clients_notice_a_restart_that_closes_the_listeners() {
    let origin = Origin::fixed("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    let builder = Gateway::builder().cores("2").everywhere(&origin);
    let first = builder.clone().start();
    let builder = builder.env("PORT", &first.public.port().to_string());
    let load = Load::start(first.public, &a_request(), 4);
    first.signal(Signal::KILL);
    drop(first);
    // Nothing of it is in the way of the next one.
    let second = builder.start();
    load.goes_on();
    let (_, failures) = load.stop();
    assert!(failures.iter().any(|failure| failure.contains("reset")), "{failures:#?}");
    assert_eq!(second.stop().code(), Some(0));
}

#[test]
fn a_request_in_flight_ends_in_the_old_process_and_an_idle_connection_has_one_more() {
    let (origin, release) = Origin::held();
    let mut gateway = Gateway::builder().everywhere(&origin).upgradable().start();
    let (mut busy, mut idle, mut silent) = (gateway.client(), gateway.client(), gateway.client());
    idle.expect_open();
    silent.expect_open();
    busy.send(a_request().bytes());
    eventually("the request is in flight", || origin.heads() == 1);
    gateway.upgrade().expect("an upgrade");
    drop(release);
    assert_eq!(busy.read_response().text(), "done");
    busy.expect_closed();
    let last = idle.send(a_request().bytes()).read_response();
    assert_eq!((last.status, last.head.lists("connection", "close")), (200, true));
    let since = Instant::now();
    silent.expect_closed();
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    drop((busy, idle, silent));
    assert_eq!(gateway.wait().code(), Some(0));
    // The window to the numbers is the new process's, at the same address.
    assert_eq!(gateway.admin("/readyz").status, 200);
    assert_eq!(gateway.get("/api/v1/users/me", "ann").status, 200);
}

#[test]
fn tunnels_say_goodbye_one_after_the_other_and_come_back_to_the_new_process() {
    let origin = echoing();
    let builder = Gateway::builder().cores("2").everywhere(&origin).env("SHUTDOWN_TIMEOUT", "2s");
    let mut gateway = builder.env("UPGRADE_TUNNELS_TIMEOUT", "0s").upgradable().start();
    let mut old: Vec<Socket> = (0..8).map(|_| Socket::open(&gateway, "ann")).collect();
    old.iter_mut().for_each(|socket| socket.expect_echo("before"));
    gateway.upgrade().expect("an upgrade");
    let mut new = Socket::open(&gateway, "ben");
    for mut socket in old {
        socket.expect_goodbye(1012);
        Socket::open(&gateway, "ann").expect_echo("back");
    }
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(gateway.log().iter().any(|line| line.contains("nothing was cut off")));
    new.expect_echo("unmoved");
}

#[test]
fn the_new_process_has_another_number_of_cores() {
    let origin = Origin::fixed("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    let builder = Gateway::builder().without("CORES").everywhere(&origin).upgradable();
    let gateway = builder.config("cores = 1\n").start();
    let load = Load::start(gateway.public, &a_request(), 2);
    for (cores, told) in [(2, "it has bound a new one"), (1, "a core serves several")] {
        gateway.rewrite_config(&format!("cores = {cores}\n"));
        gateway.upgrade().expect("an upgrade");
        gateway.wait_log(told);
        eventually("each socket is served", || gateway.metric("listening") == 2);
        load.goes_on();
    }
    unnoticed(load);
}

#[test]
fn what_the_new_process_cannot_do_stands_in_the_log_of_the_old_one() {
    let builder =
        Gateway::builder().env("UPGRADE_TIMEOUT", "5s").config("body_timeout = '30s'\n").upgradable();
    let gateway = builder.start();
    let first = gateway.in_charge();
    let fails = |part: &str| {
        let why = gateway.upgrade().expect_err("no upgrade");
        assert!(why.contains("ERROR") && why.contains(part), "{part}: {why}");
        assert_eq!((gateway.in_charge(), gateway.admin("/readyz").status), (first, 200));
    };
    gateway.rewrite_config("body_timeout = 30\nnonsense = 1\n");
    fails("exit status: 2: nonsense");
    gateway.rewrite_config("port = 4711\n");
    gateway.rewrite_config("body_timeout = '30s'\n");
    gateway.replace_program("/does/not/exist");
    fails("cannot be started");
    // A program that says nothing and goes on.
    let sleeper = std::env::temp_dir().join(format!("realchat-it-{}-sleeper", std::process::id()));
    fs::write(&sleeper, "#!/bin/sh\nexec sleep 77\n").expect("a script");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&sleeper, mode).expect("an executable script");
    gateway.replace_program(sleeper.to_str().expect("UTF-8"));
    fails("not ready after 5s");
    let pid = gateway.wait_log("the new process has begun pid=");
    assert!(!pid.is_empty());
    fs::remove_file(&sleeper).expect("it was there");
    gateway.replace_program(PROGRAM);
    gateway.upgrade().expect("an upgrade after failures");
}

/// Runs the subcommand. Its exit code, and its line of either stream.
fn subcommand(builder: Builder, arguments: &[&str]) -> (Option<i32>, String) {
    let (code, stdout, stderr) = builder.run(&[&["upgrade"][..], arguments].concat());
    assert_eq!(stdout.lines().count() + stderr.lines().count(), 1, "{stdout}{stderr}");
    (code, stdout + &stderr)
}

fn pid_of(gateway: &Gateway) -> String {
    gateway.in_charge().as_raw_nonzero().to_string()
}

#[test]
fn the_subcommand_ends_when_the_new_process_serves() {
    let origin = Origin::fixed("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    let gateway = Gateway::builder().everywhere(&origin).upgradable().start();
    for _ in 0..3 {
        let first = pid_of(&gateway);
        let (code, told) = subcommand(Gateway::builder(), &["--pid", &first]);
        assert_eq!(code, Some(0), "{told}");
        let second = pid_of(&gateway);
        assert!(
            first != second && told.contains(&format!("{second} serves in place of process {first}")),
            "{told}"
        );
        assert_eq!(gateway.get("/api/v1/users/me", "ann").text(), "done");
    }
    let first = gateway.in_charge();
    let (code, told) = subcommand(Gateway::builder(), &["--no-wait", "--pid", &pid_of(&gateway)]);
    assert!(code == Some(0) && told.contains("requested"), "{told}");
    eventually("another process is in charge", || gateway.in_charge() != first);
}

#[test]
fn the_subcommand_fails_with_the_reason_and_the_old_process_goes_on() {
    let gateway = Gateway::builder().config("body_timeout = '30s'\n").upgradable().start();
    let pid = pid_of(&gateway);
    let fails = |part: &str| {
        let (code, told) = subcommand(Gateway::builder(), &["--pid", &pid]);
        assert!(code == Some(1) && told.contains(part), "{code:?} {told}");
        assert!(told.contains("failed, the process continues"), "{told}");
        assert_eq!((pid_of(&gateway), gateway.admin("/readyz").status), (pid.clone(), 200));
    };
    gateway.rewrite_config("body_timeout = 30\n");
    fails("exit status: 2: BODY_TIMEOUT");
    gateway.rewrite_config("body_timeout = '30s'\n");
    gateway.replace_program("/does/not/exist");
    fails("cannot be started");
    gateway.replace_program("/bin/false");
    fails("exit status: 1");
    gateway.replace_program(PROGRAM);
    let (code, told) = subcommand(Gateway::builder(), &["--pid", &pid]);
    assert_eq!(code, Some(0), "{told}");
}

#[test]
fn a_gateway_whose_binary_is_gone_from_its_path_is_still_known_as_one() {
    let copy = std::env::temp_dir().join(format!("realchat-it-{}-copy", std::process::id()));
    fs::copy(PROGRAM, &copy).expect("a copy of the program");
    let gateway = Gateway::builder().upgradable().start();
    gateway.replace_program(copy.to_str().expect("UTF-8"));
    assert_eq!(subcommand(Gateway::builder(), &["--pid", &pid_of(&gateway)]).0, Some(0));
    let pid = pid_of(&gateway);
    fs::remove_file(&copy).expect("it was there");
    let exe = fs::read_link(format!("/proc/{pid}/exe")).expect("a process of ours");
    assert!(exe.to_string_lossy().ends_with(" (deleted)"), "{exe:?}");
    gateway.replace_program(PROGRAM);
    assert_eq!(subcommand(Gateway::builder(), &["--pid", &pid]).0, Some(0));
}

#[test]
fn the_subcommand_finds_the_gateway_by_its_pid_file_wherever_that_is_written() {
    let gateway = Gateway::builder().upgradable().start();
    let file = std::env::temp_dir().join(format!("realchat-it-{}-pids", std::process::id()));
    let file = file.to_str().expect("UTF-8");
    let put = |text: &str| fs::write(file, text).expect("a file");
    let in_file = || Gateway::builder().config(&format!("pid_file = '{file}'\nbody_timeout = 'wrong'\n"));
    let ways: [(Builder, Vec<&str>); 3] = [
        (in_file(), vec![]),
        (Gateway::builder().env("PID_FILE", file), vec![]),
        (Gateway::builder(), vec!["--pid-file", file]),
    ];
    for (builder, arguments) in ways {
        let first = pid_of(&gateway);
        put(&format!("{first}\n"));
        let (code, told) = subcommand(builder, &arguments);
        assert!(code == Some(0) && pid_of(&gateway) != first, "{told}");
    }
    // The file of before: its process drains or is gone.
    let (code, told) = subcommand(in_file(), &[]);
    assert!(code == Some(2) && told.contains(file) && told.contains("process"), "{told}");
    for (text, part) in
        [("", "contains no process id"), ("0", "contains no process id"), ("x1", "no process id")]
    {
        put(text);
        let (code, told) = subcommand(in_file(), &[]);
        assert!(code == Some(2) && told.contains(part) && told.contains(file), "{told}");
    }
    fs::remove_file(file).expect("it was there");
    let (code, told) = subcommand(in_file(), &[]);
    assert!(code == Some(2) && told.contains("No such file"), "{told}");
    let (code, told) = subcommand(Gateway::builder(), &[]);
    assert!(code == Some(2) && told.starts_with("--pid: give"), "{told}");
}

#[test]
fn another_program_gets_no_signal() {
    // Either one would end at SIGUSR2, or do what nobody asked for.
    let trap = "trap 'echo signalled' USR2; echo ready; read -r _";
    let mut shell = Command::new("sh");
    shell.args(["-c", trap]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut shell = shell.spawn().expect("sh");
    let mut said = std::io::BufReader::new(shell.stdout.take().expect("a pipe"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).expect("it is ready");
    let (code, told) = subcommand(Gateway::builder(), &["--pid", &shell.id().to_string()]);
    assert!(code == Some(2) && told.contains("\"sh\"") && told.contains("no gateway"), "{told}");
    drop(shell.stdin.take());
    assert!(shell.wait().is_ok());
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut said, &mut rest).expect("a pipe");
    assert_eq!(rest, "", "it got the signal");
}

#[test]
fn a_gateway_that_shuts_down_is_not_asked() {
    let gateway = Gateway::builder().env("SHUTDOWN_DELAY", "300s").upgradable().start();
    let pid = pid_of(&gateway);
    gateway.signal(Signal::TERM);
    gateway.wait_log("draining");
    let (code, told) = subcommand(Gateway::builder(), &["--pid", &pid]);
    assert!(code == Some(2) && told.contains("shuts down"), "{told}");
    assert!(!gateway.log().iter().any(|line| line.contains("upgrade: starting")));
}

#[test]
fn a_demo_is_upgraded_with_its_page_and_its_tokens() {
    let builder = SERVICES.iter().fold(Gateway::builder(), |builder, service| {
        builder.without(&format!("UPSTREAM_{}_URL", service.to_uppercase()))
    });
    let builder =
        builder.without("JWT_SECRET").without("RATE_LIMIT_STORE").env("PAGE_PORT", "0").upgradable();
    let mut gateway = builder.start_with(&["demo"]);
    let page = gateway.wait_stdout("# Chat in two tabs: ");
    let page = page.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect("an address");
    let page: SocketAddr = page.replace("localhost", "127.0.0.1").parse().expect("an address");
    let login =
        Request::new("POST", "/api/v1/auth/login").body(r#"{"user":"alice","password":"wonderland"}"#);
    let token: serde_json::Value = serde_json::from_str(&gateway.ask(login).text()).expect("JSON");
    let token = token["token"].as_str().expect("a token").to_owned();
    let works = |gateway: &Gateway| {
        let me = gateway.ask(Request::new("GET", "/api/v1/users/me").bearer(&token));
        let html = Client::connect(page).send(Request::new("GET", "/").bytes()).read_response();
        assert_eq!((me.status, html.status), (200, 200), "{}", me.text());
    };
    works(&gateway);
    // In the chat room, over the same WebSocket all the time.
    let mut socket = Socket::open_with(&gateway, &handshake().bearer(&token));
    let mut says = |text: &str| {
        socket.send(Frame::text(&format!(r#"{{"type":"message","text":"{text}"}}"#)));
        let mut heard =
            std::iter::repeat_with(|| String::from_utf8_lossy(&socket.read().payload).into_owned());
        assert!(heard.by_ref().take(20).any(|heard| heard.contains(text)), "{text}");
    };
    says("before");
    // The second one gets from its predecessor what that one has got from its own.
    for round in 0..2 {
        let old = gateway.in_charge();
        let (code, told) = subcommand(Gateway::builder(), &["--pid", &pid_of(&gateway)]);
        assert_eq!(code, Some(0), "{told}");
        assert_ne!(gateway.in_charge(), old);
        match round {
            0 => assert_eq!(gateway.wait().code(), Some(0)),
            _ => ended(old),
        }
        works(&gateway);
        says(&format!("after {round}"));
    }
}

/// Starts the gateway as a service manager would: with these sockets and names.
fn activated(sockets: Vec<OwnedFd>, names: &str, builder: Vec<(&str, String)>) -> std::process::Child {
    // The shell knows its own number, which is the gateway's after `exec`.
    let mut command = Command::new("sh");
    command.args(["-c", "LISTEN_PID=$$ exec \"$0\" run", PROGRAM]).env_clear();
    command.env("LISTEN_FDS", sockets.len().to_string()).env("LISTEN_FDNAMES", names);
    command.envs([
        ("JWT_SECRET", SECRET),
        ("RATE_LIMIT_STORE", "off"),
        ("ACCESS_LOG", "off"),
        ("CORES", "2"),
    ]);
    command.envs([("BIND", "127.0.0.1"), ("ADMIN_ADDR", "off")]).envs(builder);
    let mappings = sockets.into_iter().zip(3..);
    let mappings = mappings.map(|(fd, number)| FdMapping { parent_fd: fd, child_fd: number }).collect();
    command.fd_mappings(mappings).expect("no descriptor twice");
    command.stderr(std::process::Stdio::piped()).spawn().expect("the gateway starts")
}

fn socket() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("the port");
    (listener, address)
}

fn handed(listener: &TcpListener) -> OwnedFd {
    listener.try_clone().expect("a descriptor").into()
}

#[test]
fn a_service_managers_sockets_are_served_and_left_to_it() {
    let ((public, address), (admin, admin_address)) = (socket(), socket());
    let env = || {
        let names = ("ADMIN_HOSTS", "chat.test".to_owned());
        vec![("PORT", address.port().to_string()), ("ADMIN_ADDR", admin_address.to_string()), names]
    };
    // Who is there before the process waits in the manager's queue.
    let mut early = Client::connect(address);
    for _ in 0..2 {
        let mut child = activated(vec![handed(&public), handed(&admin)], "x.socket:admin", env());
        early.send(Request::new("GET", "/healthz").bytes());
        assert_eq!(early.read_response().status, 200);
        let scrape = Request::new("GET", "/metrics").bytes();
        assert!(Client::connect(admin_address).send(scrape).read_response().text().contains("listening"));
        let pid = Pid::from_child(&child);
        kill_process(pid, Signal::TERM).expect("it takes signals");
        assert_eq!(child.wait().expect("a child of ours").code(), Some(0));
        // Nobody serves now, and nobody is refused.
        early = Client::connect(address);
    }
}

#[test]
fn a_socket_that_is_not_the_configured_address_is_refused_at_start() {
    let (public, address) = socket();
    let port = address.port().to_string();
    for (names, env, part) in [
        ("x", vec![("PORT", (address.port() ^ 1).to_string())], "PORT: a socket was handed over"),
        (
            "x",
            vec![("PORT", port.clone()), ("BIND", "127.0.0.2".to_owned())],
            "PORT: a socket was handed over",
        ),
        ("admin", vec![("PORT", "0".to_owned())], "ADMIN_ADDR: a socket was handed over"),
    ] {
        let child = activated(vec![handed(&public)], names, env);
        let output = child.wait_with_output().expect("it ends");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), told.lines().count()), (Some(2), 1), "{told}");
        assert!(told.contains(part), "{told}");
    }
}

/// What the gateway tells its service manager, until `done`.
fn told(manager: &UnixDatagram, mut done: impl FnMut(&str) -> bool) -> String {
    let (mut all, mut space) = (String::new(), [0; 4096]);
    manager.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
    while !done(&all) {
        let count = manager.recv(&mut space).unwrap_or_else(|error| panic!("{error} after {all}"));
        all += &String::from_utf8_lossy(&space[..count]);
    }
    all
}

#[test]
fn the_service_manager_hears_of_every_change() {
    let path = std::env::temp_dir().join(format!("realchat-it-{}-notify", std::process::id()));
    let _ = fs::remove_file(&path);
    let manager = UnixDatagram::bind(&path).expect("a socket");
    let builder = Gateway::builder().env("NOTIFY_SOCKET", path.to_str().expect("UTF-8"));
    let since = Instant::now();
    let mut gateway = builder.env("WATCHDOG_USEC", "400000").upgradable().start();
    let first = gateway.in_charge().as_raw_nonzero();
    told(&manager, |all| all.contains(&format!("MAINPID={first}\nREADY=1\n")));
    told(&manager, |all| all.matches("WATCHDOG=1\n").count() == 3);
    // Every 200 ms, kept to the tick of the control thread: not sooner, whenever they are read.
    assert!((Duration::from_millis(350)..SOON).contains(&since.elapsed()));

    gateway.signal(Signal::HUP);
    let all = told(&manager, |all| all.contains("READY=1\n"));
    let reloading = all.find("RELOADING=1\nMONOTONIC_USEC=").expect("RELOADING with its time");
    assert!(reloading < all.find("READY=1\n").expect("READY"), "{all}");

    let second = gateway.upgrade().expect("an upgrade").as_raw_nonzero();
    let all = told(&manager, |all| all.contains(&format!("MAINPID={second}\nREADY=1\n")));
    assert!(all.contains(&format!("MAINPID={second}\n")) && !all.contains("STOPPING"), "{all}");
    assert_eq!(gateway.wait().code(), Some(0));
    let all = told(&manager, |all| all.contains("WATCHDOG=1\n"));
    assert!(!all.contains("STOPPING"), "the old process has told of its end: {all}");
    kill_process(gateway.in_charge(), Signal::TERM).expect("it takes signals");
    told(&manager, |all| all.contains("STOPPING=1\n"));
    fs::remove_file(&path).expect("it was there");
}

#[test]
fn the_pid_file_names_the_process_in_charge_and_goes_with_it() {
    let gateway = Gateway::builder().upgradable().start();
    assert_eq!(gateway.in_charge().as_raw_nonzero().get() as u32, gateway.pid());
    let fds = gateway.fd_count();
    for _ in 0..3 {
        gateway.upgrade().expect("an upgrade");
    }
    let last = gateway.in_charge();
    let open = || fs::read_dir(format!("/proc/{}/fd", last.as_raw_nonzero())).expect("/proc").count();
    // And one file in memory, in which its predecessor says how its drain stands.
    eventually("every process hands over the sockets and nothing else", || open() == fds + 1);
    eventually("the first one ends", || fs::metadata(format!("/proc/{}/fd/0", gateway.pid())).is_err());
    assert_eq!(gateway.in_charge(), last, "the old process has removed the new one's file");
    kill_process(last, Signal::TERM).expect("it takes signals");
    ended(last);
}

#[test]
fn an_end_in_the_middle_of_an_upgrade_ends_both() {
    let sleeper = std::env::temp_dir().join(format!("realchat-it-{}-waiter", std::process::id()));
    fs::write(&sleeper, "#!/bin/sh\nexec sleep 78\n").expect("a script");
    fs::set_permissions(&sleeper, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("an executable");
    let mut gateway = Gateway::builder().upgradable().start();
    gateway.replace_program(sleeper.to_str().expect("UTF-8"));
    gateway.signal(Signal::USR2);
    let line = gateway.wait_log("the new process has begun");
    let pid = line.split("pid=").nth(1).and_then(|pid| pid.trim().parse().ok()).and_then(Pid::from_raw);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().code(), Some(0));
    ended(pid.expect("a number"));
    fs::remove_file(&sleeper).expect("it was there");
}

#[test]
fn a_reload_in_the_middle_of_an_upgrade_reaches_the_new_process() {
    let folder = std::env::temp_dir().join(format!("realchat-it-{}-hup", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).expect("a temporary folder");
    let (script, go) = (folder.join("script"), folder.join("go"));
    // The new program waits for a pipe, so that the signal comes in the middle of the upgrade.
    assert!(Command::new("mkfifo").arg(&go).status().expect("mkfifo").success());
    let text = format!("#!/bin/sh\nread -r _ < {}\nexec {PROGRAM} \"$@\"\n", go.display());
    fs::write(&script, text).expect("a script");
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("an executable");
    let gateway = Gateway::builder().config("body_timeout = '30s'\n").upgradable().start();
    let old = gateway.in_charge();
    gateway.replace_program(script.to_str().expect("UTF-8"));
    gateway.signal(Signal::USR2);
    gateway.wait_log("the new process has begun");
    gateway.reload();
    fs::write(&go, "go\n").expect("the script reads");
    eventually("the new process is in charge", || gateway.in_charge() != old);
    gateway.wait_log("passed on to the new process");
    // The file is the same, so there is nothing new; but a core of the new process may still be on its way to what it
    // began with, and is waited for then.
    let is_end = |line: &&String| {
        ["reload: nothing to take over", "reload: in force on every core"]
            .iter()
            .any(|end| line.contains(end))
    };
    let ends = || gateway.log().iter().filter(is_end).count();
    eventually("the new process reloads", || ends() == 2);
    fs::remove_dir_all(&folder).expect("it was there");
}
