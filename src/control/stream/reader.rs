//! The thread of the control stream: connects, reads, tells the cores.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use redis::Value;
use tracing::{error, info, warn};

use super::entry::Id;
use super::log::{Log, News};
use super::state::StreamState;
use super::wire::{Wire, WireError};
use crate::auth::TokenLifetime;
use crate::clock;
use crate::config::Config;
use crate::control::Cores;
use crate::control::jitter::jitter;
use crate::control::running::RunningConfig;
use crate::gateway::websocket::handles::Handles;
use crate::limits::{LISTS_APART_MS, STREAM_ENTRIES_READ};

pub(super) struct Reader {
    running: Arc<RunningConfig>,
    cores: Arc<Cores>,
    state: Arc<StreamState>,
    /// The WebSockets of this process, if they can be renewed.
    handles: Option<Arc<Handles>>,
    stop: Receiver<()>,
    /// Dropped when the stream was read to its end once.
    round_sender: Option<Sender<()>>,
    log: Log,
    /// Entries that the next read asks for.
    count: usize,
    /// The deleted entry that was last complained about.
    missed: Option<Id>,
    told_ms: u64,
    forgot_ms: u64,
    warned_ms: Option<u64>,
}

/// What follows on the end of a connection that has not failed.
enum Next {
    /// The process ends.
    Stop,
    /// The configuration is another one.
    Reconnect,
}

/// What the stream is found to be.
#[derive(PartialEq, Eq)]
enum Found {
    /// The one that was read so far.
    TheSame,
    /// Another one under its name.
    Another,
}

/// Names and values, in pairs.
type Fields = Vec<(Vec<u8>, Vec<u8>)>;

impl Reader {
    pub(super) fn new(
        running: Arc<RunningConfig>,
        cores: Arc<Cores>,
        state: Arc<StreamState>,
        handles: Option<Arc<Handles>>,
        stop: Receiver<()>,
        round_sender: Sender<()>,
    ) -> Reader {
        Reader {
            running,
            cores,
            state,
            handles,
            stop,
            round_sender: Some(round_sender),
            log: Log::default(),
            count: STREAM_ENTRIES_READ,
            missed: None,
            told_ms: 0,
            forgot_ms: clock::now_ms(),
            warned_ms: None,
        }
    }

    /// Reads until the process ends.
    pub(super) fn run(mut self) {
        let (mut attempts, mut failed_ms, mut said_ms) = (0, None::<u64>, 0);
        loop {
            let why = match self.read(&mut attempts, &mut failed_ms) {
                Ok(Next::Stop) => return,
                Ok(Next::Reconnect) => continue,
                Err(WireError::Broken(why) | WireError::Refused(why)) => why,
                Err(WireError::TooLong) if self.count > 1 => {
                    self.count = 1;
                    continue;
                }
                Err(WireError::TooLong) => format!("the entry behind {} is too long", self.position()),
            };
            self.state.metrics.connected.set(0);
            let now_ms = clock::now_ms();
            let since_ms = *failed_ms.get_or_insert_with(|| {
                error!("control stream: {why}; the revocations that are known stay in force, new ones wait");
                said_ms = now_ms;
                now_ms
            });
            if now_ms - said_ms >= SAY_MS {
                said_ms = now_ms;
                error!(for_ms = now_ms - since_ms, "control stream: still out of reach: {why}");
            }
            self.tell(false);
            let pause_ms = (PAUSE_MIN_MS << u32::min(attempts, 16)).min(PAUSE_MAX_MS) as f64;
            attempts += 1;
            if self.has_ended((pause_ms * (1.0 + jitter())) as u64) {
                return;
            }
        }
    }

    /// Whether the process ends, after a pause at the latest.
    fn has_ended(&self, pause_ms: u64) -> bool {
        // Nothing is sent on this channel: it is disconnected at the end.
        self.stop.recv_timeout(Duration::from_millis(pause_ms)) != Err(RecvTimeoutError::Timeout)
    }

