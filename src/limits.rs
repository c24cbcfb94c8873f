//! All bounds by name: how much a peer can make the gateway hold, do or wait for.
//!
//! Each bound says its unit and what happens there. A bound that an operator may change has its default here and its
//! key in `config`.

mod control;
mod crossing;
mod http2;
mod key_sets;
mod members;
mod online;
mod redis_cluster;
mod routes;
mod status;
mod tls;
mod traces;

pub use control::*;
pub use crossing::*;
pub use http2::*;
pub use key_sets::*;
pub use members::*;
pub use online::*;
pub use redis_cluster::*;
pub use routes::*;
pub use status::*;
pub use tls::*;
pub use traces::*;

/// Size of one I/O buffer, in bytes. A whole head fits, so a head never needs a second buffer: where longer ones than
/// [`HEAD_BYTES_DEFAULT`] are allowed, the buffers are longer by as much ([`block_bytes`]).
pub const BUFFER_BYTES: usize = 64 * 1024;
/// Free buffers that a core keeps. Over it: they are freed.
pub const BUFFERS_POOLED_MAX: usize = 64;
/// Free buffers that a core keeps even if it does not need them.
pub const BUFFERS_KEPT_MIN: usize = 4;
/// Bytes of slow peers that one core holds, unless the memory budget says less: parts of heads, and what a peer does
/// not take. Over half of it: the core reads in steps of [`TIGHT_READ_BYTES`]. Over it: the connections that have
/// waited longest for the rest of a head are closed.
pub const HELD_BYTES_DEFAULT: usize = 64 * 1024 * 1024;
/// The least that a memory budget leaves for that.
pub const HELD_BYTES_LEAST: usize = 2 * 1024 * 1024;
/// Memory that one client connection is planned with, its upstream connection and the kernel's part included, in bytes:
/// half of the budget divided by this is the default of `MAX_CONNECTIONS`. An idle WebSocket takes some 10 KiB.
pub const CONNECTION_BYTES_PLANNED: u64 = 16 * 1024;
/// The smallest memory budget that an operator may set, in bytes.
pub const MEMORY_BUDGET_MIN: u64 = 16 * 1024 * 1024;
/// Bytes that are read at a time while a core holds much.
pub const TIGHT_READ_BYTES: usize = 4 * 1024;

/// Bytes that one TCP connection holds in the kernel and has not begun to send (tcp(7), `TCP_NOTSENT_LOWAT`). Over it:
/// the socket takes no more. What is on its way to the peer does not count, so a fast and distant peer is as fast as
/// without the bound; one that stalls makes the kernel hold 128 KiB and not the 4 MiB of `net.ipv4.tcp_wmem`.
pub const UNSENT_BYTES_MAX: u32 = 128 * 1024;
/// How long bytes to a client may stay unacknowledged, or its window closed, in milliseconds (tcp(7),
/// `TCP_USER_TIMEOUT`). Over it: the kernel drops the connection, also one that the gateway has closed already. Not
/// where a route gives its clients more time.
pub const UNACKNOWLEDGED_MS: u32 = 60_000;
/// Receive buffer of a connection to an upstream, in bytes (socket(7), `SO_RCVBUF`). Over it: the upstream waits. The
/// kernel grants at most `net.core.rmem_max`, and keeps twice as much for its own bookkeeping. Without the bound a
/// client that stalls in a large download makes it hold the 6 MiB of `net.ipv4.tcp_rmem`. The bound is also one of the
/// bandwidth: 200 KiB a round trip, which is 1.6 GB/s at 0.1 ms.
pub const UPSTREAM_RECEIVE_BYTES: usize = 256 * 1024;
/// Receive buffer of a tunnel's client connection, in bytes. Over it: the client waits. Ordinary connections of clients
/// have the kernel's own bound, because a distant client needs a large window to upload fast.
pub const TUNNEL_RECEIVE_BYTES: usize = 128 * 1024;

/// Free pairs of parsed heads that a core keeps. Over it: they are freed.
pub const HEADS_POOLED_MAX: usize = 64;
/// Free pairs of heads that a core keeps even if it does not need them.
pub const HEADS_KEPT_MIN: usize = 16;

