//! The tunnels of a core by who holds them, so that one user, token, session or handle leads to the tunnels that it
//! concerns, and a way to tell each of them something.
//!
//! A tunnel has a leash only where sockets are controlled from outside ([`Leashes::are_kept`]). It costs the tunnel
//! some 300 bytes, and nothing while nobody pulls: no wake-up, no timer.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use super::handles::Handles;
use super::tunnel::farewell::Farewell;
use super::tunnel::ownership::Ownership;
use crate::auth::{Holder, Mark};
use crate::limits::SOCKETS_ENDED_PER_TICK;
use crate::telemetry::TunnelEnd;

/// The leashes of one core.
#[derive(Default)]
pub struct Leashes {
    are_kept: Cell<bool>,
    /// The handles of the process, and which core this is.
    handles: OnceCell<(Arc<Handles>, usize)>,
    /// Each leash stands under every mark of its tunnel.
    by_mark: RefCell<BTreeMap<(Mark, u64), Rc<Leash>>>,
    /// The number of the next leash.
    next: Cell<u64>,
    /// Those that were told to end and are not awake yet. Each stands here once, so there are never more than tunnels.
    to_wake: RefCell<VecDeque<Rc<Leash>>>,
    /// How many may still be woken in this tick.
    left: Cell<usize>,
}

/// What holds one tunnel.
pub struct Leash {
    leashes: Rc<Leashes>,
    number: u64,
    ownership: Cell<Ownership>,
    is_told: Cell<bool>,
    order: RefCell<Option<Order>>,
    is_renewed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// What a tunnel is told: to end, for this reason and with these words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Why.
    pub end: TunnelEnd,
    /// What the client is told.
    pub farewell: Rc<Farewell>,
}

/// A tunnel's end of its leash. Dropped, it is gone from the core's.
pub struct Leashed(Rc<Leash>);

/// The other end of one leash, for who tells one tunnel alone.
pub struct Pull(Rc<Leash>);

impl Leashes {
    /// Whether tunnels that begin from now on get a leash.
    pub fn keep(&self, are_kept: bool) {
        self.are_kept.set(are_kept);
    }

    /// Whether they do.
    pub fn are_kept(&self) -> bool {
        self.are_kept.get()
    }

    /// From now on the handles of its tunnels are known to the process.
    pub fn share(&self, handles: Arc<Handles>, core: usize) {
        let _ = self.handles.set((handles, core));
    }

    /// The leash of a tunnel that begins. `lifetime_ends_unix_s`: when it ends, whatever token it has.
    pub fn take(self: &Rc<Leashes>, ownership: Ownership, lifetime_ends_unix_s: Option<u64>) -> Leashed {
        let number = self.next.replace(self.next.get() + 1);
        let leash = Rc::new(Leash {
            leashes: self.clone(),
            number,
            ownership: Cell::new(ownership),
            is_told: Cell::default(),
            order: RefCell::default(),
            is_renewed: Cell::default(),
            waker: RefCell::default(),
        });
        self.list(&leash);
        if let Some((handles, core)) = self.handles.get() {
            handles.begin((*core, number), &ownership, lifetime_ends_unix_s);
        }
        Leashed(leash)
    }

    /// Tells every tunnel under this mark whose holder is one of those to end. Returns how many were told: one that
    /// ends already is not told again.
    pub fn end(&self, mark: Mark, is_meant: impl Fn(&Holder) -> bool, order: &Order) -> usize {
        let listed = self.by_mark.borrow();
        let meant = listed.range((mark, 0)..=(mark, u64::MAX)).map(|(_, leash)| leash);
        self.tell(meant.filter(|leash| is_meant(&leash.ownership.get().holder)), order)
    }

    /// The same for all tunnels of the core.
    pub fn end_any(&self, is_meant: impl Fn(&Holder) -> bool, order: &Order) -> usize {
        let listed = self.by_mark.borrow();
        self.tell(listed.values().filter(|leash| is_meant(&leash.ownership.get().holder)), order)
    }

