//! The integration tests: the real binary, real sockets, scripted clients and origins.

mod harness;

mod access_log;
mod admin;
mod cors;
mod drain;
mod headers;
mod paths;
mod regression;
mod program;
mod rate;
mod requests;
mod responses;
mod tidy;
mod tokens;
