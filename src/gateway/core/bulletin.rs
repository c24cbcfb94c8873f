//! The bulletin of a core: what it has not been told yet of live control.

use std::sync::Arc;

use crate::auth::{Holder, Mark, Revocation, Revocations};
use crate::gateway::websocket::tunnel::farewell::Farewell;
use crate::limits::INSTRUCTIONS_WAITING_MAX;

/// What every core is told from outside.
#[derive(Debug, Clone)]
pub enum Instruction {
    /// Whoever holds one of these tokens is to be disconnected. The list has it, too, if it has room.
    Revoked(Revocation),
    /// The WebSockets of a user are to end, and its tokens still count.
    Dismiss(Mark, Farewell),
    /// The WebSocket with this handle has this token now.
    Renew(Mark, Holder),
}

/// What a core has not been told yet.
#[derive(Debug, Default)]
pub struct Bulletin {
    /// Another list of revocations.
    pub revocations: Option<Arc<Revocations>>,
    /// What to do, in its order.
    pub instructions: Vec<Instruction>,
    /// Some of them are missing: the list is to be compared with every WebSocket.
    pub is_incomplete: bool,
}

impl Bulletin {
    /// Whether there is something on it.
    pub fn has_news(&self) -> bool {
        self.revocations.is_some() || self.is_incomplete || !self.instructions.is_empty()
    }

    /// Adds to what the core has not been told yet. False: it is too much, and instructions are missing now.
    pub fn add(
        &mut self,
        revocations: Option<&Arc<Revocations>>,
        instructions: &[Instruction],
        is_incomplete: bool,
    ) -> bool {
        if let Some(revocations) = revocations {
            self.revocations = Some(revocations.clone());
        }
        self.is_incomplete |= is_incomplete;
        let fits = self.instructions.len() + instructions.len() <= INSTRUCTIONS_WAITING_MAX;
        match fits {
            true => self.instructions.extend_from_slice(instructions),
            false => {
                self.instructions = Vec::new();
                self.is_incomplete = true;
            }
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_is_too_late_compares_everything_with_the_list() {
        let one = Instruction::Revoked(Revocation::All(1));
        let mut bulletin = Bulletin::default();
        assert!(!bulletin.has_news());
        assert!(bulletin.add(None, &vec![one.clone(); INSTRUCTIONS_WAITING_MAX], false));
        assert!(bulletin.has_news() && !bulletin.is_incomplete);
        assert!(!bulletin.add(Some(&Arc::default()), std::slice::from_ref(&one), false));
        assert!(bulletin.is_incomplete && bulletin.instructions.is_empty() && bulletin.revocations.is_some());
        assert!(bulletin.add(None, &[one], false) && bulletin.is_incomplete);
    }
}
