//! The handle of a cache, through which an application announces changes.

use std::future::Future;

use serde::Serialize;

use crate::cache::inner::Inner;
use crate::error::Error;
use crate::read::page::{Page, PrefetchMemory};
use crate::sync::{Arc, block_on};
use crate::write::delivery::Delivery;
use crate::write::invalidation::{WriteEvent, into_row};

/// A cache of fragments. The handle is cheap to clone and can be used from any
/// thread.
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

    /// Whether two handles belong to the same cache.
    #[must_use]
    pub fn is_same(&self, other: &Cacheops) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Creates a [`Page`]. What is requested with it counts until the page
    /// ends and, over a shared tier, is fetched together.
    #[must_use]
    pub fn page(&self) -> Page {
        let is_shared = self.inner.settings.shared.is_some();
        Page::new(is_shared.then(|| self.inner.clone() as Arc<dyn PrefetchMemory>))
    }

    /// Invalidates the fragments that the row of `table` can be part of. Call
    /// it after the commit: with the new row after an insert, with the old
    /// row after a delete. An update needs both: see
    /// [`invalidate_change`](Self::invalidate_change).
    ///
    /// When it has returned, no lookup that starts later finds anything made
    /// from data that was read earlier.
    ///
    /// # Errors
    ///
    /// If the row is not a map; the whole table has been invalidated then. If the
    /// shared tier is unreachable ([`ErrorKind::Unavailable`]): other processes may
    /// still serve what was to be invalidated.
    ///
    /// [`ErrorKind::Unavailable`]: crate::ErrorKind::Unavailable
    pub fn invalidate_obj<T: Serialize + ?Sized>(&self, table: &str, row: &T) -> Result<(), Error> {
        self.invalidate_batch([WriteEvent::insert(table, row)])
    }

    /// Invalidates the fragments that the rows of `table` can be part of,
    /// together. If the rows would drop more than 100,000 stamps (rows times
    /// the schemes of the table), the whole table is invalidated instead.
    ///
    /// # Errors
    ///
    /// The first row that is not a map; the whole table has been invalidated then.
    /// An unreachable shared tier.
    pub fn invalidate_objs<T: Serialize>(
        &self,
        table: &str,
        rows: impl IntoIterator<Item = T>,
    ) -> Result<(), Error> {
        let rows = rows.into_iter().map(|row| into_row(&row));
        self.invalidate_batch([WriteEvent::rows(table, rows)])
    }

    /// Invalidates the fragments that an updated row was or is part of.
    ///
    /// # Errors
    ///
    /// If the row is not a map; the whole table has been invalidated then. If the
    /// shared tier is unreachable ([`ErrorKind::Unavailable`]): other processes may
    /// still serve what was to be invalidated.
    ///
    /// [`ErrorKind::Unavailable`]: crate::ErrorKind::Unavailable
    pub fn invalidate_change<T: Serialize + ?Sized, U: Serialize + ?Sized>(
        &self,
        table: &str,
        old: &T,
        new: &U,
    ) -> Result<(), Error> {
        self.invalidate_batch([WriteEvent::update(table, old, new)])
    }

    /// Invalidates the fragments that many changes affect, of any tables. All
    /// of them are carried out, even if one has an error.
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
    /// The first row that is not a map; its whole table has been invalidated. A
    /// [computed prefix](crate::Builder::prefix_by) that panicked; everything has been
    /// invalidated. An unreachable shared tier.
    pub fn invalidate_batch(
        &self,
        events: impl IntoIterator<Item = WriteEvent>,
    ) -> Result<(), Error> {
        block_on(self.invalidate_batch_async(events))
    }

    /// [`invalidate_batch`](Self::invalidate_batch) as a future, which waits
    /// for a shared tier without blocking the thread. It works with any
    /// runtime.
    ///
    /// The changes, their [prefixes](crate::Builder::prefix_by) and
    /// [suppression](crate::no_invalidation) are decided when this function is
    /// called. From then on, the batch completes. If the future is dropped,
    /// for example because a client disconnects, the thread that maintains
    /// the connection does the rest, even if the future was never polled.
    /// Without a shared tier, the work is done when this function returns.
    ///
    /// # Errors
    ///
    /// As [`invalidate_batch`](Self::invalidate_batch).
    pub fn invalidate_batch_async<I: IntoIterator<Item = WriteEvent>>(
        &self,
        events: I,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<I> {
        let mut delivery = Delivery::begin(&self.inner, events);
        async move { delivery.run().await }
    }

    /// Invalidates everything that was made from a table. The cost does not
    /// depend on how much that is.
    ///
    /// # Errors
    ///
    /// If the name is not the name of one table, such as a pattern;
    /// everything has been invalidated then. An unreachable shared tier.
    pub fn invalidate_model(&self, table: &str) -> Result<(), Error> {
        self.invalidate_batch([WriteEvent::table(table)])
    }

    /// Invalidates the fragments with a name, in all their variants. Spaces
    /// around the name do not count.
    ///
    /// # Errors
    ///
    /// An empty name, which no fragment has. An unreachable shared tier.
    pub fn invalidate_fragment(&self, name: &str) -> Result<(), Error> {
        self.invalidate_batch([WriteEvent::fragment(name)])
    }

    /// Invalidates the fragments with a name and exactly this `extra`: the
    /// `extra` of the tag, or a list if the tag has several.
    ///
    /// # Errors
    ///
    /// An empty name, or an `extra` that no fragment can have, such as NaN.
    /// An unreachable shared tier.
    pub fn invalidate_fragment_extra<T: Serialize + ?Sized>(
        &self,
        name: &str,
        extra: &T,
    ) -> Result<(), Error> {
        self.invalidate_batch([WriteEvent::fragment_extra(name, extra)])
    }

    /// Invalidates everything.
    ///
    /// # Errors
    ///
    /// An unreachable shared tier; never without a shared tier.
    pub fn invalidate_all(&self) -> Result<(), Error> {
        self.invalidate_batch([WriteEvent::everything()])
    }

    /// Whether this is the first environment of an engine in this cache.
    pub(crate) fn is_first_environment(&self, engine: &'static str) -> bool {
        self.inner.is_first_environment(engine)
    }

    /// Switches the cache on or off; for tests. While it is off, everything
    /// is rendered and nothing is stored. Invalidations still work, so that
    /// no read finds anything stale when it is on again.
    pub fn set_enabled(&self, enabled: bool) {
        self.inner.set_enabled(enabled);
    }

    /// Whether prefixes are [computed](crate::Builder::prefix_by). Whoever announces
    /// changes in a thread that the function knows nothing of, as a database's, has to
    /// invalidate everything: that reaches all prefixes.
    #[must_use]
    pub fn has_computed_prefix(&self) -> bool {
        self.inner.settings.prefix.is_computed()
    }

    /// The prefix of every key, without the computed part.
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
