//! How long fragments are that a trip may bring along.

use quick_cache::sync::Cache;

use crate::key::FragmentKey;

/// The most bytes that a trip brings along, whose time limit holds for all of it.
pub(crate) const MOST_AHEAD: usize = 1 << 20;

/// What a fragment counts for that is not known to be longer: as many as a page
/// brings along are no more than [`MOST_AHEAD`].
const USUAL: usize = MOST_AHEAD / 64;

/// Long fragments that are remembered, whether memory has room for them or not.
const MOST: usize = 16_384;

/// The lengths of fragments as they were last made here or read.
pub(crate) struct Lengths(Cache<FragmentKey, usize>);

impl Lengths {
    pub(crate) fn new() -> Self {
        Lengths(Cache::new(MOST))
    }

    pub(crate) fn note(&self, key: FragmentKey, length: usize) {
        if length > USUAL {
            self.0.insert(key, length);
        } else {
            self.0.remove(&key);
        }
    }

    pub(crate) fn of(&self, key: &FragmentKey) -> usize {
        self.0.get(key).unwrap_or(USUAL)
    }
}