/// A free head that has more memory than this is freed after a second.
pub const HEAD_BYTES_KEPT: usize = 8 * 1024;

/// Free memory blocks for exchanges (some 3 KiB each) that a core keeps, and tasks for streams that have nothing to do.
/// Over it: they are freed.
pub const FUTURES_POOLED_MAX: usize = 256;
/// Free ones that a core keeps even if it does not need them.
pub const FUTURES_KEPT_MIN: usize = 16;

/// Default bound of a request or response head, in bytes. Over it: 431 for a request, 502 for a response.
pub const HEAD_BYTES_DEFAULT: usize = 32 * 1024;
/// The longest head that may be allowed, in bytes. Over it: the configuration is refused.
pub const HEAD_BYTES_MAX: usize = 256 * 1024;
/// Default bound of a request line, in bytes. Over it: 414.
pub const REQUEST_LINE_BYTES_DEFAULT: usize = 8 * 1024;
/// Default bound of the header fields in one head. Over it: 431 for a request, 502 for a response.
pub const FIELDS_DEFAULT: usize = 100;
/// The largest bound of the header fields in one head that an operator may set.
pub const FIELDS_MAX: usize = 1_000;
/// Fields of a trailer section. Over it: 400 for a request; a response is cut short.
pub const TRAILER_FIELDS_MAX: usize = 100;
/// Options in the `Connection` fields of one head, including empty ones. Over it: 400 for a request, 502 for
/// a response.
pub const CONNECTION_OPTIONS_MAX: usize = 16;
/// Bytes of one option in `Connection`. Over it: as over [`CONNECTION_OPTIONS_MAX`]. So what a field's name costs to
/// look up has a bound, too.
pub const CONNECTION_OPTION_BYTES_MAX: usize = 64;
/// Bytes of a chunk-size line, including extensions and CRLF. Over it: 400 for a request; a response is cut short.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;
/// Bytes of a trailer section, from the last chunk to the final CRLF. Over it: 400 for a request; a response is cut
/// short.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// Interim (1xx) responses before the final head of one exchange. Over it: 502.
pub const INTERIM_RESPONSES_MAX: usize = 16;
/// Default bound of a request body, in bytes. Over it: 413.
pub const BODY_BYTES_DEFAULT: u64 = 10 * 1024 * 1024;
/// Bytes of a refused request's body that are read and discarded so that the connection can be reused. Over it: the
/// connection is closed.
pub const REFUSED_BODY_BYTES_MAX: u64 = 64 * 1024;
/// How long a new connection may take to send its first request during a drain, in milliseconds. Over it: it is closed.
pub const DRAIN_FIRST_REQUEST_MS: u64 = 500;
/// How long an idle connection may take to send one more request when the process shuts down, and a TCP handshake that
/// has begun to end, in milliseconds. Over it: the connection is closed. A request that is on its way is answered.
pub const DRAIN_IDLE_MS: u64 = 40;
/// How long an idle connection may take to send one more request after another process has taken over, in milliseconds.
/// Over it: it is closed. Each response closes its connection, so a busy client has moved to the other process by then.
pub const HANDOVER_IDLE_MS: u64 = 3_000;
/// How long a closing connection waits for the peer to read the answer, in milliseconds. Over it: it is closed.
pub const LINGER_MS: u64 = 1_000;
/// The longest method of a refused head in the access log, in bytes. Over it: neither method nor target are logged.
pub const REFUSED_METHOD_BYTES_MAX: usize = 32;
/// The longest target of a refused head in the access log, in bytes. Over it: it is cut.
pub const REFUSED_TARGET_BYTES_MAX: usize = 1024;
/// Bytes that a closing connection reads and discards while it lingers. Over it: it is closed.
pub const LINGER_BYTES_MAX: u64 = 1024 * 1024;

/// The longest header of the PROXY protocol, in bytes: its addresses are 232 bytes at most, and the values behind them
/// are not used. Over it: the connection is closed.
pub const PROXY_HEADER_BYTES_MAX: usize = 2048;

