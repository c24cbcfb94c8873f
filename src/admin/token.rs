//! Who may read the admin listener, if the configuration has a token for it.

use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::config::Secret;
use crate::http::{FieldKind, Request};

/// Whether a request may be answered. What probes ask for is open, and so is the status page: it has no figures in it.
pub(super) fn admits(request: &Request, token: Option<&Secret>) -> bool {
    let Some(Secret(token)) = token else { return true };
    let given = request.only(FieldKind::Authorization).and_then(bearer);
    // How long the comparison takes says nothing about the token but its length.
    matches!(request.path(), b"/" | b"/healthz" | b"/readyz")
        || given.is_some_and(|given| verify_slices_are_equal(given, token).is_ok())
}

/// The token of `Bearer TOKEN`; the scheme's case does not matter (RFC 9110 §11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim_ascii())
}

const SCHEME: &[u8] = b"Bearer ";
