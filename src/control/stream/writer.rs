//! Writes what cores have for other instances into the control stream, on a thread of its own: a core never waits
//! for it.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use tracing::error;

use super::entry::{self, Written};
use super::wire::{Wire, WireError};
use crate::auth::Logout;
use crate::clock;
use crate::config::Config;
use crate::control::running::RunningConfig;
use crate::gateway::websocket::handles::Renewal;
use crate::limits::{LOGOUT_PAUSE_MS, LOGOUT_RETRIED_MS, RENEWALS_QUEUED_MAX};

/// What a core has for other instances.
pub enum Outgoing {
    /// A renewal. It is worth little a moment later.
    Renewal(Renewal),
    /// A logout, which must not be lost.
    Logout(Logout),
}

/// Starts the thread, and returns the way to it. It ends when nobody has that any more.
///
/// # Errors
/// The thread cannot be created.
pub fn start(running: Arc<RunningConfig>) -> io::Result<Sender<Outgoing>> {
    let (sender, receiver) = bounded(RENEWALS_QUEUED_MAX);
    thread::Builder::new().name("control-writer".to_owned()).spawn(move || write(&running, &receiver))?;
    Ok(sender)
}

fn write(running: &RunningConfig, receiver: &Receiver<Outgoing>) {
    let (mut wire, mut said_ms) = (None, None::<u64>);
    for outgoing in receiver {
        let begun_ms = clock::now_ms();
        loop {
            let config = running.get();
            let (fields, what, retried_ms) = match &outgoing {
                Outgoing::Renewal(renewal) => {
                    (entry::of_renewal(renewal), "renewals of WebSockets on other instances are lost", 0)
                }
                Outgoing::Logout(logout) => {
                    (entry::of_logout(logout), "logouts of issuers wait, or are lost", LOGOUT_RETRIED_MS)
                }
            };
            // A connection that was closed meanwhile is found only now.
            let attempt = |wire: &mut Option<Wire>| append(&config, wire, &fields);
            let Err(failed) = attempt(&mut wire).or_else(|_| attempt(&mut wire)) else { break };
            let now_ms = clock::now_ms();
            if said_ms.is_none_or(|said_ms| now_ms - said_ms >= SAY_MS) {
                said_ms = Some(now_ms);
                error!("control stream: {what}: {}", failed.text());
            }
            if now_ms - begun_ms >= retried_ms {
                break;
            }
            thread::sleep(Duration::from_millis(LOGOUT_PAUSE_MS));
        }
    }
}

fn append(config: &Config, wire: &mut Option<Wire>, fields: &Written) -> Result<(), WireError> {
    let Some(stream) = &config.control.stream else { return Ok(()) };
    let mut open = match wire.take() {
        Some(open) => open,
        None => Wire::connect(&config.redis)?,
    };
    open.append(stream, oldest_ms(config, clock::unix_s()), fields)?;
    *wire = Some(open);
    Ok(())
}

/// The oldest entry that can still matter, a while before for clocks that differ.
pub fn oldest_ms(config: &Config, now_unix_s: u64) -> u64 {
    let (lifetime_s, leeway_s) = config.token_lifetime_s();
    now_unix_s.saturating_sub(lifetime_s + leeway_s + SLACK_S) * 1_000
}

const SLACK_S: u64 = 120;
/// How often the log tells of the same trouble, in milliseconds.
const SAY_MS: u64 = 10_000;
