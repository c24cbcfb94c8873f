//! What a request stays with one member of its upstream by.

use super::share;
use crate::auth::User;
use crate::config::HashOn;
use crate::gateway::admission::Admission;
use crate::gateway::exchange::Exchange;
use crate::http::Field;
use crate::upstream::{Choice, Upstream, hash_of};

/// The choice of a request among the members of its upstream.
pub fn choice(exchange: &Exchange<'_>, admission: &Admission<'_>, upstream: &Upstream) -> Choice {
    let key = upstream.hash_on().and_then(|on| match &*on {
        HashOn::User => admission.identity().user().map(User::as_str).map(|user| hash_of(user.as_bytes())),
        HashOn::Address => Some(share::hash_of_address(exchange)),
        HashOn::Header(name) => header(exchange, name).map(hash_of),
    });
    Choice::new(key)
}

/// The value of a field of the request, by its name in lower case. A field that comes twice is none.
fn header<'e>(exchange: &Exchange<'e>, name: &str) -> Option<&'e [u8]> {
    let request = exchange.request;
    let is_it = |field: &&Field| field.name.of(request.bytes()).eq_ignore_ascii_case(name.as_bytes());
    let mut found = request.fields.iter().filter(is_it).map(|field| field.value.of(request.bytes()));
    found.next().filter(|value| !value.is_empty() && found.next().is_none())
}
