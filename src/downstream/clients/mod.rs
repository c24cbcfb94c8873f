//! The clients of one core: what each of them holds at once, and which connections close in favour of others.
//!
//! Rates alone do not keep one client from taking a core: what it *holds* has bounds of its own, connections and
//! requests in flight. Where a core is full all the same, a connection that only waits for its next request is worth
//! less than a new one, and first those of the client that has most.

mod loads;
mod network;
mod seat;

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::future::Future;
use std::rc::Rc;

pub use network::Network;
pub use seat::{GivesWay, Waits};

pub use loads::Place;

use loads::Loads;
use seat::Seat;

use crate::limits::TICK_MS;

/// The clients of one core.
#[derive(Default)]
pub struct Clients {
    loads: RefCell<Loads>,
    seats: RefCell<Vec<Rc<Seat>>>,
    /// Connections that were told to close and are still open.
    leaving: Cell<usize>,
    /// Connections that were told to close and are not counted yet.
    gave_way: Cell<u64>,
    /// Before this time nobody is looked for who could give way.
    nobody_before_ms: Cell<u64>,
    /// Before this time no more heads are given up.
    heads_before_ms: Cell<u64>,
    /// Before this time no handshake is looked for that could give way.
    no_handshake_before_ms: Cell<u64>,
}

/// A client's connection among those of its core, as long as it is open.
pub struct Presence {
    clients: Rc<Clients>,
    seat: Rc<Seat>,
}

/// Counts a connection of a client that is no longer for others to close: a tunnel.
pub struct Holding {
    clients: Rc<Clients>,
    load: Place,
}

/// Counts a request in flight of a client. Dropped, it is over.
pub struct RequestSlot<'c> {
    clients: &'c Clients,
    load: Place,
}

impl Clients {
    /// A new connection.
    pub fn enter(self: &Rc<Self>, network: Network, gives_way: GivesWay) -> Presence {
        let load = self.hold(network);
        let mut seats = self.seats.borrow_mut();
        let seat = Rc::new(Seat::new(load, seats.len() as u32, gives_way));
        seats.push(seat.clone());
        Presence { clients: self.clone(), seat }
    }

    /// A tunnel that has begun, or come from another core.
    pub fn enter_tunnel(self: &Rc<Self>, network: Network) -> Holding {
        Holding { clients: self.clone(), load: self.hold(network) }
    }

    fn hold(&self, network: Network) -> Place {
        let mut loads = self.loads.borrow_mut();
        let place = loads.place(network);
        loads.at(place).connections += 1;
        place
    }

    fn release(&self, load: Place) {
        let mut loads = self.loads.borrow_mut();
        loads.at(load).connections -= 1;
        loads.tidy(load);
    }

    /// The connections of a client, tunnels included.
    pub fn connections(&self, network: Network) -> usize {
        self.loads.borrow().connections(network)
    }

    /// Connections that were told to close and are still open.
    pub fn leaving(&self) -> usize {
        self.leaving.get()
    }

    /// Connections that were told to close since the last call.
    pub fn take_gave_way(&self) -> u64 {
        self.gave_way.take()
    }

