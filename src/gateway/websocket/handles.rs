//! The WebSockets of all cores of this process by the handles that their clients have chosen, so that any core finds
//! one for a renewal. A lock is held for a look into a map: when a WebSocket with a handle begins, is renewed and ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::tunnel::ownership::Ownership;
use crate::auth::{Holder, Mark};
use crate::gateway::core::bulletin::Instruction;

/// Tells one core something.
type Tell = dyn Fn(Instruction) + Send + Sync;

/// The handles of this process.
pub struct Handles {
    shards: [Mutex<HashMap<Mark, Known>>; SHARDS],
    /// The way to each core. It never waits.
    cores: Vec<Box<Tell>>,
}

/// Where a WebSocket is: its core, and its number there.
pub type Place = (usize, u64);

#[derive(Debug, Clone, Copy)]
struct Known {
    place: Place,
    user: Mark,
    route: Mark,
    expires_unix_s: u64,
    /// When it ends, whatever token it has.
    lifetime_ends_unix_s: Option<u64>,
}

/// A renewal for whichever instance has the WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// Of which WebSocket.
    pub handle: Mark,
    /// Whose it is from now on.
    pub holder: Holder,
    /// The routes of WebSockets that take the new token.
    pub routes: Arc<[Mark]>,
}

/// What a core needs for renewals.
#[derive(Clone)]
pub struct Renewals {
    /// The WebSockets of this process.
    pub handles: Arc<Handles>,
    /// Sends one to the other instances. It never waits; false: too many are on their way.
    pub send: Arc<dyn Fn(Renewal) -> bool + Send + Sync>,
}

impl Renewal {
    /// Renews the WebSocket if it is in this process.
    pub fn apply(&self, handles: &Handles) -> Renewed {
        handles.renew(self.handle, self.holder, |route| self.routes.contains(&route))
    }
}

/// What came of a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// The WebSocket lasts until this second, unless it ends for another reason.
    Until(u64),
    /// It is another user's, or its route does not take this token.
    NotTheirs,
    /// It is not in this process.
    Elsewhere,
}

impl Handles {
    /// No WebSocket yet. `cores`: the way to each core, by its index.
    pub fn new(cores: Vec<Box<Tell>>) -> Handles {
        Handles { shards: Default::default(), cores }
    }

    /// A WebSocket with a handle has begun. One of the same user's takes the handle over, as after a reconnect; one of
    /// another's does not.
    pub fn begin(&self, place: Place, ownership: &Ownership, lifetime_ends_unix_s: Option<u64>) {
        let Some(handle) = ownership.handle else { return };
        let Holder { user, expires_unix_s, .. } = ownership.holder;
        let known = Known { place, user, route: ownership.route, expires_unix_s, lifetime_ends_unix_s };
        let mut shard = self.shard(handle);
        if shard.get(&handle).is_none_or(|before| before.user == user) {
            shard.insert(handle, known);
        }
    }

    /// It has ended.
    pub fn end(&self, place: Place, handle: Mark) {
        let mut shard = self.shard(handle);
        if shard.get(&handle).is_some_and(|known| known.place == place) {
            shard.remove(&handle);
        }
    }

    /// Renews a WebSocket with a verified token. `takes`: whether the route with this mark takes that. Its end only
    /// grows.
    pub fn renew(&self, handle: Mark, holder: Holder, takes: impl Fn(Mark) -> bool) -> Renewed {
        let known = {
            let mut shard = self.shard(handle);
            let Some(known) = shard.get_mut(&handle) else { return Renewed::Elsewhere };
            if known.user != holder.user || !takes(known.route) {
                return Renewed::NotTheirs;
            }
            known.expires_unix_s = known.expires_unix_s.max(holder.expires_unix_s);
            *known
        };
        if let Some(tell) = self.cores.get(known.place.0) {
            tell(Instruction::Renew(handle, holder));
        }
        let lifetime_ends = known.lifetime_ends_unix_s.unwrap_or(u64::MAX);
        Renewed::Until(known.expires_unix_s.min(lifetime_ends))
    }

    fn shard(&self, handle: Mark) -> MutexGuard<'_, HashMap<Mark, Known>> {
        let shard = handle.words()[1] as usize % SHARDS;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Parts of the map, so that cores seldom want the same one.
const SHARDS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn ownership(user: &str, route: &str) -> Ownership {
        let handle = Some(Mark::of_handle(b"secret"));
        Ownership { holder: Holder::someone(user, 1), handle, route: Mark::of_route(route) }
    }

    #[test]
    fn a_handle_leads_to_its_socket_of_the_same_user_on_a_route_that_takes_the_token() {
        let told = Arc::<Mutex<Vec<usize>>>::default();
        let way = |core| {
            let told = told.clone();
            Box::new(move |_| told.lock().expect("no panic").push(core)) as Box<Tell>
        };
        let handles = Handles::new((0..2).map(way).collect());
        let (handle, ann) = (Mark::of_handle(b"secret"), ownership("ann", "chat"));
        let later = Holder { expires_unix_s: 1_900_000_000, ..ann.holder };
        let takes = |route: Mark| route == Mark::of_route("chat");
        assert_eq!(handles.renew(handle, later, takes), Renewed::Elsewhere);
        handles.begin((1, 7), &ann, Some(1_850_000_000));
        assert_eq!(handles.renew(handle, Holder::someone("bob", 1), takes), Renewed::NotTheirs);
        assert_eq!(handles.renew(handle, later, |_| false), Renewed::NotTheirs);
        let sooner = Holder { expires_unix_s: 1_700_000_000, ..ann.holder };
        assert_eq!(handles.renew(handle, sooner, takes), Renewed::Until(1_800_000_000), "the end only grows");
        assert_eq!(handles.renew(handle, later, takes), Renewed::Until(1_850_000_000), "within its lifetime");
        assert_eq!(*told.lock().expect("no panic"), [1, 1]);
    }

    #[test]
    fn a_handle_stays_with_its_user_and_goes_to_the_latest_socket() {
        let handles = Handles::new(Vec::new());
        let (handle, ann) = (Mark::of_handle(b"secret"), ownership("ann", "chat"));
        let renewed = || handles.renew(handle, ann.holder, |_| true);
        handles.begin((0, 1), &ann, None);
        handles.begin((0, 2), &ownership("bob", "chat"), None);
        assert_eq!(renewed(), Renewed::Until(1_800_000_000));
        handles.begin((1, 3), &ann, None);
        handles.end((0, 1), handle);
        assert_ne!(renewed(), Renewed::Elsewhere, "the socket before has ended");
        handles.end((1, 3), handle);
        assert_eq!(renewed(), Renewed::Elsewhere);
    }
}
