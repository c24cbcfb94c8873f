//! Events of one core that wait for Redis. When they are too many, the newer ones are dropped and counted, and a gap
//! stands where they are missing.

use std::collections::VecDeque;

use super::event::{Event, EventKind, Reason};
use crate::limits::{EVENTS_PER_CALL, EVENTS_QUEUED_MAX};

/// The events of one core.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: VecDeque<Event>,
    /// Dropped since the last gap was written.
    missing: u64,
}

impl Outbox {
    /// Adds an event. False: there is no room, and it is dropped.
    pub fn push(&mut self, event: Event) -> bool {
        let needed = if self.missing > 0 { 2 } else { 1 };
        if self.queue.len() + needed > EVENTS_QUEUED_MAX {
            // That somebody is still online is told again, and nobody misses it in the stream.
            self.missing += u64::from(event.kind != EventKind::Seen);
            return false;
        }
        self.mark_gap(event.at_us);
        self.queue.push_back(event);
        true
    }

    /// The events of the next call, the oldest first. They stay until [`Outbox::written`].
    pub fn next(&mut self, now_us: u64) -> impl ExactSizeIterator<Item = &Event> {
        if self.queue.len() < EVENTS_PER_CALL {
            self.mark_gap(now_us);
        }
        self.queue.range(..self.queue.len().min(EVENTS_PER_CALL))
    }

    /// The first so many events are with Redis.
    pub fn written(&mut self, count: usize) {
        self.queue.drain(..count.min(self.queue.len()));
    }

    /// Events that wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Nothing is to be told.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.missing == 0
    }

    /// Forgets everything: nobody wants it any more.
    pub fn clear(&mut self) {
        *self = Outbox::default();
    }

    fn mark_gap(&mut self, at_us: u64) {
        if self.missing > 0 {
            let reason = Reason::Missing(std::mem::take(&mut self.missing));
            let (user, socket, route) = (None, None, None);
            self.queue.push_back(Event { kind: EventKind::Gap, user, socket, route, reason, at_us });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind, at_us: u64) -> Event {
        Event { kind, user: None, socket: None, route: None, reason: Reason::None, at_us }
    }

    #[test]
    fn events_leave_in_their_order_and_stay_until_they_are_written() {
        let mut outbox = Outbox::default();
        (0..100).for_each(|at_us| assert!(outbox.push(event(EventKind::Open, at_us))));
        let times = |outbox: &mut Outbox| outbox.next(0).map(|event| event.at_us).collect::<Vec<_>>();
        assert_eq!(times(&mut outbox), (0..64).collect::<Vec<_>>());
        assert_eq!(times(&mut outbox).len(), 64, "the call has failed");
        outbox.written(64);
        assert_eq!(times(&mut outbox), (64..100).collect::<Vec<_>>());
        outbox.written(36);
        assert!(outbox.is_empty());
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_a_gap_stands_in_its_place() {
        let mut outbox = Outbox::default();
        let full = (0..EVENTS_QUEUED_MAX).all(|_| outbox.push(event(EventKind::Open, 1)));
        assert!(full && !outbox.push(event(EventKind::Close, 2)) && !outbox.push(event(EventKind::Seen, 2)));
        assert!(!outbox.push(event(EventKind::Close, 3)));
        outbox.written(1);
        assert!(!outbox.push(event(EventKind::Open, 4)), "the gap needs a place too");
        outbox.written(2);
        assert!(outbox.push(event(EventKind::Open, 5)));
        assert_eq!(outbox.len(), EVENTS_QUEUED_MAX - 1);
        outbox.written(EVENTS_QUEUED_MAX - 3);
        let last: Vec<_> = outbox.next(9).cloned().collect();
        let gap = Event { reason: Reason::Missing(3), ..event(EventKind::Gap, 5) };
        assert_eq!(last, [gap, event(EventKind::Open, 5)]);
    }

    #[test]
    fn a_gap_is_told_also_when_nothing_follows() {
        let mut outbox = Outbox::default();
        let taken = (0..=EVENTS_QUEUED_MAX).filter(|_| outbox.push(event(EventKind::Open, 1))).count();
        assert_eq!(taken, EVENTS_QUEUED_MAX);
        outbox.written(EVENTS_QUEUED_MAX);
        assert!(!outbox.is_empty());
        assert_eq!(
            outbox.next(7).cloned().collect::<Vec<_>>(),
            [Event { reason: Reason::Missing(1), ..event(EventKind::Gap, 7) }]
        );
    }
}
