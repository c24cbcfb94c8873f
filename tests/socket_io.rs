//! Socket.IO's own server behind the gateway and its own client before it: polling and WebSocket on one path.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::harness::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/socket_io")
}

fn node(script: &str, arguments: &[&str]) -> Command {
    let installed = folder().join("node_modules/socket.io");
    assert!(installed.is_dir(), "Socket.IO is not installed: npm ci --prefix tests/socket_io");
    let mut command = Command::new("node");
    command.arg(folder().join(script)).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// The server, gone with the test.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start() -> Server {
        let mut child = node("server.js", &[]).spawn().expect("node starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let port = line.trim().parse().expect("a port");
        Server { child, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the client tells, a line for each thing that happened.
fn talk(gateway: &Gateway, token: &str) -> Vec<Value> {
    let url = format!("http://{}", gateway.public);
    let output = node("client.js", &[&url, token]).output().expect("node runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn before(server: &Server, kind: &str) -> Builder {
    Gateway::builder().config(&format!(
        "[upstreams.chat]\nurl = 'http://127.0.0.1:{}'\n\
         [[route]]\nname = 'socket-io'\npaths = ['/socket.io/', '/socket.io/*']\nupstream = 'chat'\n\
         kind = '{kind}'\ntokens_from = ['header', 'query:token']\n",
        server.port
    ))
}

#[test]
fn its_client_polls_and_then_goes_over_to_a_websocket() {
    let server = Server::start();
    let gateway = before(&server, "both").start();
    let told = talk(&gateway, &token("ann"));
    assert_eq!(told.first(), Some(&serde_json::json!({ "opened": "polling" })), "{told:?}");
    let answers: Vec<&Value> = told.iter().filter(|line| line.get("text").is_some()).collect();
    assert_eq!(answers.len(), 6, "{told:?}");
    for answer in &answers {
        assert_eq!((&answer["user"], answer.get("token")), (&"ann".into(), None), "{told:?}");
    }
    assert!(told.contains(&serde_json::json!({ "upgraded": "websocket" })), "{told:?}");
    assert_eq!(answers[5]["transport"], "websocket", "{told:?}");
    assert_eq!(told.last(), Some(&serde_json::json!({ "over": true })));
    assert_eq!(gateway.metric("tunnels_opened_total"), 1);
    // The first poll, the one that connects, and the handshake.
    assert!(gateway.metric("requests_total") >= 3, "{}", gateway.metric("requests_total"));
}

#[test]
fn its_client_is_refused_with_a_bad_token_and_without_one() {
    let server = Server::start();
    let gateway = before(&server, "both").start();
    for token in ["", "a.b.c"] {
        let told = talk(&gateway, token);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0]["status"], 401, "{told:?}");
    }
}