    fn tell<'l>(&self, meant: impl Iterator<Item = &'l Rc<Leash>>, order: &Order) -> usize {
        let mut to_wake = self.to_wake.borrow_mut();
        let before = to_wake.len();
        to_wake.extend(meant.filter(|leash| leash.tell(order)).cloned());
        to_wake.len() - before
    }

    /// The tunnel with this handle has another token now: the same user's, and one that holds for longer. Another one
    /// changes nothing.
    pub fn renew(&self, handle: Mark, holder: Holder) {
        let listed = |leash: &Leash| {
            let before = leash.ownership.get().holder;
            before.user == holder.user && before.expires_unix_s < holder.expires_unix_s
        };
        let renewed: Vec<Rc<Leash>> = {
            let all = self.by_mark.borrow();
            let under = all.range((handle, 0)..=(handle, u64::MAX)).map(|(_, leash)| leash);
            under.filter(|leash| listed(leash)).cloned().collect()
        };
        for leash in renewed {
            self.strike(&leash);
            leash.ownership.set(Ownership { holder, ..leash.ownership.get() });
            self.list(&leash);
            leash.is_renewed.set(true);
            leash.wake();
        }
    }

    /// Wakes tunnels that were told to end, up to the bound of a tick.
    pub fn wake(&self) {
        while self.left.get() > 0 {
            let Some(leash) = self.to_wake.borrow_mut().pop_front() else { return };
            self.left.set(self.left.get() - 1);
            leash.wake();
        }
    }

    /// Another tick has begun.
    pub fn tick(&self) {
        self.left.set(SOCKETS_ENDED_PER_TICK);
        self.wake();
    }

    fn list(&self, leash: &Rc<Leash>) {
        let mut listed = self.by_mark.borrow_mut();
        leash.marks().for_each(|mark| drop(listed.insert((mark, leash.number), leash.clone())));
    }

    fn strike(&self, leash: &Leash) {
        let mut listed = self.by_mark.borrow_mut();
        leash.marks().for_each(|mark| drop(listed.remove(&(mark, leash.number))));
    }
}

impl Leash {
    fn marks(&self) -> impl Iterator<Item = Mark> + use<> {
        let Ownership { holder, handle, .. } = self.ownership.get();
        [Some(holder.user), holder.token, holder.session, handle].into_iter().flatten()
    }

