//! From HTTP to HTTPS: redirects, `Strict-Transport-Security` and the challenges of a certificate authority.

use std::fs;

use super::client::HttpsClient;
use super::files::Folder;
use super::listener::tls_address;
use crate::harness::*;

#[test]
fn requests_in_the_clear_are_redirected() {
    let gateway = Gateway::builder().env("HTTPS_REDIRECT", "443").start();
    let location = |head: &str| {
        let response = gateway.client().send(format!("{head}\r\n\r\n")).read_response();
        (response.status, response.head.field("location").map(str::to_owned))
    };
    for (head, expected) in [
        ("GET / HTTP/1.1\r\nHost: chat.test", "https://chat.test/"),
        ("GET /a%20b?c=%0d&d HTTP/1.1\r\nHost: chat.test:8080", "https://chat.test/a%20b?c=%0d&d"),
        ("DELETE /api/v1/users/me HTTP/1.1\r\nHost: [::1]:80", "https://[::1]/api/v1/users/me"),
        ("GET http://chat.test/x HTTP/1.1\r\nHost: chat.test", "https://chat.test/x"),
        ("OPTIONS * HTTP/1.1\r\nHost: chat.test", "https://chat.test/"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https", "https://a/"),
    ] {
        assert_eq!(location(head), (308, Some(expected.to_owned())), "{head}");
    }
    assert_eq!(gateway.ask(Request::new("POST", "/api/v1/login").body("{}")).status, 308);
    for probe in ["/healthz", "/readyz"] {
        assert_eq!(location(&format!("GET {probe} HTTP/1.1\r\nHost: a")), (200, None));
    }
    gateway.refuses("GET / HTTP/1.0\r\n\r\n", 400, Some("missing_host"), Then::Closes);
    let elsewhere = Gateway::builder().env("HTTPS_REDIRECT", "8443").start();
    let response = elsewhere.ask(Request::new("GET", "/x"));
    assert_eq!(response.head.field("location"), Some("https://chat.test:8443/x"));
    assert_eq!(response.head.field("strict-transport-security"), None);
}

#[test]
fn a_trusted_proxy_says_how_its_client_has_come() {
    let origin = Origin::fixed("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    let builder = Gateway::builder().everywhere(&origin).env("TRUSTED_PROXIES", "127.0.0.1");
    let gateway = builder.env("HTTPS_REDIRECT", "443").env("HSTS", "max-age=600").start();
    let ask = |proto: &str| {
        let request = Request::new("GET", "/api/v1/users/me").token("ann");
        gateway.ask(request.field("X-Forwarded-Proto", proto))
    };
    let served = ask("https");
    assert_eq!((served.status, served.head.field("strict-transport-security")), (200, Some("max-age=600")));
    let redirected = ask("http");
    assert_eq!((redirected.status, redirected.head.field("strict-transport-security")), (308, None));
}

#[test]
fn browsers_learn_to_come_over_https_from_every_answer_over_it() {
    let origin = Origin::fixed(
        "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nstrict-transport-security: max-age=0\r\n\r\ndone",
    );
    let folder = Folder::new();
    folder.certify(&["chat.test"]);
    let gateway = folder.gateway().everywhere(&origin).env("HSTS", "max-age=600; includeSubDomains").start();
    let address = tls_address(&gateway).expect("an address");
    let client = HttpsClient::trusting(&folder, &["cert.pem"]);
    let target = format!("/api/v1/ws?token={}", token("ann"));
    for target in ["/healthz", "/nothing", "/api/v1/users/me", &target] {
        let text = client.get(address, "chat.test", target).text.to_lowercase();
        assert_eq!(text.matches("strict-transport-security: ").count(), 1, "{text}");
        assert!(text.contains("\r\nstrict-transport-security: max-age=600; includesubdomains\r\n"), "{text}");
    }
    let plain = gateway.get("/api/v1/users/me", "ann");
    assert_eq!(plain.head.field("strict-transport-security"), Some("max-age=0"), "the upstream's own");
}

#[test]
fn challenges_are_served_from_their_folder_to_anybody() {
    let folder = Folder::new();
    let challenges = folder.path("acme");
    let gateway = Gateway::builder()
        .env("ACME_CHALLENGE_DIR", &challenges)
        .env("HTTPS_REDIRECT", "443")
        .cores("2")
        .start();
    let ask = |token: &str| gateway.ask(Request::new("GET", &format!("/.well-known/acme-challenge/{token}")));
    assert_eq!((ask("token").status, ask("token").code().as_str()), (404, "no_route"));
    fs::create_dir(&challenges).expect("a folder");
    fs::write(folder.path("acme/token"), "token.thumbprint").expect("a file");
    fs::write(folder.path("acme/.secret"), "hidden").expect("a file");
    fs::write(folder.path("secret"), "outside").expect("a file");
    // Either core may take a connection.
    eventually("both cores have it", || (0..16).all(|_| ask("token").status == 200));
    assert_eq!(ask("token").text(), "token.thumbprint");
    assert_eq!(ask("other").status, 404);
    for outside in [".secret", "%2e%2e%2fsecret", "a/b", ""] {
        assert_ne!(ask(outside).status, 200, "{outside}");
    }
    fs::remove_file(folder.path("acme/token")).expect("our own file");
    eventually("it is gone", || (0..16).all(|_| ask("token").status == 404));
}
