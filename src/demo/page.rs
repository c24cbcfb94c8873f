//! The page on the demo's own port: two of its tabs can log in and chat through the gateway.
//!
//! It is one file that loads nothing else. The gateway does not serve it: a page comes from a web server, and the
//! gateway is not one. So the page has another origin than the gateway, as a real one would.

use std::sync::{Arc, OnceLock};

use http::{Method, StatusCode};

use super::answer::Answer;
use super::entrance::Entrance;
use super::random::random_hex;
use super::request::Request;

/// The page. All clones share the entrance of the gateway, which is not known yet when the page is made.
#[derive(Clone, Default)]
pub struct Page {
    gateway: Arc<OnceLock<Entrance>>,
}

impl Page {
    /// Serves the page from now on, with this entrance of the gateway.
    pub fn lead_to(&self, gateway: Entrance) {
        let _ = self.gateway.set(gateway);
    }

    /// `None`: no such path.
    pub(super) fn answer(&self, request: &Request) -> Option<Answer> {
        if request.path() != "/" {
            return None;
        }
        Some(match (request.method(), self.gateway.get()) {
            (&Method::GET | &Method::HEAD, Some(gateway)) => show(*gateway),
            (&Method::GET | &Method::HEAD, None) => {
                let starting = Answer::problem(StatusCode::SERVICE_UNAVAILABLE, "the gateway is starting");
                starting.with_field("retry-after", "1")
            }
            _ => Answer::not_allowed("GET, HEAD"),
        })
    }
}

/// The origins that a page on this port may have in a browser.
pub(super) fn origins(port: u16) -> [String; 2] {
    ["localhost", "127.0.0.1"].map(|host| format!("http://{host}:{port}"))
}

fn show(gateway: Entrance) -> Answer {
    let nonce = random_hex::<16>();
    let html = HTML.replace("{{GATEWAY_PORT}}", &gateway.port.to_string());
    let html = html.replace("{{TLS}}", gateway.suffix()).replace("{{NONCE}}", &nonce);
    Answer::html(html)
        .with_field("content-security-policy", policy(&nonce, gateway))
        .with_field("x-content-type-options", "nosniff")
        .with_field("referrer-policy", "no-referrer")
        .with_field("cross-origin-opener-policy", "same-origin")
        .with_field("cache-control", "no-store")
}

/// Allows only the page's own script and style, and connections only to the gateway.
fn policy(nonce: &str, gateway: Entrance) -> String {
    let (tls, port) = (gateway.suffix(), gateway.port);
    let urls = ["http", "ws"]
        .map(|scheme| format!("{scheme}{tls}://localhost:{port} {scheme}{tls}://127.0.0.1:{port}"));
    let connect = urls.join(" ");
    format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; \
         connect-src {connect}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'"
    )
}

const HTML: &str = include_str!("page.html");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Scheme;

    #[test]
    fn takes_nothing_from_elsewhere() {
        for mark in ["src=", "href=\"http", "@import", "url(", "style=\"", "onclick", "innerHTML"] {
            assert!(!HTML.contains(mark), "{mark}");
        }
        assert_eq!(HTML.matches("<script").count(), HTML.matches("<script nonce=\"{{NONCE}}\">").count());
        assert_eq!(HTML.matches("<style").count(), HTML.matches("<style nonce=\"{{NONCE}}\">").count());
    }

    #[test]
    fn a_name_is_asked_for_first_and_no_field_makes_a_phone_zoom() {
        assert_eq!(HTML.matches("autofocus").count(), 1);
        assert!(HTML.contains("<label>Name <input id=\"user\"") && HTML.contains("autofocus required"));
        // The body has 16px, and 1rem is as much; iOS zooms into fields with less.
        assert!(HTML.contains("input { font: inherit; font-size: 1rem;"));
    }

    #[test]
    fn its_policy_names_the_gateway_and_nobody_else() {
        let policy = policy("abc", Entrance { scheme: Scheme::Http, port: 8081 });
        assert!(policy.starts_with("default-src 'none'; script-src 'nonce-abc';"), "{policy}");
        let connect = "connect-src http://localhost:8081 http://127.0.0.1:8081 \
                       ws://localhost:8081 ws://127.0.0.1:8081;";
        assert!(policy.contains(connect), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'));
        let policy = super::policy("abc", Entrance { scheme: Scheme::Https, port: 8443 });
        let connect = "connect-src https://localhost:8443 https://127.0.0.1:8443 \
                       wss://localhost:8443 wss://127.0.0.1:8443;";
        assert!(policy.contains(connect), "{policy}");
    }
}
