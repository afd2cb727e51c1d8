//! The lengths of fragments, which limit how many one round trip prefetches.

use quick_cache::sync::Cache;

use crate::key::FragmentKey;

/// The most bytes that one round trip prefetches: its time limit holds for all of them.
pub(crate) const MOST_AHEAD: usize = 1 << 20;

/// The length that counts for a fragment that is not known to be longer. The fragments
/// of a page together stay within [`MOST_AHEAD`].
const USUAL: usize = MOST_AHEAD / 64;

/// How many long fragments are remembered, whether memory has room for them or not.
const MOST: usize = 16_384;

/// The lengths of fragments as they were last filled or read.
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
