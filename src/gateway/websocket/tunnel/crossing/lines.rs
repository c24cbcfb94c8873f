//! The sockets between two processes, from the control thread to the cores that use them.

use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

/// The sockets of one process. The control thread puts them here before it tells the cores what to do with them; a core
/// takes its own then, once.
#[derive(Debug, Default)]
pub struct Lines {
    to_successor: Mutex<Vec<Option<OwnedFd>>>,
    from_predecessor: Mutex<Vec<Option<OwnedFd>>>,
}

impl Lines {
    /// These lead to the new process, one for each core.
    pub fn begin_departure(&self, ends: Vec<OwnedFd>) {
        put(&self.to_successor, ends);
    }

    /// These come from the old process, one for each of its cores.
    pub fn begin_arrival(&self, ends: Vec<OwnedFd>) {
        put(&self.from_predecessor, ends);
    }

    /// The way of this core to the new process.
    pub fn departing(&self, core: usize) -> Option<OwnedFd> {
        lock(&self.to_successor).get_mut(core).and_then(Option::take)
    }

    /// The ways from the old process that come to this one of so many cores.
    pub fn arriving(&self, core: usize, cores: usize) -> Vec<OwnedFd> {
        lock(&self.from_predecessor)
            .iter_mut()
            .skip(core)
            .step_by(cores.max(1))
            .filter_map(Option::take)
            .collect()
    }
}

fn put(place: &Mutex<Vec<Option<OwnedFd>>>, ends: Vec<OwnedFd>) {
    *lock(place) = ends.into_iter().map(Some).collect();
}

fn lock(place: &Mutex<Vec<Option<OwnedFd>>>) -> std::sync::MutexGuard<'_, Vec<Option<OwnedFd>>> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(old: usize, new: usize) -> Vec<usize> {
        let lines = Lines::default();
        lines.begin_arrival((0..old).map(|_| std::io::pipe().expect("a pipe").0.into()).collect());
        let taken = (0..new).map(|core| lines.arriving(core, new).len()).collect();
        assert!((0..new).all(|core| lines.arriving(core, new).is_empty()), "twice");
        taken
    }

    #[test]
    fn every_way_comes_to_one_core_however_many_there_are() {
        assert_eq!(
            (taken(3, 3), taken(5, 2), taken(1, 3), taken(0, 2)),
            (vec![1; 3], vec![3, 2], vec![1, 0, 0], vec![0; 2])
        );
    }

    #[test]
    fn a_core_takes_its_own_way_once() {
        let lines = Lines::default();
        assert!(lines.departing(0).is_none());
        lines.begin_departure(vec![std::io::pipe().expect("a pipe").0.into()]);
        assert!(lines.departing(1).is_none() && lines.departing(0).is_some() && lines.departing(0).is_none());
    }
}
