//! What was read outside of any fill, and may be shown by one that begins
//! later: a row in a loop around a tag, a value that came from the cache.
//! Nobody can tell whether a fill shows it. So it counts for as long as one
//! may, and a fill that begins after some of it has changed is not stored. To
//! count it for too long costs a store, and nothing else.

use std::collections::HashSet;

use crate::store::{Stamp, invalidations};
#[cfg(feature = "redis")]
use crate::store::{StoreId, Stores};
use crate::sync::Arc;

/// Identifies who shows rows: they count while it lives.
#[derive(Debug, Default)]
pub struct RowReader(std::sync::Arc<()>);

impl RowReader {
    /// A reader of its own.
    #[must_use]
    pub fn new() -> Self {
        RowReader::default()
    }
}

/// All reads of a page: only their stamps, since a page may outlive what the
/// memory limit evicts.
#[derive(Default)]
pub(crate) struct PageReads {
    list: Vec<Arc<Stamp>>,
    /// The number of stamps at which the next sweep is due.
    sweep_at: usize,
    /// Some of it has changed, for good: no need to know which.
    is_outdated: bool,
    /// The count of invalidations at the last check, and how many stamps were
    /// found current by it.
    checked: (u64, usize),
    #[cfg(feature = "redis")]
    stores: Stores,
}

/// The number of stamps before the first sweep.
const FEW: usize = 64;

/// The most different stamps that a page holds. More count as if one had
/// changed: a page that an application never ends must not grow for good.
const MAX_STAMPS: usize = 1 << 16;

impl PageReads {
    pub(crate) fn add(&mut self, stamps: &[Arc<Stamp>]) {
        if self.is_outdated || self.ends_with(stamps) {
            return;
        }
        if self.list.len() >= self.sweep_at.max(FEW) {
            self.sweep();
        }
        if !self.is_outdated {
            self.list.extend_from_slice(stamps);
        }
    }

    /// Whether these were added last, as by a loop that reads one thing again
    /// and again.
    fn ends_with(&self, stamps: &[Arc<Stamp>]) -> bool {
        let from = self.list.len().checked_sub(stamps.len());
        let last = from.and_then(|from| self.list.get(from..));
        last.is_some_and(|last| last.iter().zip(stamps).all(|(a, b)| Arc::ptr_eq(a, b)))
    }

    /// Drops duplicates, and all stamps once one has changed for good. A stamp
    /// of a shared store may have been dropped for less: the store can tell
    /// whether it still holds.
    fn sweep(&mut self) {
        if self.list.iter().any(|stamp| has_changed(stamp)) {
            return self.outdate();
        }
        self.list.sort_unstable_by_key(Arc::as_ptr);
        self.list.dedup_by(|a, b| Arc::ptr_eq(a, b));
        self.checked = (0, 0);
        #[cfg(feature = "redis")]
        self.stores.look_again();
        self.sweep_at = 2 * self.list.len();
        if self.list.len() > MAX_STAMPS {
            self.outdate();
        }
    }

    pub(crate) fn outdate(&mut self) {
        *self = PageReads { is_outdated: true, ..PageReads::default() };
    }

    /// Whether all of it is still current; to be called after a lease.
    pub(crate) fn is_current(&mut self) -> bool {
        if self.is_outdated {
            return false;
        }
        let count = invalidations();
        let from = if self.checked.0 == count { self.checked.1 } else { 0 };
        let is_current = self.list[from..].iter().all(|stamp| stamp.is_current());
        if is_current {
            self.checked = (count, self.list.len());
        }
        is_current
    }

    #[cfg(feature = "redis")]
    pub(crate) fn stamps(&self) -> impl Iterator<Item = &Arc<Stamp>> {
        self.list.iter()
    }

    /// Whether one of the stamps is of such a store.
    #[cfg(feature = "redis")]
    pub(crate) fn has_read(&mut self, is_such: impl Fn(Option<StoreId>) -> bool) -> bool {
        self.stores.of(&self.list).iter().any(|store| is_such(*store))
    }

