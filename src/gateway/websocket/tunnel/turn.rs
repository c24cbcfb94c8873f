//! One turn of a tunnel's task: passes events to the state, and does what the state asks for.

use super::event::Event;
use super::sockets::Sockets;
use super::state::TunnelState;

/// A tunnel at this moment.
pub(super) struct Turn<'t> {
    pub(super) sockets: &'t Sockets,
    pub(super) state: &'t mut TunnelState,
    pub(super) now_ms: u64,
}

impl Turn<'_> {
    /// Tells the state what has happened, and does what that asks for.
    pub(super) fn tell(&mut self, event: Event<'_>) {
        let actions = self.state.on(event, self.now_ms);
        self.sockets.act(actions);
    }
}
