//! Every bound by name: what a peer can make the gateway hold, do or wait for.
//!
//! A bound that an operator may change has its default here and its name in `config`; what happens at each
//! bound is said beside it.

/// One I/O buffer, in bytes. It holds a whole head, so a head never needs a second buffer.
pub const BUFFER_BYTES: usize = 64 * 1024;
/// Free buffers a core keeps for the next connection; more are given back to the allocator.
pub const BUFFERS_POOLED_MAX: usize = 64;

/// Free pairs of parsed heads a core keeps; more are given back to the allocator.
pub const HEADS_POOLED_MAX: usize = 64;

/// Free desks (memory for one exchange, some 3 KiB) a core keeps; more are given back to the allocator.
pub const FUTURES_POOLED_MAX: usize = 256;

/// Default bound of a request or response head, in bytes. Over it: 431 to a client, 502 for an upstream.
pub const HEAD_BYTES_DEFAULT: usize = 32 * 1024;
/// Upper end of what an operator may set for a head, in bytes: half a buffer.
pub const HEAD_BYTES_MAX: usize = BUFFER_BYTES / 2;
/// Default bound of a request line, in bytes. Over it: 414.
pub const REQUEST_LINE_BYTES_DEFAULT: usize = 8 * 1024;
/// Header fields in one head. Over it: 431 to a client, 502 for an upstream.
pub const FIELDS_MAX: usize = 100;
/// Options in the `Connection` fields of one head, empty ones included. Over it: 400 to a client, 502 for an
/// upstream.
pub const CONNECTION_OPTIONS_MAX: usize = 64;
/// Bytes of a chunk-size line, extensions and CRLF included. Over it: 400.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;
/// Bytes of a trailer section, from the last chunk to the final CRLF. Over it: 400.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// Interim (1xx) responses before the final head of one exchange. Over it: 502.
pub const INTERIM_RESPONSES_MAX: usize = 16;
/// Default bound of a request body, in bytes. Over it: 413.
pub const BODY_BYTES_DEFAULT: u64 = 10 * 1024 * 1024;
/// Body of a refused request that is read and thrown away so that the connection can go on, in bytes.
/// Over it: the connection is closed.
pub const REFUSED_BODY_BYTES_MAX: u64 = 64 * 1024;
/// How long a connection that has carried nothing yet may still take to send its first request when the core
/// drains, in milliseconds.
pub const DRAIN_FIRST_REQUEST_MS: u64 = 500;
/// How long an idle connection may take for one more request when the process ends, and a handshake that has
/// begun for its end, in milliseconds: what is on its way is answered, and the end is hardly later.
pub const DRAIN_IDLE_MS: u64 = 40;
/// How long an idle connection may take for one more request when another process has taken over, in milliseconds.
/// Each response closes its connection then, so whoever is busy has moved by this time.
pub const HANDOVER_IDLE_MS: u64 = 3_000;
/// How long a closing connection waits for the peer to take the answer, in milliseconds.
pub const LINGER_MS: u64 = 1_000;
/// Bytes that a closing connection reads and throws away while it lingers.
pub const LINGER_BYTES_MAX: u64 = 1024 * 1024;

/// A token longer than this is refused before any decoding, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// A verified subject longer than this is refused, in bytes.
pub const SUBJECT_BYTES_MAX: usize = 256;
/// Verified tokens that one core remembers. Over it: the older half is forgotten.
pub const TOKENS_CACHED_MAX: usize = 8 * 1024;
/// A token longer than this is verified every time and never remembered, in bytes.
pub const TOKEN_CACHED_BYTES_MAX: usize = 2 * 1024;

/// A request id taken over from a trusted proxy is at most this long, in bytes.
pub const REQUEST_ID_BYTES_MAX: usize = 128;
/// Addresses read from `X-Forwarded-For`, from the right. Over it: the last one read is the client.
pub const FORWARDED_HOPS_MAX: usize = 32;

