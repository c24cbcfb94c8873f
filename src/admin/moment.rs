//! What goes on at this moment: requests in flight, who asks most, who is limited most. Only the status page asks.

use serde_json::{Value, json};

use super::state::Admin;
use crate::clock;
use crate::gateway::core::{Metrics, Present};
use crate::limits::{HEAVY_SHOWN_MAX, PRESENT_MAX};
use crate::telemetry::heavy::{Count, HeavyHitters, heaviest};

/// The requests in flight, the oldest first. Asking makes the cores look, so the first answer has none.
pub(super) fn in_flight(admin: &Admin) -> Value {
    let now_ms = clock::now_ms();
    let cores = || admin.cores.iter().map(|(_, _, metrics)| metrics);
    cores().for_each(|metrics| metrics.presences.want(now_ms));
    let mut oldest: Vec<Present> = cores().flat_map(|metrics| metrics.presences.get()).collect();
    oldest.retain(|present| !present.is_tunnel);
    oldest.sort_by_key(|present| present.begun_ms);
    oldest.truncate(PRESENT_MAX);
    let shown = |Present { begun_ms, route, id, .. }: &Present| {
        let age_ms = now_ms.saturating_sub(*begun_ms);
        json!({ "age_ms": age_ms, "route": route.as_deref(), "request_id": String::from_utf8_lossy(id) })
    };
    oldest.iter().map(shown).collect()
}

/// The clients that ask most. The counts are of the last half minute or so.
pub(super) fn talkers(admin: &Admin) -> Value {
    heavy(admin, |metrics| &metrics.talkers)
}

/// The clients that are limited most, likewise.
pub(super) fn limited(admin: &Admin) -> Value {
    heavy(admin, |metrics| &metrics.limited)
}

fn heavy(admin: &Admin, table: fn(&Metrics) -> &HeavyHitters) -> Value {
    let tables = admin.cores.iter().map(|(_, _, metrics)| table(metrics));
    let shown = |Count { who, count, over }: &Count| {
        let (kind, name) = who.text();
        json!({ "kind": kind, "name": name, "count": count, "over": over })
    };
    heaviest(tables, clock::now_ms(), HEAVY_SHOWN_MAX).iter().map(shown).collect()
}
