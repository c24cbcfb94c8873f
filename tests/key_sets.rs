//! Issuers whose keys come from elsewhere: a real provider, key servers of every kind, files.

#[path = "key_sets/fetching.rs"]
mod fetching;
#[path = "key_sets/files.rs"]
mod files;
#[path = "key_sets/provider.rs"]
mod provider;
#[path = "key_sets/rotation.rs"]
mod rotation;
#[path = "key_sets/upgrade.rs"]
mod upgrade;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::harness::*;

/// The value of `iss` where the test's own signers issue.
const ISSUER: &str = "https://id.example";

/// A configuration with one issuer that has these lines, and one protected route to the origin.
fn file(issuer: &str, origin: &Origin) -> String {
    format!(
        "[[issuer]]\nname = 'id'\n{issuer}\n[upstreams.a]\nurl = 'http://{}'\n\
         [[route]]\nname = 'all'\npaths = ['/*']\nupstream = 'a'\n",
        origin.address
    )
}

/// A gateway with this configuration and no shared secret.
fn builder(toml: &str) -> Builder {
    Gateway::builder().without("JWT_SECRET").config(toml)
}

/// The status and code of a request with this token.
fn answer(gateway: &Gateway, token: &str) -> (u16, String) {
    let response = gateway.ask(Request::new("GET", "/").bearer(token));
    let code = if response.status == 200 { String::new() } else { response.code() };
    (response.status, code)
}

#[track_caller]
fn accepts(gateway: &Gateway, token: &str) {
    assert_eq!(answer(gateway, token), (200, String::new()), "log: {:#?}", gateway.log());
}

#[track_caller]
fn refuses(gateway: &Gateway, token: &str) {
    assert_eq!(answer(gateway, token), (401, "token_invalid".to_owned()), "log: {:#?}", gateway.log());
}

/// A key server: whatever it is told to answer.
struct KeyServer {
    origin: Origin,
    answer: Arc<Mutex<Vec<u8>>>,
}

impl KeyServer {
    fn new(answer: impl AsRef<[u8]>) -> KeyServer {
        let answer = Arc::new(Mutex::new(answer.as_ref().to_vec()));
        let told = answer.clone();
        let origin = Origin::each(move |_| told.lock().expect("no panic while locked").clone());
        KeyServer { origin, answer }
    }

    /// It has this key set.
    fn with(set: &str) -> KeyServer {
        KeyServer::new(json_answer(set))
    }

    fn says(&self, answer: impl AsRef<[u8]>) {
        *self.answer.lock().expect("no panic while locked") = answer.as_ref().to_vec();
    }

    /// The lines of an issuer whose keys are here.
    fn issuer(&self) -> String {
        format!("issuer = '{ISSUER}'\njwks_url = 'http://{}/keys'", self.origin.address)
    }
}

fn json_answer(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A file with this content, for as long as the test's process has its folder.
fn temporary(name: &str, content: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let nth = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("realchat-issuer-{}-{nth}-{name}", std::process::id()));
    std::fs::write(&path, content).expect("a file");
    path
}
