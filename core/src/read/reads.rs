//! What was read outside of any fill, and may be shown by one that begins
//! later: a row in a loop around a tag, a value that was got from the cache.
//! Nobody can tell whether it is. So it counts as long as that can be, and a
//! fill that begins when some of it has changed is not kept. That something
//! counts for longer than it is shown costs storing, and nothing else.

use std::collections::HashSet;

use crate::store::{Stamp, invalidations};
use crate::sync::Arc;

/// All reads of a rendering: the stamps of what was read, and no more of it, for
/// a page may last longer than the memory limit keeps a fragment.
#[derive(Default)]
pub(crate) struct Reads {
    list: Vec<Arc<Stamp>>,
    /// At how many the next sweep is due.
    sweep_at: usize,
    /// Some of it has changed, which cannot be undone: no need to know which.
    is_outdated: bool,
    /// How many were found current, and at which count of invalidations.
    checked: (u64, usize),
}

/// How many stamps there are before the first sweep.
const FEW: usize = 64;

/// How many different stamps are kept. Beyond that it is as if one had changed:
/// a page that nobody ends, such as one of a state that an application keeps,
/// must not grow for good.
const MOST: usize = 1 << 16;

impl Reads {
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

    /// Whether these were added last, as by a loop that reads one thing.
    fn ends_with(&self, stamps: &[Arc<Stamp>]) -> bool {
        let from = self.list.len().checked_sub(stamps.len());
        let last = from.and_then(|from| self.list.get(from..));
        last.is_some_and(|last| last.iter().zip(stamps).all(|(a, b)| Arc::ptr_eq(a, b)))
    }

    /// Drops doubles; all of them, once one has changed for good. Over a shared
    /// store a stamp is dropped for less: it can be asked whether it still holds.
    fn sweep(&mut self) {
        if self.list.iter().any(|stamp| has_changed(stamp)) {
            return self.outdate();
        }
        self.list.sort_unstable_by_key(Arc::as_ptr);
        self.list.dedup_by(|a, b| Arc::ptr_eq(a, b));
        self.checked = (0, 0);
        self.sweep_at = 2 * self.list.len();
        if self.list.len() > MOST {
            self.outdate();
        }
    }

    pub(crate) fn outdate(&mut self) {
        *self = Reads { is_outdated: true, ..Reads::default() };
    }

    /// Whether all of it is still current; to be asked after a lease.
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

    /// Whether it still knows what was read.
    #[cfg(feature = "redis")]
    pub(crate) fn is_whole(&self) -> bool {
        !self.is_outdated
    }
}

/// Whether what a stamp stands for has changed, as far as can be told at all.
fn has_changed(stamp: &Stamp) -> bool {
    #[cfg(feature = "redis")]
    if stamp.shared().is_some() {
        return false;
    }
    !stamp.is_current()
}

/// Rows that were read in a thread. They count while their reader lives,
/// whatever is rendered meanwhile, and those that were read while nothing was
/// rendered count for the next rendering in the thread as well: it may have
/// been handed what is left of them.
pub(crate) struct Strays {
    list: Vec<Stray>,
    sweep_at: usize,
    /// One that the next rendering is to know has changed already.
    is_outdated: bool,
}

struct Stray {
    reader: std::sync::Weak<()>,
    stamps: Arc<[Arc<Stamp>]>,
    is_unclaimed: bool,
}

impl Stray {
    fn is_read(&self) -> bool {
        self.reader.strong_count() > 0
    }

    fn is_current(&self) -> bool {
        self.stamps.iter().all(|stamp| stamp.is_current())
    }
}

impl Strays {
    pub(crate) const fn new() -> Self {
        Strays { list: Vec::new(), sweep_at: FEW, is_outdated: false }
    }

    pub(crate) fn add(
        &mut self,
        reader: &std::sync::Arc<()>,
        stamps: &Arc<[Arc<Stamp>]>,
        is_unclaimed: bool,
    ) {
        let address = std::sync::Arc::as_ptr(reader);
        let last = self.list.iter_mut().rev().take(FEW);
        for stray in last.filter(|stray| stray.reader.as_ptr() == address) {
            if Arc::ptr_eq(&stray.stamps, stamps) {
                stray.is_unclaimed |= is_unclaimed;
                return;
            }
            // What a rendering knows need not count beyond the next look.
            if !stray.is_unclaimed {
                (stray.stamps, stray.is_unclaimed) = (stamps.clone(), is_unclaimed);
                return;
            }
        }
        if self.list.len() >= self.sweep_at {
            self.sweep();
        }
        let reader = std::sync::Arc::downgrade(reader);
        self.list.push(Stray { reader, stamps: stamps.clone(), is_unclaimed });
    }

    /// Drops those that count no longer. Where nothing is ever rendered, those
    /// whose readers are gone are not kept for good; nor is what one reader has
    /// read again and again.
    fn sweep(&mut self) {
        self.list.retain(|stray| stray.is_read() || stray.is_unclaimed);
        let waiting = || self.list.iter().filter(|stray| !stray.is_read());
        if waiting().count() > FEW * FEW || !waiting().all(Stray::is_current) {
            self.is_outdated = true;
            self.list.retain(Stray::is_read);
        }
        self.list.reverse();
        // One that has changed stands for all that have.
        let mut seen = HashSet::new();
        self.list.retain(|stray| {
            let is_of = (stray.reader.as_ptr(), stray.is_unclaimed);
            (stray.is_unclaimed && stray.is_current()) || seen.insert(is_of)
        });
        self.list.reverse();
        self.sweep_at = FEW + 2 * self.list.len();
    }

    /// Hands over to a rendering what was read before it.
    pub(crate) fn claim(&mut self, reads: &mut Reads) {
        if std::mem::take(&mut self.is_outdated) {
            reads.outdate();
        }
        for stray in self.list.iter_mut().filter(|stray| stray.is_unclaimed) {
            stray.is_unclaimed = false;
            reads.add(&stray.stamps);
        }
    }

    /// Whether what can still be read again is current.
    pub(crate) fn is_current(&self) -> bool {
        self.list.iter().all(|stray| !stray.is_read() || stray.is_current())
    }

    #[cfg(feature = "redis")]
    pub(crate) fn stamps(&self) -> impl Iterator<Item = &Arc<Stamp>> {
        self.list.iter().filter(|stray| stray.is_read()).flat_map(|stray| stray.stamps.iter())
    }
}

#[cfg(test)]
#[path = "reads_tests.rs"]
mod tests;
