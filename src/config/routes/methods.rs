//! `methods` of a route.

use super::key::RouteKey;
use super::report::Report;
use crate::config::meaning::RouteKind;
use crate::config::value::{Parsed, quoted};
use crate::config::written::WrittenRoute;

/// The methods that a route accepts.
pub(super) const METHODS: RouteKey =
    RouteKey { name: "methods", default: "any", help: "The methods that it accepts, in upper case." };

pub(super) fn methods(route: &WrittenRoute, kind: RouteKind, report: &mut Report<'_>) -> Vec<String> {
    if route.methods.as_ref().is_some_and(Vec::is_empty) {
        report.add("methods is empty (leave it out for any method)");
    }
    let mut methods = Vec::new();
    for written in route.methods.iter().flatten() {
        match method(written) {
            Ok(method) if methods.contains(&method) => report.add(&format!("methods names {method} twice")),
            Ok(method) => methods.push(method),
            Err(why) => report.add(&format!("method {why}")),
        }
    }
    if kind == RouteKind::Both && !methods.is_empty() && !methods.iter().any(|method| method == "GET") {
        report.add("kind is both, and a handshake is a GET, which methods does not name");
    }
    if kind != RouteKind::WebSocket {
        return methods;
    }
    // RFC 6455 §4.1: "The method of the request MUST be GET".
    if methods.iter().any(|method| method != "GET") {
        report.add("a websocket route takes GET and no other method");
    }
    vec!["GET".to_owned()]
}

/// Reads a method: a token (RFC 9110 §9.1), in upper case as every registered method is.
pub(crate) fn method(text: &str) -> Parsed<String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || text.len() > METHOD_BYTES_MAX || !text.bytes().all(token) {
        return Err(format!("{} is not a token", quoted(text)));
    }
    if text != text.to_ascii_uppercase() {
        return Err(format!("{} is not in upper case, and methods are told apart by case", quoted(text)));
    }
    if ["CONNECT", "TRACE", "TRACK"].contains(&text) {
        return Err(format!("{} is never forwarded", quoted(text)));
    }
    Ok(text.to_owned())
}

/// Bytes of a method.
const METHOD_BYTES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_methods_that_are_tokens_in_upper_case() {
        assert!(["GET", "PATCH", "M-SEARCH"].iter().all(|text| method(text).is_ok()));
        for text in ["", "get", "G ET", "GET,POST", "CONNECT", "TRACE", "TRACK", "GÉT"] {
            assert!(method(text).is_err(), "{text}");
        }
    }
}
