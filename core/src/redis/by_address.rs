//! What is known of stamps, by where they are in memory: for as long as they
//! are kept there by others.

use std::collections::HashMap;

use crate::store::Stamp;
use crate::sync::Arc;

/// A map of stamps. Most are so small that looking through them is the fastest.
pub(crate) struct ByAddress<V> {
    entries: Vec<(usize, V)>,
    /// Where the entries are, if they are many.
    index: HashMap<usize, usize>,
}

/// From so many entries on they are found by the index.
const MANY: usize = 16;

impl<V> ByAddress<V> {
    pub(crate) fn new() -> Self {
        ByAddress { entries: Vec::new(), index: HashMap::new() }
    }

    pub(crate) fn get(&self, stamp: &Arc<Stamp>) -> Option<&V> {
        self.place_of(address(stamp)).map(|place| &self.entries[place].1)
    }

    pub(crate) fn has(&self, stamp: &Arc<Stamp>) -> bool {
        self.place_of(address(stamp)).is_some()
    }

    pub(crate) fn insert(&mut self, stamp: &Arc<Stamp>, value: V) {
        let address = address(stamp);
        match self.place_of(address) {
            Some(place) => self.entries[place].1 = value,
            None => self.push(address, value),
        }
    }

    /// Does so if there is none; whether it did.
    pub(crate) fn insert_new(&mut self, stamp: &Arc<Stamp>, value: impl FnOnce() -> V) -> bool {
        let address = address(stamp);
        let is_new = self.place_of(address).is_none();
        if is_new {
            self.push(address, value());
        }
        is_new
    }

    fn place_of(&self, address: usize) -> Option<usize> {
        if self.entries.len() < MANY {
            return self.entries.iter().position(|(at, _)| *at == address);
        }
        self.index.get(&address).copied()
    }

    fn push(&mut self, address: usize, value: V) {
        self.entries.push((address, value));
        let (len, entries) = (self.entries.len(), &self.entries);
        if len == MANY {
            self.index.extend(entries.iter().enumerate().map(|(place, (at, _))| (*at, place)));
        } else if len > MANY {
            self.index.insert(address, len - 1);
        }
    }
}

fn address(stamp: &Arc<Stamp>) -> usize {
    Arc::as_ptr(stamp) as usize
}

#[cfg(test)]
mod tests {
    use super::{ByAddress, MANY, Stamp};

    #[test]
    fn few_and_many() {
        let stamps: Vec<_> = (0..3 * MANY).map(|_| Stamp::dropped()).collect();
        let mut map = ByAddress::new();
        for (n, stamp) in stamps.iter().enumerate() {
            assert!(!map.has(stamp));
            assert!(map.insert_new(stamp, || n));
            assert!(!map.insert_new(stamp, || 0));
            map.insert(stamp, n + 1);
            assert!(stamps[..=n].iter().zip(1..).all(|(stamp, n)| map.get(stamp) == Some(&n)));
        }
    }
}