    /// False: it was told before, and the first word holds.
    fn tell(&self, order: &Order) -> bool {
        let is_first = !self.is_told.replace(true);
        if is_first {
            *self.order.borrow_mut() = Some(order.clone());
        }
        is_first
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

impl Pull {
    /// Tells the tunnel to end, among those that are woken in a tick.
    pub fn end(&self, order: &Order) {
        if self.0.tell(order) {
            self.0.leashes.to_wake.borrow_mut().push_back(self.0.clone());
            self.0.leashes.wake();
        }
    }
}

impl Leashed {
    /// The other end.
    pub fn pull(&self) -> Pull {
        Pull(self.0.clone())
    }

    /// Who holds the tunnel.
    pub fn ownership(&self) -> Ownership {
        self.0.ownership.get()
    }

    /// Tells this tunnel alone to end. It looks at its leash when it is polled.
    pub fn end(&self, order: &Order) {
        self.0.tell(order);
    }

    /// What the tunnel was told since the last look, and whose it is by now if that has changed; `waker` wakes it when
    /// there is more.
    pub fn look(&self, waker: &Waker) -> (Option<Order>, Option<Holder>) {
        let mut known = self.0.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
        let renewed = self.0.is_renewed.replace(false).then(|| self.0.ownership.get().holder);
        (self.0.order.borrow_mut().take(), renewed)
    }
}

impl Drop for Leashed {
    fn drop(&mut self) {
        let leashes = &self.0.leashes;
        leashes.strike(&self.0);
        if let (Some((handles, core)), Some(handle)) = (leashes.handles.get(), self.ownership().handle) {
            handles.end((*core, self.0.number), handle);
        }
        // The waker holds the task, which holds this.
        self.0.waker.borrow_mut().take();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::auth::Subject;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Woken>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn order() -> Order {
        let farewell = Farewell::new(1008, "revoked").expect("a farewell");
        Order { end: TunnelEnd::Revoked, farewell: farewell.into() }
    }

    fn holder(user: &str, token: &str, issued_unix_s: u64) -> Holder {
        Holder { token: Some(Mark::of(Subject::Token, token)), ..Holder::someone(user, issued_unix_s) }
    }

    fn tunnel(leashes: &Rc<Leashes>, holder: Holder, handle: Option<&[u8]>) -> Leashed {
        let route = Mark::of_route("chat");
        leashes.take(Ownership { holder, handle: handle.map(Mark::of_handle), route }, None)
    }

    fn is_told(leashed: &Leashed) -> bool {
        leashed.look(Waker::noop()).0.is_some()
    }

    #[test]
    fn a_mark_leads_to_the_tunnels_of_its_user_that_are_meant_and_to_no_other() {
        let leashes = Rc::<Leashes>::default();
        let [old, new, other] = [("ann", "a", 10), ("ann", "b", 20), ("bob", "c", 10)]
            .map(|(user, token, issued)| tunnel(&leashes, holder(user, token, issued), None));
        let ann = Mark::of(Subject::User, "ann");
        assert_eq!(leashes.end(ann, |holder| holder.issued_unix_s < 20, &order()), 1);
        assert_eq!([&old, &new, &other].map(is_told), [true, false, false]);
        assert_eq!(leashes.end(ann, |_| true, &order()), 1, "one of them knows");
        assert_eq!([&old, &new, &other].map(is_told), [false, true, false]);
        assert_eq!(leashes.end(Mark::of(Subject::Token, "c"), |_| true, &order()), 1);
        assert_eq!(leashes.end_any(|_| true, &order()), 0, "all of them know");
    }

    #[test]
    fn one_tunnel_alone_can_be_told() {
        let leashes = Rc::<Leashes>::default();
        let [one, other] = ["a", "b"].map(|token| tunnel(&leashes, holder("ann", token, 1), None));
        let pull = one.pull();
        (0..2).for_each(|_| pull.end(&order()));
        assert_eq!(leashes.to_wake.borrow().len(), 1);
        assert_eq!([&one, &other].map(is_told), [true, false]);
        drop(one);
        pull.end(&order());
        leashes.tick();
    }

    #[test]
    fn so_many_are_woken_in_a_tick_and_one_that_is_gone_is_no_trouble() {
        let leashes = Rc::<Leashes>::default();
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(woken.clone());
        let count = SOCKETS_ENDED_PER_TICK + 10;
        let mut all: Vec<_> = (0..count).map(|_| tunnel(&leashes, holder("ann", "a", 1), None)).collect();
        all.iter().for_each(|leashed| drop(leashed.look(&waker)));
        assert_eq!(leashes.end_any(|_| true, &order()), count);
        leashes.wake();
        assert_eq!(woken.0.load(Ordering::Relaxed), 0, "the clock has not begun");
        leashes.tick();
        assert_eq!(woken.0.load(Ordering::Relaxed), SOCKETS_ENDED_PER_TICK);
        leashes.wake();
        all.truncate(count - 5);
        leashes.tick();
        assert_eq!(woken.0.load(Ordering::Relaxed), count - 5);
        drop(all);
        assert!(leashes.by_mark.borrow().is_empty() && leashes.to_wake.borrow().is_empty());
        assert_eq!(Arc::strong_count(&woken), 2, "no leash keeps a task");
    }

    #[test]
    fn a_renewal_finds_its_tunnel_by_handle_and_takes_the_same_user_only() {
        let leashes = Rc::<Leashes>::default();
        let [one, two] = [b"one", b"two"].map(|handle| tunnel(&leashes, holder("ann", "a", 1), Some(handle)));
        let longer = Holder { expires_unix_s: 2_000_000_000, ..holder("ann", "b", 2) };
        let renewed = |leashed: &Leashed| leashed.look(Waker::noop()).1;
        leashes.renew(Mark::of_handle(b"one"), Holder { user: Mark::of(Subject::User, "bob"), ..longer });
        leashes.renew(Mark::of_handle(b"one"), Holder { expires_unix_s: 1_000, ..longer });
        leashes.renew(Mark::of_handle(b"three"), longer);
        assert_eq!((renewed(&one), renewed(&two)), (None, None));
        leashes.renew(Mark::of_handle(b"one"), longer);
        assert_eq!((renewed(&one), renewed(&two), renewed(&one)), (Some(longer), None, None));
        // From now on it is the new token's.
        let token = |name| Mark::of(Subject::Token, name);
        assert_eq!(leashes.end(token("a"), |_| true, &order()), 1);
        assert_eq!((is_told(&one), is_told(&two)), (false, true));
        assert_eq!(leashes.end(token("b"), |_| true, &order()), 1);
        assert!(is_told(&one) && one.ownership().holder == longer);
    }
}