/// The smallest remainder of a payload that an operator may have spliced, in bytes: below it two copies cost less
/// than the pipe.
pub const SPLICE_BYTES_LEAST: usize = 4 * 1024;
/// Bytes that a pipe may hold: what one splice moves at most. Four times the default costs a quarter to a half less CPU
/// for large frames; four times as much again saves another tenth, and is not worth its memory (measured, `bench/`).
pub const PIPE_BYTES: usize = 256 * 1024;
/// Pipes of one core, lent and free ones. Over it: payloads are copied. The kernel gives 16,384 pages of pipe buffers
/// to all processes of an unprivileged user (`fs.pipe-user-pages-soft`), of which these can be a quarter; over that it
/// leaves pipes at their default size, and then makes them smaller.
pub const PIPES_MAX: usize = 64;
/// How long a tunnel that is being ended may take for its closing handshake, in milliseconds. Over it: cut off. A
/// drain gives what is left of `SHUTDOWN_TIMEOUT` instead.
pub const TUNNEL_CLOSE_MS: u64 = 5_000;
/// How long before the end of a drain the tunnels that are left are cut off, in milliseconds, or a quarter of the drain
/// if that is less: their lines are to be in the access log when the process ends.
pub const DRAIN_CUT_MS: u64 = 4 * TICK_MS;
/// A core gives tunnels away only if it has so many more of them than another, whatever `WS_BALANCE_SLACK` says.
pub const BALANCE_DIFFERENCE_MIN: u64 = 16;
/// Values of `Sec-WebSocket-Protocol` in one handshake. Over it: 400.
pub const SUBPROTOCOLS_MAX: usize = 32;

/// How often the wait for an upstream looks whether the client is still there, in milliseconds.
pub const CLIENT_WATCH_MS: u64 = 1_000;

/// Routes of one configuration.
pub const ROUTES_MAX: usize = 1024;
/// Upstreams of one configuration.
pub const UPSTREAMS_MAX: usize = 256;
/// CPUs that a choice of cores may name: what one affinity mask holds.
pub const CPUS_MAX: usize = 1024;
/// Items of one configured list: trusted networks, origins.
pub const LISTED_MAX: usize = 1024;
/// A file that holds a secret or the configuration, in bytes. Over it: a refusal to start.
pub const CONFIG_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Addresses that one upstream name may resolve to; further ones are ignored.
pub const ADDRESSES_MAX: usize = 64;
/// Idle connections that one core keeps for one upstream, by default. Over it: the oldest is closed.
pub const UPSTREAM_IDLE_DEFAULT: usize = 256;
/// Requests that one core has in flight to one upstream, by default. Over it: 503 `overloaded`.
pub const UPSTREAM_IN_FLIGHT_DEFAULT: usize = 1024;

/// Calls of one core that wait for Redis, those that nobody waits for any more included. Over it: the call
/// fails at once.
pub const REDIS_QUEUE_MAX: usize = 8 * 1024;
/// Integers in an answer of the script. The connection is broken if it has more.
pub const REDIS_INTEGERS_MAX: usize = 8;
/// Bytes of one reply of Redis. Over it: the connection is broken.
pub const REDIS_REPLY_BYTES_MAX: usize = 16 * 1024;
/// Room for commands that a connection to Redis keeps between two writes, in bytes.
pub const REDIS_OUT_KEPT_BYTES: usize = 64 * 1024;
/// Failed calls in a row after which Redis is not asked any more.
pub const REDIS_FAILURES_MAX: u32 = 3;
/// How long connecting to Redis may take, and each step of setting a connection up, in milliseconds.
pub const REDIS_CONNECT_MS: u64 = 500;
/// Addresses of Redis that one attempt to connect tries before it gives up.
pub const REDIS_ADDRESSES_TRIED_MAX: usize = 3;
/// How long a core waits for the first connection to Redis before it takes its first client, in milliseconds.
pub const REDIS_FIRST_ATTEMPT_MS: u64 = 500;

/// Connections taken from a listener's queue in one turn of a core.
pub const ACCEPTS_PER_TURN: usize = 64;
/// Reads of one connection in one turn of a core: 1 MiB of a body that is never late.
pub const READS_PER_TURN: u32 = 16;
/// Waits of a core in a row that may be over before they begin; then everyone else has a turn.
pub const WAITS_AT_ONCE_MAX: u32 = 16;
/// Requests of one connection that are served in one turn of a core, if they came together.
pub const REQUESTS_PER_TURN: u32 = 16;
/// Connections over the cap that are being told 503 at one time; further ones are closed at once.
pub const REFUSALS_AT_ONCE: usize = 64;
/// File descriptors a core needs besides its connections: ring, listener, mailbox, log, connections that are
/// being told 503 or were taken only to be closed, pipes, and room for what the process opens for a moment.
pub const FDS_RESERVED: u64 = 64 + (REFUSALS_AT_ONCE + ACCEPTS_PER_TURN + 2 * PIPES_MAX) as u64;

