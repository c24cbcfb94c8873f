//! The access-log context of a tunnel: what its line says about the handshake.

use std::net::IpAddr;

use super::judge::Tally;
use crate::telemetry::{AccessRecord, TunnelRecord};

/// What a tunnel remembers of its handshake. It goes with the tunnel to another core, or to another process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessContext {
    /// When the handshake began, in µs of the monotonic clock.
    pub begun_us: u64,
    /// The client's address, after `X-Forwarded-For` of trusted proxies.
    pub client: IpAddr,
    /// The request's id.
    pub id: Box<[u8]>,
    /// The path without its query.
    pub path: Box<[u8]>,
    /// The authority that the client asked for.
    pub host: Option<Box<[u8]>>,
    /// The program of the client, as it names itself.
    pub user_agent: Option<Box<[u8]>>,
    /// The route's name.
    pub route: Option<Box<str>>,
    /// The verified subject.
    pub user: Option<Box<str>>,
    /// Bytes of the request's head.
    pub head_bytes_in: u64,
    /// Bytes of the response's head.
    pub head_bytes_out: u64,
    /// How long connecting to the upstream took.
    pub connect_us: Option<u64>,
    /// From the handshake's first byte upstream to the answer's head.
    pub upstream_head_us: Option<u64>,
    /// The upstream's name.
    pub upstream_name: Option<Box<str>>,
    /// The upstream's address.
    pub upstream: Option<Box<str>>,
    /// The client's version of TLS.
    pub tls_version: Option<Box<str>>,
    /// Its cipher suite.
    pub tls_cipher: Option<Box<str>>,
    /// The host name that it asked for.
    pub sni: Option<Box<str>>,
}

impl AccessContext {
    /// The line of a tunnel that ended at this moment of both clocks, in µs.
    pub fn record(&self, unix_us: u64, now_us: u64, tally: &Tally, tunnel: TunnelRecord) -> AccessRecord<'_> {
        AccessRecord {
            time_us: unix_us,
            request_id: &self.id,
            trace_id: None,
            client: self.client,
            method: b"GET",
            path: &self.path,
            host: self.host.as_deref(),
            user_agent: self.user_agent.as_deref(),
            route: self.route.as_deref(),
            user: self.user.as_deref(),
            status: 101,
            code: None,
            cause: None,
            limit: None,
            bytes_in: self.head_bytes_in.saturating_add(tally.bytes_in),
            bytes_out: self.head_bytes_out.saturating_add(tally.bytes_out),
            total_us: now_us.saturating_sub(self.begun_us),
            connect_us: self.connect_us,
            upstream_head_us: self.upstream_head_us,
            tunnel: Some(tunnel),
            upstream_name: self.upstream_name.as_deref(),
            upstream: self.upstream.as_deref(),
            reused: Some(false),
            protocol: None,
            tls_version: self.tls_version.as_deref(),
            tls_cipher: self.tls_cipher.as_deref(),
            sni: self.sni.as_deref(),
        }
    }
}
