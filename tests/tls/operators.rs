//! What operators may put where files of TLS and of challenges belong.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::time::Instant;

use super::files::{Folder, self_signed};
use crate::harness::*;

/// Makes a FIFO: whoever opens it would wait for a writer.
fn fifo(path: &str) {
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).expect("a FIFO");
}

#[test]
fn what_is_no_file_of_a_certificate_refuses_the_start_at_once_and_shows_no_key() {
    let folder = Folder::new();
    folder.certify(&["chat.test"]);
    let made = self_signed(&["chat.test"]);
    let secret = made.signing_key.serialize_pem();
    folder.write("both.pem", &(made.cert.pem() + &secret));
    // A key whose middle line is another one's: whatever is wrong with it, its lines stay where they are.
    let lines: Vec<&str> = secret.lines().collect();
    folder.write("cut.pem", &[lines[0], lines[2], lines[1], lines[lines.len() - 1]].join("\n"));
    fs::create_dir(folder.path("folder")).expect("a folder");
    fifo(&folder.path("fifo"));
    File::create(folder.path("huge")).and_then(|file| file.set_len(100 << 20)).expect("a sparse file");
    for key in ["TLS_CERT_FILE", "TLS_KEY_FILE", "TLS_TICKET_KEYS_FILE", "TLS_CLIENT_CA_FILE"] {
        for (name, why) in [
            ("folder", "is not a regular file"),
            ("fifo", "is not a regular file"),
            ("huge", "is over 4194304 bytes"),
            // What is wrong with it depends on what it is taken for.
            ("cut.pem", ""),
        ] {
            let begun = Instant::now();
            let builder = folder.gateway().env("TLS_CLIENT_AUTH", "request");
            let builder = builder.env("TLS_CLIENT_CA_FILE", &folder.path("cert.pem"));
            let (code, _, told) = builder.env(key, &folder.path(name)).run(&["run"]);
            assert!(begun.elapsed() < SOON, "{key} {name}: {:?}", begun.elapsed());
            assert_eq!(code, Some(2), "{key} {name}: {told}");
            assert!(told.starts_with(&format!("{key}: ")) && told.contains(why), "{told}");
            assert!(!lines.iter().any(|line| told.contains(line)), "{told}");
        }
    }
    // The two files swapped.
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.path(name));
    let swapped = folder.gateway().env("TLS_CERT_FILE", &key).env("TLS_KEY_FILE", &cert);
    let (code, _, told) = swapped.run(&["run"]);
    assert_eq!((code, told), (Some(2), format!("TLS_CERT_FILE: {key} has no certificate in it")));
    // A file with both is one of either.
    let both = folder.path("both.pem");
    let gateway = folder.gateway().env("TLS_CERT_FILE", &both).env("TLS_KEY_FILE", &both).start();
    assert!(
        !gateway.log().iter().any(|line| lines[1..lines.len() - 1].iter().any(|part| line.contains(part)))
    );
}

#[test]
fn only_plain_files_of_the_folder_are_challenges() {
    let folder = Folder::new();
    folder.write("secret", "outside");
    let challenges = folder.path("acme");
    fs::create_dir_all(folder.path("acme/folder")).expect("a folder");
    let put = |name: &str| fs::write(folder.path(&format!("acme/{name}")), name).expect("a file");
    let long = "l".repeat(129);
    [".hidden", "a.txt", "a b", &long].into_iter().for_each(put);
    File::create(folder.path("acme/huge")).and_then(|file| file.set_len(100 << 20)).expect("a sparse file");
    fifo(&folder.path("acme/fifo"));
    symlink(folder.path("secret"), folder.path("acme/link")).expect("a link");
    symlink("/", folder.path("acme/root")).expect("a link");
    put("token");
    let gateway = Gateway::builder().env("ACME_CHALLENGE_DIR", &challenges).start();
    let status = |name: &str| {
        let request = format!("GET /.well-known/acme-challenge/{name} HTTP/1.1\r\nHost: a\r\n\r\n");
        gateway.client().send(request).read_response().status
    };
    eventually("the folder is read", || status("token") == 200);
    for name in [
        "fifo",
        "link",
        "root",
        "root/etc/hostname",
        "folder",
        "huge",
        &long,
        ".hidden",
        "%2ehidden",
        "a.txt",
        "a%20b",
        "..",
        "%2e%2e/secret",
        "..%2fsecret",
        "%2e%2e%2fsecret",
        "token/",
        "token%00",
        "token;a",
        "tok%00en",
        "TOKEN",
        "link/../token",
        "%252e%252e%252fsecret",
        "",
    ] {
        assert!([400, 401, 404].contains(&status(name)), "{name}: {}", status(name));
    }
    assert_eq!((status("%74oken"), status("token?a")), (200, 200), "the same path");
    // The folder goes, and a file stands in its place.
    fs::remove_dir_all(&challenges).expect("our own folder");
    fs::write(&challenges, "x").expect("a file");
    eventually("nothing is there", || status("token") == 404);
    assert_eq!(gateway.get("/healthz", "ann").status, 200);
}

#[test]
fn a_redirect_leads_to_no_place_that_a_client_makes_up() {
    let gateway = Gateway::builder().env("HTTPS_REDIRECT", "443").start();
    for host in [
        "a.test@evil.test",
        "a.test/evil.test",
        "a.test\\evil.test",
        "a.test?evil",
        "a.test#evil",
        "a.test%0d%0aX: 1",
        "a.test evil.test",
        "a.test:443evil",
        "a.test:80@evil.test",
        "a.test, evil.test",
        "\u{e4}.test",
        "[::1]evil.test",
        "",
        ":80",
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let response = gateway.client().send(request).read_response();
        assert_eq!((response.status, response.field("location")), (400, None), "{host}");
    }
    for target in
        ["//evil.test/", "/\\evil.test", "/%5cevil.test", "/a%0d%0aX:%201", "/\u{0}", "http://u@evil.test/"]
    {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let response = gateway.client().send(request).read_response();
        assert_eq!((response.status, response.field("location")), (400, None), "{target}");
    }
    // What a client says of itself is no reason not to redirect, and leads nowhere else.
    let lies = "X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\nForwarded: host=evil.test;proto=https\r\n";
    let response = gateway.ask(Request::new("GET", "/a").raw(lies));
    assert_eq!((response.status, response.field("location")), (308, Some("https://chat.test/a")));
}