    /// Reads over one connection.
    fn read(&mut self, attempts: &mut u32, failed_ms: &mut Option<u64>) -> Result<Next, WireError> {
        let config = self.running.get();
        let Some(stream) = config.control.stream.clone() else { return Ok(Next::Stop) };
        let lifetime = token_lifetime(&config);
        let mut wire = Wire::connect(&config.redis)?;
        self.look_for_gaps(&mut wire, &stream, lifetime)?;
        let mut from = self.log.begin(lifetime, clock::unix_s());
        loop {
            let mut command = redis::cmd("XREAD");
            command.arg("COUNT").arg(self.count);
            // The first round only finds out what is there.
            if self.log.has_caught_up() {
                command.arg("BLOCK").arg(BLOCK_MS);
            }
            command.arg("STREAMS").arg(&stream).arg(from.text());
            let entries = entries(wire.ask(&command, PATIENCE)?).ok_or_else(unexpected)?;
            let is_to_its_end = entries.len() < self.count;
            if is_to_its_end {
                // Before, an entry that is too long may still be ahead, and they are read one by one.
                self.count = STREAM_ENTRIES_READ;
                *attempts = 0;
                if let Some(since_ms) = failed_ms.take() {
                    info!(for_ms = clock::now_ms() - since_ms, "control stream: within reach again");
                }
            }
            let (is_idle, known) = (entries.is_empty(), self.log.last());
            for (id, fields) in entries {
                from = from.max(id);
                self.take(id, &fields, lifetime);
            }
            let is_first = is_to_its_end && self.log.catch_up();
            self.forget(lifetime);
            self.tell(is_first);
            self.renew();
            // What is read once more before an entry that is too long is no news.
            if is_to_its_end || self.log.last() > known {
                self.state.was_read(is_to_its_end);
            }
            if is_first {
                self.state.look(&self.running.get().control, clock::now_ms());
                info!(revocations = self.log.len(), "control stream: read to its end");
                self.round_sender = None;
            }
            if self.has_ended(0) {
                return Ok(Next::Stop);
            }
            if is_idle && self.look_for_gaps(&mut wire, &stream, lifetime)? == Found::Another {
                return Ok(Next::Reconnect);
            }
            let is_other = |now: &Config| (&now.redis, token_lifetime(now)) != (&config.redis, lifetime);
            if is_other(&self.running.get()) {
                return Ok(Next::Reconnect);
            }
        }
    }

    fn take(&mut self, id: Id, fields: &Fields, lifetime: TokenLifetime) {
        self.state.metrics.entries.add(1);
        let Err(malformed) = self.log.take(id, fields, lifetime) else { return };
        self.state.metrics.malformed.add(1);
        let now_ms = clock::now_ms();
        if self.warned_ms.is_none_or(|warned_ms| now_ms - warned_ms >= SAY_MS) {
            self.warned_ms = Some(now_ms);
            warn!(
                id = id.text(),
                "control stream: an entry means nothing and is passed over: {}", malformed.0
            );
        }
    }

    fn forget(&mut self, lifetime: TokenLifetime) {
        let now_ms = clock::now_ms();
        if now_ms - self.forgot_ms >= FORGET_MS {
            self.forgot_ms = now_ms;
            self.log.forget(lifetime, clock::unix_s());
        }
    }

    /// Tells the cores what is new. `is_first`: they compare their WebSockets with the list. During the first round
    /// they get it now and then.
    fn tell(&mut self, is_first: bool) {
        let waited_ms = clock::now_ms() - self.told_ms;
        if !self.log.has_caught_up() && waited_ms < FIRST_LISTS_APART_MS {
            return;
        }
        let news = self.log.news();
        let metrics = &self.state.metrics;
        metrics.revocations.set(self.log.len() as u64);
        if news.is_none() && !is_first {
            return;
        }
        if waited_ms < LISTS_APART_MS {
            thread::sleep(Duration::from_millis(LISTS_APART_MS - waited_ms));
        }
        self.told_ms = clock::now_ms();
        let News { list, instructions, not_remembered } =
            news.unwrap_or(News { list: None, instructions: Vec::new(), not_remembered: 0 });
        metrics.not_remembered.add(not_remembered);
        if not_remembered > 0 {
            error!(
                count = not_remembered,
                "control stream: too many revocations: these close WebSockets, but their tokens still count"
            );
        }
        let overfull = self.cores.announce(list.as_ref(), &instructions, is_first);
        if overfull > 0 {
            metrics.missed.add(1);
            error!(
                cores = overfull,
                "control stream: a core is too late: WebSockets were not closed or renewed"
            );
        }
    }

    /// Renews the WebSockets that are in this process. The cores look at the list once more.
    fn renew(&mut self) {
        for renewal in self.log.renewals() {
            if let Some(handles) = &self.handles {
                // One that is on no core of this process is another's, or has ended.
                let _ = renewal.apply(handles);
            }
        }
    }

    /// Whether entries are gone that should have been read, because somebody trims the stream too early; and whether it
    /// is another stream than before, whose ids are behind those that were read: it is read from its beginning then.
    fn look_for_gaps(
        &mut self,
        wire: &mut Wire,
        stream: &str,
        lifetime: TokenLifetime,
    ) -> Result<Found, WireError> {
        let info = match wire.ask(redis::cmd("XINFO").arg("STREAM").arg(stream), PATIENCE) {
            // There is no stream yet, or the user may not ask.
            Err(WireError::Refused(_)) => return Ok(Found::TheSame),
            info => info?,
        };
        let newest = id_of(&info, "last-generated-id");
        if newest.is_some_and(|newest| self.log.last().is_some_and(|last| newest < last)) {
            self.state.metrics.missed.add(1);
            error!(
                last = self.position(),
                "control stream: its entries are older than those that were read: it is read from its beginning"
            );
            self.log.begin_again();
            return Ok(Found::Another);
        }
        let Some(deleted) = id_of(&info, "max-deleted-entry-id") else { return Ok(Found::TheSame) };
        let matters_s = lifetime.lifetime_s - (lifetime.lifetime_s / 10).min(SLACK_S);
        let oldest = Id { ms: clock::unix_s().saturating_sub(matters_s) * 1_000, number: 0 };
        if deleted > self.log.last().unwrap_or(oldest) && self.missed != Some(deleted) {
            self.missed = Some(deleted);
            self.state.metrics.missed.add(1);
            error!(
                id = deleted.text(),
                "control stream: entries were deleted before they were read: tokens may count that were revoked"
            );
        }
        Ok(Found::TheSame)
    }

