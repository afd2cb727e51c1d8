//! The handle of a cache, and what an application tells it.

use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::cache::inner::Inner;
use crate::error::Error;
use crate::key::KeyWriter;
use crate::queryset::{QuerySet, canonical, check_table};
use crate::read::page::{Page, PrefetchMemory};
use crate::read::reads::RowReader;
use crate::read::recorder;
use crate::store::Dropped;
use crate::sync::scoped::ScopedFuture;
use crate::sync::{Arc, block_on};
use crate::value::Row;
use crate::write::delivery::Delivery;
use crate::write::invalidation::{WriteEvent, into_row};
use crate::write::keys::{Event, check_name};
use crate::write::suppression::{Suppression, SuppressionScope, is_suppressed};

/// A cache of fragments; the handle is cheap to clone and can be used from
/// any thread.
///
/// ```
/// use cacheops::{Cacheops, QuerySet, eq};
///
/// #[derive(serde::Serialize)]
/// struct Article {
///     id: u32,
///     category: u32,
/// }
///
/// let cache = Cacheops::in_memory();
/// let rust = QuerySet::table("articles").filter(eq("category", 3));
/// let mut runs = 0;
/// let mut titles = || {
///     cache.cached_as(&rust).get_or_fill(|| {
///         runs += 1; // here the database is asked
///         Ok::<_, cacheops::Error>(format!("made {runs} times"))
///     })
/// };
/// assert_eq!(titles()?, "made 1 times");
/// assert_eq!(titles()?, "made 1 times");
///
/// cache.invalidate_obj("articles", &Article { id: 7, category: 4 })?;
/// assert_eq!(titles()?, "made 1 times");
/// cache.invalidate_obj("articles", &Article { id: 8, category: 3 })?;
/// assert_eq!(titles()?, "made 2 times");
/// # Ok::<_, cacheops::Error>(())
/// ```
#[derive(Clone)]
pub struct Cacheops {
    pub(crate) inner: Arc<Inner>,
}

impl Cacheops {
    pub(crate) fn new(inner: Inner) -> Self {
        Cacheops { inner: Arc::new(inner) }
    }

    /// Whether two handles are of one cache.
    #[must_use]
    pub fn is_same(&self, other: &Cacheops) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Begins a [`Page`]: what is requested with it counts until it ends, and is
    /// fetched together where there is a shared tier.
    #[must_use]
    pub fn page(&self) -> Page {
        let is_shared = self.inner.settings.shared.is_some();
        Page::new(is_shared.then(|| self.inner.clone() as Arc<dyn PrefetchMemory>))
    }

    /// Invalidates what the row of `table` can be part of. Call it after the
    /// commit, with the row as it is after an insert or as it was before a
    /// delete. For an update both count: see
    /// [`invalidate_change`](Self::invalidate_change).
    ///
    /// When it has returned, no lookup that starts later finds anything made
    /// from data read before.
    ///
    /// # Errors
    ///
    /// A row that is no map; the whole table has been invalidated then. A
    /// shared tier that cannot be reached ([`ErrorKind::Unavailable`]): other
    /// processes may go on serving what was to be invalidated.
    ///
    /// [`ErrorKind::Unavailable`]: crate::ErrorKind::Unavailable
    pub fn invalidate_obj<T: Serialize + ?Sized>(&self, table: &str, row: &T) -> Result<(), Error> {
        block_on(self.invalidate_rows(table, [into_row(row)]))
    }

    /// Invalidates what the rows of `table` can be part of, in one go. Rows
    /// that would drop more than 100,000 stamps (rows times the schemes of the
    /// table) invalidate the whole table instead.
    ///
    /// # Errors
    ///
    /// The first row that is no map; the whole table has been invalidated then.
    /// A shared tier that cannot be reached.
    pub fn invalidate_objs<T: Serialize>(
        &self,
        table: &str,
        rows: impl IntoIterator<Item = T>,
    ) -> Result<(), Error> {
        block_on(self.invalidate_rows(table, rows.into_iter().map(|row| into_row(&row))))
    }

    /// Invalidates what an updated row was or is part of.
    ///
    /// # Errors
    ///
    /// A row that is no map; the whole table has been invalidated then. A
    /// shared tier that cannot be reached ([`ErrorKind::Unavailable`]): other
    /// processes may go on serving what was to be invalidated.
    ///
    /// [`ErrorKind::Unavailable`]: crate::ErrorKind::Unavailable
    pub fn invalidate_change<T: Serialize + ?Sized, U: Serialize + ?Sized>(
        &self,
        table: &str,
        old: &T,
        new: &U,
    ) -> Result<(), Error> {
        block_on(self.invalidate_rows(table, [into_row(old), into_row(new)]))
    }