/// The longest token, in bytes. Over it: 401 before any decoding.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// The longest header of a token, in bytes as decoded. Over it: 401 before any decoding. A real one has some 30 to 150
/// bytes.
pub const TOKEN_HEADER_BYTES_MAX: usize = 512;
/// The longest name of a key (`kid`), in bytes. Over it: the key is left out.
pub const KEY_NAME_BYTES_MAX: usize = 256;
/// Keys of the same name and algorithm of one issuer; and keys of a PEM file. Over it: the others are left out, or the
/// file is refused.
pub const KEYS_OF_ONE_NAME_MAX: usize = 4;
/// Keys that are tried for a token that names none. Over it: 401.
pub const KEYS_TRIED_MAX: usize = 8;
/// Keys that are tried for a token that names one: each issuer may have one of that name. Over it: 401.
pub const KEYS_OF_NAME_TRIED_MAX: usize = ISSUERS_MAX;
/// The smallest RSA key, in bits (RFC 7518 §3.3). Under it: the key is refused.
pub const RSA_BITS_MIN: usize = 2048;
/// The largest RSA key, in bits. Over it: the key is refused.
pub const RSA_BITS_MAX: usize = 8192;
/// The longest subject of a token, in bytes. Over it: 401.
pub const SUBJECT_BYTES_MAX: usize = 256;
/// Sources of tokens of one route (`tokens_from`). Over it: the configuration is refused.
pub const TOKEN_SOURCES_MAX: usize = 8;
/// Different sources of tokens of all routes together. Over it: the configuration is refused. Whoever has shown no
/// valid token makes the gateway look at all of them.
pub const TOKEN_PLACES_MAX: usize = 16;
/// Different requirements (`require`) of all routes together. Over it: the configuration is refused. Each is a bit of a
/// verified token.
pub const REQUIREMENTS_MAX: usize = 128;
/// Values of which one requirement wants one. Over it: the configuration is refused.
pub const REQUIRED_VALUES_MAX: usize = 64;
/// Different claims that go into fields (`claims_to_headers`), of all routes together. Over it: the configuration is
/// refused. Their texts are kept with each verified token, and are no longer than the token.
pub const FORWARDED_CLAIMS_MAX: usize = 32;
/// Fields of one route that are set from claims. Over it: the configuration is refused.
pub const CLAIM_FIELDS_MAX: usize = 16;
/// The longest claim that goes into a field, in bytes. Over it: 403.
pub const CLAIM_FIELD_BYTES_MAX: usize = 256;
/// The longest path of a claim, in bytes, and the longest required value. Over it: the configuration is refused.
pub const CLAIM_PATH_BYTES_MAX: usize = 256;
/// Verified tokens that one core caches. Over it: the older half is dropped.
pub const TOKENS_CACHED_MAX: usize = 8 * 1024;
/// The longest token that is cached, in bytes. Over it: it is verified every time.
pub const TOKEN_CACHED_BYTES_MAX: usize = 2 * 1024;

/// Tokens over [`TOKEN_CACHED_BYTES_MAX`], and new ones that a public key verifies, that a core verifies in one tick
/// for addresses whose bucket for bad credentials it knows to be empty. Over it: they count as bad credentials.
pub const DEAR_TOKENS_PER_TICK: u32 = 32;

/// The longest request id that is accepted from a trusted proxy, in bytes. Over it: the gateway makes a new one.
pub const REQUEST_ID_BYTES_MAX: usize = 128;
/// Addresses that are read from `X-Forwarded-For`, from the right. Over it: the last one read is the client.
pub const FORWARDED_HOPS_MAX: usize = 32;

