//! What is kept of each issuer: when to look for its key set next, and what has come.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use tracing::{error, info, warn};

use super::answers::Answers;
use super::names::Names;
use super::registry::KeyRegistry;
use super::schedule::Schedule;
use super::source::{self, Found};
use super::states::KeyState;
use crate::auth::{KeyRequests, KeySetState};
use crate::clock;
use crate::config::{Config, Issuer, KeySetSource};
use crate::control::jitter::jitter;
use crate::control::stamp::{Stamp, stamp};
use crate::limits::{KEY_FILES_LOOK_MS, KEYS_WANTED_MS};
use crate::net::Io;

/// The issuers of the configuration that is in force.
pub(super) struct Keeper {
    requests: Arc<KeyRequests>,
    io: Rc<Io>,
    /// The configuration that they are of. `None`: at first.
    config: Option<Arc<Config>>,
    issuers: Vec<Kept>,
    answers: Answers,
}

/// An issuer with a key set.
struct Kept {
    issuer: Rc<Issuer>,
    /// Its index in the configuration.
    index: usize,
    schedule: Schedule,
    names: Rc<Names>,
    fetch: Option<Fetch>,
    has_tried: bool,
    file: Watched,
    state: KeyState,
}

/// A fetch that is under way.
struct Fetch {
    outcome: Rc<RefCell<Option<Result<Found, String>>>>,
    /// The requests that it answers.
    answers: u64,
}

/// The file of a key set.
#[derive(Default)]
struct Watched {
    /// `None`: it was not looked at yet.
    seen: Option<Stamp>,
    looked_ms: u64,
    /// It is another one than when it was read.
    is_changed: bool,
}

impl Keeper {
    pub(super) fn new(requests: Arc<KeyRequests>, io: Rc<Io>) -> Keeper {
        Keeper { requests, io, config: None, issuers: Vec::new(), answers: Answers::default() }
    }

    /// Every issuer was asked once.
    pub(super) fn has_tried_all(&self) -> bool {
        self.issuers.iter().all(|kept| kept.has_tried)
    }

    /// Takes what has come, and begins what is due.
    pub(super) fn look(&mut self, registry: &dyn KeyRegistry, now_ms: u64) {
        let mut is_other = false;
        let config = registry.config();
        if !self.config.as_ref().is_some_and(|known| Arc::ptr_eq(known, &config)) {
            self.issuers = kept(&config, std::mem::take(&mut self.issuers));
            // Those of a predecessor, or of a file that was read at the start.
            let sets = registry.key_sets();
            for kept in self.issuers.iter_mut().filter(|kept| !kept.has_tried) {
                if let KeySetState::Available(set) = sets.get(kept.index) {
                    kept.schedule.know(now_ms);
                    kept.state.inherit(set, now_ms);
                    kept.has_tried = true;
                }
            }
            self.config = Some(config);
            self.answers.reset();
            is_other = true;
        }
        if let Some((number, issuers)) = self.requests.take() {
            self.answers.ask(number, issuers);
        }
        for kept in &mut self.issuers {
            if let Some((found, number)) = kept.take_outcome() {
                if kept.conclude(found, registry, now_ms) {
                    self.answers.fetched(kept.index, number);
                }
                is_other = true;
            }
            // One that is under way does not count for requests that came after it began.
            if kept.fetch.is_some() {
                continue;
            }
            if self.answers.is_asked(kept.index) && kept.is_as_it_was() {
                self.answers.fetched(kept.index, self.answers.latest());
            }
            if self.answers.is_asked(kept.index) {
                kept.schedule.want(now_ms);
            }
            if kept.is_due(now_ms) {
                kept.begin(&self.io, self.answers.latest());
            }
        }
        if is_other {
            registry.key_states().set(self.issuers.iter().map(|kept| kept.state.clone()).collect());
        }
        self.answers.publish(&self.requests);
        let idle_until_ms =
            |kept: &Kept| if kept.fetch.is_some() { 0 } else { kept.schedule.idle_until_ms() };
        self.requests.set_idle_until(self.issuers.iter().map(idle_until_ms).min().unwrap_or(0));
    }
}

