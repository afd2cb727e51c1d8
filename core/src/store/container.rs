//! The container of fragments: limited in bytes; the least useful are evicted.

use crate::fragment::Fragment;
use crate::key::FragmentKey;
use crate::sync::Arc;

pub(crate) use kind::Container;

#[cfg(not(shuttle))]
mod kind {
    use super::super::stamp::Prehashed;
    use super::{Arc, Fragment, FragmentKey};
    use quick_cache::sync::{Cache, DefaultLifecycle};
    use quick_cache::{OptionsBuilder, Weighter};

    /// No shard is smaller, because a fragment must fit into one.
    const SMALLEST_SHARD: u64 = 4 << 20;

    #[derive(Clone)]
    struct ByBytes;

    impl Weighter<FragmentKey, Arc<Fragment>> for ByBytes {
        fn weight(&self, _key: &FragmentKey, fragment: &Arc<Fragment>) -> u64 {
            fragment.weight()
        }
    }

    /// Fragments by key; the coldest are evicted.
    pub(crate) struct Container {
        cache: Cache<FragmentKey, Arc<Fragment>, ByBytes, Prehashed>,
    }

    impl Container {
        pub(crate) fn new(bytes: u64) -> Self {
            // The largest power of two with which every shard has at
            // least its smallest size.
            let shards = 1 << (bytes / SMALLEST_SHARD).clamp(1, 64).ilog2();
            let mut options = OptionsBuilder::new();
            options
                .weight_capacity(bytes)
                .estimated_items_capacity((bytes / 2048).clamp(64, 1 << 20) as usize)
                .shards(shards);
            let cache = match options.build() {
                Ok(options) => {
                    Cache::with_options(options, ByBytes, Prehashed, DefaultLifecycle::default())
                }
                // The builder fails only if one of the two
                // capacities above is missing.
                Err(_) => Cache::with(64, bytes, ByBytes, Prehashed, DefaultLifecycle::default()),
            };
            Container { cache }
        }

        pub(crate) fn get(&self, key: &FragmentKey) -> Option<Arc<Fragment>> {
            self.cache.get(key)
        }

        pub(crate) fn insert(&self, key: FragmentKey, fragment: Arc<Fragment>) -> bool {
            let fits = fragment.weight() <= self.cache.shard_capacity();
            if fits {
                self.cache.insert(key, fragment);
            }
            fits
        }

        /// Removes `fragment`, unless another one has replaced it.
        pub(crate) fn remove(&self, key: &FragmentKey, fragment: &Arc<Fragment>) {
            self.cache.remove_if(key, |current| Arc::ptr_eq(current, fragment));
        }

        pub(crate) fn all(&self) -> Vec<(FragmentKey, Arc<Fragment>)> {
            self.cache.iter().collect()
        }

        pub(crate) fn len(&self) -> usize {
            self.cache.len()
        }

        pub(crate) fn bytes(&self) -> u64 {
            self.cache.weight()
        }
    }
}

/// Under shuttle every lock must be shuttle's: a plain map, without a limit.
#[cfg(shuttle)]
mod kind {
    use super::{Arc, Fragment, FragmentKey};
    use crate::sync::{Mutex, lock};
    use std::collections::HashMap;

    pub(crate) struct Container(Mutex<HashMap<FragmentKey, Arc<Fragment>>>);

    impl Container {
        pub(crate) fn new(_bytes: u64) -> Self {
            Container(Mutex::new(HashMap::new()))
        }

        pub(crate) fn get(&self, key: &FragmentKey) -> Option<Arc<Fragment>> {
            lock(&self.0).get(key).cloned()
        }

        pub(crate) fn insert(&self, key: FragmentKey, fragment: Arc<Fragment>) -> bool {
            lock(&self.0).insert(key, fragment);
            true
        }

        pub(crate) fn remove(&self, key: &FragmentKey, fragment: &Arc<Fragment>) {
            let mut map = lock(&self.0);
            if map.get(key).is_some_and(|current| Arc::ptr_eq(current, fragment)) {
                map.remove(key);
            }
        }

        pub(crate) fn all(&self) -> Vec<(FragmentKey, Arc<Fragment>)> {
            lock(&self.0).iter().map(|(key, fragment)| (*key, fragment.clone())).collect()
        }

        pub(crate) fn len(&self) -> usize {
            lock(&self.0).len()
        }

        pub(crate) fn bytes(&self) -> u64 {
            lock(&self.0).values().map(|fragment| fragment.weight()).sum()
        }
    }
}
