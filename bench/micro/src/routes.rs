//! Where to: the routes of the platform.

use std::hint::black_box;

use realchat_gateway::route::{Asked, Match, RouteTable};

use crate::{Step, stage};

/// A path without parameter.
pub fn exact() -> Step {
    find(b"POST", b"/api/v1/auth/login", true)
}

/// A path below `/*`.
pub fn wildcard() -> Step {
    find(b"GET", b"/api/v1/conversations/0192d5a4-9c1e-7d0b-8f6e-3a4b5c6d7e8f/messages", true)
}

/// A path that nobody has a route for.
pub fn unknown() -> Step {
    find(b"GET", b"/api/v2/users/me", false)
}

fn find(method: &'static [u8], path: &'static [u8], is_known: bool) -> Step {
    let table = RouteTable::new(&stage::config().routes).expect("routes of one meaning");
    Box::new(move || {
        let found = table.find(black_box(Asked { method, host: b"", path, fields: &[], head: b"" }));
        assert_eq!(matches!(found, Match::Route(_)), is_known);
        black_box(found);
    })
}
