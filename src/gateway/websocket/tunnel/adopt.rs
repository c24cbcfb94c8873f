//! Where a tunnel begins: on the core of its handshake, or on one that has fewer tunnels.

use std::rc::Rc;

use super::handover::Handover;
use super::{Early, Tunnel, run};
use crate::gateway::core::Resources;

/// Begins a tunnel, here or on the core that should have it.
pub fn begin(resources: &Rc<Resources>, handover: Box<Handover>) {
    resources.metrics.tunnels.opened.add(1);
    let index = handover.slot.index;
    if index == resources.tunnels.index {
        return adopt(resources, *handover);
    }
    // If its mailbox is full it stays here, in a room of the other's: a bound for a moment passed by one.
    match (resources.tunnels.siblings[index].give)(handover) {
        Ok(()) => resources.metrics.tunnels.handed_over.add(1),
        Err(handover) => adopt(resources, *handover),
    }
}

/// Goes on with a tunnel on this core.
pub fn adopt(resources: &Rc<Resources>, mut handover: Handover) {
    let from_client = std::mem::take(&mut handover.early_in).into_boxed_slice();
    let from_upstream = std::mem::take(&mut handover.early_out).into_boxed_slice();
    // Without a place in the runtime both connections close, which both peers see.
    let Ok(tunnel) = Tunnel::new(resources, handover) else { return };
    resources.metrics.tunnels.open.add(1);
    resources.metrics.connections.open.add(1);
    monoio::spawn(run(Box::new(tunnel), Early { from_client, from_upstream }));
}
