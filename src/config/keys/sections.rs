//! The list of all settings.

use super::{
    clients, control, https, limits, listen, online, process, tls, tokens, traces, upstreams, websockets,
};
use crate::config::key::{AnyKey, Section};

/// All sections, in the order of `--help`, of the manual and of `check`.
pub const ALL: [Section; 12] = [
    listen::SECTION,
    tls::SECTION,
    https::SECTION,
    process::SECTION,
    traces::SECTION,
    tokens::SECTION,
    limits::SECTION,
    upstreams::SECTION,
    websockets::SECTION,
    online::SECTION,
    control::SECTION,
    clients::SECTION,
];

/// All settings, in the order of the sections.
pub fn all() -> impl Iterator<Item = &'static dyn AnyKey> {
    ALL.iter().flat_map(|section| section.keys.iter().copied())
}