/// The smallest remainder of a payload for which an operator may choose splicing, in bytes. Below it, two copies cost
/// less than the pipe.
pub const SPLICE_BYTES_LEAST: usize = 4 * 1024;
/// Capacity of a pipe, in bytes: the most that one splice moves. Four times the default of Linux saves a quarter to a
/// half of the CPU for large frames. Another four times saves a further tenth, which is not worth the memory (measured,
/// `bench/`).
pub const PIPE_BYTES: usize = 256 * 1024;
/// Pipes of one core, lent and free. Over it: payloads are copied. The kernel allows all processes of an unprivileged
/// user 16,384 pages of pipe buffers (`fs.pipe-user-pages-soft`); these can be a quarter of them. Over that it leaves
/// new pipes at their default size, and later makes them smaller.
pub const PIPES_MAX: usize = 64;
/// How long the closing handshake of a tunnel may take, in milliseconds. Over it: the tunnel is cut off. During a
/// drain, the rest of `SHUTDOWN_TIMEOUT` counts instead.
pub const TUNNEL_CLOSE_MS: u64 = 5_000;
/// How long before the end of a drain the remaining tunnels are cut off, in milliseconds, or a quarter of the drain if
/// that is less: their access-log lines must be written before the process ends.
pub const DRAIN_CUT_MS: u64 = 4 * TICK_MS;
/// The part of a second's handshakes (`WS_HANDSHAKE_RATE`) that a core takes at once: one in so many.
pub const HANDSHAKE_BURST_PART: u32 = 10;
/// The longest line of clients whose handshakes were refused for that rate, in seconds: they are told to come back
/// within half and one and a half of the time that the line takes. Over it: all of them within this range.
pub const HANDSHAKE_LINE_MAX_S: u64 = 60;
/// A core moves tunnels to another core only if it has at least this many more, whatever `WS_BALANCE_SLACK` says.
pub const BALANCE_DIFFERENCE_MIN: u64 = 16;

/// How often a wait for an upstream checks whether the client is still connected, in milliseconds.
pub const CLIENT_WATCH_MS: u64 = 1_000;
/// CPUs that the choice of cores may name: the size of one affinity mask. Over it: the configuration is refused.
pub const CPUS_MAX: usize = 1024;
/// Items of one configured list: trusted networks, origins. Over it: the configuration is refused.
pub const LISTED_MAX: usize = 1024;
/// Size of a file with a secret or the configuration, in bytes. Over it: the gateway does not start.
pub const CONFIG_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Idle connections that one core keeps for one upstream, by default. Over it: the oldest is closed.
pub const UPSTREAM_IDLE_DEFAULT: usize = 256;
/// Requests that one core has in flight to one upstream, by default (concurrency limit). Over it: 503 `overloaded`.
pub const UPSTREAM_IN_FLIGHT_DEFAULT: usize = 1024;

/// Calls of one core that wait for a reply of Redis, including calls whose caller has given up. Over it: a new call
/// fails at once.
pub const REDIS_QUEUE_MAX: usize = 8 * 1024;
/// Calls of one core that may wait at first. More while replies come in time, up to [`REDIS_QUEUE_MAX`]; half as many
/// whenever they do not. Over it: as at that bound.
pub const REDIS_WINDOW_FIRST: usize = 512;
/// Calls that may wait in any case. If replies are late behind fewer, Redis is slow.
pub const REDIS_WINDOW_LEAST: usize = 32;
/// Integers in an answer of the script. Over it: the connection is closed.
pub const REDIS_INTEGERS_MAX: usize = 8;
/// Bytes of one reply of Redis. Over it: the connection is closed.
pub const REDIS_REPLY_BYTES_MAX: usize = 16 * 1024;
/// Memory for commands that a Redis connection keeps between two writes, in bytes. Over it: the rest is freed.
pub const REDIS_OUT_KEPT_BYTES: usize = 64 * 1024;
/// Consecutive failed calls after which the circuit breaker opens and calls fail at once.
pub const REDIS_FAILURES_MAX: u32 = 3;
/// How long connecting to Redis may take, and each step of the setup, in milliseconds. Over it: the attempt fails.
pub const REDIS_CONNECT_MS: u64 = 500;
/// Addresses of Redis that one attempt to connect tries. Over it: the attempt fails.
pub const REDIS_ADDRESSES_TRIED_MAX: usize = 3;
/// How long a core waits for its first connection to Redis before it accepts clients, in milliseconds. Over it: it
/// accepts clients without Redis.
pub const REDIS_FIRST_ATTEMPT_MS: u64 = 500;

