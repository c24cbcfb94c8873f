//! The gateway as a process: its environment, its ports, its output, its end.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::tls::{self, Shim};
use super::{Client, NOBODY, Origin, PATIENCE, Request, Response, SECRET, eventually, show};

/// A running gateway; dropped, it is killed.
pub struct Gateway {
    /// The public listener.
    pub public: SocketAddr,
    /// Health and metrics.
    pub admin: SocketAddr,
    child: Child,
    stderr: Lines,
    stdout: Stdout,
    config: Option<PathBuf>,
    /// Where the program and its PID file are, if it can be upgraded.
    place: Option<Place>,
    /// What stands before its TLS listener, in a test that runs over TLS.
    shim: Option<Shim>,
}

/// What becomes of standard output.
enum Stdout {
    Read(Lines),
    /// A pipe that fills up.
    Unread {
        _pipe: ChildStdout,
    },
}

impl Gateway {
    /// One core, no limits (all clients have one address), no access log, upstreams where nobody listens; then as the
    /// test wants.
    pub fn builder() -> Builder {
        let mut builder = Builder {
            env: Vec::new(),
            config: None,
            is_stdout_read: true,
            under: Vec::new(),
            is_upgradable: false,
        };
        let names = ["PORT", "BIND", "ADMIN_ADDR", "CORES", "RATE_LIMIT_STORE", "ACCESS_LOG", "JWT_SECRET"];
        let values = ["0", "127.0.0.1", "127.0.0.1:0", "1", "off", "off", SECRET];
        let unbounded = ["WS_MAX_PER_USER", "WS_FRAMES_PER_SECOND", "WS_CONTROL_FRAMES_PER_SECOND"];
        for (name, value) in names.into_iter().zip(values).chain(unbounded.map(|name| (name, "0"))) {
            builder = builder.env(name, value);
        }
        for name in ["MAX_CONNECTIONS_PER_ADDRESS", "MAX_REQUESTS_PER_ADDRESS"] {
            builder = builder.env(name, "0");
        }
        builder = builder.env("WS_HANDSHAKE_RATE", "off");
        // The name that every request of the harness has.
        builder = builder.env("ADMIN_HOSTS", "chat.test");
        for service in SERVICES {
            builder = builder.upstream_url(service, &format!("http://{NOBODY}"));
        }
        builder
    }

    /// Every upstream is this origin.
    #[track_caller]
    pub fn before(origin: &Origin) -> Gateway {
        Gateway::builder().everywhere(origin).start()
    }

    /// The listener for TLS.
    #[track_caller]
    pub fn tls(&self) -> SocketAddr {
        let line = self.log().into_iter().rfind(|line| line.contains("gateway is listening"));
        let word = |line: String| {
            let word =
                line.split_whitespace().find_map(|word| word.strip_prefix("tls="))?.trim_matches('"').parse();
            word.ok()
        };
        line.and_then(word).expect("it listens for TLS")
    }

