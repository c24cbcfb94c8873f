//! One group of metrics for each name of a configuration: for each route, or each upstream, of one core.

use std::sync::{Arc, Mutex, PoisonError};

/// Groups by name. The core adds and removes names when it takes over a configuration; a scrape copies the list. Both
/// hold the lock for a moment, and nobody holds it for a request.
#[derive(Debug)]
pub struct Named<G> {
    label: &'static str,
    groups: Mutex<Vec<(Arc<str>, Arc<G>)>>,
}

impl<G: Default> Named<G> {
    /// There are no names. `label`: what a name is a name of.
    pub fn new(label: &'static str) -> Named<G> {
        Named { label, groups: Mutex::default() }
    }

    /// The group of a name: the one that the name has had before, if it was not forgotten.
    pub fn of(&self, name: &str) -> Arc<G> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, group)) = groups.iter().find(|(known, _)| &**known == name) {
            return group.clone();
        }
        let group = Arc::<G>::default();
        groups.push((name.into(), group.clone()));
        group
    }

    /// Forgets the names that are not among these. What still counts for one of them counts for nobody.
    pub fn keep<'n>(&self, names: impl Iterator<Item = &'n str> + Clone) {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.retain(|(known, _)| names.clone().any(|name| name == &**known));
    }

    /// The label's name.
    pub fn label(&self) -> &'static str {
        self.label
    }

    /// Each name with its group.
    pub fn each(&self) -> Vec<(Arc<str>, Arc<G>)> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Counter;

    #[test]
    fn a_name_keeps_its_group_until_it_is_forgotten() {
        let named = Named::<Counter>::new("route");
        named.of("a").add(1);
        named.of("b").add(2);
        named.of("a").add(3);
        let counts =
            || named.each().iter().map(|(name, one)| (name.to_string(), one.get())).collect::<Vec<_>>();
        assert_eq!(counts(), [("a".to_owned(), 4), ("b".to_owned(), 2)]);
        let gone = named.of("b");
        named.keep(["a", "c"].into_iter());
        gone.add(1);
        assert_eq!(counts(), [("a".to_owned(), 4)]);
        assert_eq!(named.of("b").get(), 0, "forgotten");
    }
}
