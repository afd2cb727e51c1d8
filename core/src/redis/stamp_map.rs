//! Maps of stamps by their address in memory. The caller keeps the stamps alive.

use std::collections::HashMap;

use crate::store::Stamp;
use crate::sync::Arc;

/// A map of stamps. Most are small, and a linear search is the fastest.
pub(crate) struct StampMap<V> {
    entries: Vec<(usize, V)>,
    /// The positions of the entries, if there are many.
    index: HashMap<usize, usize>,
}

/// From this size on, entries are found by the index.
const MANY: usize = 16;

impl<V> Default for StampMap<V> {
    fn default() -> Self {
        StampMap { entries: Vec::new(), index: HashMap::new() }
    }
}

impl<V> StampMap<V> {
    pub(crate) fn with_capacity(count: usize) -> Self {
        StampMap { entries: Vec::with_capacity(count), ..StampMap::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// In the order of insertion.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.values_from(0)
    }

    /// From the position `first` on.
    pub(crate) fn values_from(&self, first: usize) -> impl Iterator<Item = &V> {
        self.entries[first..].iter().map(|(_, value)| value)
    }

    pub(crate) fn values_mut_from(&mut self, first: usize) -> impl Iterator<Item = &mut V> {
        self.entries[first..].iter_mut().map(|(_, value)| value)
    }

    pub(crate) fn get(&self, stamp: &Arc<Stamp>) -> Option<&V> {
        self.position_of(stamp).map(|place| &self.entries[place].1)
    }

    pub(crate) fn has(&self, stamp: &Arc<Stamp>) -> bool {
        self.position_of(stamp).is_some()
    }

    pub(crate) fn insert(&mut self, stamp: &Arc<Stamp>, value: V) {
        match self.position_of(stamp) {
            Some(place) => self.entries[place].1 = value,
            None => self.push(address(stamp), value),
        }
    }

    /// Inserts a value unless there is one; whether it did.
    pub(crate) fn insert_new(&mut self, stamp: &Arc<Stamp>, value: impl FnOnce() -> V) -> bool {
        let is_new = !self.has(stamp);
        if is_new {
            self.push(address(stamp), value());
        }
        is_new
    }

    /// The position of a stamp.
    pub(crate) fn position_of(&self, stamp: &Arc<Stamp>) -> Option<usize> {
        let address = address(stamp);
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

/// Stamps and all stamps above them, parents first, each once.
#[derive(Default)]
pub(crate) struct Lineage(StampMap<Arc<Stamp>>);

impl Lineage {
    pub(crate) fn of(stamps: &[Arc<Stamp>]) -> Self {
        let mut line = Lineage(StampMap::with_capacity(stamps.len() + 2));
        stamps.iter().for_each(|stamp| line.add(stamp));
        line
    }

    fn add(&mut self, stamp: &Arc<Stamp>) {
        if self.0.has(stamp) {
            return;
        }
        if let Some(parent) = stamp.parent() {
            self.add(parent);
        }
        self.0.insert(stamp, stamp.clone());
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn stamps(&self) -> impl Iterator<Item = &Arc<Stamp>> {
        self.0.values()
    }

    /// The position of a parent; zero for the stamp without one.
    pub(crate) fn position_of(&self, parent: Option<&Arc<Stamp>>) -> usize {
        parent.and_then(|parent| self.0.position_of(parent)).unwrap_or(0)
    }
}

fn address(stamp: &Arc<Stamp>) -> usize {
    Arc::as_ptr(stamp) as usize
}

#[cfg(test)]
mod tests {
    use super::{MANY, Stamp, StampMap};

    #[test]
    fn few_and_many() {
        let stamps: Vec<_> = (0..3 * MANY).map(|_| Stamp::dropped()).collect();
        let mut map = StampMap::default();
        for (n, stamp) in stamps.iter().enumerate() {
            assert!(!map.has(stamp));
            assert!(map.insert_new(stamp, || n));
            assert!(!map.insert_new(stamp, || 0));
            map.insert(stamp, n + 1);
            assert!(stamps[..=n].iter().zip(1..).all(|(stamp, n)| map.get(stamp) == Some(&n)));
        }
    }
}
