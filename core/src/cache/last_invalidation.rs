//! When tables were last invalidated.

use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cache::handle::Cacheops;
use crate::cache::inner::Inner;
use crate::queryset::{QuerySet, canonical};
use crate::read::lease::LeasePlan;
use crate::read::reads::RowReader;
use crate::read::recorder;
use crate::sync::{Arc, block_on};

impl Cacheops {
    /// The time of the latest invalidation of any of the tables or, without a
    /// table, of any table at all. It is measured by the clock of the cache
    /// and, over a shared tier, by that of the server, whichever process
    /// invalidated. `None` if no invalidation is known. Names of fragments do
    /// not count.
    ///
    /// The fill around this point depends on all rows of the tables, and so
    /// does what a [`Page`](crate::Page) of this thread renders later.
    /// Without a table, neither is stored, because nothing reports all
    /// changes.
    ///
    /// If a shared tier is unreachable, or has lost the time, the result is
    /// the current time: possibly too late, never too early.
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
        block_on(self.get_last_invalidation_async(tables))
    }

    /// [`get_last_invalidation`](Self::get_last_invalidation) as a future, which
    /// waits for a shared tier without blocking the thread. It works with any
    /// runtime. The [prefixes](crate::Builder::prefix_by) of the tables are
    /// computed when this function is called.
    pub fn get_last_invalidation_async<T: Into<String>, I: IntoIterator<Item = T>>(
        &self,
        tables: I,
    ) -> impl Future<Output = Option<SystemTime>> + Send + use<'_, T, I> {
        let inner = &self.inner;
        let prefixed = |table: T| {
            let table = canonical(table);
            (inner.settings.prefix.of(&[&table]).into_owned(), table)
        };
        let tables: Vec<(String, String)> = tables.into_iter().map(prefixed).collect();
        let querysets: Vec<QuerySet> =
            tables.iter().map(|(_, table)| QuerySet::table(table)).collect();
        // Nothing can depend on the rows of all tables.
        let plan = match querysets.is_empty() {
            true => None,
            false => inner.prepare_lease(&querysets.iter().collect::<Vec<_>>()).ok(),
        };
        async move {
            depend_on(inner, plan).await;
            let micros = match &inner.settings.shared {
                Some(shared) => shared.last_invalidation(&tables).await,
                None => inner.settings.store.last_invalidation(&tables),
            }?;
            Some(UNIX_EPOCH + Duration::from_micros(micros))
        }
    }
}

/// Makes the fill around this point depend on what `plan` leases. Without a plan,
/// the fill is not stored.
async fn depend_on(inner: &Arc<Inner>, plan: Option<LeasePlan<'_>>) {
    if !recorder::is_recording(None) {
        return;
    }
    match plan {
        Some(plan) => inner.take_lease(&plan).await.bind(&RowReader::new()),
        None => {
            recorder::with_current(|fill| fill.uncacheable = true);
            recorder::note_unknown(None);
        }
    }
}
