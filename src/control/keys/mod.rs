//! The keeper of key sets: a thread that fetches the issuers' sets, watches those in files, and hands what is new to
//! the cores. An issuer that is away changes nothing: the set before stays in force, up to
//! [`KEYS_STALE_MS_MAX`](crate::limits::KEYS_STALE_MS_MAX).
//!
//! The thread has a runtime of its own, so what a stranger's server does delays neither signals nor the admin listener.

mod answers;
mod keeper;
mod location;
mod names;
mod registry;
mod schedule;
mod source;
mod states;

use std::io;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

pub(super) use location::Location;
pub use registry::KeyRegistry;
pub use states::KeyStates;

use self::keeper::Keeper;
use crate::auth::KeyRequests;
use crate::clock;
use crate::limits::{FIRST_KEYS_MS, KEYS_LOOK_MS};
use crate::net::Io;
use crate::net::runtime::{Preference, ThreadRuntime};

/// The thread. Dropping this value stops it after its current look.
pub struct KeyKeeper {
    _stop_sender: Sender<()>,
    first_round: Receiver<()>,
}

impl KeyKeeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// The thread cannot be created.
    pub fn start(
        registry: Weak<dyn KeyRegistry>,
        requests: Arc<KeyRequests>,
        driver: Preference,
    ) -> io::Result<KeyKeeper> {
        let (stop_sender, stop) = bounded::<()>(0);
        let (round_sender, first_round) = bounded::<()>(0);
        thread::Builder::new().name("keys".to_owned()).spawn(move || {
            let keep = async move {
                let io = Rc::<Io>::default();
                let mut keeper = Keeper::new(requests, io.clone());
                let mut round_sender = Some(round_sender);
                // Nothing is sent on this channel: it is disconnected when `KeyKeeper` is dropped.
                while stop.try_recv() == Err(TryRecvError::Empty) {
                    let now_ms = clock::now_ms();
                    io.timers.tick(now_ms);
                    let Some(registry) = registry.upgrade() else { break };
                    keeper.look(&*registry, now_ms);
                    drop(registry);
                    if keeper.has_tried_all() {
                        round_sender = None;
                    }
                    monoio::time::sleep(Duration::from_millis(KEYS_LOOK_MS)).await;
                }
                drop(round_sender);
            };
            match ThreadRuntime::build(driver) {
                Ok((mut runtime, _)) => runtime.block_on(keep),
                Err(error) => tracing::error!(%error, "keys: no runtime, key sets are not kept up to date"),
            }
        })?;
        Ok(KeyKeeper { _stop_sender: stop_sender, first_round })
    }

    /// Waits until every issuer was asked once, up to [`FIRST_KEYS_MS`].
    pub fn wait_for_first(&self) {
        // The channel closes when the first round ends.
        let _ = self.first_round.recv_timeout(Duration::from_millis(FIRST_KEYS_MS));
    }
}
