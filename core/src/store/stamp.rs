//! Stamps: tokens that are replaced and never come back.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Arc, Mutex, lock};

/// What stands under a conjunction key, under a table (its epoch), under the
/// name of a fragment, or under everything.
///
/// In one process the token is the object itself: it is never reused, and
/// whoever holds one sees in it whether it is still the current one. A stamp
/// holds only while its parent does: a conjunction's parent is the epoch of
/// its table, and every line ends in the stamp of everything. So each kind of
/// invalidation drops one stamp and reaches all that was made under it,
/// without knowing any of it.
#[derive(Debug)]
pub(crate) struct Stamp {
    dropped: AtomicBool,
    parent: Option<Arc<Stamp>>,
    /// Boxed, so that millions of stamps of one process pay a word.
    meta: Option<Box<StampMeta>>,
}

/// What few stamps know of themselves.
#[derive(Debug, Default)]
pub(crate) struct StampMeta {
    /// What it stands for; kept only for inspection.
    pub(crate) label: Option<String>,
    #[cfg(feature = "redis")]
    pub(crate) shared: Option<super::token::SharedStamp>,
}

impl Stamp {
    pub(crate) fn new(parent: Option<Arc<Stamp>>, meta: Option<Box<StampMeta>>) -> Arc<Self> {
        Arc::new(Stamp { dropped: AtomicBool::new(false), parent, meta })
    }

    /// One that is not current, and never will be.
    pub(crate) fn dropped() -> Arc<Self> {
        Arc::new(Stamp { dropped: AtomicBool::new(true), parent: None, meta: None })
    }

    /// Whether it and all above it are still the current ones.
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

    /// Whether it or one above it was dropped, but for the one above all.
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

    pub(crate) fn drop_it(&self) {
        self.dropped.store(true, Ordering::SeqCst);
    }

    /// Shows all that is above this one, and so holds while this one does.
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

    /// What it costs beyond a stamp that knows nothing of itself, in bytes.
    pub(crate) fn extra_weight(&self) -> usize {
        self.meta.as_ref().map_or(0, |meta| meta.weight())
    }

    #[cfg(feature = "redis")]
    pub(crate) fn parent(&self) -> Option<&Arc<Stamp>> {
        self.parent.as_ref()
    }

    /// Whether it can stand for `key`. In one process two keys of one hash may
    /// share a stamp, and go together; in a shared store each has its own.
    #[cfg(feature = "redis")]
    fn is_at(&self, key: &[u8]) -> bool {
        self.shared().is_none_or(|shared| **shared.key() == *key)
    }

    #[cfg(not(feature = "redis"))]
    fn is_at(&self, _key: &[u8]) -> bool {
        true
    }

    /// Its key in the shared store, if there is one.
    pub(crate) fn shared_key(&self) -> Option<&[u8]> {
        #[cfg(feature = "redis")]
        return self.shared().map(|shared| &**shared.key());
        #[cfg(not(feature = "redis"))]
        None
    }

    /// What it is in the shared store, if there is one.
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

/// How many invalidations have been carried out in this process, from one on.
/// Read after a lease, it tells whether stamps that were current at an earlier
/// count still are: a lease and an invalidation exclude each other, and each
/// counts when all its stamps are dropped.
static INVALIDATIONS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

/// See [`INVALIDATIONS`].
pub(crate) fn invalidations() -> u64 {
    INVALIDATIONS.load(std::sync::atomic::Ordering::SeqCst)
}

/// Counts one; a store does so while it keeps leases out.
pub(crate) fn count_invalidation() {
    INVALIDATIONS.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
}

/// The current stamps under keys.
///
/// Keys are kept as 64-bit hashes, seeded anew in each store: two keys that
/// share one share a stamp, and are invalidated together.
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

/// A shard is not worth sweeping below this.
const SMALLEST_SWEEP: usize = 64;

impl Stamps {
    pub(crate) fn new() -> Self {
        Stamps {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::new(Shard::default())).collect(),
        }
    }

    fn shard(&self, hash: u64) -> &Mutex<Shard> {
        // The map inside uses the low and the top bits.
        &self.shards[(hash >> 32) as usize % SHARDS]
    }

    /// The current stamp under `key`, made if there is none.
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
            if under_same && stamp.is_at(key) {
                return stamp.clone();
            }
            // Made under an epoch that is gone, or for another key of the same
            // hash: replaced, and so dropped.
            stamp.drop_it();
        }
        let stamp = Stamp::new(Some(parent.clone()), meta());
        shard.current.insert(hash, stamp.clone());
        shard.sweep_if_due();
        stamp
    }

    /// Drops the stamp under `key`; says whether there was one.
    pub(crate) fn drop_key(&self, key: &[u8]) -> bool {
        let hash = self.hasher.hash_one(key);
        let mut shard = lock(self.shard(hash));
        let dropped = shard.current.remove(&hash);
        if let Some(stamp) = &dropped {
            // Under the lock: who comes next finds none, and relies on that
            // the one that was there is dropped.
            stamp.drop_it();
        }
        drop(shard);
        dropped.is_some()
    }

    /// Drops `stamp` if it is the one under `key`.
    #[cfg(feature = "redis")]
    pub(crate) fn drop_stamp(&self, key: &[u8], stamp: &Arc<Stamp>) {
        let hash = self.hasher.hash_one(key);
        let mut shard = lock(self.shard(hash));
        stamp.drop_it();
        if shard.current.get(&hash).is_some_and(|current| Arc::ptr_eq(current, stamp)) {
            shard.current.remove(&hash);
        }
    }

    /// Forgets stamps that nothing depends on any more.
    pub(crate) fn sweep(&self) {
        self.shards.iter().for_each(|shard| lock(shard).sweep());
    }

    /// What the places of all stamps take, in bytes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        const PLACE: usize = size_of::<(u64, Arc<Stamp>)>() + 1;
        self.shards.iter().map(|shard| lock(shard).current.capacity() * PLACE).sum()
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).current.len()).sum()
    }
}

impl Shard {
    /// Forgets stamps that nothing depends on any more. Done when the shard
    /// has doubled since the last time, it costs a stamp's worth per stamp and
    /// leaves at most as many idle ones as there are others.
    fn sweep_if_due(&mut self) {
        if self.current.len() < self.sweep_at.max(SMALLEST_SWEEP) {
            return;
        }
        self.sweep();
    }

    fn sweep(&mut self) {
        // Nobody can take a new reference meanwhile: that needs this lock.
        self.current.retain(|_, stamp| Arc::strong_count(stamp) > 1);
        if self.current.capacity() > 4 * self.current.len() {
            self.current.shrink_to_fit();
        }
        self.sweep_at = 2 * self.current.len();
    }
}

/// Keys that are hashes already.
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
        // A fragment's key is a SHA-1: its first eight bytes are as good.
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write_usize(&mut self, _length: usize) {}
}
