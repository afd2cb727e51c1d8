//! Transactions: what is read in one that has written is neither taken from the
//! cache nor kept, and what it wrote is invalidated when it commits.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::future::Future;

use crate::cache::handle::Cacheops;
use crate::read::recorder;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::scoped::{PollScope, ScopedFuture};
use crate::sync::{Arc, Mutex, lock, thread_local};
use crate::write::commit::PendingCommit;
use crate::write::invalidation::WriteEvent;

/// More rows of one table in a transaction are kept as the table.
const MOST_ROWS: usize = 10_000;

/// A transaction of a database: see [`Cacheops::transaction`].
///
/// Computed [prefixes](crate::Builder::prefix_by), and whether invalidation is
/// [suppressed](crate::no_invalidation), are those of the thread that begins the commit
/// or drops it.
///
/// It belongs to a connection, not to a thread: it is `Send` and `Sync`, and
/// [`scope`](Self::scope) or [`scope_async`](Self::scope_async) say which reads
/// are made in it. For a nested transaction, take a
/// [`savepoint`](Self::savepoint).
///
/// Dropped without a word it may have been committed: what it wrote is
/// invalidated.
#[must_use = "dropped, it counts as committed"]
pub struct Transaction {
    cache: Cacheops,
    state: Arc<State>,
}

/// A place in a [`Transaction`] that it can go back to.
#[derive(Clone, Copy, Debug)]
pub struct Savepoint {
    events: usize,
}

impl Cacheops {
    /// Begins to note what a transaction of a database writes. Call it before the
    /// transaction reads anything.
    ///
    /// While it is clean, lookups in its [`scope`](Transaction::scope) find what
    /// there is. Once it has written, nothing is found there, and nothing that is
    /// made there is kept: it may show rows that nobody else sees yet. When it
    /// commits, all that it wrote is invalidated.
    ///
    /// What is made in a clean transaction is kept only if its queries read what is
    /// committed when they run: see [`read_committed`](Transaction::read_committed).
    ///
    /// ```
    /// use cacheops::{Cacheops, WriteEvent};
    ///
    /// # #[derive(serde::Serialize)] struct Article { id: u32 }
    /// # struct Db; impl Db { fn commit(&self) -> Result<(), std::io::Error> { Ok(()) } }
    /// # let db = Db;
    /// let cache = Cacheops::in_memory();
    /// let count = || cache.cached_as("articles").get_or_fill(|| Ok::<_, cacheops::Error>(7));
    /// count()?;
    ///
    /// let transaction = cache.transaction(); // BEGIN
    /// transaction.scope(count)?; // a hit
    /// transaction.write(WriteEvent::insert("articles", &Article { id: 1 })); // INSERT
    /// transaction.scope(count)?; // asks the database
    /// let commit = transaction.begin_commit();
    /// match db.commit() {
    ///     Ok(()) => commit.committed()?,
    ///     Err(_) => drop(commit), // nobody knows: it is invalidated
    /// }
    /// assert_eq!(cache.stats().hits, 1);
    /// # Ok::<_, cacheops::Error>(())
    /// ```
    pub fn transaction(&self) -> Transaction {
        Transaction { cache: self.clone(), state: Arc::default() }
    }
}

impl Transaction {
    /// Says that each query reads what is committed when it runs, as at the
    /// isolation level `READ COMMITTED`: while the transaction is clean, what is made
    /// in it is kept. Without it the transaction may read a snapshot that is older
    /// than what is cached (`REPEATABLE READ`, `SERIALIZABLE`, any transaction of
    /// SQLite), and nothing that is made in it is kept.
    pub fn read_committed(self) -> Self {
        self.state.sees_commits.store(true, Ordering::SeqCst);
        self
    }

    /// Notes a write that the transaction makes; call it before the statement runs
    /// if its reads may run at the same time, else after it.
    pub fn write(&self, event: WriteEvent) {
        self.state.write(event);
    }

    /// Whether it has written something that it has not taken back.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.state.is_dirty()
    }

    /// Sets a savepoint, as a nested transaction does at its beginning. To release
    /// it takes nothing.
    pub fn savepoint(&self) -> Savepoint {
        Savepoint { events: lock(&self.state.writes).events.len() }
    }

    /// Takes back what was written since a savepoint.
    pub fn rollback_to(&self, savepoint: Savepoint) {
        self.state.change(|writes| writes.truncate(savepoint.events));
    }

    /// Runs `reads`, whose queries run in this transaction.
    pub fn scope<R>(&self, reads: impl FnOnce() -> R) -> R {
        let _inside = self.state.begin();
        reads()
    }

    /// [`scope`](Self::scope) for a future, wherever it is polled. What it spawns is
    /// not covered.
    pub fn scope_async<F: Future>(&self, reads: F) -> impl Future<Output = F::Output> + use<F> {
        ScopedFuture::new(self.state.clone(), reads)
    }

    /// Marks what it wrote, right before the commit; the answer is to be told how
    /// the commit ended. See [`Cacheops::begin_commit`].
    pub fn begin_commit(self) -> PendingCommit {
        self.cache.begin_commit(self.state.take())
    }

    /// Ends it after a rollback: nothing was written.
    pub fn rolled_back(self) {
        self.state.take();
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let events = self.state.take();
        if !events.is_empty() {
            drop(self.cache.begin_commit(events));
        }
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("dirty", &self.is_dirty()).finish_non_exhaustive()
    }
}

