//! The RealChat gateway: one entry point for all external traffic of a realtime chat platform.
//!
//! The modules in the order in which a request meets them; each uses only what stands below it.

pub mod cli;
pub mod demo;
pub mod explain;
pub mod health;
pub mod launch;
pub mod worker;
pub mod admin;
pub mod control;
pub mod gateway;
pub mod downstream;
pub mod message;
pub mod http;
pub mod http1;
pub mod ws;
pub mod route;
pub mod auth;
pub mod limit;
pub mod upstream;
pub mod redis;
pub mod net;
pub mod telemetry;
pub mod config;
pub mod sys;
pub mod clock;
pub mod limits;