    fn position(&self) -> String {
        self.log.last().unwrap_or_default().text()
    }
}

/// How long the tokens of a configuration hold.
pub(super) fn token_lifetime(config: &Config) -> TokenLifetime {
    let (lifetime_s, leeway_s) = config.token_lifetime_s();
    TokenLifetime { lifetime_s, leeway_s }
}

fn unexpected() -> WireError {
    WireError::Broken("the reply has an unexpected form".to_owned())
}

/// The entries of a reply to XREAD; none after the time of the block. `None`: it is no such reply.
fn entries(reply: Value) -> Option<Vec<(Id, Fields)>> {
    let streams = match reply {
        Value::Nil => return Some(Vec::new()),
        Value::Array(streams) => streams,
        _ => return None,
    };
    let [_, entries] = <[Value; 2]>::try_from(array(streams.into_iter().next()?)?).ok()?;
    array(entries)?.into_iter().map(entry).collect()
}

fn entry(value: Value) -> Option<(Id, Fields)> {
    let [id, fields] = <[Value; 2]>::try_from(array(value)?).ok()?;
    let id = Id::parse(str::from_utf8(&bytes(id)?).ok()?)?;
    let mut texts = array(fields)?.into_iter();
    let mut fields = Vec::new();
    while let Some(name) = texts.next() {
        fields.push((bytes(name)?, bytes(texts.next()?)?));
    }
    Some((id, fields))
}

/// The newest entry that was deleted or trimmed, since Redis 7.
fn id_of(info: &Value, name: &str) -> Option<Id> {
    let Value::Array(items) = info else { return None };
    let is_it = |item: &Value| matches!(item, Value::BulkString(item) if item == name.as_bytes());
    let at = items.iter().position(is_it)?;
    match items.get(at + 1)? {
        Value::BulkString(id) => Id::parse(str::from_utf8(id).ok()?),
        _ => None,
    }
}

fn array(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}

/// How long one read waits for an entry, in milliseconds. A Redis that is silent is known to be within reach.
const BLOCK_MS: u64 = 2_000;
/// How long a reply may take.
const PATIENCE: Duration = Duration::from_millis(2 * BLOCK_MS);
/// Pauses between attempts to connect, in milliseconds.
const PAUSE_MIN_MS: u64 = 50;
const PAUSE_MAX_MS: u64 = 2_000;
/// How often the log tells of the same trouble, in milliseconds.
const SAY_MS: u64 = 10_000;
/// How often revocations that matter no more are looked for, in milliseconds.
const FORGET_MS: u64 = 60_000;
/// The shortest time between two lists while the stream is read for the first time, in milliseconds: each is another
/// copy of most of it.
const FIRST_LISTS_APART_MS: u64 = 500;
/// How much earlier than a token can end an entry may be trimmed without a complaint, in seconds.
const SLACK_S: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn a_reply_is_entries_or_nothing() {
        let entry = Value::Array(vec![text("5-1"), Value::Array(vec![text("op"), text("close")])]);
        let reply = |entries| Value::Array(vec![Value::Array(vec![text("s"), Value::Array(entries)])]);
        let one = (Id { ms: 5, number: 1 }, vec![(b"op".to_vec(), b"close".to_vec())]);
        assert_eq!(entries(reply(vec![entry.clone(), entry])), Some(vec![one.clone(), one]));
        assert_eq!(entries(Value::Nil), Some(Vec::new()));
        for wrong in [
            Value::Okay,
            Value::Array(Vec::new()),
            reply(vec![Value::Nil]),
            reply(vec![Value::Array(vec![text("x"), Value::Array(Vec::new())])]),
            reply(vec![Value::Array(vec![text("5-1"), Value::Array(vec![text("op")])])]),
        ] {
            assert_eq!(entries(wrong.clone()), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_newest_deleted_entry_is_found() {
        let info =
            Value::Array(vec![text("length"), Value::Int(1), text("max-deleted-entry-id"), text("7-0")]);
        assert_eq!(id_of(&info, "max-deleted-entry-id"), Some(Id { ms: 7, number: 0 }));
        assert_eq!(id_of(&Value::Array(vec![text("length"), Value::Int(1)]), "length"), None);
    }
}
