//! Stamps: tokens that are replaced and never come back.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Arc, Mutex, lock};

/// The stamp of a conjunction, of a table (its epoch), of the name of a fragment,
/// or of everything.
///
/// In one process the object itself is the token. It is never reused, and whoever
/// holds it sees whether it is still current. A stamp is valid only while its
/// parent is. The parent of a conjunction is the epoch of its table, and the last
/// ancestor of every stamp is the stamp of everything. So each kind of
/// invalidation drops one stamp, and reaches everything that was made under it
/// without knowing any of it.
#[derive(Debug)]
pub(crate) struct Stamp {
    dropped: AtomicBool,
    parent: Option<Arc<Stamp>>,
    /// Boxed, so that it costs millions of stamps of one process only a word.
    meta: Option<Box<StampMeta>>,
}

/// What only few stamps have.
#[derive(Debug, Default)]
pub(crate) struct StampMeta {
    /// What it stands for; stored only for inspection.
    pub(crate) label: Option<String>,
    #[cfg(feature = "redis")]
    pub(crate) shared: Option<super::token::SharedStamp>,
}

impl Stamp {
    pub(crate) fn new(parent: Option<Arc<Stamp>>, meta: Option<Box<StampMeta>>) -> Arc<Self> {
        Arc::new(Stamp { dropped: AtomicBool::new(false), parent, meta })
    }

    /// A stamp that is not current, and never will be.
    pub(crate) fn dropped() -> Arc<Self> {
        Arc::new(Stamp { dropped: AtomicBool::new(true), parent: None, meta: None })
    }

    /// Whether the stamp and all its ancestors are current.
    pub(crate) fn is_current(&self) -> bool {
        let mut stamp = self;
        loop {
            if stamp.dropped.load(Ordering::SeqCst) {
                return false;
            }
            match &stamp.parent {
                Some(parent) => stamp = parent,
                None => return true,
            }
        }
    }

    /// Whether the stamp or an ancestor was dropped, except for the stamp of
    /// everything.
    #[cfg(feature = "redis")]
    pub(crate) fn was_dropped(&self) -> bool {
        let mut stamp = self;
        while let Some(parent) = &stamp.parent {
            if stamp.dropped.load(Ordering::SeqCst) {
                return true;
            }
            stamp = parent;
        }
        false
    }

    fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::SeqCst)
    }

    pub(crate) fn drop_it(&self) {
        self.dropped.store(true, Ordering::SeqCst);
    }

    /// Visits all ancestors of the stamp.
    pub(crate) fn visit_above(&self, mut visit: impl FnMut(&Arc<Stamp>)) {
        let mut above = self.parent.as_ref();
        while let Some(stamp) = above {
            visit(stamp);
            above = stamp.parent.as_ref();
        }
    }

    pub(crate) fn label(&self) -> Option<&str> {
        self.meta.as_ref()?.label.as_deref()
    }

    /// The memory that it needs beyond a plain stamp, in bytes.
    pub(crate) fn extra_weight(&self) -> usize {
        self.meta.as_ref().map_or(0, |meta| meta.weight())
    }

    #[cfg(feature = "redis")]
    pub(crate) fn parent(&self) -> Option<&Arc<Stamp>> {
        self.parent.as_ref()
    }

    /// Whether it can be the stamp of `key`. In one process, two keys with
    /// the same hash may share a stamp, and are dropped together. In a shared
    /// store each key has its own.
    #[cfg(feature = "redis")]
    fn is_at(&self, key: &[u8]) -> bool {
        self.shared().is_none_or(|shared| **shared.key() == *key)
    }

    #[cfg(not(feature = "redis"))]
    fn is_at(&self, _key: &[u8]) -> bool {
        true
    }

    /// The store before a shared one that it belongs to.
    #[cfg(feature = "redis")]
    pub(crate) fn store(&self) -> Option<super::token::StoreId> {
        self.shared().map(|shared| shared.store())
    }

    /// Its key in the shared store, if there is one.
    pub(crate) fn shared_key(&self) -> Option<&[u8]> {
        #[cfg(feature = "redis")]
        return self.shared().map(|shared| &**shared.key());
        #[cfg(not(feature = "redis"))]
        None
    }

    /// Its data about the shared store, if there is one.
    #[cfg(feature = "redis")]
    pub(crate) fn shared(&self) -> Option<&super::token::SharedStamp> {
        self.meta.as_ref()?.shared.as_ref()
    }
}

impl StampMeta {
    fn weight(&self) -> usize {
        let label = self.label.as_ref().map_or(0, String::len);
        #[cfg(feature = "redis")]
        let key = self.shared.as_ref().map_or(0, |shared| shared.key().len());
        #[cfg(not(feature = "redis"))]
        let key = 0;
        size_of::<Self>() + label + key
    }
}

