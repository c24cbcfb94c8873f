//! Which requests for newer key sets are answered. Pure.

use crate::auth::KeyRequests;
use crate::config::IssuerSet;
use crate::limits::ISSUERS_MAX;

/// The requests that wait for a fetch, by issuer.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// The number of the latest requests that were taken.
    latest: u64,
    issuers: [Asked; ISSUERS_MAX],
}

#[derive(Debug, Default, Clone, Copy)]
struct Asked {
    /// The latest requests that name the issuer.
    asked: u64,
    /// The latest requests for which a fetch has brought a set.
    answered: u64,
}

impl Answers {
    /// These requests were taken.
    pub(super) fn ask(&mut self, number: u64, issuers: IssuerSet) {
        self.latest = number;
        for (index, issuer) in self.issuers.iter_mut().enumerate() {
            if issuers.contains(index) {
                issuer.asked = number;
            }
        }
    }

    /// Whether requests wait for a fetch from this issuer.
    pub(super) fn is_asked(&self, index: usize) -> bool {
        self.issuers[index].asked > self.issuers[index].answered
    }

    /// What a fetch that begins now answers.
    pub(super) fn latest(&self) -> u64 {
        self.latest
    }

    /// A fetch that began with this number has succeeded.
    pub(super) fn fetched(&mut self, index: usize, number: u64) {
        self.issuers[index].answered = self.issuers[index].answered.max(number);
    }

    /// Other issuers: nothing is known of their requests, and what was asked of others counts as answered.
    pub(super) fn reset(&mut self) {
        *self = Answers { latest: self.latest, ..Answers::default() };
    }

    /// Says which requests are answered. Those that do not name an issuer have nothing to wait for.
    pub(super) fn publish(&self, requests: &KeyRequests) {
        (0..ISSUERS_MAX).for_each(|index| requests.answer(index, self.answered(index)));
    }

    fn answered(&self, index: usize) -> u64 {
        if self.is_asked(index) { self.issuers[index].answered } else { self.latest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_answered_when_their_issuer_has_brought_a_set() {
        let mut answers = Answers::default();
        answers.ask(1, IssuerSet::NONE.with(0).with(3));
        assert_eq!([answers.answered(0), answers.answered(3), answers.answered(1)], [0, 0, 1]);
        answers.fetched(0, 1);
        assert_eq!([answers.answered(0), answers.answered(3)], [1, 0], "the other one is away");
        assert!(answers.is_asked(3) && !answers.is_asked(0) && !answers.is_asked(1));
        answers.ask(2, IssuerSet::NONE.with(0));
        answers.fetched(3, 1);
        assert_eq!([answers.answered(0), answers.answered(3)], [1, 2]);
        // A fetch that began before the second request does not answer it.
        answers.fetched(0, 1);
        assert_eq!(answers.answered(0), 1);
        answers.fetched(0, 2);
        assert_eq!(answers.answered(0), 2);
    }

    #[test]
    fn other_issuers_have_no_open_requests() {
        let mut answers = Answers::default();
        answers.ask(1, IssuerSet::NONE.with(2));
        assert_eq!(answers.answered(2), 0);
        answers.reset();
        assert_eq!(answers.answered(2), 1);
    }
}
