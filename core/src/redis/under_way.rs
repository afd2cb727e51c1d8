//! What this process does to the store, and has not taken in yet.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use crate::store::MemoryStore;
use crate::sync::lock;

/// Writes and invalidations under way. The server does not tell a process of
/// them, nor from then on of what others do to the same keys until they are
/// read again: so of keys that it writes it knows nothing, until it has taken
/// in the replies.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    /// When each write began.
    writes: Mutex<BTreeMap<u64, Instant>>,
    next: AtomicU64,
    drops: AtomicUsize,
}

/// A write whose replies are not taken in yet. If they never are, since its
/// future is dropped, all that is in memory is distrusted.
pub(crate) struct Writing<'a> {
    under_way: &'a UnderWay,
    near: &'a MemoryStore,
    number: u64,
    /// Whether it drops stamps.
    drops: bool,
    /// Whether memory knows what came of it.
    is_known: bool,
}

impl UnderWay {
    /// Is called before something is written, which is under way until what is
    /// returned ends.
    pub(crate) fn write<'a>(&'a self, near: &'a MemoryStore) -> Writing<'a> {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        lock(&self.writes).insert(number, Instant::now());
        Writing { under_way: self, near, number, drops: false, is_known: false }
    }

    /// [`write`](Self::write) for what is dropped in the store, and then in
    /// memory.
    pub(crate) fn drop_in<'a>(&'a self, near: &'a MemoryStore) -> Writing<'a> {
        self.drops.fetch_add(1, Ordering::SeqCst);
        let mut writing = self.write(near);
        writing.drops = true;
        writing
    }

    /// Whether the store may lack stamps that memory still has.
    pub(crate) fn is_dropping(&self) -> bool {
        self.drops.load(Ordering::SeqCst) > 0
    }

    /// Up to when all changes are heard of, if all news are heard up to `sent`.
    pub(crate) fn heard_until(&self, sent: Instant) -> Instant {
        let oldest = lock(&self.writes).values().min().copied();
        oldest.map_or(sent, |oldest| oldest.min(sent))
    }
}

impl Writing<'_> {
    /// Ends it: memory knows what came of it.
    pub(crate) fn end(mut self) {
        self.is_known = true;
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if !self.is_known {
            self.near.all_changed();
        }
        lock(&self.under_way.writes).remove(&self.number);
        if self.drops {
            self.under_way.drops.fetch_sub(1, Ordering::SeqCst);
        }
    }
}
