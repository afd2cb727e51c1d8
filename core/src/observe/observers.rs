//! Notifying observers and `tracing`, and counting.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::Error;
use crate::observe::{CacheInvalidated, CacheRead, InvalidationFailed, Stats, Target};
use crate::store::Dropped;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::value::Row;
use crate::write::invalidation::{Invalidation, Subject};

/// How an invalidation ended successfully.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Delivered {
    Dropped(Dropped),
    /// It is queued until the shared tier is reachable.
    #[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "there is nothing to reach"))]
    Queued,
}

/// What an application observes.
#[derive(Default)]
pub(crate) struct Observers {
    pub(crate) reads: Vec<ReadObserver>,
    pub(crate) invalidations: Vec<InvalidationObserver>,
    pub(crate) failures: Vec<FailureObserver>,
    counts: Counts,
}

pub(crate) type ReadObserver = Box<dyn Fn(&CacheRead<'_>) + Send + Sync>;
pub(crate) type InvalidationObserver = Box<dyn Fn(&CacheInvalidated<'_>) + Send + Sync>;
pub(crate) type FailureObserver = Box<dyn Fn(&InvalidationFailed<'_>) + Send + Sync>;

/// Written by threads that invalidate, separate from what threads that look up
/// read.
#[repr(align(128))]
#[derive(Default)]
struct Counts {
    invalidations: AtomicU64,
    failed: AtomicU64,
    panics: AtomicU64,
}

impl Observers {
    /// Whether anybody observes reads. Otherwise nothing is measured.
    pub(crate) fn wants_reads(&self) -> bool {
        #[cfg(feature = "tracing")]
        if tracing::enabled!(target: "cacheops", tracing::Level::DEBUG) {
            return true;
        }
        !self.reads.is_empty()
    }

    pub(crate) fn read(&self, read: &CacheRead<'_>) {
        #[cfg(feature = "tracing")]
        tracing::debug!(
            target: "cacheops",
            name = read.name,
            outcome = %read.outcome,
            micros = read.time.as_micros() as u64,
            "cache_read"
        );
        self.notify_each(&self.reads, |observer| observer(read));
    }

    /// Counts an invalidation and notifies all observers.
    pub(crate) fn invalidated(
        &self,
        invalidation: &Invalidation,
        outcome: &Result<Delivered, Error>,
    ) {
        self.count(invalidation, outcome);
        self.notify(invalidation, outcome);
    }

    /// Counts an invalidation, and traces it.
    pub(crate) fn count(&self, invalidation: &Invalidation, outcome: &Result<Delivered, Error>) {
        let count = match outcome {
            Ok(_) => &self.counts.invalidations,
            Err(_) => &self.counts.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        #[cfg(feature = "tracing")]
        trace(invalidation, outcome);
        #[cfg(not(feature = "tracing"))]
        let _ = invalidation;
    }

    /// Whether anybody observes invalidations.
    #[cfg(feature = "redis")]
    pub(crate) fn wants_invalidations(&self) -> bool {
        !self.invalidations.is_empty() || !self.failures.is_empty()
    }

    /// Notifies the observers of an invalidation.
    pub(crate) fn notify(&self, invalidation: &Invalidation, outcome: &Result<Delivered, Error>) {
        let (target, rows) = target(invalidation);
        let (dropped, queued) = match outcome {
            Err(error) => {
                let failed = InvalidationFailed { target, rows, error };
                return self.notify_each(&self.failures, |observer| observer(&failed));
            }
            Ok(Delivered::Dropped(dropped)) => (*dropped, false),
            Ok(Delivered::Queued) => (Dropped::default(), true),
        };
        let Dropped { schemes, stamps, whole_table } = dropped;
        let done = CacheInvalidated { target, rows, schemes, dropped: stamps, whole_table, queued };
        self.notify_each(&self.invalidations, |observer| observer(&done));
    }

    /// Calls all observers. If one panics, it is counted, and the others are
    /// called. The panic affects neither the cache nor the caller.
    fn notify_each<O>(&self, observers: &[O], call: impl Fn(&O)) {
        if observers.is_empty() {
            return;
        }
        let _notifying = Notifying::begin();
        for observer in observers {
            if catch_unwind(AssertUnwindSafe(|| call(observer))).is_err() {
                self.counts.panics.fetch_add(1, Ordering::Relaxed);
                #[cfg(feature = "tracing")]
                tracing::error!(target: "cacheops", "an observer has panicked");
            }
        }
    }

    /// Adds what is counted here.
    pub(crate) fn add_to(&self, stats: Stats) -> Stats {
        Stats {
            invalidations: self.counts.invalidations.load(Ordering::Relaxed),
            failed_invalidations: self.counts.failed.load(Ordering::Relaxed),
            observer_panics: self.counts.panics.load(Ordering::Relaxed),
            ..stats
        }
    }
}

thread_local! {
    static NOTIFYING: Cell<u32> = const { Cell::new(0) };
}

/// Whether an observer runs on this thread. It must not wait for another caller's
/// fill: its own caller may lead that fill, or one that the other waits for.
pub(crate) fn is_notifying() -> bool {
    NOTIFYING.try_with(|count| count.get() > 0).unwrap_or(false)
}

/// While observers run.
struct Notifying;

impl Notifying {
    fn begin() -> Self {
        let _ = NOTIFYING.try_with(|count| count.set(count.get() + 1));
        Notifying
    }
}

impl Drop for Notifying {
    fn drop(&mut self) {
        let _ = NOTIFYING.try_with(|count| count.set(count.get().saturating_sub(1)));
    }
}

/// The target of an invalidation, and the rows that it names.
fn target(invalidation: &Invalidation) -> (Target<'_>, &[Row]) {
    match &invalidation.subject {
        Subject::Rows { table, rows } => (Target::Table(table), rows),
        Subject::Table(table) => (Target::Table(table), &[]),
        Subject::Fragment(name) | Subject::Variant { name, .. } => (Target::Fragment(name), &[]),
        Subject::Everything => (Target::Everything, &[]),
    }
}

#[cfg(feature = "tracing")]
fn trace(invalidation: &Invalidation, outcome: &Result<Delivered, Error>) {
    let (target, rows) = target(invalidation);
    let rows = rows.len();
    match outcome {
        Ok(Delivered::Dropped(Dropped { schemes, stamps, .. })) => tracing::debug!(
            target: "cacheops", what = %target, rows, schemes, dropped = stamps, "cache_invalidated"
        ),
        Ok(Delivered::Queued) => tracing::warn!(
            target: "cacheops",
            what = %target,
            rows,
            "an invalidation cannot be delivered yet: it is queued, and delivered before anything is \
             served again; until then other processes may serve what it is about"
        ),
        Err(error) => tracing::warn!(
            target: "cacheops",
            what = %target,
            rows,
            %error,
            "an invalidation has failed: other processes may serve what was to be invalidated"
        ),
    }
}
