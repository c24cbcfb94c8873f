//! A bell that a core rings when the masters of Redis may be others than it knows.

use crossbeam_channel::{Receiver, Sender, bounded};

/// The bell. Ringing never blocks, and ringing often is ringing once. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Bell(Option<Sender<()>>);

impl Bell {
    /// A bell, and the end that hears it.
    pub fn new() -> (Bell, Receiver<()>) {
        let (sender, receiver) = bounded(1);
        (Bell(Some(sender)), receiver)
    }

    /// Rings. Without a listener it does nothing.
    pub fn ring(&self) {
        if let Some(sender) = &self.0 {
            // If it is full, it has rung already.
            let _ = sender.try_send(());
        }
    }
}
