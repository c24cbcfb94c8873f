//! The RealChat gateway: one entry point for all external traffic of a realtime chat platform.
//!
//! The modules, from the command line down to the ground. Each uses only modules below its own line
//! (`docs/ARCHITECTURE.md` has the map, and a test checks the order).
//!
//! - [`cli`]: the command line.
//! - [`demo`]: the demo's services and page; nothing else uses it.
//! - [`explain`]: prints what would happen to a request.
//! - [`health`]: asks a running gateway for its readiness.
//! - [`revoke`]: writes a revocation for a person.
//! - [`launch`]: the start, from a configuration to running threads.
//! - [`worker`]: the thread of one core: accepts, ticks, comes to the state that is wanted.
//! - [`control`]: the control thread: signals, drain, reload, hot upgrade, name resolution.
//! - [`admin`]: the admin listener: health, readiness, metrics.
//! - [`gateway`]: the life of a request: plan, admission, forwarding, WebSocket tunnels, answers, records.
//! - [`downstream`]: clients' connections: receives requests, sends responses, decides what follows.
//! - [`route`]: finds the route of a request.
//! - [`auth`]: verifies tokens.
//! - [`limit`]: rate limiting.
//! - [`upstream`]: internal services: members, load balancing, connection pools, exchanges.
//! - [`message`]: heads and bodies as they pass from one connection to another.
//! - [`redis`]: the Redis client: one pipelined connection per core, with a circuit breaker.
//! - [`tls`]: TLS towards clients: certificates and what a handshake needs of them.
//! - [`net`]: sockets, buffers, timers, listeners, the runtime.
//! - [`http1`]: the HTTP/1.1 codec.
//! - [`http2`]: the HTTP/2 codec.
//! - [`ws`]: WebSocket framing.
//! - [`http`]: HTTP's vocabulary, the same for every version: requests, responses, fields, paths.
//! - [`telemetry`]: metrics, the access log, the program's log.
//! - [`config`]: the configuration.
//! - [`sys`]: system calls that need `unsafe`.
//! - [`spare`]: objects that are kept for their next use.
//! - [`storm`]: the end of a storm, when memory can be given back.
//! - [`clock`]: coarse and precise clocks.
//! - [`limits`]: all bounds by name.

pub mod cli;
pub mod demo;
pub mod explain;
pub mod health;
pub mod launch;
pub mod revoke;
pub mod worker;
pub mod control;
pub mod admin;
pub mod gateway;
pub mod downstream;
pub mod route;
pub mod auth;
pub mod limit;
pub mod upstream;
pub mod message;
pub mod redis;
pub mod tls;
pub mod net;
pub mod http1;
pub mod http2;
pub mod ws;
pub mod http;
pub mod telemetry;
pub mod config;
pub mod sys;
pub mod spare;
pub mod storm;
pub mod clock;
pub mod limits;
