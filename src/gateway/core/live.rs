//! Live control of sessions on one core: which tokens are revoked, and what is told to open WebSockets.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::bulletin::{Bulletin, Instruction};
use crate::auth::{CredentialError, Holder, Revocation, Revocations};
use crate::gateway::websocket::leashes::{Leashes, Order};
use crate::gateway::websocket::tunnel::farewell::Farewell;
use crate::telemetry::TunnelEnd;

/// Whether the list of revocations can be relied on. One writer, the reader of the control stream; a core's look is one
/// plain load.
#[derive(Debug, Default)]
pub struct ListStanding(AtomicBool);

impl ListStanding {
    /// Whether the list is too old for a token to be accepted.
    pub fn is_stale(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Changes it.
    pub fn set_stale(&self, is_stale: bool) {
        self.0.store(is_stale, Ordering::Relaxed);
    }
}

/// The part of a core that live control needs. `None` where there is none: then a look costs one branch.
pub struct Live(Option<Kept>);

struct Kept {
    revocations: RefCell<Arc<Revocations>>,
    standing: Arc<ListStanding>,
}

impl Live {
    /// `None`: there is no live control.
    pub fn new(standing: Option<Arc<ListStanding>>) -> Live {
        Live(standing.map(|standing| Kept { revocations: RefCell::default(), standing }))
    }

    /// Whether there is live control at all.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a valid token counts.
    ///
    /// # Errors
    /// It was revoked, or nobody can say.
    pub fn check(&self, holder: &Holder) -> Result<(), CredentialError> {
        let Some(kept) = &self.0 else { return Ok(()) };
        if kept.revocations.borrow().refuse(holder) {
            return Err(CredentialError::Revoked);
        }
        if kept.standing.is_stale() { Err(CredentialError::RevocationsStale) } else { Ok(()) }
    }

    /// Whether a token is known to be revoked.
    pub fn refuses(&self, holder: &Holder) -> bool {
        self.0.as_ref().is_some_and(|kept| kept.revocations.borrow().refuse(holder))
    }

    /// Takes what is new. `revoked_code`: what the clients of revoked tokens are told. The list comes first, so a
    /// WebSocket that begins between the two finds itself in it.
    pub fn take(&self, bulletin: Bulletin, leashes: &Leashes, revoked_code: u16) {
        let Some(kept) = &self.0 else { return };
        if let Some(revocations) = bulletin.revocations {
            kept.revocations.replace(revocations);
        }
        let revoked = revoked_order(revoked_code);
        if bulletin.is_incomplete {
            leashes.end_any(|holder| self.refuses(holder), &revoked);
        }
        for instruction in bulletin.instructions {
            match instruction {
                Instruction::Revoked(one) => {
                    let is_meant = |holder: &Holder| one.refuses(holder);
                    match one {
                        Revocation::User(mark, _)
                        | Revocation::Session(mark, _)
                        | Revocation::Token(mark, _) => leashes.end(mark, is_meant, &revoked),
                        Revocation::All(_) => leashes.end_any(is_meant, &revoked),
                    };
                }
                Instruction::Dismiss(user, farewell) => {
                    let order = Order { end: TunnelEnd::Dismissed, farewell: Rc::new(farewell) };
                    leashes.end(user, |_| true, &order);
                }
                Instruction::Renew(handle, holder) if !self.refuses(&holder) => leashes.renew(handle, holder),
                Instruction::Renew(..) => {}
            }
        }
        leashes.wake();
    }
}

/// What a WebSocket is told whose token was revoked.
pub fn revoked_order(code: u16) -> Order {
    let farewell = Farewell::new(code, REASON).or_else(|| Farewell::new(POLICY, REASON));
    let farewell = farewell.unwrap_or_else(|| unreachable!("1008 can be sent"));
    Order { end: TunnelEnd::Revoked, farewell: Rc::new(farewell) }
}

const REASON: &str = "revoked";
/// What is sent "when there is no other more suitable status code" (RFC 6455 §7.4.1).
const POLICY: u16 = 1008;
