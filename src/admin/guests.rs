//! Who is connected to the admin listener. When all places are taken, a new connection gets the place of the one that
//! has waited longest for a request: no number of idle connections keeps a probe out.
//!
//! The seats of a core's clients are another thing: there a connection gives way only while it waits, and the fullest
//! address goes first. Here an answer that nobody reads must not hold one of the few places, and a scraper with many
//! connections is no worse than another.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// All connections to the admin listener.
pub(super) struct Guests {
    places: usize,
    guests: RefCell<Vec<Rc<Guest>>>,
    /// Grows with every arrival and every answer.
    order: Cell<u64>,
}

/// One connection.
pub(super) struct Guest {
    is_local: bool,
    /// Whether a request of it is being answered.
    is_answered: Cell<bool>,
    /// When it began to wait for a request, in the order of all guests.
    waits_since: Cell<u64>,
    is_dismissed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Guests {
    /// Nobody is there.
    pub(super) fn new(places: usize) -> Guests {
        Guests { places, guests: RefCell::default(), order: Cell::new(0) }
    }

    /// One more. If all places are taken, another one is dismissed: of those that wait for a request, before those that
    /// get an answer; of those from elsewhere, before those of this host, where probes come from; the one that has
    /// waited longest.
    pub(super) fn enter(&self, peer: IpAddr) -> Rc<Guest> {
        let mut guests = self.guests.borrow_mut();
        if guests.len() >= self.places {
            let rank = |guest: &Rc<Guest>| (guest.is_answered.get(), guest.is_local, guest.waits_since.get());
            if let Some(index) = (0..guests.len()).min_by_key(|index| rank(&guests[*index])) {
                guests.swap_remove(index).dismiss();
            }
        }
        let guest = Rc::new(Guest {
            is_local: peer.to_canonical().is_loopback(),
            is_answered: Cell::new(false),
            waits_since: Cell::new(self.next()),
            is_dismissed: Cell::new(false),
            waker: RefCell::default(),
        });
        guests.push(guest.clone());
        guest
    }

    /// A request of a guest is being answered, or its answer has ended.
    pub(super) fn answers(&self, guest: &Guest, is_answered: bool) {
        guest.is_answered.set(is_answered);
        guest.waits_since.set(self.next());
    }

    /// A guest has gone.
    pub(super) fn leave(&self, guest: &Rc<Guest>) {
        self.guests.borrow_mut().retain(|known| !Rc::ptr_eq(known, guest));
    }

    fn next(&self) -> u64 {
        self.order.set(self.order.get() + 1);
        self.order.get()
    }
}

impl Guest {
    /// Runs what serves the connection, until it ends or the guest is dismissed. Every wait of it is a poll, so it may
    /// be dropped at any of them.
    pub(super) async fn until_dismissed(&self, serving: impl Future<Output = ()>) {
        let mut serving = pin!(serving);
        poll_fn(|context| {
            if self.is_dismissed.get() {
                return Poll::Ready(());
            }
            *self.waker.borrow_mut() = Some(context.waker().clone());
            serving.as_mut().poll(context)
        })
        .await;
    }

    fn dismiss(&self) {
        self.is_dismissed.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    /// Which of these guests have been dismissed.
    fn dismissed(guests: &[Rc<Guest>]) -> Vec<usize> {
        guests
            .iter()
            .enumerate()
            .filter(|(_, guest)| guest.is_dismissed.get())
            .map(|(index, _)| index)
            .collect()
    }

    #[test]
    fn the_one_that_has_waited_longest_goes() {
        let guests = Guests::new(3);
        let mut entered: Vec<_> = (0..3).map(|_| guests.enter(HERE)).collect();
        // The first one has just had an answer.
        guests.answers(&entered[0], true);
        guests.answers(&entered[0], false);
        entered.push(guests.enter(HERE));
        assert_eq!(dismissed(&entered), [1]);
        entered.push(guests.enter(HERE));
        assert_eq!(dismissed(&entered), [1, 2]);
    }

    #[test]
    fn who_gets_an_answer_goes_last() {
        let guests = Guests::new(2);
        let mut entered = vec![guests.enter(HERE), guests.enter(HERE)];
        guests.answers(&entered[0], true);
        entered.push(guests.enter(HERE));
        assert_eq!(dismissed(&entered), [1]);
        entered[2..].iter().for_each(|guest| guests.answers(guest, true));
        entered.push(guests.enter(HERE));
        assert_eq!(dismissed(&entered), [0, 1], "an answer that nobody reads holds no place for ever");
    }

    #[test]
    fn who_comes_from_elsewhere_goes_before_a_probe_of_this_host() {
        let guests = Guests::new(2);
        let mut entered = vec![guests.enter(HERE), guests.enter(ELSEWHERE)];
        (0..3).for_each(|_| entered.push(guests.enter(ELSEWHERE)));
        assert_eq!(dismissed(&entered), [1, 2, 3]);
        guests.leave(&entered[4]);
        entered.push(guests.enter(ELSEWHERE));
        assert_eq!(dismissed(&entered), [1, 2, 3], "a place was free");
    }
}
