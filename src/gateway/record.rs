//! What is remembered of one exchange: counters, the access-log line, the request's id.

use std::cell::Cell;
use std::net::IpAddr;

use rustix::rand::{GetRandomFlags, getrandom};

use crate::auth::User;
use crate::clock;
use crate::gateway::core::Core;
use crate::gateway::heads::Request;
use crate::gateway::tunnel::Means;
use crate::limit::Quota;
use crate::limits::REQUEST_ID_BYTES_MAX;
use crate::telemetry::{AccessRecord, TunnelRecord};
use crate::upstream::Endpoint;

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

/// What a tunnel remembers of its handshake. It may go to another core with it.
#[derive(Debug)]
pub struct Ticket {
    begun_us: u64,
    client: IpAddr,
    id: Box<[u8]>,
    path: Box<[u8]>,
    route: Option<Box<str>>,
    user: Option<Box<str>>,
    head_bytes_in: u64,
    head_bytes_out: u64,
    connect_us: Option<u64>,
    upstream_head_us: Option<u64>,
    endpoint: Option<Endpoint>,
}

impl Ticket {
    /// Writes the line of a tunnel that has ended after so many bytes of frames from the client and to it.
    pub fn finish(&self, means: &Means, bytes_in: u64, bytes_out: u64, tunnel: TunnelRecord) {
        let Some(log) = &means.access_log else { return };
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
            bytes_in: self.head_bytes_in + bytes_in,
            bytes_out: self.head_bytes_out + bytes_out,
            total_us: clock::now_us() - self.begun_us,
            connect_us: self.connect_us,
            upstream_head_us: self.upstream_head_us,
            tunnel: Some(tunnel),
            upstream: self.endpoint.as_ref().map(Endpoint::text),
            reused: Some(false),
        };
        log.borrow_mut().record(&line, &means.counters);
    }
}

impl<'c> Record<'c> {
    /// The exchange begins: its head is here.
    pub fn begin(core: &Core, client: IpAddr, id: RequestId) -> Record<'c> {
        core.counters.requests.add(1);
        core.counters.requests_in_flight.add(1);
        Record {
            begun_us: core.stopwatch_us(),
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
    pub fn ticket(&mut self, core: &Core, request: &Request) -> Option<Box<Ticket>> {
        self.is_handed_over = true;
        core.access_log.as_ref()?;
        Some(Box::new(Ticket {
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
        core.counters.requests_in_flight.subtract(1);
        match self.status {
            // Nobody was there, or what had begun was cut short.
            _ if matches!(self.code, Some("client_gone" | "response_cut")) => {
                core.counters.exchanges_aborted.add(1);
            }
            100..=599 => core.counters.responses[usize::from(self.status / 100) - 1].add(1),
            _ => core.counters.exchanges_aborted.add(1),
        }
        let Some(log) = core.access_log.as_ref().filter(|_| !self.is_handed_over) else { return };
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
        log.borrow_mut().record(&line, &core.counters);
    }
}

/// The path up to where some service would take what follows for parameters or a query, which may hold a token: the
/// canonical path has its hex digits in upper case.
fn loggable(path: &[u8]) -> &[u8] {
    let is_end = |at: &usize| path[*at] == b';' || matches!(path.get(at + 1..at + 3), Some(b"3B" | b"3F"));
    let end = memchr::memchr2_iter(b';', b'%', path).find(is_end);
    &path[..end.unwrap_or(path.len())]
}

/// A request's id: 32 hex digits of ours, or what a trusted proxy sent.
#[derive(Clone)]
pub struct RequestId {
    bytes: [u8; REQUEST_ID_BYTES_MAX],
    length: u8,
}

impl RequestId {
    /// Takes over an id that was checked: 1–128 visible ASCII characters.
    pub fn adopted(id: &[u8]) -> RequestId {
        let mut bytes = [0; REQUEST_ID_BYTES_MAX];
        bytes[..id.len()].copy_from_slice(id);
        RequestId { bytes, length: id.len() as u8 }
    }

    /// The id.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// Where a core's request ids come from: a fast generator seeded by the kernel. Ids are told apart by them
/// and nothing is protected by them, so they need not be unpredictable.
pub struct RequestIds {
    state: Cell<[u64; 4]>,
}

impl Default for RequestIds {
    fn default() -> RequestIds {
        RequestIds::new()
    }
}

impl RequestIds {
    /// Seeded by the kernel.
    pub fn new() -> RequestIds {
        let mut seed = [0; 32];
        // 256 bytes or less never come short and never wait after boot (getrandom(2)).
        let _ = getrandom(&mut seed[..], GetRandomFlags::empty());
        let word = |i: usize| seed[i * 8..][..8].iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        // The state must not be all zeros.
        RequestIds { state: Cell::new([word(0) | 1, word(1), word(2), word(3)]) }
    }

    /// The next 128 bits as 32 hex digits.
    pub fn next_id(&self) -> RequestId {
        let mut bytes = [0; REQUEST_ID_BYTES_MAX];
        bytes[..16].copy_from_slice(&self.next_hex());
        bytes[16..32].copy_from_slice(&self.next_hex());
        RequestId { bytes, length: 32 }
    }

    /// The next 64 bits as 16 hex digits, never all zeros (W3C Trace Context: an all-zero id is invalid).
    pub fn next_hex(&self) -> [u8; 16] {
        let word = self.next_word().max(1);
        std::array::from_fn(|i| HEX[(word >> (60 - 4 * i)) as usize & 15])
    }

    /// The next 64 bits. xoshiro256++ (Blackman and Vigna, 2019).
    pub fn next_word(&self) -> u64 {
        let [mut a, mut b, mut c, mut d] = self.state.get();
        let word = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let shifted = b << 17;
        c ^= a;
        d ^= b;
        b ^= c;
        a ^= d;
        c ^= shifted;
        d = d.rotate_left(45);
        self.state.set([a, b, c, d]);
        word
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_32_hex_digits_and_do_not_repeat() {
        let (ids, others) = (RequestIds::new(), RequestIds::new());
        let mut seen = HashSet::new();
        for _ in 0..10_000 {
            for source in [&ids, &others] {
                let id = source.next_id();
                assert!(id.as_bytes().len() == 32 && id.as_bytes().iter().all(|byte| HEX.contains(byte)));
                assert!(seen.insert(id.as_bytes().to_owned()));
            }
        }
    }

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

    #[test]
    fn the_generator_gives_the_published_sequence() {
        let ids = RequestIds { state: Cell::new([1, 2, 3, 4]) };
        assert_eq!(
            [ids.next_word(), ids.next_word(), ids.next_word()],
            [41943041, 58720359, 3588806011781223]
        );
    }
}
