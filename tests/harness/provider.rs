//! A real OpenID provider (oidc-provider, on Node), and users who log in at it as in a browser.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A running provider; dropped, it ends.
pub struct Provider {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
    /// It ends when this is closed.
    stdin: Option<ChildStdin>,
    /// It would not survive if this were closed.
    _stdout: BufReader<ChildStdout>,
}

impl Provider {
    /// With one key for each of these algorithms (`RS256,ES256`), named after the algorithm and the seed.
    #[track_caller]
    pub fn start(algorithms: &str, seed: u32) -> Provider {
        Provider::at(([127, 0, 0, 1], super::port_for_later()).into(), algorithms, seed)
    }

    /// The same at an address of the test's choice.
    #[track_caller]
    pub fn at(address: SocketAddr, algorithms: &str, seed: u32) -> Provider {
        Provider::with(address, algorithms, seed, "")
    }

    /// One that posts logout tokens there.
    #[track_caller]
    pub fn telling(logout_uri: &str) -> Provider {
        Provider::with(([127, 0, 0, 1], super::port_for_later()).into(), "ES256", 1, logout_uri)
    }

    #[track_caller]
    fn with(address: SocketAddr, algorithms: &str, seed: u32, logout_uri: &str) -> Provider {
        let mut child = node("provider.mjs")
            .env("LOGOUT_URI", logout_uri)
            .args([&address.port().to_string(), algorithms, &seed.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node (scripts/test installs it)");
        let (mut stdout, mut line) = (BufReader::new(child.stdout.take().expect("a pipe")), String::new());
        stdout.read_line(&mut line).expect("a line");
        assert_eq!(line.trim(), "ready", "no provider (npm ci --prefix tests/provider)");
        let stdin = child.stdin.take();
        Provider { address, child, stdin, _stdout: stdout }
    }

    /// The value of `iss` in its tokens.
    pub fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The access token of a user who logs in, signed with this algorithm.
    #[track_caller]
    pub fn login(&self, user: &str, algorithm: &str) -> String {
        self.log_in_and(user, algorithm, "")
    }

    /// The access token of a user who logs in and out again.
    #[track_caller]
    pub fn login_and_logout(&self, user: &str) -> String {
        self.log_in_and(user, "ES256", "logout")
    }

    #[track_caller]
    fn log_in_and(&self, user: &str, algorithm: &str, then: &str) -> String {
        let issuer = self.issuer();
        let output = node("login.mjs").args([&issuer, user, algorithm, then]).output().expect("node");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "no login: {told}");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    /// Ends it.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stdin = None;
        let _ = self.child.wait();
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.end();
    }
}

fn node(script: &str) -> Command {
    let mut command = Command::new("node");
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/provider")).arg(script);
    command
}
