//! The numbers of one core, written by that core alone and read by the control thread.

use std::sync::atomic::{AtomicU64, Ordering};

use super::TunnelEnd;

/// A number with one writer. Adding is a load and a store: nobody else writes, so no atomic
/// read-modify-write is needed, and a reader sees a value that was true a moment ago.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; wraps at 2^64 as Prometheus counters may.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes away: for the numbers that are gauges.
    pub fn subtract(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(n), Ordering::Relaxed);
    }

    /// Replaces the value.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often something took how long.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Observations up to each bound of [`Histogram::BOUNDS_US`] and over the one before it, then those over
    /// the last.
    pub buckets: [Counter; Histogram::BOUNDS_US.len() + 1],
    /// The sum of all, in µs.
    pub sum_us: Counter,
}

impl Histogram {
    /// The upper ends of the buckets, in µs.
    pub const BOUNDS_US: [u64; 7] = [250, 500, 1_000, 2_500, 5_000, 10_000, 25_000];

    /// Counts one that took so long.
    pub fn observe(&self, us: u64) {
        let bucket = Self::BOUNDS_US.iter().position(|bound| us <= *bound);
        self.buckets[bucket.unwrap_or(Self::BOUNDS_US.len())].add(1);
        self.sum_us.add(us);
    }
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $kind:ident $name:ident;)+) => {
        /// The numbers of one core. One writer each: that core.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: Counter,)+
            /// Final responses to clients by class: 1xx (101 alone), 2xx, 3xx, 4xx, 5xx.
            pub responses: [Counter; 5],
            /// Tunnels that have ended, by [`TunnelEnd`].
            pub tunnels_closed: [Counter; TunnelEnd::ALL.len()],
            /// How long Redis took for calls that it answered, late answers included.
            pub redis_latency: Histogram,
        }

        impl Counters {
            /// Every number with its name, its Prometheus type and its help text.
            pub fn each(&self, mut visit: impl FnMut(&'static str, &'static str, &'static str, u64)) {
                $(visit(stringify!($name), stringify!($kind), concat!($($doc),+), self.$name.get());)+
            }
        }
    };
}

counters! {
    /// Listening sockets that the core takes connections from.
    gauge listening;
    /// Connections taken from the listener.
    counter connections_accepted;
    /// Connections that are open now.
    gauge connections_open;
    /// Connections over the cap, told 503 and closed.
    counter connections_refused;
    /// Times that accepting failed for want of file descriptors or memory.
    counter accept_failures;
    /// Request heads received, refused ones included.
    counter requests;
    /// Requests that are between head and last byte now.
    gauge requests_in_flight;
    /// Requests answered 429.
    counter requests_limited;
    /// Requests answered 401.
    counter requests_unauthorized;
    /// Requests that passed the limiter.
    counter requests_admitted;
    /// Exchanges that ended without a complete response reaching the client.
    counter exchanges_aborted;
    /// Tokens found in the cache of verified tokens.
    counter token_cache_hits;
    /// Tokens whose signature had to be checked.
    counter token_cache_misses;
    /// Connections opened to upstreams.
    counter upstream_connects;
    /// Connections to upstreams that could not be opened.
    counter upstream_connect_failures;
    /// Requests that went out on a connection that had been used before.
    counter upstream_reuses;
    /// Requests sent a second time because a reused connection had died.
    counter upstream_retries;
    /// Upstream responses that broke the protocol.
    counter upstream_protocol_errors;
    /// Requests answered 503 because too many were in flight to their upstream.
    counter upstream_overloads;
    /// Idle connections in the upstream pools now.
    gauge upstream_idle;
    /// Script calls queued for Redis.
    counter redis_calls;
    /// Writes to Redis: calls that are ready together leave in one.
    counter redis_round_trips;
    /// Calls that Redis did not answer in time.
    counter redis_timeouts;
    /// Calls that were not made because too many waited already.
    counter redis_queue_full;
    /// 1 while Redis is not asked, because it is out of reach or answers with errors.
    gauge redis_breaker_open;
    /// Attempts to connect to Redis, the first one included.
    counter redis_reconnects;
    /// Requests that the limiter let pass.
    counter limit_admitted;
    /// Requests that the limiter refused.
    counter limit_refused;
    /// Requests that were refused without asking: the bucket was known to be empty.
    counter limit_refused_locally;
    /// Requests that this process's own buckets admitted while Redis was out of reach.
    counter limit_admitted_by_memory;
    /// Requests that this process's own buckets refused while Redis was out of reach.
    counter limit_refused_by_memory;
    /// Requests that passed unlimited because Redis did not answer in time.
    counter limit_unlimited_timeout;
    /// Requests that passed unlimited because Redis was not asked.
    counter limit_unlimited_breaker;
    /// Requests that passed unlimited because too many calls waited for Redis.
    counter limit_unlimited_queue;
    /// WebSocket tunnels that are open now.
    gauge tunnels_open;
    /// WebSocket tunnels that began, on whichever core their handshake was.
    counter tunnels_opened;
    /// WebSocket tunnels that this core gave to another when they began.
    counter tunnels_handed_over;
    /// WebSocket handshakes whose upstream has not answered yet.
    gauge handshakes_pending;
    /// WebSocket handshakes that were refused: not one, from a foreign origin, or one too many.
    counter handshakes_refused;
    /// Frames from WebSocket clients.
    counter tunnel_frames_in;
    /// Frames to WebSocket clients.
    counter tunnel_frames_out;
    /// Messages from WebSocket clients.
    counter tunnel_messages_in;
    /// Messages to WebSocket clients.
    counter tunnel_messages_out;
    /// Bytes of frames from WebSocket clients.
    counter tunnel_bytes_in;
    /// Bytes of frames to WebSocket clients.
    counter tunnel_bytes_out;
    /// Of these bytes, in both directions, those that the kernel moved through a pipe.
    counter tunnel_bytes_spliced;
    /// Of these bytes, in both directions, those that were copied.
    counter tunnel_bytes_copied;
    /// Pings that the gateway sent to silent WebSocket clients.
    counter tunnel_pings;
    /// Pipes that payloads are spliced through, lent and free.
    gauge pipes_open;
    /// Access-log lines dropped because the sink was stuck.
    counter access_log_lines_dropped;
    /// Configurations that the core has taken over from a reload.
    counter reloads;
    /// Turns of the core's ticker: a core whose number stands still is down.
    counter ticks;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_visited_once_by_name() {
        let counters = Counters::default();
        counters.requests.add(3);
        let mut seen = Vec::new();
        counters.each(|name, _, help, value| {
            assert!(!help.is_empty(), "{name} has no help text");
            seen.push((name, value));
        });
        assert_eq!(
            seen.iter().filter(|(name, _)| *name == "requests").collect::<Vec<_>>(),
            [&("requests", 3)]
        );
    }

    #[test]
    fn a_gauge_goes_up_and_down() {
        let gauge = Counter::default();
        gauge.add(5);
        gauge.subtract(2);
        assert_eq!(gauge.get(), 3);
    }

    #[test]
    fn an_observation_falls_into_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for us in [0, 250, 251, 25_000, 25_001] {
            histogram.observe(us);
        }
        let counts: Vec<u64> = histogram.buckets.iter().map(Counter::get).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 1, 1]);
        assert_eq!(histogram.sum_us.get(), 50_502);
    }
}
