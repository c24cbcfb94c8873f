//! The line that remains of a request.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use realchat_gateway::telemetry::AccessRecord;

use crate::{Step, stage};

/// A proxied request with a token.
pub fn line() -> Step {
    let mut out = Vec::with_capacity(4096);
    let record = AccessRecord {
        time_us: stage::NOW * 1_000_000 + 123_456,
        request_id: b"0af7651916cd43dd8448eb211c80319c",
        client: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77)),
        method: b"GET",
        path: b"/api/v1/users/me",
        route: Some("users"),
        user: Some("alice"),
        status: 200,
        code: None,
        cause: None,
        bytes_in: 612,
        bytes_out: 433,
        total_us: 1_234,
        connect_us: None,
        upstream_head_us: Some(1_001),
        tunnel: None,
        upstream: Some("10.0.0.14:5004"),
        reused: Some(true),
        tls_version: None,
        tls_cipher: None,
        sni: None,
    };
    Box::new(move || {
        out.clear();
        black_box(&record).write_json(&mut out);
        black_box(&out);
    })
}
