//! Upstreams and routes: those of RealChat, or those of a file.
//!
//! To add a key to routes, define a [`RouteKey`] and its lowering in the file of its part, list it in `keys.rs`, and
//! call the lowering in `of_file.rs`.

mod access;
mod balancing;
mod body;
mod claims;
mod conditions;
mod edits;
mod fields;
mod forwarding;
mod health;
mod hosts;
mod issuers;
mod key;
mod keys;
mod limits;
pub(super) mod members;
mod methods;
mod name;
mod networks;
mod oddities;
mod of_file;
mod paths;
mod prefixes;
mod realchat;
mod replies;
mod report;
mod shares;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod timeouts;
mod tokens_from;
mod upstream_tls;
mod upstreams;

pub(super) use claims::wanted_claims;
pub(super) use health::show as show_health;
pub use key::RouteKey;
pub use keys::{LIMIT_KEYS, ROUTE_KEYS};
pub(crate) use methods::method;
pub(crate) use name::judge as judge_name;
pub(super) use of_file::upstreams_and_routes;
#[cfg(test)]
pub(super) use realchat::routes as realchat_routes;
pub(super) use tokens_from::all_token_sources;
