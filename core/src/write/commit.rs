//! The barrier around a commit: from before the commit until it is over, what its
//! rows affect is neither found nor stored.
//!
//! No database reports exactly when a commit becomes visible to readers: a hook
//! of SQLite runs before that, and a caller may learn of it long after. With an
//! invalidation before that moment, a fill could store old rows that it still
//! reads. With an invalidation after it, there is a moment in which readers of
//! the database see the new rows, and readers of the cache the old ones. So the
//! writer marks the changes before the commit, and invalidates after it.

use std::fmt;

use crate::cache::handle::Cacheops;
use crate::error::Error;
use crate::fragment::Fragment;
use crate::queryset::{Conjunction, LeaseScope};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Arc, RwLock, block_on, read, write};
use crate::value::Row;
use crate::write::delivery::{Delivery, Step};
use crate::write::invalidation::{Invalidation, Subject, WriteEvent};
use crate::write::keys::{
    Scheme, conjunction_key, conjunction_stem, name_key, registry_key, row_key, variant_key,
    variant_stem,
};

/// If more rows of one table change, the whole table is marked.
const MOST_ROWS: usize = 64;

/// A commit in progress; see [`Cacheops::begin_commit`]. Report how it ends. If
/// you drop it, it counts as [`committed`](Self::committed). If nothing was
/// committed, this drops fragments for nothing, but nothing becomes stale.
#[must_use = "dropped, it counts as committed"]
pub struct PendingCommit {
    cache: Cacheops,
    mark: Option<CommitMark>,
    steps: Vec<Step>,
}

impl Cacheops {
    /// Marks the changes of a transaction **before** it commits. Until the
    /// result reports how the commit ended, lookups of this cache find
    /// nothing that the changes affect, and nothing made from it is stored.
    /// Everything else stays a hit.
    ///
    /// It does no I/O and never waits, so a database hook can call it. Over a
    /// shared tier, other processes learn of the changes after the commit.
    ///
    /// Use it for sources of writes that report a commit before readers can
    /// see it, or some time after. If you can call
    /// [`invalidate_batch`](Self::invalidate_batch) right after the commit,
    /// you do not need it, except for readers in between.
    ///
    /// ```
    /// use cacheops::{Cacheops, WriteEvent};
    ///
    /// # #[derive(serde::Serialize)] struct Article { id: u32 }
    /// let cache = Cacheops::in_memory();
    /// let articles = || cache.cached_as("articles").get_or_fill(|| Ok::<_, cacheops::Error>(7));
    /// articles()?;
    /// let commit = cache.begin_commit([WriteEvent::insert("articles", &Article { id: 1 })]);
    /// articles()?; // a miss, not stored
    /// // COMMIT
    /// commit.committed()?;
    /// articles()?; // a miss, stored
    /// articles()?;
    /// assert_eq!((cache.stats().hits, cache.stats().stored), (1, 2));
    /// # Ok::<_, cacheops::Error>(())
    /// ```
    pub fn begin_commit(&self, events: impl IntoIterator<Item = WriteEvent>) -> PendingCommit {
        let settings = &self.inner.settings;
        let mut steps = Step::all(&self.inner, events);
        // Marked first: what leases from here on is not kept, and what leased
        // before is met by the drop.
        let mark = (!steps.is_empty()).then(|| CommitMark::set(&self.inner.commits, &steps));
        if settings.shared.is_none() {
            for step in &mut steps {
                if let Some(invalidation) = &step.invalidation {
                    step.dropped = settings.store.invalidate(invalidation, self.inner.now());
                }
            }
        }
        PendingCommit { cache: self.clone(), mark, steps }
    }
}

impl PendingCommit {
    /// Invalidates what the changes affect, when readers of the database see
    /// them, and removes the mark.
    ///
    /// # Errors
    ///
    /// As [`Cacheops::invalidate_batch`].
    pub fn committed(mut self) -> Result<(), Error> {
        block_on(self.delivery().run())
    }

