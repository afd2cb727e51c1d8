//! Maps bounded in bytes, for what the tier keeps beside the fragments. The least
//! useful entries are evicted.
//!
//! Everything in them can be computed again.

use std::borrow::Borrow;
use std::hash::Hash;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

/// The size of a value in bytes, with everything that only the value keeps alive.
pub(crate) trait Weight {
    fn weight(&self) -> usize;
}

#[derive(Clone, Debug)]
struct ByBytes;

/// The overhead of an entry, and the reference counts of its value.
const PLACE: usize = 64;

impl<K, V: Weight> Weighter<K, V> for ByBytes {
    fn weight(&self, _key: &K, value: &V) -> u64 {
        (PLACE + size_of::<K>() + value.weight()) as u64
    }
}

/// The smallest shard. An entry must fit into one shard.
const SMALLEST_SHARD: u64 = 1 << 20;

/// Each map may take this part of the limit of fragments.
const PART: u64 = 8;

/// A map whose values know their size.
#[derive(Debug)]
pub(crate) struct BoundedMap<K, V>(Cache<K, V, ByBytes, DefaultHashBuilder>);

impl<K: Eq + Hash + Clone, V: Weight + Clone> BoundedMap<K, V> {
    /// A map beside `limit` bytes of fragments.
    pub(crate) fn beside(limit: u64) -> Self {
        let bytes = (limit / PART).max(1);
        let shards = 1 << (bytes / SMALLEST_SHARD).clamp(1, 64).ilog2();
        let items = (bytes / 1024).clamp(64, 1 << 16);
        let mut options = OptionsBuilder::new();
        options.weight_capacity(bytes).estimated_items_capacity(items as usize).shards(shards);
        let (hasher, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
        BoundedMap(match options.build() {
            Ok(options) => Cache::with_options(options, ByBytes, hasher, lifecycle),
            // The builder fails only if one of the two capacities above is missing.
            Err(_) => Cache::with(64, bytes, ByBytes, hasher, lifecycle),
        })
    }

    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.0.get(key)
    }

    pub(crate) fn insert(&self, key: K, value: V) {
        self.0.insert(key, value);
    }

    pub(crate) fn remove<Q: Eq + Hash + ?Sized>(&self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.0.remove(key);
    }

    /// The size of all entries, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.weight()
    }
}
