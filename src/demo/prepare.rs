//! The demo's configuration: the operator's settings over defaults, with a generated secret and the demo's backends.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use super::certificate::SelfSigned;
use super::entrance::Entrance;
use super::household::Household;
use super::mint::TokenMint;
use super::page::origins;
use super::printed::greeting;
use super::random::random_hex;
use crate::config::keys::limits::{RATE_LIMIT_STORE, REDIS_ADDR};
use crate::config::keys::listen::{BIND, CORS_ALLOWED_ORIGINS};
use crate::config::keys::process::ACCESS_LOG;
use crate::config::keys::tls::{TLS_CERT_FILE, TLS_KEY_FILE, TLS_PORT};
use crate::config::keys::tokens::{JWT_SECRET, JWT_SECRET_FILE};
use crate::config::keys::upstreams::{
    UPSTREAM_AUTH_URL, UPSTREAM_CONVERSATION_URL, UPSTREAM_DELIVERY_URL, UPSTREAM_MESSAGE_URL,
    UPSTREAM_PROFILE_URL,
};
use crate::config::{self, Cors, Lowered, Members, Mistakes, UpstreamAddress, Written, value};
use crate::control::inherit::DEMO_SERVICES;
use crate::http::Scheme;
use crate::launch::{self, LaunchError};

/// The page of a demo that is about to be launched.
pub struct Site {
    services: Household,
    port: u16,
    /// With `--tls`. Its files are there as long as the gateway runs.
    certificate: Option<SelfSigned>,
}

impl Site {
    /// What a successor needs beside the gateway's sockets. Without it the successor has services of its own.
    pub fn for_successor(&self) -> Option<(String, OwnedFd)> {
        Some((DEMO_SERVICES.to_owned(), self.services.for_successor().ok()?))
    }

    /// Opens the page, once the ports of the gateway are known: the one in the clear, and that of HTTPS if there is
    /// one. Returns the text to print.
    #[must_use]
    pub fn open(&self, port: u16, tls_port: Option<u16>) -> String {
        let https = tls_port.filter(|_| self.certificate.is_some());
        let https = https.map(|port| Entrance { scheme: Scheme::Https, port });
        let entrance = https.unwrap_or(Entrance { scheme: Scheme::Http, port });
        self.services.open(entrance);
        greeting(entrance, self.port)
    }
}

/// Lowers the configuration and starts the services and the page for it. The operator's settings take precedence, also
/// over the addresses of the demo's services. `has_tls`: the page and the printed lines use HTTPS. `inherited`: the way
/// to the services of the demo before this one.
///
/// # Errors
/// All mistakes in the configuration, no loopback interface, a page port that is taken, or no temporary folder for the
/// certificate.
pub fn prepare(
    written: Written,
    page_port: &str,
    has_tls: bool,
    inherited: Option<OwnedFd>,
) -> Result<(Lowered, Site), LaunchError> {
    let machine = |error| LaunchError::Machine(format!("the demo cannot start: {error}"));
    let inherited = inherited.map(Household::of_predecessor);
    let inherited = inherited.map(|services| services.ask().map(|standing| (services, standing)));
    let inherited = inherited.transpose().map_err(machine)?;
    // One that is no text was the operator's, and still is.
    let secret = inherited.as_ref().and_then(|(_, standing)| String::from_utf8(standing.secret.clone()).ok());
    let certificate = has_tls.then(SelfSigned::new).transpose();
    let certificate =
        certificate.map_err(|error| LaunchError::Machine(format!("the demo has no certificate: {error}")))?;
    let moved = written.clone();
    let mut is_cors_written = false;
    let lowered = config::load_over(
        written,
        |written| {
            is_cors_written = written.get(&CORS_ALLOWED_ORIGINS).is_some();
            defaults(written, certificate.as_ref(), secret)
        },
        launch::check,
    );
    let (mut lowered, page_port) = judge(lowered, page_port)?;
    let started = inherited.map_or_else(|| Household::start(page_port, &mint(&lowered)), Ok);
    let (services, standing) = started.map_err(machine)?;
    let backends = standing.backends;
    let own = [
        ("auth", backends.auth, moved.get(&UPSTREAM_AUTH_URL)),
        ("message", backends.message, moved.get(&UPSTREAM_MESSAGE_URL)),
        ("delivery", backends.delivery, moved.get(&UPSTREAM_DELIVERY_URL)),
        ("profile", backends.profile, moved.get(&UPSTREAM_PROFILE_URL)),
        ("conversation", backends.conversation, moved.get(&UPSTREAM_CONVERSATION_URL)),
    ];
    for (name, address, _) in own.iter().filter(|(_, _, written)| written.is_none()) {
        lead(&mut lowered, name, *address);
    }
    let port = backends.page.port();
    if !is_cors_written {
        lowered.config.cors = Cors::Origins(origins(port).into());
    }
    Ok((lowered, Site { services, port, certificate }))
}

