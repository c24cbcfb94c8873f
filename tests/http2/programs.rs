//! Clients that others have written.

use std::process::Command;

use super::*;
use crate::harness::tls::certificate;

#[track_caller]
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("the program runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn curl_by_prior_knowledge_and_over_tls() {
    let origin = Origin::echo();
    let gateway = builder(&origin).over_tls().env("HTTP2", "on").start();
    let bearer = format!("Authorization: Bearer {}", token("ann"));
    let plain = format!("http://{}{ME}", gateway.public);
    let found = run("curl", &["-sS", "-i", "--http2-prior-knowledge", "-H", &bearer, &plain]);
    assert!(found.starts_with("HTTP/2 200"), "{found}");
    let body = "b".repeat(300_000);
    let file = TempFile::new("h2-body", &body);
    let body = format!("@{}", file.path());
    let login = format!("http://{}{LOGIN}", gateway.public);
    let found = run("curl", &["-sS", "-i", "--http2-prior-knowledge", "--data-binary", &body, &login]);
    assert!(found.contains("\"body_length\":300000"), "{found}");
    let port = gateway.tls().port();
    let secure = format!("https://chat.test:{port}{ME}");
    let to = format!("chat.test:{port}:127.0.0.1");
    let authority = certificate().cert.to_str().expect("a path").to_owned();
    for (version, expected) in [("--http2", "HTTP/2 200"), ("--http1.1", "HTTP/1.1 200")] {
        let arguments =
            ["-sS", "-i", version, "--resolve", &to, "--cacert", &authority, "-H", &bearer, &secure];
        let found = run("curl", &arguments);
        assert!(found.starts_with(expected), "{found}");
    }
    assert_eq!(origin.last().field("x-forwarded-proto"), Some("https"));
}

#[test]
fn h2load_with_many_streams() {
    let origin = Origin::echo();
    let gateway = before(&origin);
    let url = format!("http://{}/healthz", gateway.public);
    let found = run("h2load", &["-n", "2000", "-c", "4", "-m", "50", &url]);
    assert!(found.contains("2000 succeeded, 0 failed"), "{found}");
}

#[test]
fn nghttp_with_priorities_and_padding() {
    let origin = Origin::echo();
    let gateway = before(&origin);
    let url = format!("http://{}/healthz", gateway.public);
    let found = run("nghttp", &["-v", "--padding=50", "--no-dep", &url, &url]);
    assert!(found.contains(":status: 200") && !found.contains("RST_STREAM"), "{found}");
}

/// Node's own client over TLS: many streams at once, large bodies in both directions, one that is given up.
#[test]
fn node_over_tls() {
    if Command::new("node").arg("--version").output().is_err() {
        eprintln!("left out: there is no node");
        return;
    }
    let origin = Origin::each(|request| {
        let bytes = if request.target().ends_with("large") { 3_000_000 } else { request.body.len() };
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").into_bytes(), vec![b'n'; bytes]]
            .concat()
    });
    let gateway = builder(&origin).over_tls().env("HTTP2", "on").start();
    let script = TempFile::new("h2-client.js", NODE);
    let (url, path) = (format!("https://chat.test:{}", gateway.tls().port()), script.path());
    let authority = certificate().cert.to_str().expect("a path").to_owned();
    let found = run("node", &[&path, &url, &authority, LOGIN]);
    assert_eq!(found.trim(), "60 of 60, 3000000, 0");
    eventually("every stream has ended", || gateway.metric("http2_streams_open") == 0);
}

const NODE: &str = r#"
const http2 = require('http2');
const fs = require('fs');
const net = require('net');
const tls = require('tls');
const [url, ca, path] = process.argv.slice(2);
const { hostname, port } = new URL(url);
const createConnection = () =>
  tls.connect({ host: '127.0.0.1', port, servername: hostname, ca: fs.readFileSync(ca), ALPNProtocols: ['h2'] });
const session = http2.connect(url, { createConnection });
session.on('error', error => { console.log('session: ' + error); process.exit(1); });
const ask = (target, body) => new Promise((resolve, reject) => {
  const stream = session.request({ ':method': 'POST', ':path': target, 'x-test': 'a value that is indexed' });
  let bytes = 0;
  stream.on('data', data => { bytes += data.length; });
  stream.on('end', () => resolve(bytes));
  stream.on('error', reject);
  stream.end(body);
});
(async () => {
  const sizes = Array.from({ length: 60 }, (_, nth) => nth * 5000);
  const found = await Promise.all(sizes.map(size => ask(path, Buffer.alloc(size, 'n'))));
  const right = found.filter((bytes, nth) => bytes === sizes[nth]).length;
  const large = await ask(path + '?large', '');
  const given = session.request({ ':method': 'POST', ':path': path });
  given.on('error', () => {});
  given.write('some');
  await new Promise(resolve => { given.on('close', resolve); given.close(http2.constants.NGHTTP2_CANCEL); });
  const empty = await ask(path, '');
  console.log(`${right} of ${sizes.length}, ${large}, ${empty}`);
  session.close();
})().catch(error => { console.log(String(error)); process.exit(1); });
"#;