    /// Whether it still knows all stamps.
    #[cfg(feature = "redis")]
    pub(crate) fn is_complete(&self) -> bool {
        !self.is_outdated
    }
}

/// Whether what a stamp stands for has changed for good, as far as this process
/// can tell.
fn has_changed(stamp: &Stamp) -> bool {
    #[cfg(feature = "redis")]
    if stamp.shared().is_some() {
        return false;
    }
    !stamp.is_current()
}

/// Rows that a thread has read outside of any fill. They count while their
/// reader lives. Those that were read outside of any page also count for the
/// next page of the thread, which may show what was made from them.
pub(crate) struct UnscopedReads {
    list: Vec<UnscopedRead>,
    sweep_at: usize,
    /// Something that the next page may show has changed, or was forgotten.
    is_outdated: bool,
}

struct UnscopedRead {
    reader: std::sync::Weak<()>,
    stamps: Arc<[Arc<Stamp>]>,
    is_unclaimed: bool,
}

impl UnscopedRead {
    fn has_reader(&self) -> bool {
        self.reader.strong_count() > 0
    }

    fn is_current(&self) -> bool {
        self.stamps.iter().all(|stamp| stamp.is_current())
    }
}

impl UnscopedReads {
    pub(crate) const fn new() -> Self {
        UnscopedReads { list: Vec::new(), sweep_at: FEW, is_outdated: false }
    }

    pub(crate) fn add(
        &mut self,
        reader: &RowReader,
        stamps: &Arc<[Arc<Stamp>]>,
        is_unclaimed: bool,
    ) {
        let address = std::sync::Arc::as_ptr(&reader.0);
        let last = self.list.iter_mut().rev().take(FEW);
        for read in last.filter(|read| read.reader.as_ptr() == address) {
            if Arc::ptr_eq(&read.stamps, stamps) {
                read.is_unclaimed |= is_unclaimed;
                return;
            }
            // What a page has noted already is only needed until the next read.
            if !read.is_unclaimed {
                (read.stamps, read.is_unclaimed) = (stamps.clone(), is_unclaimed);
                return;
            }
        }
        if self.list.len() >= self.sweep_at {
            self.sweep();
        }
        let reader = std::sync::Arc::downgrade(&reader.0);
        self.list.push(UnscopedRead { reader, stamps: stamps.clone(), is_unclaimed });
    }

    /// Drops what no longer counts. In a thread that never enters a page, it
    /// does not hold reads without readers for good, nor everything that one
    /// reader has read again and again.
    fn sweep(&mut self) {
        self.list.retain(|read| read.has_reader() || read.is_unclaimed);
        let waiting = || self.list.iter().filter(|read| !read.has_reader());
        if waiting().count() > FEW * FEW || !waiting().all(UnscopedRead::is_current) {
            self.is_outdated = true;
            self.list.retain(UnscopedRead::has_reader);
        }
        self.list.reverse();
        // One changed read of a reader stands for all of them.
        let mut seen = HashSet::new();
        self.list.retain(|read| {
            let is_of = (read.reader.as_ptr(), read.is_unclaimed);
            (read.is_unclaimed && read.is_current()) || seen.insert(is_of)
        });
        self.list.reverse();
        self.sweep_at = FEW + 2 * self.list.len();
    }

    /// Passes what was read before a page to it.
    pub(crate) fn claim(&mut self, reads: &mut PageReads) {
        if std::mem::take(&mut self.is_outdated) {
            reads.outdate();
        }
        for read in self.list.iter_mut().filter(|read| read.is_unclaimed) {
            read.is_unclaimed = false;
            reads.add(&read.stamps);
        }
    }

    /// Whether everything that still has a reader is current.
    pub(crate) fn is_current(&self) -> bool {
        self.list.iter().all(|read| !read.has_reader() || read.is_current())
    }

    #[cfg(feature = "redis")]
    pub(crate) fn stamps(&self) -> impl Iterator<Item = &Arc<Stamp>> {
        self.list.iter().filter(|read| read.has_reader()).flat_map(|read| read.stamps.iter())
    }
}

#[cfg(test)]
mod tests;