    /// A connection to the public listener.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.public)
    }

    /// The answer to one request on a connection of its own.
    #[track_caller]
    pub fn ask(&self, request: Request) -> Response {
        self.client().send(request.bytes()).read_response()
    }

    /// The answer to a GET with this user's token.
    #[track_caller]
    pub fn get(&self, target: &str, user: &str) -> Response {
        self.ask(Request::new("GET", target).token(user))
    }

    /// The answer of the admin listener.
    #[track_caller]
    pub fn admin(&self, target: &str) -> Response {
        Client::connect(self.admin).send(Request::new("GET", target).bytes()).read_response()
    }

    /// These bytes get this status (or one of these) as a problem answer, with this code if one is named,
    /// and then the connection does as said.
    #[track_caller]
    pub fn refuses(&self, raw: impl AsRef<[u8]>, statuses: impl Statuses, code: Option<&str>, then: Then) {
        let raw = raw.as_ref();
        let mut client = self.client();
        let response = client.send(raw).read_response();
        let what = show(raw);
        assert!(statuses.contain(response.status), "{} to {what}", response.status);
        let answered = response.code();
        assert!(code.is_none_or(|code| code == answered), "{answered} to {what}");
        match then {
            Then::Closes => {
                assert!(response.head.lists("connection", "close"), "no Connection: close to {what}");
                client.expect_closed();
            }
            Then::StaysOpen => client.expect_open(),
            Then::Either => {}
        }
    }

    /// The lines of the program's own log so far, without colours.
    pub fn log(&self) -> Vec<String> {
        self.stderr.so_far()
    }

    /// The lines of standard output so far: the access log.
    pub fn stdout(&self) -> Vec<String> {
        match &self.stdout {
            Stdout::Read(lines) => lines.so_far(),
            Stdout::Unread { .. } => Vec::new(),
        }
    }

    /// Waits for a line of the program's own log that contains this.
    #[track_caller]
    pub fn wait_log(&self, part: &str) -> String {
        let find = || self.log().into_iter().find(|line| line.contains(part));
        eventually(&format!("{part:?} in the log"), || find().is_some());
        find().unwrap_or_default()
    }

    /// The sum over all cores of a metric, named without prefix; with labels, of those samples alone.
    #[track_caller]
    pub fn metric(&self, name: &str) -> u64 {
        let (name, label) = name.split_once('{').unwrap_or((name, ""));
        let label = label.trim_end_matches('}');
        let text = self.admin("/metrics").text();
        let samples =
            text.lines().filter_map(|line| line.strip_prefix("realchat_gateway_")?.rsplit_once(' '));
        let this = |sample: &str| sample.split('{').next() == Some(name) && sample.contains(label);
        let values: Vec<u64> = samples
            .filter(|(sample, _)| this(sample))
            .map(|(_, value)| value.parse().expect("u64"))
            .collect();
        // What is counted by code has no sample before it is.
        let is_announced = text.contains(&format!("# TYPE realchat_gateway_{name} "));
        assert!(!values.is_empty() || is_announced, "no metric {name}{{{label}}} in:\n{text}");
        values.iter().sum()
    }

    /// The process's number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line on standard output that contains this.
    #[track_caller]
    pub fn wait_stdout(&self, part: &str) -> String {
        let find = || self.stdout().into_iter().find(|line| line.contains(part));
        eventually(&format!("{part:?} on standard output"), || find().is_some());
        find().unwrap_or_default()
    }

    /// Open file descriptors.
    pub fn fd_count(&self) -> usize {
        self.entries("fd")
    }

    /// Threads, those of the kernel's ring workers included.
    pub fn threads(&self) -> usize {
        self.entries("task")
    }

    /// Resident memory, in KiB.
    pub fn rss_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("/proc");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Processor time used so far, by itself and by the kernel for it.
    pub fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("/proc");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        // proc_pid_stat(5): utime and stime, in ticks of 10 ms.
        let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("ticks")).sum();
        Duration::from_millis(10 * ticks)
    }

    /// Writes the configuration file anew.
    pub fn rewrite_config(&self, toml: &str) {
        fs::write(self.config.as_ref().expect("a configuration file"), toml).expect("a temporary file");
    }

    /// SIGHUP, and waits for what the log says of the reload's end; gives the lines about it.
    #[track_caller]
    pub fn reload(&self) -> Vec<String> {
        let before = self.log().len();
        self.signal(Signal::HUP);
        let ends = ["in force on every core", "nothing to take over", "the running configuration stays"];
        let is_over = |line: &String| ends.iter().any(|end| line.contains(end));
        eventually("the reload ends", || self.log()[before..].iter().any(is_over));
        self.log().split_off(before)
    }

    /// Puts another program at the path of this one: from now on that is the new binary.
    pub fn replace_program(&self, by: &str) {
        self.place.as_ref().expect("an upgradable gateway").put(by);
    }

    /// The process in charge, as its file says.
    pub fn in_charge(&self) -> Pid {
        self.place.as_ref().and_then(Place::pid).expect("an upgradable gateway")
    }

    /// SIGUSR2 to the process in charge, and waits for what comes of it. `Err`: the line that says why not.
    #[track_caller]
    pub fn upgrade(&self) -> Result<Pid, String> {
        let (before, old) = (self.log().len(), self.in_charge());
        kill_process(old, Signal::USR2).expect("the process takes signals");
        let find = |part: &str| self.log()[before..].iter().find(|line| line.contains(part)).cloned();
        eventually("the upgrade succeeds or fails", || {
            find("upgrade: failed").is_some()
                || (find("gateway is listening").is_some() && self.in_charge() != old)
        });
        find("upgrade: failed").map_or_else(|| Ok(self.in_charge()), Err)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process takes signals");
    }

    /// SIGSTOP, and waits until none of its threads runs: the signal alone only asks for it.
    #[track_caller]
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        let stands = |task: fs::DirEntry| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // proc_pid_stat(5): the state follows the name, which is in parentheses.
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
        };
        eventually("every thread stands still", || {
            let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("/proc");
            tasks.flatten().all(stands)
        });
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM, and the exit status.
    #[track_caller]
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// The exit status of a process that ends by itself.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child).unwrap_or_else(|| panic!("still running; log: {:#?}", self.log()))
    }

    fn entries(&self, folder: &str) -> usize {
        fs::read_dir(format!("/proc/{}/{folder}", self.child.id())).expect("/proc").count()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(pid) = self.place.as_ref().and_then(Place::pid) {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(path) = &self.config {
            let _ = fs::remove_file(path);
        }
        if thread::panicking() {
            eprintln!("--- the gateway's log\n{}", self.log().join("\n"));
        }
    }
}