    /// A request in flight of the client behind a trusted proxy. `None`: it has `max` of them.
    pub fn begin_request(&self, network: Network, max: usize) -> Option<RequestSlot<'_>> {
        let place = self.loads.borrow_mut().place(network);
        let slot = self.begin_request_at(place, max);
        if slot.is_none() {
            self.loads.borrow_mut().tidy(place);
        }
        slot
    }

    /// A request in flight of the client at a place, which has a connection. `None`: it has `max` requests.
    pub fn begin_request_at(&self, load: Place, max: usize) -> Option<RequestSlot<'_>> {
        let mut loads = self.loads.borrow_mut();
        let requests = &mut loads.at(load).requests;
        if *requests >= max {
            return None;
        }
        *requests += 1;
        Some(RequestSlot { clients: self, load })
    }

    /// Makes connections that wait for a request or the rest of its head close: at most `count` of them, all of one
    /// client, the one with the most connections. Returns their number. Where nobody waits, nobody is looked for again
    /// before the next tick.
    pub fn make_room(&self, count: usize, now_ms: u64) -> usize {
        if now_ms < self.nobody_before_ms.get() {
            return 0;
        }
        let made = self.tell_fullest_to_leave(count);
        if made == 0 {
            self.nobody_before_ms.set(now_ms + TICK_MS);
        }
        made
    }

    /// Those that have never sent a request go before others: they are of use to nobody.
    fn tell_fullest_to_leave(&self, count: usize) -> usize {
        let seats = self.seats.borrow();
        let mut loads = self.loads.borrow_mut();
        let waiting = || seats.iter().filter(|seat| seat.waits.get() != Waits::No && !seat.is_leaving.get());
        let rank = |seat: &&Rc<Seat>| (!seat.is_used.get(), loads.at(seat.load).connections);
        let Some(first) = waiting().max_by_key(rank) else { return 0 };
        let is_alike =
            |seat: &&Rc<Seat>| seat.load == first.load && seat.is_used.get() == first.is_used.get();
        waiting().filter(is_alike).take(count).map(|seat| self.tell_to_leave(seat)).count()
    }

    /// Makes handshakes end that wait for their client: at most `count` of them, all of the client with the most
    /// connections, those that have taken longest. Returns their number. Without it one client that begins handshakes
    /// and goes on with none would keep everybody else out. Where nobody waits, nobody is looked for again before the
    /// next tick.
    pub fn make_room_for_handshakes(&self, count: usize, now_ms: u64) -> usize {
        if now_ms < self.no_handshake_before_ms.get() {
            return 0;
        }
        let seats = self.seats.borrow();
        let mut loads = self.loads.borrow_mut();
        let is_one = |seat: &&Rc<Seat>| seat.waits.get() == Waits::Handshake && !seat.is_leaving.get();
        let mut waiting: Vec<&Rc<Seat>> = seats.iter().filter(is_one).collect();
        waiting.sort_unstable_by_key(|seat| (Reverse(loads.at(seat.load).connections), seat.since_ms.get()));
        let Some(first) = waiting.first().map(|seat| seat.load) else {
            self.no_handshake_before_ms.set(now_ms + TICK_MS);
            return 0;
        };
        let of_first = waiting.into_iter().take_while(|seat| seat.load == first);
        of_first.take(count).map(|seat| self.tell_to_leave(seat)).count()
    }

    /// Makes connections close that wait and hold more than a small head meanwhile, those that have waited longest,
    /// until they hold so many bytes together; at most once in a tick, since they give them back in a later turn.
    /// Returns their number.
    pub fn give_up_heads(&self, bytes: usize, now_ms: u64) -> usize {
        if now_ms < self.heads_before_ms.get() {
            return 0;
        }
        self.heads_before_ms.set(now_ms + TICK_MS);
        let seats = self.seats.borrow();
        let is_one = |seat: &&Rc<Seat>| {
            seat.waits.get() != Waits::No && seat.held.get() > HELD_LEAST && !seat.is_leaving.get()
        };
        let mut waiting: Vec<&Rc<Seat>> = seats.iter().filter(is_one).collect();
        waiting.sort_unstable_by_key(|seat| seat.since_ms.get());
        let mut left = bytes;
        let is_needed = |seat: &&Rc<Seat>| {
            let is_needed = left > 0;
            left = left.saturating_sub(seat.held.get() as usize);
            is_needed
        };
        waiting.into_iter().take_while(is_needed).map(|seat| self.tell_to_leave(seat)).count()
    }

    fn tell_to_leave(&self, seat: &Seat) {
        self.leaving.set(self.leaving.get() + 1);
        self.gave_way.set(self.gave_way.get() + 1);
        seat.leave();
    }

    /// The clients with the most connections, at most `count` of them.
    pub fn fullest(&self, count: usize) -> Vec<(Network, usize)> {
        let mut all = self.loads.borrow().connections_by_network();
        all.sort_unstable_by_key(|(_, connections)| Reverse(*connections));
        all.truncate(count);
        all
    }
}

impl Presence {
    /// Waits for `future`, during which the connection may be told to close in favour of others: `None`.
    pub fn unless_told_to_leave<F: Future + Unpin>(
        &self,
        waits: Waits,
        future: F,
    ) -> impl Future<Output = Option<F::Output>> {
        self.seat.unless_told_to_leave(waits, future)
    }

    /// A wait begins now, during which the core holds so many bytes of the connection.
    pub fn holds(&self, bytes: usize, now_ms: u64) {
        self.seat.since_ms.set(now_ms);
        self.seat.held.set(bytes as u32);
    }

    /// So many bytes are held by now.
    pub fn holds_now(&self, bytes: usize) {
        self.seat.held.set(bytes as u32);
    }

    /// The core holds so many bytes more for its clients than it should: the connections that have waited longest with
    /// bytes of that close, perhaps this one.
    pub fn relieve(&self, bytes: usize, now_ms: u64) {
        self.clients.give_up_heads(bytes, now_ms);
    }

    /// A request is served from now on: the connection gives no way, even if it was just told to.
    pub fn serves(&self) {
        let seat = &self.seat;
        seat.waits.set(Waits::No);
        seat.is_used.set(true);
        if seat.is_leaving.replace(false) {
            self.clients.leaving.set(self.clients.leaving.get() - 1);
        }
    }