/// The issuers of a configuration that have key sets. One that was kept before goes on.
fn kept(config: &Config, mut before: Vec<Kept>) -> Vec<Kept> {
    let issuers = config.jwt.issuers.iter().enumerate().filter(|(_, issuer)| issuer.key_set.is_some());
    issuers
        .map(|(index, issuer)| {
            let known = before.iter().position(|kept| *kept.issuer == *issuer);
            match known.map(|known| before.swap_remove(known)) {
                Some(kept) => Kept { index, ..kept },
                None => Kept {
                    issuer: Rc::new(issuer.clone()),
                    index,
                    schedule: Schedule::new(clock::now_ms(), pace_ms(issuer)),
                    names: Rc::default(),
                    fetch: None,
                    has_tried: false,
                    file: Watched::default(),
                    state: KeyState::new(issuer),
                },
            }
        })
        .collect()
}

/// The shortest time between two looks for missing keys. A file that was not written is not read again for them.
fn pace_ms(issuer: &Issuer) -> u64 {
    match issuer.key_set {
        Some(KeySetSource::File(_)) => KEY_FILES_LOOK_MS,
        _ => KEYS_WANTED_MS,
    }
}

impl Kept {
    /// Whether a look for the key set is due: by the schedule, or because its file is another one.
    fn is_due(&mut self, now_ms: u64) -> bool {
        if let Some(KeySetSource::File(path)) = &self.issuer.key_set
            && now_ms - self.file.looked_ms >= KEY_FILES_LOOK_MS
        {
            self.file.look(path, now_ms);
        }
        self.file.is_changed || self.schedule.is_due(now_ms)
    }

    /// Whether the key set is known to be that of this moment: it is in a file that was not written since.
    fn is_as_it_was(&mut self) -> bool {
        let Some(KeySetSource::File(path)) = &self.issuer.key_set else { return false };
        self.file.look(path, self.file.looked_ms);
        !self.file.is_changed && self.state.is_fresh()
    }

    fn begin(&mut self, io: &Rc<Io>, answers: u64) {
        self.file.is_changed = false;
        let outcome = Rc::<RefCell<Option<Result<Found, String>>>>::default();
        self.fetch = Some(Fetch { outcome: outcome.clone(), answers });
        let (issuer, names, io) = (self.issuer.clone(), self.names.clone(), io.clone());
        monoio::spawn(async move {
            let found = source::find(&issuer, &names, &io).await;
            outcome.replace(Some(found));
        });
    }

    fn take_outcome(&mut self) -> Option<(Result<Found, String>, u64)> {
        let found = self.fetch.as_ref()?.outcome.take()?;
        let fetch = self.fetch.take()?;
        Some((found, fetch.answers))
    }

    /// Puts what has come in force. Whether a key set has come.
    fn conclude(&mut self, found: Result<Found, String>, registry: &dyn KeyRegistry, now_ms: u64) -> bool {
        let (issuer, jitter) = (&*self.issuer, jitter());
        self.has_tried = true;
        match found {
            Ok(Found { set, skipped, max_age_s }) => {
                if self.schedule.has_failed() {
                    info!(issuer = issuer.name, "keys: the issuer's key set can be had again");
                }
                self.schedule.succeeded(now_ms, max_age_s, jitter);
                let kids = set.names();
                self.state.had(&set, now_ms);
                if registry.renew_keys(issuer, KeySetState::Available(Arc::new(set))) {
                    info!(issuer = issuer.name, keys = kids, "keys: another key set is in force");
                    skipped.iter().for_each(|key| warn!(issuer = issuer.name, "keys: {key}"));
                }
                true
            }
            Err(why) => {
                let is_new = !self.schedule.has_failed();
                self.state.failed(&why);
                self.schedule.failed(now_ms, jitter);
                if is_new && self.schedule.is_stale() {
                    warn!(issuer = issuer.name, "keys: {why}; the key set before stays in force");
                } else if is_new {
                    error!(issuer = issuer.name, "keys: {why}; its tokens are answered 503");
                }
                if self.schedule.is_expired(now_ms) && registry.renew_keys(issuer, KeySetState::Unavailable) {
                    self.state.dropped();
                    error!(issuer = issuer.name, "keys: the key set is too old and was dropped");
                }
                false
            }
        }
    }
}

impl Watched {
    /// Looks whether the file is another one than at the last look.
    fn look(&mut self, path: &Path, now_ms: u64) {
        self.looked_ms = now_ms;
        let now = stamp(path);
        self.is_changed |= self.seen.replace(now).is_some_and(|before| before != now);
    }
}