/// Connections that a core accepts in one turn. Over it: other tasks have a turn first.
pub const ACCEPTS_PER_TURN: usize = 64;
/// Reads of one connection in one turn of a core: up to 1 MiB of a body. Over it: other tasks have a turn first.
pub const READS_PER_TURN: u32 = 16;
/// Consecutive waits of a core that are ready at once. Over it: the core sleeps a moment, so that its timers run.
pub const WAITS_AT_ONCE_MAX: u32 = 16;
/// Pipelined requests of one connection that are served in one turn of a core. Over it: other tasks have a turn first.
pub const REQUESTS_PER_TURN: u8 = 16;
/// How long a connection may serve pipelined requests in one turn of a core, in microseconds. Over it: other tasks have
/// a turn first. Nor is more than one served in a turn while the core is late by [`TICK_MS`].
pub const TURN_US_MAX: u32 = 500;
/// Connections that a full core closes at a time in favour of new ones, and that wait only for a request.
pub const ROOM_MADE_AT_ONCE: usize = 32;
/// How long a client over a bound of connections may take to say what it wants, in milliseconds. Over it: its
/// connection is closed. It may ask for the health of the process; anything else is refused.
pub const REFUSED_REQUEST_MS: u64 = 1_000;
/// Connections over `MAX_CONNECTIONS_PER_ADDRESS` that are answered at one time. Over it: they are closed without an
/// answer.
pub const ADDRESS_REFUSALS_AT_ONCE: usize = 16;
/// Connections over `MAX_CONNECTIONS` that get a 503 at one time. Over it: they are closed without an answer.
pub const REFUSALS_AT_ONCE: usize = 64;
/// Refused connections of one client address that are answered at one time, but at most half of all. Over it: closed
/// without an answer.
pub const REFUSALS_PER_ADDRESS: usize = 8;
/// Refused connections that linger behind their answer at one time. Over it: they are closed at once, and a client that
/// is still sending may lose the answer.
pub const REFUSALS_LINGERING_MAX: usize = 16;
/// From one line in the log about connections that are refused for one reason to the next, in milliseconds.
pub const REFUSALS_LOG_MS: u64 = 60_000;
/// Clients that such a line names: those with the most connections.
pub const FULLEST_LOGGED: usize = 3;
/// Connections that a core with a smaller `MAX_CONNECTIONS` answers so at one time.
pub const REFUSALS_LEAST: usize = 8;
/// File descriptors that a core needs in addition to its connections: ring, listener, wake-up socket, log, connections
/// that are refused, pipes, and a few that the process opens for a moment.
pub const FDS_RESERVED: u64 = 64 + (REFUSALS_MAX + ACCEPTS_PER_TURN + 2 * PIPES_MAX) as u64;
const REFUSALS_MAX: usize = REFUSALS_AT_ONCE + ADDRESS_REFUSALS_AT_ONCE + REFUSALS_LINGERING_MAX;

/// Submission entries of a core's ring. When it is full, the core submits them and goes on.
pub const RING_ENTRIES: u32 = 1024;
/// How long nothing that a core counts may move, its ticks among them, in milliseconds. Over it: the core counts as
/// down.
pub const CORE_STALL_MS: u64 = 5_000;
/// How late a core's ticker may be, in milliseconds. Over it: a line in the log.
pub const CORE_LATE_MS: u64 = 1_000;
/// The time between two such lines about one core, in milliseconds.
pub const CORE_LATE_LOG_MS: u64 = 60_000;
/// A request or a response head of a fetch (keys, health), in bytes. Over it: the fetch fails.
pub const FETCH_HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long the start waits for a port that is taken, in milliseconds. Over it: the gateway does not start.
pub const PORT_FREED_MS: u64 = 1_000;
/// Connections to the admin listener at one time. Over it: the one that has waited longest for a request is closed, in
/// favour of the new one.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;
/// How long a request on the admin listener may take to begin on a new connection, and to arrive, in milliseconds. Over
/// it: the connection is closed.
pub const ADMIN_HEAD_MS: u64 = 2_000;
/// How long a connection to the admin listener may wait for its next request, in milliseconds. Over it: it is closed.
pub const ADMIN_IDLE_MS: u64 = 5_000;
/// How long a client of the admin listener may read nothing of an answer, in milliseconds. Over it: the connection is
/// closed.
pub const ADMIN_ANSWER_MS: u64 = 10_000;
/// Lines of the program's log that the status page shows. Over it: the oldest is forgotten.
pub const LOG_LINES_RECALLED_MAX: usize = 50;
/// Characters of such a line. Over it: the rest is left out.
pub const LOG_LINE_RECALLED_MAX: usize = 1_000;
/// Bytes of a `User-Agent` in the access log. Over it: the rest is left out.
pub const USER_AGENT_BYTES_MAX: usize = 256;
/// Codes of errors that a metric counts apart. There are fewer; over it: they count as the last one.
pub const CODES_MAX: usize = 128;
/// Lines of the program's own log that wait to be written. Over it: lines are dropped and counted.
pub const LOG_LINES_QUEUED_MAX: usize = 1024;