    /// [`committed`](Self::committed) as a future, which waits for a shared
    /// tier without blocking the thread. If it is dropped, the rest is still
    /// carried out, as with [`Cacheops::invalidate_batch_async`].
    ///
    /// # Errors
    ///
    /// As [`Cacheops::invalidate_batch`].
    pub async fn committed_async(mut self) -> Result<(), Error> {
        self.delivery().run().await
    }

    /// Like [`committed`](Self::committed), for a caller that has nobody to return
    /// the error to. If the shared tier cannot be reached, what did not get there
    /// stays marked: this process still finds nothing that it affects. Call this
    /// again until it succeeds.
    ///
    /// # Errors
    ///
    /// As [`Cacheops::invalidate_batch`]. If [`Error::is_transient`] is false, nothing
    /// is left to be tried again.
    ///
    /// ```
    /// use cacheops::{Cacheops, WriteEvent};
    ///
    /// let cache = Cacheops::in_memory();
    /// let mut commit = cache.begin_commit([WriteEvent::table("articles")]);
    /// // COMMIT
    /// while commit.try_committed().is_err_and(|error| error.is_transient()) {
    ///     // Wait, as long as the application can.
    /// #   break;
    /// }
    /// ```
    pub fn try_committed(&mut self) -> Result<(), Error> {
        let (mut unreachable, mut first, mut left) = (Ok(()), Ok(()), 0);
        while let Some(step) = self.steps.get(left) {
            let done = block_on(step.deliver(&self.cache.inner));
            if done.as_ref().is_err_and(Error::is_transient) {
                left += 1;
                unreachable = unreachable.and(done);
            } else {
                let mistake = self.steps.remove(left).error;
                first = first.and(done).and(mistake.map_or(Ok(()), Err));
            }
        }
        if self.steps.is_empty() {
            self.mark = None;
        }
        unreachable.and(first)
    }

    /// Removes the mark: nothing was written.
    pub fn rolled_back(mut self) {
        self.steps.clear();
    }

    fn delivery(&mut self) -> Delivery {
        Delivery::of(&self.cache.inner, std::mem::take(&mut self.steps), self.mark.take())
    }
}

impl Drop for PendingCommit {
    fn drop(&mut self) {
        drop(self.delivery());
    }
}

impl fmt::Debug for PendingCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingCommit").field("changes", &self.steps.len()).finish_non_exhaustive()
    }
}

/// What one commit touches is marked while this lives.
pub(crate) struct CommitMark {
    commits: Arc<Commits>,
    invalidations: Arc<Vec<Invalidation>>,
}

impl CommitMark {
    fn set(commits: &Arc<Commits>, steps: &[Step]) -> Self {
        let all = steps.iter().filter_map(|step| step.invalidation.as_ref());
        let invalidations = all.map(|invalidation| invalidation.bounded(MOST_ROWS));
        let invalidations: Arc<Vec<Invalidation>> = Arc::new(invalidations.collect());
        commits.change(|marks| marks.push(invalidations.clone()));
        CommitMark { commits: commits.clone(), invalidations }
    }
}

impl Drop for CommitMark {
    fn drop(&mut self) {
        self.commits.change(|marks| marks.retain(|other| !Arc::ptr_eq(other, &self.invalidations)));
    }
}

/// The commits in progress.
#[derive(Default)]
pub(crate) struct Commits {
    /// How many there are: read at each lookup, written by commits alone.
    count: AtomicUsize,
    marks: RwLock<Vec<Arc<Vec<Invalidation>>>>,
}

