//! What is remembered of one exchange: counters, the access-log line, the request's id.

use std::net::IpAddr;

use crate::auth::User;
use crate::clock;
use crate::gateway::core::Core;
use crate::gateway::core::heads::Request;
use crate::gateway::core::request_id::RequestId;
use crate::gateway::websocket::tunnel::AccessContext;
use crate::limit::Quota;

use crate::net::Endpoint;
use crate::telemetry::AccessRecord;

/// What is remembered of one exchange while it runs.
pub struct Record<'c> {
    /// When it began, in µs of the monotonic clock.
    begun_us: u64,
    /// The client's address, after `X-Forwarded-For` of trusted proxies.
    pub client: IpAddr,
    /// The request's id.
    pub id: RequestId,
    /// The route's name.
    pub route: Option<&'c str>,
    /// Who asked.
    pub user: Option<User>,
    /// What the client is told of its limit; `None`: nothing.
    pub quota: Option<Quota>,
    /// The final status sent; 0: none.
    pub status: u16,
    /// The code of our own error.
    pub code: Option<&'static str>,
    /// Head and body bytes from the client.
    pub bytes_in: u64,
    /// Head and body bytes to the client.
    pub bytes_out: u64,
    /// How long connecting to the upstream took.
    pub connect_us: Option<u64>,
    /// From the request's first byte upstream to the response's head.
    pub upstream_head_us: Option<u64>,
    /// Where the request went.
    pub endpoint: Option<Endpoint>,
    /// On a connection used before.
    pub reused: Option<bool>,
    /// A tunnel goes on with what is remembered: it writes the line when it ends.
    is_handed_over: bool,
}

impl<'c> Record<'c> {
    /// The exchange begins: its head is here.
    pub fn begin(core: &Core, client: IpAddr, id: RequestId) -> Record<'c> {
        core.resources.metrics.requests.received.add(1);
        core.resources.metrics.requests.in_flight.add(1);
        Record {
            begun_us: core.resources.stopwatch_us(),
            client,
            id,
            route: None,
            user: None,
            quota: None,
            status: 0,
            code: None,
            bytes_in: 0,
            bytes_out: 0,
            connect_us: None,
            upstream_head_us: None,
            endpoint: None,
            reused: None,
            is_handed_over: false,
        }
    }

    /// What the tunnel that this handshake became has to remember. The line is the tunnel's to write; without a log
    /// there is nothing to remember.
    pub fn ticket(&mut self, core: &Core, request: &Request) -> Option<Box<AccessContext>> {
        self.is_handed_over = true;
        core.resources.access_log.as_ref()?;
        Some(Box::new(AccessContext {
            begun_us: self.begun_us,
            client: self.client,
            id: self.id.as_bytes().into(),
            path: request.path().into(),
            route: self.route.map(Into::into),
            user: self.user.as_ref().map(|user| user.as_str().into()),
            head_bytes_in: request.bytes().len() as u64,
            head_bytes_out: self.bytes_out,
            connect_us: self.connect_us,
            upstream_head_us: self.upstream_head_us,
            endpoint: self.endpoint.clone(),
        }))
    }

    /// The exchange is over: counted, and written into the core's log buffer.
    pub fn finish(self, core: &Core, request: &Request) {
        core.resources.metrics.requests.in_flight.subtract(1);
        match self.status {
            // Nobody was there, or what had begun was cut short.
            _ if matches!(self.code, Some("client_gone" | "response_cut")) => {
                core.resources.metrics.requests.aborted.add(1);
            }
            100..=599 => {
                core.resources.metrics.requests.responses.at(usize::from(self.status / 100) - 1).add(1)
            }
            _ => core.resources.metrics.requests.aborted.add(1),
        }
        let Some(log) = core.resources.access_log.as_ref().filter(|_| !self.is_handed_over) else { return };
        let line = AccessRecord {
            time_us: clock::unix_us(),
            request_id: self.id.as_bytes(),
            client: self.client,
            method: request.method(),
            path: loggable(request.path()),
            route: self.route,
            user: self.user.as_ref().map(User::as_str),
            status: self.status,
            code: self.code,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            total_us: clock::now_us() - self.begun_us,
            connect_us: self.connect_us,
            upstream_head_us: self.upstream_head_us,
            tunnel: None,
            upstream: self.endpoint.as_ref().map(Endpoint::text),
            reused: self.reused,
        };
        log.borrow_mut().record(&line);
    }
}

/// The path up to where some service would take what follows for parameters or a query, which may hold a token: the
/// canonical path has its hex digits in upper case.
fn loggable(path: &[u8]) -> &[u8] {
    let is_end = |at: &usize| path[*at] == b';' || matches!(path.get(at + 1..at + 3), Some(b"3B" | b"3F"));
    let end = memchr::memchr2_iter(b';', b'%', path).find(is_end);
    &path[..end.unwrap_or(path.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_parameters_stands_in_no_log() {
        for (path, logged) in [
            ("/ws", "/ws"),
            ("/a%20b%C3%A4/", "/a%20b%C3%A4/"),
            ("/ws;access_token=x", "/ws"),
            ("/ws%3Baccess_token=x", "/ws"),
            ("/ws%3Faccess_token=x", "/ws"),
            ("/%", "/%"),
        ] {
            assert_eq!(loggable(path.as_bytes()), logged.as_bytes());
        }
    }
}