/// How often a core checks its deadlines, in milliseconds: the resolution of every timeout.
pub const TICK_MS: u64 = 50;

/// Size of one core's access-log buffer, in bytes. A full buffer goes to the writer.
pub const ACCESS_LOG_BUFFER_BYTES: usize = 64 * 1024;
/// Access-log buffers that wait for the writer. Over it: lines are dropped and counted.
pub const ACCESS_LOG_QUEUE: usize = 64;
/// Lines about failed exchanges that a core logs in a second with `RUST_LOG=debug`. Over it: they are skipped and
/// counted.
pub const DEBUG_LINES_PER_SECOND: u32 = 100;
/// How long a line may wait in a core's buffer, in milliseconds. Over it: the buffer goes to the writer.
pub const ACCESS_LOG_FLUSH_MS: u64 = 100;
/// Room for one line in a core's buffer, in bytes. With less left, the buffer goes to the writer.
pub const ACCESS_LOG_LINE_BYTES: usize = 4 * 1024;
/// How long the end of the process waits for the last lines of the access log, in milliseconds. Over it: they are lost.
pub const ACCESS_LOG_FINISH_MS: u64 = 1_000;

/// How often a draining process tells what is still open, in milliseconds.
pub const DRAIN_TOLD_MS: u64 = 5_000;
/// How many of what is still open a draining process names: the oldest ones.
pub const DRAIN_TOLD_MAX: usize = 5;
/// How long a draining core waits for everything that it serves to say what it is, in milliseconds. What is not woken
/// in that time is not named.
pub const ROLL_CALL_MS: u64 = 100;
/// How long a core waits at the end of a drain until everything is cut off and in the access log, in milliseconds. Over
/// it: the rest has no line.
pub const CUT_MS: u64 = 200;
/// How often a draining process checks its deadlines and whether it is done, in milliseconds.
pub const DRAIN_LOOK_MS: u64 = 5;
/// Bytes of a successor's report about its start (hot upgrade). Over it: the rest is ignored.
pub const SUCCESSOR_WORDS_MAX: usize = 4 * 1024;
/// How long a successor that has failed may take to exit, in milliseconds. Over it: it is killed.
pub const SUCCESSOR_END_MS: u64 = 1_000;
/// How long a core may take to apply a reload, in milliseconds. Over it: the reload says so, and the process is not
/// ready until the core has applied it.
pub const RELOAD_TAKEN_MS: u64 = 1_000;
/// Tunnels given to one core that it has not taken yet. Over it: the core of the handshake keeps the tunnel.
pub const TUNNELS_GIVEN_MAX: usize = 64;
/// Empty buckets that one core remembers, to deny requests without a call to Redis. Over it: those with a token due are
/// dropped; if there are none, all.
pub const KNOWN_EMPTY_MAX: usize = 8 * 1024;
/// Token buckets of the in-memory limiter. Over it: those that are full again are dropped; if these are too few, those
/// that miss the smallest part of their burst.
pub const MEMORY_BUCKETS_MAX: usize = 1_000_000;
/// Rate limits of one route. Over it: the configuration is refused.
pub const ROUTE_LIMITS_MAX: usize = 4;
/// The largest capacity of a bucket, in tokens. Over it: the configuration is refused.
pub const BURST_MAX: u32 = 1_000_000;
/// The fastest refill of a bucket, in thousandths of a token per second. Over it: the configuration is refused.
pub const RATE_MILLI_MAX: u32 = 1_000_000_000;
/// The longest prefix of the keys in Redis, in bytes. Over it: the configuration is refused.
pub const KEY_PREFIX_BYTES_MAX: usize = 64;
/// The longest name of a route or an upstream, in bytes. Over it: the configuration is refused.
pub const NAME_BYTES_MAX: usize = 64;
/// The longest `Retry-After` of a denied request, in seconds. It is sent if the rate is 0.
pub const RETRY_AFTER_MAX_S: u64 = 3_600;

