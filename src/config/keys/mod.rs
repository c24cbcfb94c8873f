//! Every setting, one file per section: its definition, its meaning and its tests.
//!
//! To add a setting, define a `Key` in the file of its section, list it in `SECTION`, and read it in the function
//! that builds the meaning.
#![allow(missing_docs, reason = "the `help` of a definition is its documentation")]

pub mod clients;
pub mod control;
pub mod https;
pub mod limits;
pub mod listen;
pub mod online;
pub mod process;
pub mod redis_sentinel;
pub mod redis_tls;
pub mod sections;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod tokens;
pub mod traces;
pub mod upstreams;
pub mod websockets;
