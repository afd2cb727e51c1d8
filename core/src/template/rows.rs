//! Rows that are read when, and only when, a template looks into them.

use std::error::Error as StdError;
use std::sync::{Mutex, PoisonError};

use crate::cache::handle::Cacheops;
use crate::error::Error;
use crate::queryset::QuerySet;
use crate::read::lease::Lease;
use crate::read::reads::RowReader;
use crate::read::recorder;

type Run<R> = dyn Fn() -> Result<R, Box<dyn StdError + Send + Sync>> + Send + Sync;

/// The rows of a queryset, whose query runs when they are first asked for and
/// again when a change has met them.
pub struct Rows<R> {
    queryset: QuerySet,
    cache: Cacheops,
    run: Box<Run<R>>,
    loaded: Mutex<Option<Loaded<R>>>,
    /// Lives as long as the rows can be shown.
    reader: RowReader,
}

#[derive(Clone)]
struct Loaded<R> {
    rows: R,
    lease: Lease,
}

/// Why there are no rows.
#[derive(Debug)]
pub enum RowsError {
    /// The queryset makes no sense, or its table has no profile.
    Queryset(Error),
    /// The application's error.
    Query(Box<dyn StdError + Send + Sync>),
}

impl<R: Clone> Rows<R> {
    /// Rows that `run` reads.
    pub fn new(
        cache: &Cacheops,
        queryset: QuerySet,
        run: impl Fn() -> Result<R, Box<dyn StdError + Send + Sync>> + Send + Sync + 'static,
    ) -> Self {
        Rows {
            queryset,
            cache: cache.clone(),
            run: Box::new(run),
            loaded: Mutex::new(None),
            reader: RowReader::new(),
        }
    }

    /// The queryset.
    #[must_use]
    pub fn queryset(&self) -> &QuerySet {
        &self.queryset
    }

    /// The rows; the fill around this point depends on them from now on.
    ///
    /// # Errors
    ///
    /// Why there are none.
    pub fn load(&self) -> Result<R, RowsError> {
        let known = self.loaded.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let loaded = match known.filter(|loaded| loaded.lease.is_current()) {
            Some(loaded) => loaded,
            None => self.query()?,
        };
        loaded.lease.bind(&self.reader);
        Ok(loaded.rows)
    }

    /// Runs the query, without holding the lock: it may render in turn.
    fn query(&self) -> Result<Loaded<R>, RowsError> {
        // Whoever shows something instead of the rows must not keep it.
        let failure = Failure(self);
        let lease = self.cache.lease(&[&self.queryset]).map_err(RowsError::Queryset)?;
        let (rows, lease) = lease.read(&self.run).map_err(RowsError::Query)?;
        std::mem::forget(failure);
        let loaded = Loaded { rows, lease };
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = Some(loaded.clone());
        Ok(loaded)
    }
}

/// Tells of a query that failed, by an error or a panic, when dropped.
struct Failure<'r, R>(&'r Rows<R>);

impl<R> Drop for Failure<'_, R> {
    fn drop(&mut self) {
        recorder::note_failed_rows(&self.0.reader);
    }
}

impl<R> std::fmt::Debug for Rows<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("queryset", &self.queryset).finish_non_exhaustive()
    }
}
