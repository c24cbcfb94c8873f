//! A headless Chromium and its pages, driven through chromedriver by the WebDriver protocol
//! (<https://www.w3.org/TR/webdriver2/>): what is clicked and typed here is clicked and typed as a person would.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{Client, PATIENCE};

/// A running browser; dropped, it is ended with everything it left.
pub struct Browser {
    driver: Driver,
    session: String,
    /// Chromium's own process, in case chromedriver does not end it.
    process: Option<Pid>,
}

impl Browser {
    /// With a profile of its own. The programs are in the packages chromium and chromium-driver.
    #[track_caller]
    pub fn start() -> Browser {
        let driver = Driver::start();
        let profile = format!("--user-data-dir={}", driver.folder.join("profile").display());
        let mut arguments = vec![profile.as_str()];
        arguments.extend(ARGUMENTS);
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            // The certificate of `demo --tls` is its own authority.
            "acceptInsecureCerts": true,
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let started = driver.command("POST", "/session", &capabilities);
        let session = started["sessionId"].as_str().expect("a session").to_owned();
        let process = started["capabilities"]["goog:processID"].as_i64();
        Browser { driver, session, process: process.and_then(|id| Pid::from_raw(id as i32)) }
    }

    /// A tab with this page.
    #[track_caller]
    pub fn open(&self, url: &str) -> Page<'_> {
        let tab = self.command("POST", "/window/new", &json!({ "type": "tab" }));
        let page = Page { browser: self, handle: tab["handle"].as_str().expect("a handle").to_owned() };
        page.command("POST", "/url", &json!({ "url": url }));
        page
    }

    /// What the pages and the browser complained of since this was asked last.
    #[track_caller]
    pub fn complaints(&self) -> Vec<String> {
        let log = self.command("POST", "/se/log", &json!({ "type": "browser" }));
        let entries = log.as_array().expect("entries").iter();
        entries.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    #[track_caller]
    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        self.driver.command(method, &format!("/session/{}{path}", self.session), body)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let closes = || self.command("DELETE", "", &Value::Null);
        let is_closed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(closes)).is_ok();
        if let Some(process) = self.process.filter(|_| !is_closed) {
            let _ = kill_process(process, Signal::KILL);
        }
    }
}

/// One tab. Elements are named by their `id`.
pub struct Page<'b> {
    browser: &'b Browser,
    handle: String,
}

impl Page<'_> {
    /// Clicks on an element; it must be there to be clicked on.
    #[track_caller]
    pub fn click(&self, id: &str) {
        let element = self.element(id);
        self.command("POST", &format!("/element/{element}/click"), &json!({}));
    }

    /// Types into an element, behind what is there.
    #[track_caller]
    pub fn write(&self, id: &str, text: &str) {
        let element = self.element(id);
        self.command("POST", &format!("/element/{element}/value"), &json!({ "text": text }));
    }

    /// The text of an element as it is shown; empty while it is hidden.
    #[track_caller]
    pub fn text(&self, id: &str) -> String {
        let element = self.element(id);
        let text = self.command("GET", &format!("/element/{element}/text"), &Value::Null);
        text.as_str().expect("a text").to_owned()
    }

    /// Waits until the text of an element contains this.
    #[track_caller]
    pub fn shows(&self, id: &str, part: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.text(id);
            if text.contains(part) {
                return;
            }
            assert!(Instant::now() < deadline, "#{id} never showed {part:?}, but {text:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Gives the window this size, in CSS pixels, the browser's own frame included.
    #[track_caller]
    pub fn resize(&self, width: u32, height: u32) {
        self.command("POST", "/window/rect", &json!({ "width": width, "height": height }));
    }

    /// Loads the page again.
    #[track_caller]
    pub fn reload(&self) {
        self.command("POST", "/refresh", &json!({}));
    }

    /// What a script in the page returns.
    #[track_caller]
    pub fn run(&self, script: &str) -> Value {
        self.command("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    #[track_caller]
    fn element(&self, id: &str) -> String {
        let by = json!({ "using": "css selector", "value": format!("#{id}") });
        let found = self.command("POST", "/element", &by);
        // The name of the member is the standard's, section 12 (Elements).
        found["element-6066-11e4-a52e-4f735466cecf"].as_str().expect("an element").to_owned()
    }

    #[track_caller]
    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        self.browser.command("POST", "/window", &json!({ "handle": self.handle }));
        self.browser.command(method, path, body)
    }
}

/// chromedriver, and a folder for all that the browser leaves.
struct Driver {
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
    /// Kept open: a driver that cannot write ends.
    _stdout: BufReader<ChildStdout>,
}

impl Driver {
    #[track_caller]
    fn start() -> Driver {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::SeqCst);
        let folder = std::env::temp_dir().join(format!("realchat-browser-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").env_clear().env("HOME", &folder).env("TMPDIR", &folder);
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        // It looks for a port that is free for IPv4 and IPv6, and gives up if it is taken for one of them: among the
        // sockets of other tests that happens.
        for _ in 0..STARTS_MAX {
            let mut child =
                command.spawn().expect("chromedriver starts; it is in the package chromium-driver");
            let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
            if let Some(port) = port_of(&mut stdout) {
                let address = SocketAddr::from(([127, 0, 0, 1], port));
                return Driver { child, address, folder, _stdout: stdout };
            }
            child.wait().expect("it has ended");
        }
        panic!("chromedriver says where it listens");
    }

    /// Asks the driver to do something. Its answer's value; an error fails the test with the driver's words.
    #[track_caller]
    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        // chromedriver refuses a Host that is not local.
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        let mut client = Client::connect(self.address);
        client.stream().set_read_timeout(Some(BROWSER_PATIENCE)).expect("a timeout");
        let response = client.send(head + &body).read_response();
        let mut answer = response.json();
        assert_eq!(response.status, 200, "{method} {path}: {}", answer["value"]["message"]);
        answer["value"].take()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// `ChromeDriver was started successfully on port 40563.` `None`: it has ended without saying so.
fn port_of(stdout: &mut impl BufRead) -> Option<u16> {
    let mut lines = stdout.lines().map_while(Result::ok);
    lines.find_map(|line| line.split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok())
}

/// How often a driver is started that finds no port.
const STARTS_MAX: usize = 10;

/// How long a browser may take, its start on a busy machine included.
const BROWSER_PATIENCE: Duration = Duration::from_secs(60);

/// No window, nothing of the machine's, nothing from outside. Root has no sandbox, and `/dev/shm` may be small.
const ARGUMENTS: [&str; 12] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1000,700",
];