/// Size of the I/O buffers where heads may have so many bytes: what fits beside a head by default fits beside any.
pub const fn block_bytes(head_bytes: usize) -> usize {
    BUFFER_BYTES + head_bytes.saturating_sub(HEAD_BYTES_DEFAULT)
}

const _: () = assert!(2 * ROLL_CALL_MS < DRAIN_TOLD_MS);
const _: () = assert!(DRAIN_IDLE_MS < DRAIN_FIRST_REQUEST_MS && DRAIN_FIRST_REQUEST_MS < HANDOVER_IDLE_MS);
const _: () = assert!(RELOAD_TAKEN_MS > REDIS_FIRST_ATTEMPT_MS + 2 * TICK_MS && CORE_LATE_MS < CORE_STALL_MS);
const _: () = assert!(HEAD_BYTES_DEFAULT <= HEAD_BYTES_MAX && FIELDS_DEFAULT <= FIELDS_MAX);
// Where heads have their default bound, and so with any, whom a certificate names fits beside the longest head, each
// field of which may get a space behind its colon.
const _: () = assert!(
    HEAD_BYTES_DEFAULT + FIELDS_MAX + (CLIENT_NAMES_MAX + 1) * (CLIENT_NAME_BYTES_MAX + 8) < BUFFER_BYTES
);
// So do the fields that are set from claims, what the path gets, and the fields of a route.
const _: () = assert!(
    HEAD_BYTES_DEFAULT
        + FIELDS_MAX
        + (CLIENT_NAMES_MAX + 1) * (CLIENT_NAME_BYTES_MAX + 8)
        + CLAIM_FIELDS_MAX * (NAME_BYTES_MAX + CLAIM_FIELD_BYTES_MAX + 4)
        + PREFIX_BYTES_MAX
        + FIELD_EDITS_BYTES_MAX
        < BUFFER_BYTES
);
// And the fields of a route beside a response, corrected as it may be, and the gateway's own.
const _: () = assert!(
    HEAD_BYTES_DEFAULT
        + LOCATIONS_MAX * (HOST_AND_PORT_BYTES_MAX + PREFIX_BYTES_MAX + 16)
        + FIELD_EDITS_BYTES_MAX
        + 8 * 1024
        < BUFFER_BYTES
);
// A redirect, which may repeat path and query, fits beside the gateway's own fields.
const _: () = assert!(
    REDIRECT_BYTES_MAX
        + PREFIX_BYTES_MAX
        + HEAD_BYTES_DEFAULT
        + CORS_HEADERS_BYTES_MAX
        + FIELD_EDITS_BYTES_MAX
        + 8 * 1024
        < BUFFER_BYTES
);
// What is sealed at a time fits a block: each record grows by 29 bytes at most, and the protocol's own take little.
const _: () = assert!(TLS_SEALED_BYTES_MAX + 5 * 29 + 2 * 1024 < BUFFER_BYTES);
// A record that has not come whole leaves room for its rest.
const _: () = assert!(2 * (TLS_RECORD_BYTES_MAX + 4096) < BUFFER_BYTES);
const _: () = assert!(TLS_HANDSHAKE_BYTES_MAX > TLS_RECORD_BYTES_MAX + 2048);
// The spans of a head, and of what is encoded behind it, are 32 bits wide.
const _: () = assert!(4 * HEAD_BYTES_MAX <= u32::MAX as usize);
const _: () = assert!(REQUEST_LINE_BYTES_DEFAULT < HEAD_BYTES_DEFAULT);
const _: () = assert!(TRAILER_BYTES_MAX < BUFFER_BYTES && CHUNK_LINE_BYTES_MAX < BUFFER_BYTES);
const _: () = assert!(TOKEN_CACHED_BYTES_MAX <= TOKEN_BYTES_MAX && TOKEN_BYTES_MAX < HEAD_BYTES_DEFAULT);
const _: () = assert!(ACCESS_LOG_LINE_BYTES < ACCESS_LOG_BUFFER_BYTES);
// An incomplete reply leaves room for the rest.
const _: () = assert!(REDIS_REPLY_BYTES_MAX < BUFFER_BYTES / 2);
