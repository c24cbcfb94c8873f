//! `demo --tls`: the demo over HTTPS, with a certificate that nobody has issued.

use std::fs;
use std::process::{Command, Stdio};

use super::files::Folder;
use super::listener::tls_address;
use crate::harness::*;

#[test]
fn the_demo_speaks_https_and_leaves_no_key_behind() {
    let folder = Folder::new();
    let builder = SERVICES.iter().fold(Gateway::builder(), |builder, service| {
        builder.without(&format!("UPSTREAM_{}_URL", service.to_uppercase()))
    });
    let builder =
        ["JWT_SECRET", "RATE_LIMIT_STORE"].iter().fold(builder, |builder, name| builder.without(name));
    let builder = builder.env("PAGE_PORT", "0").env("TLS_PORT", "0").env("TMPDIR", &folder.path(""));
    let gateway = builder.start_with(&["demo", "--tls"]);
    let port = tls_address(&gateway).expect("an address").port();
    let page = gateway.wait_stdout("# Chat in two tabs: ");
    let script: Vec<String> = gateway.stdout().into_iter().filter(|line| line.contains("curl ")).collect();
    assert!(script.iter().all(|line| line.contains(&format!("https://localhost:{port}/"))), "{script:?}");
    let output =
        Command::new("sh").arg("-c").arg(script.join("\n")).stdin(Stdio::null()).output().expect("sh");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.starts_with("HTTP/1.1 200") && output.contains("alice"), "{output}");
    assert!(output.contains("HTTP/1.1 401") && output.contains("token_missing"), "{output}");
    let page = page.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect("an address");
    let page = page.replace("localhost", "127.0.0.1").parse().expect("an address");
    let html = Client::connect(page).send(Request::new("GET", "/").bytes()).read_response();
    let policy = html.field("content-security-policy").expect("a policy");
    assert!(policy.contains(&format!("wss://localhost:{port} ")) && !policy.contains("http://"), "{policy}");
    let text = html.text();
    assert!(text.contains("name=\"gateway-tls\" content=\"s\"") && !text.contains("{{"), "{text}");
    let files = || fs::read_dir(folder.path("")).expect("our own folder").count();
    assert_eq!(files(), 1);
    assert_eq!(gateway.stop().code(), Some(0));
    assert_eq!(files(), 0);
}