/// The number of invalidations that this process has carried out, plus one. Read
/// after a lease, it tells whether stamps that were current at an earlier count
/// still are: a lease and an invalidation exclude each other, and an invalidation
/// counts when all its stamps are dropped.
static INVALIDATIONS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

/// See [`INVALIDATIONS`].
pub(crate) fn invalidations() -> u64 {
    INVALIDATIONS.load(std::sync::atomic::Ordering::SeqCst)
}

/// Counts an invalidation. A store does so while it excludes leases.
pub(crate) fn count_invalidation() {
    INVALIDATIONS.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
}

/// The current stamps under keys.
///
/// Keys are stored as 64-bit hashes, with a new seed in each store. Two keys with
/// the same hash share a stamp, and are invalidated together.
pub(crate) struct Stamps {
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
}

#[derive(Default)]
struct Shard {
    current: HashMap<u64, Arc<Stamp>, Prehashed>,
    /// The number of stamps at which the next sweep is due.
    sweep_at: usize,
}

const SHARDS: usize = 64;

/// A shard with fewer stamps is not worth a sweep.
const SMALLEST_SWEEP: usize = 64;

impl Stamps {
    pub(crate) fn new() -> Self {
        Stamps {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::new(Shard::default())).collect(),
        }
    }

    fn shard(&self, hash: u64) -> &Mutex<Shard> {
        // The map inside uses the low and the highest bits.
        &self.shards[(hash >> 32) as usize % SHARDS]
    }

    /// The current stamp of `key`, created if there is none.
    pub(crate) fn get(
        &self,
        key: &[u8],
        parent: &Arc<Stamp>,
        meta: impl FnOnce() -> Option<Box<StampMeta>>,
    ) -> Arc<Stamp> {
        let hash = self.hasher.hash_one(key);
        let mut shard = lock(self.shard(hash));
        if let Some(stamp) = shard.current.get(&hash) {
            let under_same = stamp.parent.as_ref().is_some_and(|p| Arc::ptr_eq(p, parent));
            if under_same && stamp.is_at(key) && !stamp.is_dropped() {
                return stamp.clone();
            }
            // It was made under an old epoch, or for another key with
            // the same hash. It is replaced, and so dropped.
            stamp.drop_it();
        }
        let stamp = Stamp::new(Some(parent.clone()), meta());
        shard.current.insert(hash, stamp.clone());
        shard.sweep_if_due();
        stamp
    }

    /// Drops the stamp of `key`. Returns whether there was one.
    pub(crate) fn drop_key(&self, key: &[u8]) -> bool {
        let hash = self.hasher.hash_one(key);
        let mut shard = lock(self.shard(hash));
        let dropped = shard.current.remove(&hash);
        if let Some(stamp) = &dropped {
            // Under the lock: the next caller finds no stamp, and
            // relies on the old one being dropped.
            stamp.drop_it();
        }
        drop(shard);
        dropped.is_some()
    }

    /// Drops `stamp` if it is the stamp of `key`.
    #[cfg(feature = "redis")]
    pub(crate) fn drop_stamp(&self, key: &[u8], stamp: &Arc<Stamp>) {
        let hash = self.hasher.hash_one(key);
        let mut shard = lock(self.shard(hash));
        stamp.drop_it();
        if shard.current.get(&hash).is_some_and(|current| Arc::ptr_eq(current, stamp)) {
            shard.current.remove(&hash);
        }
    }

    /// Removes stamps that nothing depends on.
    pub(crate) fn sweep(&self) {
        self.shards.iter().for_each(|shard| lock(shard).sweep());
    }

    /// The approximate memory for the places of all stamps, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        const PLACE: usize = size_of::<(u64, Arc<Stamp>)>() + 1;
        self.shards.iter().map(|shard| lock(shard).current.capacity() * PLACE).sum()
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).current.len()).sum()
    }
}

impl Shard {
    /// Removes stamps that nothing depends on. If it runs when the shard has
    /// doubled since the last time, its cost per stamp is constant, and at most
    /// half of the stamps are unused.
    fn sweep_if_due(&mut self) {
        if self.current.len() < self.sweep_at.max(SMALLEST_SWEEP) {
            return;
        }
        self.sweep();
    }

    fn sweep(&mut self) {
        // Nobody can take a new reference meanwhile, because this needs
        // the lock.
        self.current.retain(|_, stamp| Arc::strong_count(stamp) > 1);
        if self.current.capacity() > 4 * self.current.len() {
            self.current.shrink_to_fit();
        }
        self.sweep_at = 2 * self.current.len();
    }
}

/// For keys that are already hashes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Prehashed;

pub(crate) struct PrehashedHasher(u64);

impl BuildHasher for Prehashed {
    type Hasher = PrehashedHasher;

    fn build_hasher(&self) -> PrehashedHasher {
        PrehashedHasher(0)
    }
}

impl std::hash::Hasher for PrehashedHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // The key of a fragment is a SHA-1: its first eight bytes are a
        // good hash.
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write_usize(&mut self, _length: usize) {}
}