    /// Invalidates what many changes met, of any tables. All of them are
    /// carried out, whatever error comes of one.
    ///
    /// ```
    /// use cacheops::{Cacheops, WriteEvent};
    ///
    /// # #[derive(serde::Serialize)] struct Article { id: u32 }
    /// let cache = Cacheops::in_memory();
    /// cache.invalidate_batch([
    ///     WriteEvent::insert("articles", &Article { id: 1 }),
    ///     WriteEvent::update("articles", &Article { id: 2 }, &Article { id: 3 }),
    ///     WriteEvent::table("tags"),
    ///     WriteEvent::fragment("sidebar"),
    /// ])?;
    /// # Ok::<_, cacheops::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The first row that is no map; its whole table has been invalidated. A
    /// shared tier that cannot be reached.
    pub fn invalidate_batch(
        &self,
        events: impl IntoIterator<Item = WriteEvent>,
    ) -> Result<(), Error> {
        block_on(self.invalidate_batch_async(events))
    }

    /// [`invalidate_batch`](Self::invalidate_batch) as a future, which waits
    /// for a shared tier without holding up the thread. It needs no particular
    /// runtime.
    ///
    /// What is announced, and behind which [prefixes](Builder::prefix_by), is
    /// decided when this is called, and so is [silence](Self::no_invalidation).
    /// From then on it is carried out to its end: if the future is dropped, as
    /// by a client that goes away, even before it was polled, the thread that
    /// keeps the connection does the rest. Without a shared tier it is done
    /// when this returns.
    ///
    /// # Errors
    ///
    /// As [`invalidate_batch`](Self::invalidate_batch).
    pub fn invalidate_batch_async<I: IntoIterator<Item = WriteEvent>>(
        &self,
        events: I,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<I> {
        let mut delivery = Delivery::begin(self, events);
        async move { delivery.run().await }
    }

    async fn invalidate_rows(
        &self,
        table: &str,
        rows: impl IntoIterator<Item = Result<Row, Error>>,
    ) -> Result<(), Error> {
        let table = canonical(table);
        if let Err(error) = check_table(&table) {
            return self.invalidate_widely(error).await;
        }
        let rows: Result<Vec<Row>, Error> = rows.into_iter().collect();
        match rows {
            Ok(rows) if rows.is_empty() => Ok(()),
            Ok(rows) => self.invalidate(Event::Rows { table: &table, rows: &rows }).await,
            Err(error) => {
                self.invalidate(Event::Table(&table)).await?;
                Err(error)
            }
        }
    }

    /// Everything, for an announcement of which nobody knows what it means.
    async fn invalidate_widely(&self, why: Error) -> Result<(), Error> {
        self.invalidate(Event::Everything).await?;
        Err(why)
    }

    /// Invalidates all that was made from a table. It costs the same however
    /// much that is.
    ///
    /// # Errors
    ///
    /// A name that is none, such as a pattern of tables; everything has been
    /// invalidated. A shared tier that cannot be reached.
    pub fn invalidate_model(&self, table: &str) -> Result<(), Error> {
        let table = canonical(table);
        match check_table(&table) {
            Ok(()) => block_on(self.invalidate(Event::Table(&table))),
            Err(error) => block_on(self.invalidate_widely(error)),
        }
    }

    /// Invalidates the fragments of a name, in all their variants. Blanks
    /// around a name do not count.
    ///
    /// # Errors
    ///
    /// An empty name, which no fragment has. A shared tier that cannot be
    /// reached.
    pub fn invalidate_fragment(&self, name: &str) -> Result<(), Error> {
        check_name(name)?;
        block_on(self.invalidate(Event::Name(name)))
    }

    /// Invalidates the fragments of a name that vary by just `extra`: what the
    /// tag was given as `extra`, a list if it was given several.
    ///
    /// # Errors
    ///
    /// An empty name, and an `extra` that no fragment can have, such as NaN. A
    /// shared tier that cannot be reached.
    pub fn invalidate_fragment_extra<T: Serialize + ?Sized>(
        &self,
        name: &str,
        extra: &T,
    ) -> Result<(), Error> {
        check_name(name)?;
        let mut variant = KeyWriter::new();
        variant.serialize(extra)?;
        block_on(self.invalidate(Event::Variant(name, variant.as_bytes())))
    }

    /// Invalidates everything.
    ///
    /// # Errors
    ///
    /// A shared tier that cannot be reached; never without one.
    pub fn invalidate_all(&self) -> Result<(), Error> {
        block_on(self.invalidate(Event::Everything))
    }

    async fn invalidate(&self, event: Event<'_>) -> Result<(), Error> {
        if is_suppressed() {
            return Ok(());
        }
        let prefix = self.inner.settings.prefix.of_event(&event);
        self.carry_out(&prefix, event, Dropped::default()).await
    }

    /// Runs `work` with invalidation switched off in this thread, of every
    /// cache: calls to invalidate do nothing. What changes meanwhile stays
    /// stale until it is invalidated by hand; it is for imports that end in one
    /// [`invalidate_model`](Self::invalidate_model).
    pub fn no_invalidation<R>(&self, work: impl FnOnce() -> R) -> R {
        let _suppression = Suppression::new();
        work()
    }

    /// [`no_invalidation`](Self::no_invalidation) for a future, wherever it is
    /// polled: calls that it makes to invalidate do nothing. What it spawns is
    /// not covered, nor what was announced before and is only awaited in it.
    pub fn no_invalidation_async<F: Future>(
        &self,
        work: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        ScopedFuture::new(SuppressionScope, work)
    }

    /// When any of the tables was last invalidated, by the cache's own clock,
    /// and over a shared tier by its clock, whichever process did it; with no
    /// table given, when any at all was. `None` when never, as far as is known.
    /// Names of fragments do not count.
    ///
    /// The fill around this point depends on all rows of the tables, and so does
    /// what a [`Page`](crate::Page) under way in this thread makes later. With no
    /// table given neither is kept: nothing tells of all changes.
    ///
    /// Where a shared tier cannot be reached, or has lost what it knew, the
    /// answer is now: later than it need be, never earlier.
    ///
    /// ```
    /// # let cache = cacheops::Cacheops::in_memory();
    /// assert_eq!(cache.get_last_invalidation(["articles"]), None);
    /// cache.invalidate_model("articles")?;
    /// assert!(cache.get_last_invalidation(["articles", "tags"]).is_some());
    /// # Ok::<_, cacheops::Error>(())
    /// ```
    pub fn get_last_invalidation<T: Into<String>>(
        &self,
        tables: impl IntoIterator<Item = T>,
    ) -> Option<SystemTime> {
        let tables: Vec<String> = tables.into_iter().map(canonical).collect();
        self.depend_on(&tables);
        let settings = &self.inner.settings;
        let micros = match &settings.shared {
            Some(shared) => block_on(shared.last_invalidation(&settings.prefix, &tables)),
            None => settings.store.last_invalidation(&tables),
        }?;
        Some(UNIX_EPOCH + Duration::from_micros(micros))
    }

    /// Has what is around this point depend on all rows of some tables; on those
    /// of all tables nothing can.
    fn depend_on(&self, tables: &[String]) {
        if !recorder::is_recording(None) {
            return;
        }
        let querysets: Vec<QuerySet> = tables.iter().map(QuerySet::table).collect();
        match self.lease(&querysets.iter().collect::<Vec<_>>()) {
            Ok(lease) if !tables.is_empty() => lease.bind(&RowReader::new()),
            _ => {
                self.do_not_cache();
                recorder::note_unknown(None);
            }
        }
    }

    /// Whether this is the first environment of an engine that comes here.
    pub(crate) fn is_first_environment(&self, engine: &'static str) -> bool {
        self.inner.is_first_environment(engine)
    }

    /// Switches the cache on or off; for tests. While it is off, everything is
    /// rendered and nothing kept; invalidation goes on, so that nothing stale
    /// is found when it is on again.
    pub fn set_enabled(&self, enabled: bool) {
        self.inner.set_enabled(enabled);
    }

    /// What stands before every key; without what is computed behind it.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.inner.settings.prefix.fixed()
    }
}

impl std::fmt::Debug for Cacheops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cacheops")
            .field("prefix", &self.inner.settings.prefix)
            .field("enabled", &self.inner.is_enabled())
            .finish_non_exhaustive()
    }
}