fn defaults(written: &Written, certificate: Option<&SelfSigned>, secret: Option<String>) -> Written {
    let mut defaults = Written::default().with(&ACCESS_LOG, "off");
    // Its users and passwords are known to everybody.
    if written.get(&BIND).is_none() {
        defaults = defaults.with(&BIND, "127.0.0.1");
    }
    if written.get(&JWT_SECRET).or(written.get(&JWT_SECRET_FILE)).is_none() {
        defaults = defaults.with(&JWT_SECRET, secret.unwrap_or_else(random_hex::<32>));
    }
    if written.get(&REDIS_ADDR).is_none() {
        defaults = defaults.with(&RATE_LIMIT_STORE, "memory");
    }
    if let Some(certificate) = certificate {
        defaults = defaults.with(&TLS_PORT, TLS_PORT_DEFAULT);
        if written.get(&TLS_CERT_FILE).or(written.get(&TLS_KEY_FILE)).is_none() {
            defaults =
                defaults.with(&TLS_CERT_FILE, certificate.cert()).with(&TLS_KEY_FILE, certificate.key());
        }
    }
    defaults
}

/// The page's port is not a setting of the gateway, but its mistakes are reported together with the others.
fn judge(lowered: Result<Lowered, Mistakes>, page_port: &str) -> Result<(Lowered, u16), LaunchError> {
    let port = value::count(page_port, 0, u16::MAX);
    let mut mistakes = lowered.as_ref().err().cloned().unwrap_or_default();
    match (&port, &lowered) {
        (Err(what), _) => mistakes.add("PAGE_PORT", what),
        (Ok(port @ 1..), Ok(lowered)) if *port == lowered.config.listen.port => {
            mistakes.add("PAGE_PORT", &format!("{port} is PORT too"));
        }
        _ => {}
    }
    match (lowered, port) {
        (Ok(lowered), Ok(port)) if mistakes.count() == 0 => Ok((lowered, port)),
        _ => Err(LaunchError::Mistakes(mistakes.to_string().lines().map(str::to_owned).collect())),
    }
}

/// Signs tokens that the gateway accepts.
fn mint(lowered: &Lowered) -> TokenMint {
    // The demo has brought a secret, so the first issuer has one.
    let issuer = &lowered.config.jwt.issuers[0];
    TokenMint {
        secret: issuer.secrets[0].0.clone(),
        issuer: issuer.issuer.clone(),
        audience: issuer.audiences.first().cloned(),
        user_claim: issuer.user_claim.names.clone(),
        ttl: TOKEN_TTL,
    }
}

fn lead(lowered: &mut Lowered, name: &str, to: SocketAddr) {
    for upstream in lowered.config.upstreams.iter_mut().filter(|upstream| upstream.name == name) {
        upstream.members = Members::one(UpstreamAddress::Tcp { host: to.ip().to_string(), port: to.port() });
        upstream.authority = to.to_string();
    }
}

/// The port of `demo --tls`.
const TLS_PORT_DEFAULT: &str = "8443";
/// How long the demo's tokens are valid.
const TOKEN_TTL: std::time::Duration = std::time::Duration::from_secs(3_600);
