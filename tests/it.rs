//! The integration tests: the real binary, real sockets, scripted clients and origins.

// `over_tls` runs the same modules once more.
#![allow(clippy::duplicate_mod)]

mod harness;

mod access_log;
mod admin;
mod bench;
mod browser;
mod bucket;
mod claims;
mod cors;
mod crossing;
mod deploy;
mod docs;
mod drain;
mod explain;
mod faults;
mod figures;
mod headers;
mod held;
mod http2;
mod issuers;
mod key_sets;
mod limits_of_machine;
mod live_control;
mod locations;
mod long_waits;
mod members;
mod metrics;
mod online;
mod over_tls;
mod overload;
mod paths;
mod proxy_protocol;
mod regression;
mod reload;
mod program;
mod property;
mod rate;
mod redis_cluster;
mod redis_limits;
mod requests;
mod responses;
mod route_fields;
mod routing;
mod runbook;
mod slow;
mod socket_io;
mod stacks;
mod status;
mod streaming;
mod tidy;
mod tls;
mod token_places;
mod tokens;
mod traces;
mod upgrade;
mod upstreams;
mod websocket;