/// What the connection does after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It ends, in order, and nothing more is said on it.
    Closes,
    /// It takes the next request.
    StaysOpen,
    /// Not this test's business.
    Either,
}

/// One status, or any of several where the rule leaves the choice.
pub trait Statuses {
    fn contain(&self, status: u16) -> bool;
}

impl Statuses for u16 {
    fn contain(&self, status: u16) -> bool {
        *self == status
    }
}

impl<const N: usize> Statuses for [u16; N] {
    fn contain(&self, status: u16) -> bool {
        self.contains(&status)
    }
}

/// A gateway that has not been started.
#[derive(Clone)]
pub struct Builder {
    env: Vec<(String, String)>,
    config: Option<String>,
    is_stdout_read: bool,
    under: Vec<String>,
    is_upgradable: bool,
}

impl Builder {
    /// Sets a variable; the last one of a name counts.
    pub fn env(mut self, name: &str, value: &str) -> Builder {
        self = self.without(name);
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A listener for TLS, with the harness's certificate.
    pub fn over_tls(mut self) -> Builder {
        let tls::Certificate { cert, key, .. } = tls::certificate();
        for (name, file) in [("TLS_CERT_FILE", cert), ("TLS_KEY_FILE", key)] {
            self = self.env(name, file.to_str().expect("a path in UTF-8"));
        }
        self.env("TLS_PORT", "0")
    }

    /// Takes a variable away, a default of the harness too.
    pub fn without(mut self, name: &str) -> Builder {
        self.env.retain(|(set, _)| set != name);
        self
    }

    /// A list of CPUs or a count.
    pub fn cores(self, cores: &str) -> Builder {
        self.env("CORES", cores)
    }

    /// This service is at this origin.
    pub fn upstream(self, service: &str, origin: &Origin) -> Builder {
        self.upstream_url(service, &format!("http://{}", origin.address))
    }

    /// This service is at this URL.
    pub fn upstream_url(self, service: &str, url: &str) -> Builder {
        self.env(&format!("UPSTREAM_{}_URL", service.to_uppercase()), url)
    }

    /// Every service is at this origin.
    pub fn everywhere(self, origin: &Origin) -> Builder {
        SERVICES.iter().fold(self, |builder, service| builder.upstream(service, origin))
    }

    /// Runs with this configuration file.
    pub fn config(mut self, toml: &str) -> Builder {
        self.config = Some(toml.to_owned());
        self
    }

    /// Its standard output is a pipe that nobody reads.
    pub fn unread_stdout(mut self) -> Builder {
        self.is_stdout_read = false;
        self
    }

    /// Runs with so many file descriptors at most.
    pub fn open_files(self, limit: u32) -> Builder {
        self.under(&["sh", "-c", &format!("ulimit -n {limit} && exec \"$0\" \"$@\"")])
    }

    /// Is started by this command, which gets the program and its arguments behind its own and becomes it.
    pub fn under(mut self, command: &[&str]) -> Builder {
        self.under = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Runs from a path of its own, at which another program can be put, and writes its number into a file.
    pub fn upgradable(mut self) -> Builder {
        self.is_upgradable = true;
        self
    }

    /// Starts it and waits until it listens.
    #[track_caller]
    pub fn start(self) -> Gateway {
        self.start_with(&["run"])
    }

    /// Starts it with these arguments and waits until it listens.
    #[track_caller]
    pub fn start_with(mut self, arguments: &[&str]) -> Gateway {
        let is_over_tls = tls::is_wanted();
        if is_over_tls {
            self = self.over_tls();
        }
        let is_stdout_read = self.is_stdout_read;
        let (mut child, config, place) = self.spawn(arguments);
        let stderr = Lines::of(child.stderr.take().expect("a pipe"));
        let pipe = child.stdout.take().expect("a pipe");
        let stdout =
            if is_stdout_read { Stdout::Read(Lines::of(pipe)) } else { Stdout::Unread { _pipe: pipe } };
        let Some((public, admin)) = listening(&stderr, &mut child) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the gateway does not listen; log: {:#?}", stderr.so_far());
        };
        let mut gateway = Gateway { public, admin, child, stderr, stdout, config, place, shim: None };
        if is_over_tls {
            let shim = Shim::before(gateway.tls());
            gateway.public = shim.address;
            gateway.shim = Some(shim);
        }
        gateway
    }

    /// Runs it to its end: the exit code, standard output, standard error.
    #[track_caller]
    pub fn run(self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let (mut child, config, _place) = self.spawn(arguments);
        let stdout = Lines::of(child.stdout.take().expect("a pipe"));
        let stderr = Lines::of(child.stderr.take().expect("a pipe"));
        let status = wait(&mut child);
        if status.is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
        config.map(fs::remove_file);
        let status = status.unwrap_or_else(|| panic!("{arguments:?} does not end: {:#?}", stderr.all()));
        (status.code(), stdout.all().join("\n"), stderr.all().join("\n"))
    }

    fn spawn(self, arguments: &[&str]) -> (Child, Option<PathBuf>, Option<Place>) {
        let place = self.is_upgradable.then(Place::new);
        let program = place.as_ref().map_or(PathBuf::from(PROGRAM), Place::program);
        let program = program.to_str().expect("a path in UTF-8");
        let mut words = self.under.iter().map(String::as_str).chain([program]);
        let mut command = Command::new(words.next().expect("the program"));
        command.args(words).args(arguments).env_clear();
        for name in ["PATH", "RUST_LOG"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.envs(self.env);
        let config = self.config.map(write_config);
        command.envs(config.as_ref().map(|path| ("CONFIG_FILE", path)));
        command.envs(place.as_ref().map(|place| ("PID_FILE", place.pid_file())));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        (command.spawn().expect("the binary starts"), config, place)
    }
}

/// The program that is tested.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_realchat-gateway");

/// A folder with a link to the program, which can lead elsewhere later, and its PID file.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let folder = std::env::temp_dir().join(format!("realchat-gateway-{}-{number}.d", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).expect("a temporary folder");
        let place = Place(folder);
        place.put(PROGRAM);
        place
    }

    fn program(&self) -> PathBuf {
        self.0.join("realchat-gateway")
    }

    fn pid_file(&self) -> PathBuf {
        self.0.join("pid")
    }

    /// As a package manager does it: the name leads to the new file from one moment to the next.
    fn put(&self, program: &str) {
        let beside = self.0.join("new");
        std::os::unix::fs::symlink(program, &beside).expect("a link");
        fs::rename(beside, self.program()).expect("the link in its place");
    }

    fn pid(&self) -> Option<Pid> {
        fs::read_to_string(self.pid_file()).ok()?.trim().parse().ok().and_then(Pid::from_raw)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The services that have an `UPSTREAM_…_URL`.
pub const SERVICES: [&str; 5] = ["auth", "message", "delivery", "profile", "conversation"];

fn write_config(toml: String) -> PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::SeqCst);
    let path = std::env::temp_dir().join(format!("realchat-gateway-{}-{number}.toml", std::process::id()));
    fs::write(&path, toml).expect("a temporary file");
    path
}

fn wait(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + 3 * PATIENCE;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            return Some(status);
        }
        thread::sleep(std::time::Duration::from_millis(10));
    }
    None
}