/// Submission entries of a core's ring; when it is full, the core submits and goes on.
pub const RING_ENTRIES: u32 = 1024;
/// A core whose ticker has not turned for so long is down, in milliseconds.
pub const CORE_STALL_MS: u64 = 5_000;
/// How long the start waits for the first resolution of the upstreams' names, in milliseconds.
pub const FIRST_RESOLUTION_MS: u64 = 2_000;
/// How long a start waits for a port that somebody listens on, in milliseconds. Over it: a refusal to start.
pub const PORT_FREED_MS: u64 = 1_000;
/// Connections to the admin listener at one time; further ones are closed at once.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;
/// How long an admin connection may take for a request, in milliseconds.
pub const ADMIN_TIMEOUT_MS: u64 = 10_000;
/// Lines of the program's own log on their way to standard error. Over it: lines are dropped and counted.
pub const LOG_LINES_QUEUED_MAX: usize = 1024;

/// How often a core looks at its deadlines, in milliseconds: the resolution of every timeout.
pub const TICK_MS: u64 = 50;

/// One core's access-log buffer, in bytes: full, it goes to the writer.
pub const ACCESS_LOG_BUFFER_BYTES: usize = 64 * 1024;
/// Access-log buffers on their way to the writer. Over it: lines are dropped and counted.
pub const ACCESS_LOG_QUEUE: usize = 64;
/// How long a line may wait in a core's buffer, in milliseconds.
pub const ACCESS_LOG_FLUSH_MS: u64 = 100;
/// Room for one more line that a core's buffer keeps, in bytes: with less it goes to the writer.
pub const ACCESS_LOG_LINE_BYTES: usize = 4 * 1024;
/// How long the end of the process waits for the access log's last lines, in milliseconds. Over it: they
/// are lost.
pub const ACCESS_LOG_FINISH_MS: u64 = 1_000;

/// How often a draining process looks at its deadlines, and whether it is done, in milliseconds.
pub const DRAIN_LOOK_MS: u64 = 5;
/// What a new process may say about itself before it is ready, in bytes. The rest is not heard.
pub const SUCCESSOR_WORDS_MAX: usize = 4 * 1024;
/// How long a new process that has given up may take to end, in milliseconds. Over it: it is killed.
pub const SUCCESSOR_END_MS: u64 = 1_000;
/// How long a reload waits for every core to have taken it over, in milliseconds. Over it: it says so.
pub const RELOAD_TAKEN_MS: u64 = 1_000;
/// Orders on their way to one core. The control thread waits when it is full.
pub const ORDERS_QUEUED_MAX: usize = 64;
/// Empty buckets that one core remembers, to refuse without asking Redis. Over it: all are forgotten.
pub const KNOWN_EMPTY_MAX: usize = 8 * 1024;
/// Buckets that the in-memory limiter keeps before it looks for full ones to forget. With hardly a full one
/// among them: all are forgotten, so every bucket is full again.
pub const MEMORY_BUCKETS_MAX: usize = 1_000_000;
/// Limits of a route's own.
pub const ROUTE_LIMITS_MAX: usize = 4;
/// Capacity of a bucket, in tokens.
pub const BURST_MAX: u32 = 1_000_000;
/// The fastest refill of a bucket, in thousandths of a token per second.
pub const RATE_MILLI_MAX: u32 = 1_000_000_000;
/// The beginning of every key in Redis, in bytes.
pub const KEY_PREFIX_BYTES_MAX: usize = 64;
/// The name of a route or an upstream, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// The longest `Retry-After` of a refused request, in seconds; it stands where the rate is 0.
pub const RETRY_AFTER_MAX_S: u64 = 3_600;
/// Requested header names that the answer to a preflight repeats, in bytes. Over it: a fixed list.
pub const CORS_HEADERS_BYTES_MAX: usize = 1024;

const _: () = assert!(DRAIN_IDLE_MS < DRAIN_FIRST_REQUEST_MS && DRAIN_FIRST_REQUEST_MS < HANDOVER_IDLE_MS);
const _: () = assert!(HEAD_BYTES_DEFAULT <= HEAD_BYTES_MAX);
// The spans of a head are 16 bits wide.
const _: () = assert!(HEAD_BYTES_MAX <= u16::MAX as usize);
const _: () = assert!(REQUEST_LINE_BYTES_DEFAULT < HEAD_BYTES_DEFAULT);
const _: () = assert!(TRAILER_BYTES_MAX < BUFFER_BYTES && CHUNK_LINE_BYTES_MAX < BUFFER_BYTES);
const _: () = assert!(TOKEN_CACHED_BYTES_MAX <= TOKEN_BYTES_MAX && TOKEN_BYTES_MAX < HEAD_BYTES_DEFAULT);
const _: () = assert!(ACCESS_LOG_LINE_BYTES < ACCESS_LOG_BUFFER_BYTES);
// A reply that is not whole yet leaves room for the rest.
const _: () = assert!(REDIS_REPLY_BYTES_MAX < BUFFER_BYTES / 2);