/// What a transaction has written.
#[derive(Default)]
struct Writes {
    events: Vec<WriteEvent>,
    /// The rows of each table among them.
    rows: HashMap<String, usize>,
    /// Tables of which there were too many, rolled back or not.
    tables: BTreeSet<String>,
    /// Where a whole table stands in `events`.
    whole: HashMap<String, usize>,
    /// It has ended: what is still read in it is nobody's.
    has_ended: bool,
}

impl Writes {
    /// Notes an event that is not about rows; a table that is noted already stays as
    /// it is.
    fn note_whole(&mut self, event: WriteEvent) {
        if let Some(table) = event.table_name() {
            let place = self.events.len();
            match self.whole.get(table) {
                Some(known) if *known < place => return,
                _ => self.whole.insert(table.to_owned(), place),
            };
        }
        self.events.push(event);
    }

    fn truncate(&mut self, len: usize) {
        self.events.truncate(len);
        self.whole.retain(|_, place| *place < len);
    }
}

#[derive(Default)]
struct State {
    writes: Mutex<Writes>,
    /// How often it has written, or taken back.
    changes: AtomicU64,
    is_dirty: AtomicBool,
    sees_commits: AtomicBool,
}

impl State {
    fn change(&self, change: impl FnOnce(&mut Writes)) {
        let mut writes = lock(&self.writes);
        change(&mut writes);
        let is_dirty = writes.has_ended || !writes.events.is_empty() || !writes.tables.is_empty();
        self.is_dirty.store(is_dirty, Ordering::SeqCst);
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    fn write(&self, event: WriteEvent) {
        self.change(|writes| {
            let Some((table, count)) = event.table_and_rows() else {
                return writes.note_whole(event);
            };
            let rows = writes.rows.entry(table.to_owned()).or_default();
            *rows = rows.saturating_add(count);
            if *rows > MOST_ROWS {
                writes.tables.insert(table.to_owned());
            } else {
                writes.events.push(event);
            }
        });
    }

    fn take(&self) -> Vec<WriteEvent> {
        let mut events = Vec::new();
        self.change(|writes| {
            writes.has_ended = true;
            events = std::mem::take(&mut writes.events);
            let tables = std::mem::take(&mut writes.tables);
            events.extend(tables.iter().map(|table| WriteEvent::table(table)));
        });
        events
    }

    fn is_dirty(&self) -> bool {
        self.is_dirty.load(Ordering::SeqCst)
    }

    /// Whether what is made in it now, and is done before it changes, is of what is
    /// committed.
    fn is_committed(&self) -> bool {
        !self.is_dirty() && self.sees_commits.load(Ordering::SeqCst)
    }
}

thread_local! {
    /// The transactions in which this thread reads.
    static INSIDE: RefCell<Vec<Arc<State>>> = const { RefCell::new(Vec::new()) };
}

/// This thread reads in a transaction while it lives.
struct Inside {
    reading: Reading,
}

impl PollScope for Arc<State> {
    type Guard = Inside;

    fn begin(&self) -> Inside {
        let _ = INSIDE.try_with(|inside| inside.borrow_mut().push(self.clone()));
        let reading = Reading::begin(self);
        reading.note();
        Inside { reading }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = INSIDE.try_with(|inside| {
            let mut inside = inside.borrow_mut();
            let at = inside.iter().rposition(|state| Arc::ptr_eq(state, &self.reading.state));
            at.map(|at| inside.remove(at))
        });
        self.reading.note();
    }
}

/// Whether this thread reads in a transaction that has written.
pub(crate) fn is_dirty() -> bool {
    INSIDE.try_with(|inside| inside.borrow().iter().any(|state| state.is_dirty())).unwrap_or(false)
}

/// Something that is being read in a transaction.
struct Reading {
    state: Arc<State>,
    changes: u64,
    began_committed: bool,
}

impl Reading {
    fn begin(state: &Arc<State>) -> Self {
        let changes = state.changes.load(Ordering::SeqCst);
        Reading { state: state.clone(), changes, began_committed: state.is_committed() }
    }

    /// Whether it is of what is committed.
    fn is_committed(&self) -> bool {
        self.began_committed && self.state.changes.load(Ordering::SeqCst) == self.changes
    }

    /// Tells what is being made around this point of rows that nobody else sees.
    fn note(&self) {
        if !self.is_committed() {
            recorder::note_unknown(None);
        }
    }
}

/// What is being read in all the transactions of this thread.
#[derive(Default)]
pub(crate) struct Readings(Vec<Reading>);

impl Readings {
    pub(crate) fn begin() -> Self {
        let begin = |inside: &RefCell<Vec<_>>| inside.borrow().iter().map(Reading::begin).collect();
        Readings(INSIDE.try_with(begin).unwrap_or_default())
    }

    /// Whether all of it is of what is committed.
    pub(crate) fn are_committed(&self) -> bool {
        self.0.iter().all(Reading::is_committed)
    }
}