/// The addresses of the line that says so; `None` when the process ends or never says it.
fn listening(stderr: &Lines, child: &mut Child) -> Option<(SocketAddr, SocketAddr)> {
    let deadline = Instant::now() + 2 * PATIENCE;
    while Instant::now() < deadline {
        let running = child.try_wait().expect("a child of ours").is_none();
        if let Some(addresses) = stderr.so_far().iter().find_map(|line| listening_line(line)) {
            return Some(addresses);
        }
        if !running {
            return None;
        }
        thread::sleep(std::time::Duration::from_millis(5));
    }
    None
}

/// `… gateway is listening … public=ADDRESS … admin=ADDRESS …`; an admin listener that is off is nobody's address.
pub fn listening_line(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let json: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    let value = |key: &str| -> Option<String> {
        let of_text = || line.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        json[key].as_str().or_else(of_text).map(|text| text.trim_matches('"').to_owned())
    };
    let address = |key: &str| value(key)?.parse().ok();
    let admin = if value("admin")? == "off" { NOBODY.parse().ok() } else { address("admin") };
    line.contains("gateway is listening").then_some((address("public")?, admin?))
}

/// A pipe's lines, read by a thread of their own so that the process never waits for a test.
struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    reader: Mutex<Option<thread::JoinHandle<()>>>,
}

impl Lines {
    fn of(pipe: impl Read + Send + 'static) -> Lines {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let into = lines.clone();
        let reader = thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let line = without_colours(&String::from_utf8_lossy(&line));
                into.lock().expect("no panic while locked").push(line);
            }
        });
        Lines { lines, reader: Mutex::new(Some(reader)) }
    }

    fn so_far(&self) -> Vec<String> {
        self.lines.lock().expect("no panic while locked").clone()
    }

    /// Every line of a process that has ended.
    fn all(&self) -> Vec<String> {
        if let Some(reader) = self.reader.lock().expect("no panic while locked").take() {
            reader.join().expect("the reader ends with the pipe");
        }
        self.so_far()
    }
}

/// The text without ANSI escape sequences (`ESC [ … letter`).
pub fn without_colours(text: &str) -> String {
    let mut plain = String::new();
    let mut parts = text.split('\x1b');
    plain += parts.next().unwrap_or_default();
    for part in parts {
        plain += part.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, rest)| rest);
    }
    plain
}