    /// Whose connection it is.
    pub fn client(&self) -> Place {
        self.seat.load
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let Presence { clients, seat } = self;
        let mut seats = clients.seats.borrow_mut();
        let place = seat.place.get();
        seats.swap_remove(place as usize);
        if let Some(moved) = seats.get(place as usize) {
            moved.place.set(place);
        }
        if seats.capacity() > 64 && seats.len() < seats.capacity() / 4 {
            let half = seats.capacity() / 2;
            seats.shrink_to(half);
        }
        if seat.is_leaving.get() {
            clients.leaving.set(clients.leaving.get() - 1);
        }
        clients.release(seat.load);
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.clients.release(self.load);
    }
}

impl Drop for RequestSlot<'_> {
    fn drop(&mut self) {
        let mut loads = self.clients.loads.borrow_mut();
        loads.at(self.load).requests -= 1;
        loads.tidy(self.load);
    }
}

/// Who holds no more than this is not closed to give memory back: honest heads are smaller.
const HELD_LEAST: u32 = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn network(last: u8) -> Network {
        Network::of([192, 0, 2, last].into())
    }

    /// So many connections that wait for this.
    fn waiting(clients: &Rc<Clients>, last: u8, count: usize, waits: Waits) -> Vec<Presence> {
        let enter = |nth| {
            let presence = clients.enter(network(last), GivesWay::Waiting);
            presence.holds(if waits == Waits::Head { 5_000 } else { 0 }, nth as u64);
            presence.seat.waits.set(waits);
            presence
        };
        (0..count).map(enter).collect()
    }

    fn leaving(presences: &[Presence]) -> usize {
        presences.iter().filter(|presence| presence.seat.is_leaving.get()).count()
    }

    #[test]
    fn the_fullest_client_makes_room_and_what_is_served_stays() {
        let clients = Rc::<Clients>::default();
        let few = waiting(&clients, 1, 2, Waits::Request);
        let many = waiting(&clients, 2, 5, Waits::Request);
        let busy = waiting(&clients, 3, 9, Waits::No);
        assert_eq!(clients.make_room(3, 1), 3);
        assert_eq!((leaving(&few), leaving(&many), leaving(&busy), clients.leaving()), (0, 3, 0, 3));
        assert_eq!(clients.make_room(3, 1), 2);
        assert_eq!(clients.make_room(9, 1), 2, "then the next one");
        assert_eq!(clients.make_room(1, 1), 0);
        let late = waiting(&clients, 4, 1, Waits::Request);
        assert_eq!(clients.make_room(1, TICK_MS), 0, "nobody was there a moment ago");
        assert_eq!((clients.make_room(1, 1 + TICK_MS), leaving(&late)), (1, 1));
        drop(late);
        drop(many);
        assert_eq!((clients.leaving(), clients.connections(network(2))), (2, 0));
    }

    #[test]
    fn the_oldest_handshakes_of_the_fullest_client_make_room_for_others() {
        let clients = Rc::<Clients>::default();
        let honest = waiting(&clients, 1, 2, Waits::Handshake);
        let idle = waiting(&clients, 2, 20, Waits::Request);
        let held = waiting(&clients, 3, 9, Waits::Handshake);
        assert_eq!(clients.make_room_for_handshakes(4, 1), 4);
        assert_eq!((leaving(&held[..4]), leaving(&held), clients.leaving()), (4, 4, 4));
        assert_eq!(clients.make_room_for_handshakes(9, 1), 5, "and no other client's");
        assert_eq!((leaving(&honest), leaving(&idle)), (0, 0));
        assert_eq!(clients.make_room_for_handshakes(9, 1), 2);
        assert_eq!(clients.make_room_for_handshakes(9, 1), 0);
        let late = waiting(&clients, 4, 1, Waits::Handshake);
        assert_eq!(clients.make_room_for_handshakes(1, TICK_MS), 0, "nobody was there a moment ago");
        assert_eq!((clients.make_room_for_handshakes(1, 1 + TICK_MS), leaving(&late)), (1, 1));
    }

    #[test]
    fn the_oldest_heads_are_given_up_and_idle_connections_stay() {
        let clients = Rc::<Clients>::default();
        let idle = waiting(&clients, 1, 4, Waits::Request);
        let heads = waiting(&clients, 1, 16, Waits::Head);
        assert_eq!(clients.give_up_heads(9_000, 1), 2);
        assert_eq!(clients.give_up_heads(9_000, TICK_MS), 0, "once in a tick");
        assert_eq!((leaving(&heads[..2]), leaving(&heads), leaving(&idle)), (2, 2, 0));
        assert_eq!(clients.give_up_heads(10_001, 1 + TICK_MS), 3);
    }

    #[test]
    fn a_connection_that_is_told_to_leave_stops_waiting_but_not_with_its_bytes_there() {
        let clients = Rc::<Clients>::default();
        let presence = clients.enter(network(1), GivesWay::Waiting);
        let mut context = Context::from_waker(Waker::noop());
        let mut wait = pin!(presence.unless_told_to_leave(Waits::Request, pending::<()>()));
        assert!(wait.as_mut().poll(&mut context).is_pending());
        assert_eq!(clients.make_room(1, 1), 1);
        assert_eq!(wait.as_mut().poll(&mut context), Poll::Ready(None));
        let mut ready = pin!(presence.unless_told_to_leave(Waits::Head, std::future::ready(7)));
        assert_eq!(ready.as_mut().poll(&mut context), Poll::Ready(Some(7)));
    }

    #[test]
    fn who_has_sent_a_request_gives_way_last_and_one_that_is_served_stays() {
        let clients = Rc::<Clients>::default();
        let used = waiting(&clients, 1, 5, Waits::Request);
        used.iter().for_each(|presence| {
            presence.serves();
            presence.seat.waits.set(Waits::Request);
        });
        let fresh = waiting(&clients, 2, 1, Waits::Request);
        assert_eq!(clients.make_room(3, 1), 1);
        assert_eq!((leaving(&used), leaving(&fresh)), (0, 1));
        assert_eq!(clients.make_room(2, 1), 2);
        assert_eq!((leaving(&used), clients.leaving()), (2, 3));
        // Its request was there before it looked.
        used.iter().find(|presence| presence.seat.is_leaving.get()).expect("one of them").serves();
        assert_eq!(clients.leaving(), 2);
        drop((used, fresh));
        assert_eq!(clients.leaving(), 0);
    }

    #[test]
    fn small_heads_are_not_given_up() {
        let clients = Rc::<Clients>::default();
        let heads = waiting(&clients, 1, 8, Waits::Head);
        heads.iter().for_each(|presence| presence.holds_now(4 * 1024));
        assert_eq!(clients.give_up_heads(9_000, 1), 0);
    }

    #[test]
    fn who_never_gives_way_makes_no_room() {
        let clients = Rc::<Clients>::default();
        let presence = clients.enter(network(1), GivesWay::Never);
        let mut context = Context::from_waker(Waker::noop());
        let mut wait = pin!(presence.unless_told_to_leave(Waits::Request, pending::<()>()));
        assert!(wait.as_mut().poll(&mut context).is_pending());
        assert_eq!((clients.make_room(1, 1), clients.leaving()), (0, 0));
    }

    #[test]
    fn requests_of_one_client_are_bounded_whatever_its_connections() {
        let clients = Rc::<Clients>::default();
        let (one, two) =
            (clients.enter(network(1), GivesWay::Waiting), clients.enter(network(1), GivesWay::Waiting));
        let first = clients.begin_request_at(one.client(), 2);
        let second = clients.begin_request_at(two.client(), 2);
        assert!(first.is_some() && second.is_some() && clients.begin_request_at(one.client(), 2).is_none());
        assert!(clients.begin_request(network(1), 2).is_none(), "also behind a proxy");
        assert!(clients.begin_request(network(2), 2).is_some(), "another client has its own");
        drop(first);
        assert!(clients.begin_request_at(two.client(), 2).is_some());
    }

    #[test]
    fn who_holds_nothing_is_forgotten() {
        let clients = Rc::<Clients>::default();
        {
            let _slot = clients.begin_request(network(9), 1);
            let _tunnel = clients.enter_tunnel(network(8));
            let presences: Vec<Presence> =
                (0..5).map(|last| clients.enter(network(last), GivesWay::Waiting)).collect();
            drop(presences);
            assert_eq!(clients.loads.borrow().len(), 2);
            assert!(clients.begin_request(network(9), 1).is_none());
            assert_eq!(clients.connections(network(8)), 1);
        }
        assert_eq!((clients.loads.borrow().len(), clients.seats.borrow().len()), (0, 0));
        assert!(clients.begin_request(network(7), 0).is_none());
        assert_eq!(clients.loads.borrow().len(), 0);
    }

    #[test]
    fn a_seat_that_moves_is_still_found() {
        let clients = Rc::<Clients>::default();
        let mut all: Vec<Presence> =
            (0..10).map(|last| clients.enter(network(last), GivesWay::Waiting)).collect();
        while !all.is_empty() {
            all.swap_remove(all.len() / 2);
            let seats = clients.seats.borrow();
            assert!(seats.iter().enumerate().all(|(place, seat)| seat.place.get() == place as u32));
        }
    }
}