impl Commits {
    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Vec<Invalidation>>>)) {
        let mut marks = write(&self.marks);
        change(&mut marks);
        self.count.store(marks.len(), Ordering::SeqCst);
    }

    fn any(&self, meets: impl Fn(&Invalidation) -> bool) -> bool {
        self.count.load(Ordering::SeqCst) > 0
            && read(&self.marks).iter().flat_map(|mark| mark.iter()).any(meets)
    }

    /// Whether one of them touches what a fill will stand on. To be asked after
    /// its lease: if none does by then, the fill reads what is there after those
    /// that did.
    pub(crate) fn touch_scope(&self, scope: &LeaseScope<'_>) -> bool {
        self.any(|invalidation| touches_scope(invalidation, scope))
    }

    /// Whether one of them touches what a fragment stands on.
    pub(crate) fn touch(&self, fragment: &Fragment) -> bool {
        self.any(|invalidation| {
            let touched = Touched::by(invalidation);
            fragment.stamps().iter().any(|stamp| {
                let mut is_touched = touched.includes(stamp.shared_key());
                stamp.visit_above(|above| is_touched |= touched.includes(above.shared_key()));
                is_touched
            })
        })
    }
}

fn touches_scope(invalidation: &Invalidation, scope: &LeaseScope<'_>) -> bool {
    let is_of = |table: &str| scope.prefixes.of(table) == invalidation.prefix;
    match &invalidation.subject {
        Subject::Everything => true,
        Subject::Table(table) => scope.tables.iter().any(|dnf| dnf.table == *table && is_of(table)),
        Subject::Rows { table, rows } => scope
            .tables
            .iter()
            .filter(|dnf| dnf.table == *table && is_of(table))
            .flat_map(|dnf| &dnf.conjunctions)
            .any(|conjunction| meets(table, conjunction, rows)),
        Subject::Fragment(name) => {
            scope.name.is_some_and(|it| it.trim() == name.trim()) && is_of("")
        }
        Subject::Variant { name, variant } => {
            scope.name.is_some_and(|it| it.trim() == name.trim())
                && scope.variant == Some(&**variant)
                && is_of("")
        }
    }
}

/// Whether one of `rows` can be among those of a conjunction.
fn meets(table: &str, conjunction: &Conjunction, rows: &[Row]) -> bool {
    let mut key = String::new();
    conjunction_key("", table, conjunction, &mut key);
    spells("", table, &Scheme::of(conjunction), rows, &key)
}

/// Whether one of `rows` spells `key` by a scheme, or may.
fn spells(prefix: &str, table: &str, scheme: &Scheme, rows: &[Row], key: &str) -> bool {
    let mut spelled = String::new();
    rows.iter().any(|row| !row_key(prefix, table, scheme, row, &mut spelled) || spelled == key)
}

/// Which keys of the shared tier a change touches.
struct Touched<'d> {
    invalidation: &'d Invalidation,
    /// The key that stands for the whole of it.
    whole: Vec<u8>,
    /// What the keys of its parts begin with.
    stem: Vec<u8>,
}

impl<'d> Touched<'d> {
    fn by(invalidation: &'d Invalidation) -> Self {
        let prefix = &*invalidation.prefix;
        let (whole, stem) = match &invalidation.subject {
            Subject::Rows { table, .. } | Subject::Table(table) => {
                (registry_key(prefix, table).into_bytes(), conjunction_stem(prefix, table))
            }
            Subject::Fragment(name) => (name_key(prefix, name), variant_stem(prefix, name)),
            Subject::Variant { name, variant } => {
                let key = variant_key(prefix, name, variant);
                (key.clone(), key)
            }
            Subject::Everything => Default::default(),
        };
        Touched { invalidation, whole, stem }
    }

    fn includes(&self, key: Option<&[u8]>) -> bool {
        let Some(key) = key else { return true };
        match &self.invalidation.subject {
            Subject::Everything => true,
            Subject::Rows { table, rows } => {
                key.starts_with(&self.stem)
                    && std::str::from_utf8(key).map_or(true, |key| {
                        let scheme = Scheme::of_key(&key[self.stem.len()..]);
                        spells(&self.invalidation.prefix, table, &scheme, rows, key)
                    })
            }
            Subject::Table(_) | Subject::Fragment(_) | Subject::Variant { .. } => {
                key == self.whole || key.starts_with(&self.stem)
            }
        }
    }
}
