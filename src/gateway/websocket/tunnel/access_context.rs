//! The access-log context of a tunnel: what the line of a tunnel says about its handshake.

use std::net::IpAddr;

use crate::clock;
use crate::net::Endpoint;
use crate::telemetry::{AccessLog, AccessRecord, TunnelRecord};

/// What a tunnel remembers of its handshake. It may go to another core with it.
#[derive(Debug)]
pub struct AccessContext {
    pub(in crate::gateway) begun_us: u64,
    pub(in crate::gateway) client: IpAddr,
    pub(in crate::gateway) id: Box<[u8]>,
    pub(in crate::gateway) path: Box<[u8]>,
    pub(in crate::gateway) route: Option<Box<str>>,
    pub(in crate::gateway) user: Option<Box<str>>,
    pub(in crate::gateway) head_bytes_in: u64,
    pub(in crate::gateway) head_bytes_out: u64,
    pub(in crate::gateway) connect_us: Option<u64>,
    pub(in crate::gateway) upstream_head_us: Option<u64>,
    pub(in crate::gateway) endpoint: Option<Endpoint>,
}

impl AccessContext {
    /// Writes the line of a tunnel that has ended after so many bytes of frames from the client and to it.
    pub fn finish(&self, log: &mut AccessLog, bytes_in: u64, bytes_out: u64, tunnel: TunnelRecord) {
        let line = AccessRecord {
            time_us: clock::unix_us(),
            request_id: &self.id,
            client: self.client,
            method: b"GET",
            path: &self.path,
            route: self.route.as_deref(),
            user: self.user.as_deref(),
            status: 101,
            code: None,
            cause: None,
            bytes_in: self.head_bytes_in + bytes_in,
            bytes_out: self.head_bytes_out + bytes_out,
            total_us: clock::now_us() - self.begun_us,
            connect_us: self.connect_us,
            upstream_head_us: self.upstream_head_us,
            tunnel: Some(tunnel),
            upstream: self.endpoint.as_ref().map(Endpoint::text),
            reused: Some(false),
        };
        log.record(&line);
    }
}
