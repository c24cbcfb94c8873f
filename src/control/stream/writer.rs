//! Writes what cores have for other instances into the control stream, on a thread of its own: a core never waits
//! for it.

use std::io;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use tracing::error;

use super::entry::{self, Written};
use super::wire::{Wire, WireError};
use crate::clock;
use crate::config::Config;
use crate::control::running::RunningConfig;
use crate::gateway::websocket::handles::Renewal;
use crate::limits::RENEWALS_QUEUED_MAX;

/// Starts the thread, and returns the way to it. It ends when nobody has that any more.
///
/// # Errors
/// The thread cannot be created.
pub fn start(running: Arc<RunningConfig>) -> io::Result<Sender<Renewal>> {
    let (sender, receiver) = bounded(RENEWALS_QUEUED_MAX);
    thread::Builder::new().name("control-writer".to_owned()).spawn(move || write(&running, &receiver))?;
    Ok(sender)
}

fn write(running: &RunningConfig, receiver: &Receiver<Renewal>) {
    let (mut wire, mut said_ms) = (None, None::<u64>);
    for renewal in receiver {
        let config = running.get();
        // A connection that was closed meanwhile is found only now.
        let attempt = |wire: &mut Option<Wire>| append(&config, wire, &entry::of_renewal(&renewal));
        let Err(failed) = attempt(&mut wire).or_else(|_| attempt(&mut wire)) else { continue };
        let now_ms = clock::now_ms();
        if said_ms.is_none_or(|said_ms| now_ms - said_ms >= SAY_MS) {
            said_ms = Some(now_ms);
            error!("control stream: renewals of WebSockets on other instances are lost: {}", failed.text());
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
