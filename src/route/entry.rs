//! A route of the table, and what is looked at of a request to find it.

use crate::config::Route;
use crate::http::{Field, Request};

/// What is looked at of a request.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'r> {
    /// The method, as sent.
    pub method: &'r [u8],
    /// The authority, as sent.
    pub host: &'r [u8],
    /// The canonical path without its query: the bytes that are forwarded.
    pub path: &'r [u8],
    /// The fields, for routes that ask for some.
    pub fields: &'r [Field],
    /// What these are ranges of.
    pub head: &'r [u8],
}

impl<'r> From<&'r Request> for Asked<'r> {
    fn from(request: &'r Request) -> Asked<'r> {
        Asked {
            method: request.method_name(),
            host: request.host(),
            path: request.path(),
            fields: &request.fields,
            head: request.bytes(),
        }
    }
}

/// One route and its index in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteEntry {
    /// Index into [`crate::config::Config::routes`].
    pub index: usize,
    /// The route as configured.
    pub route: Route,
}
