//! The integration tests: the real binary, real sockets, scripted clients and origins.

mod harness;

mod drain;
mod headers;
mod paths;
mod regression;
mod requests;
mod responses;
mod tidy;
mod tokens;
