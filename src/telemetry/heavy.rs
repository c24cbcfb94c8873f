//! Who asks most, in memory of a fixed size: the space-saving sketch (Metwally, Agrawal and El Abbadi, "Efficient
//! Computation of Frequent and Top-k Elements in Data Streams", 2005).
//!
//! Whoever is not in the table takes the place of the smallest, with its count: so whoever has more than its share, one
//! in [`HEAVY_ENTRIES`], is in it, with a count that is too large by at most `over`.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::limits::{HEAVY_ENTRIES, HEAVY_HALVED_MS, HEAVY_NAME_BYTES};

/// Who is counted: of a fixed size, so that nothing is allocated for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heavy {
    /// A client's address, or the network of its IPv6 address.
    Address(IpAddr),
    /// The beginning of a user's name, and its length.
    User([u8; HEAVY_NAME_BYTES], u8),
}

/// How much one of them counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Who it is.
    pub who: Heavy,
    /// How often it came, lately.
    pub count: u64,
    /// How much of that may be somebody else's.
    pub over: u64,
}

/// The table of one core. The core writes, and who reads copies it. The core does not wait: what it cannot count while
/// somebody reads is not counted.
#[derive(Debug, Default)]
pub struct HeavyHitters(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    entries: Vec<Count>,
    halved_ms: u64,
}

impl Heavy {
    /// A user.
    pub fn user(name: &str) -> Heavy {
        let mut length = name.len().min(HEAVY_NAME_BYTES);
        while !name.is_char_boundary(length) {
            length -= 1;
        }
        let mut bytes = [0; HEAVY_NAME_BYTES];
        bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
        Heavy::User(bytes, length as u8)
    }

    /// What it is, and its name.
    pub fn text(&self) -> (&'static str, String) {
        match self {
            Heavy::Address(IpAddr::V6(network)) => ("address", format!("{network}/64")),
            Heavy::Address(address) => ("address", address.to_string()),
            Heavy::User(bytes, length) => {
                let name = bytes.get(..usize::from(*length)).unwrap_or_default();
                ("user", String::from_utf8_lossy(name).into_owned())
            }
        }
    }
}

impl HeavyHitters {
    /// It has come so often once more.
    pub fn add(&self, who: Heavy, times: u64, now_ms: u64) {
        if let Ok(mut table) = self.0.try_lock() {
            table.age(now_ms);
            table.add(who, times);
        }
    }

    /// The table, in no order.
    pub fn get(&self, now_ms: u64) -> Vec<Count> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.age(now_ms);
        table.entries.clone()
    }
}

impl Table {
    /// Counts are halved now and then, so that they tell of the present.
    fn age(&mut self, now_ms: u64) {
        let periods = now_ms.saturating_sub(self.halved_ms) / HEAVY_HALVED_MS;
        if periods == 0 {
            return;
        }
        self.halved_ms = now_ms;
        let shift = u32::try_from(periods).unwrap_or(u32::MAX).min(63);
        for entry in &mut self.entries {
            entry.count >>= shift;
            entry.over >>= shift;
        }
        self.entries.retain(|entry| entry.count > 0);
    }

    fn add(&mut self, who: Heavy, times: u64) {
        if let Some(known) = self.entries.iter_mut().find(|entry| entry.who == who) {
            known.count += times;
            return;
        }
        if self.entries.len() < HEAVY_ENTRIES {
            self.entries.push(Count { who, count: times, over: 0 });
            return;
        }
        if let Some(smallest) = self.entries.iter_mut().min_by_key(|entry| entry.count) {
            *smallest = Count { who, count: smallest.count + times, over: smallest.count };
        }
    }
}

/// Those of all cores, the heaviest first, as many as `most`.
pub fn heaviest<'t>(tables: impl Iterator<Item = &'t HeavyHitters>, now_ms: u64, most: usize) -> Vec<Count> {
    let mut all: Vec<Count> = Vec::new();
    for count in tables.flat_map(|table| table.get(now_ms)) {
        match all.iter_mut().find(|known| known.who == count.who) {
            Some(known) => {
                known.count += count.count;
                known.over += count.over;
            }
            None => all.push(count),
        }
    }
    all.sort_by_key(|count| std::cmp::Reverse(count.count));
    all.truncate(most);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(nth: u32) -> Heavy {
        Heavy::Address(IpAddr::from(nth.to_be_bytes()))
    }

    #[test]
    fn whoever_has_more_than_its_share_is_found_among_many() {
        let table = HeavyHitters::default();
        for nth in 0..100_000_u32 {
            table.add(address(nth), 1, 0);
            if nth % 10 == 0 {
                table.add(address(u32::MAX), 1, 0);
            }
        }
        let found = heaviest([&table].into_iter(), 0, 5);
        let (first, true_count) = (found[0], 10_000);
        assert_eq!(first.who, address(u32::MAX));
        assert!(first.count >= true_count && first.count - first.over <= true_count, "{first:?}");
        assert!(table.get(0).len() <= HEAVY_ENTRIES);
    }

    #[test]
    fn counts_of_all_cores_are_one_and_fade() {
        let (a, b) = (HeavyHitters::default(), HeavyHitters::default());
        a.add(Heavy::user("ann"), 3, 0);
        b.add(Heavy::user("ann"), 5, 0);
        b.add(Heavy::user("bob"), 1, 0);
        let found = |now_ms| {
            let found = heaviest([&a, &b].into_iter(), now_ms, 10);
            found.into_iter().map(|count| (count.who.text().1, count.count)).collect::<Vec<_>>()
        };
        assert_eq!(found(0), [("ann".to_owned(), 8), ("bob".to_owned(), 1)]);
        assert_eq!(found(HEAVY_HALVED_MS), [("ann".to_owned(), 3)]);
        assert_eq!(found(100 * HEAVY_HALVED_MS), []);
    }

    #[test]
    fn a_name_is_cut_between_two_characters() {
        let long = Heavy::user(&"é".repeat(HEAVY_NAME_BYTES));
        let (kind, name) = long.text();
        assert_eq!((kind, name.len()), ("user", HEAVY_NAME_BYTES / 2 * 2));
        assert!(name.chars().all(|c| c == 'é'));
        assert_eq!(Heavy::user("ann").text(), ("user", "ann".to_owned()));
    }
}
