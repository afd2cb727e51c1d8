//! Taking stamps before anything is read: for a fill, or for rows that a
//! template looks into later.

use crate::cache::handle::Cacheops;
use crate::cache::inner::Inner;
use crate::error::Error;
use crate::fragment::Dependencies;
use crate::key::FragmentKey;
use crate::prefix::Prefixes;
use crate::queryset::{LeaseScope, QuerySet, TableDnf};
use crate::read::reads::RowReader;
use crate::read::recorder::{self, Recorder};
use crate::read::request::{LookupContext, Plan};
use crate::shared::{Around, Leased};
use crate::store::Stamp;
use crate::sync::scoped::PollScope as _;
use crate::sync::{Arc, block_on};
use crate::write::transaction::Readings;

impl Inner {
    /// Takes the stamps of a fill, and tries to take its lock; `None` while the
    /// shared tier is unreachable.
    pub(crate) async fn lease(&self, context: &LookupContext<'_>, plan: &Plan) -> Option<Leased> {
        let lock = context.may_share().then_some(context.address.key);
        self.lease_scope(&context.scope(plan), lock).await
    }

    pub(crate) async fn lease_scope(
        &self,
        scope: &LeaseScope<'_>,
        lock: Option<FragmentKey>,
    ) -> Option<Leased> {
        let Some(shared) = &self.settings.shared else {
            return Some(self.lease_locally(scope).await);
        };
        let mut leased = shared.lease(scope, lock).await?;
        self.keep_out_commits(scope, &mut leased.stamps);
        Some(leased)
    }

    /// [`lease_scope`](Self::lease_scope) without a shared tier.
    pub(crate) async fn lease_locally(&self, scope: &LeaseScope<'_>) -> Leased {
        let mut stamps = self.settings.store.lease(scope).stamps;
        self.keep_out_commits(scope, &mut stamps);
        #[cfg(feature = "redis")]
        let around = match crate::shared::others_hold(None, scope.page).await {
            true => Around::AsInMemory,
            false => Around::Changed,
        };
        #[cfg(not(feature = "redis"))]
        let around = Around::AsInMemory;
        Leased { stamps, is_taken: false, lock: None, around }
    }

    /// Adds a dropped stamp where a commit in progress touches what is leased:
    /// a read may see the data from before the commit or from after it.
    pub(crate) fn keep_out_commits(&self, scope: &LeaseScope<'_>, stamps: &mut Vec<Arc<Stamp>>) {
        if self.commits.touch_scope(scope) {
            stamps.push(Stamp::dropped());
        }
    }

    /// What a lease of querysets takes, as the calling thread computes their
    /// prefixes.
    pub(crate) fn prepare_lease(&self, querysets: &[&QuerySet]) -> Result<LeasePlan<'_>, Error> {
        let never = self.profile_of(querysets)?.never;
        let tables = self.tables(querysets)?;
        let names: Vec<&str> = tables.iter().map(|dnf| &*dnf.table).collect();
        let prefixes = self.settings.prefix.all_of(&names);
        Ok(LeasePlan { prefixes, tables, never })
    }

    /// Takes the stamps of querysets whose rows are read outside of any fill.
    pub(crate) async fn take_lease(self: &Arc<Self>, plan: &LeasePlan<'_>) -> Lease {
        let scope = LeaseScope {
            prefixes: &plan.prefixes,
            tables: &plan.tables,
            name: None,
            variant: None,
            #[cfg(feature = "redis")]
            page: None,
        };
        let stamps = match self.lease_scope(&scope, None).await {
            Some(leased) if Readings::begin().are_committed() => leased.stamps,
            // Nothing would report a change of the rows: they count as changed.
            _ => vec![Stamp::dropped()],
        };
        let (stamps, more) = (stamps.into(), Arc::default());
        Lease { stamps, more, inner: self.clone(), never: plan.never }
    }
}

/// What a lease of querysets takes.
pub(crate) struct LeasePlan<'a> {
    prefixes: Prefixes<'a>,
    tables: Vec<TableDnf>,
    /// Whether a profile forbids to cache what is made from the rows.
    never: bool,
}

impl Cacheops {
    /// Takes the stamps of querysets before their rows are read elsewhere, so
    /// that whatever shows the rows later can depend on them as they were.
    ///
    /// # Errors
    ///
    /// An invalid queryset, a table without a profile.
    pub fn lease(&self, querysets: &[&QuerySet]) -> Result<Lease, Error> {
        let plan = self.inner.prepare_lease(querysets)?;
        Ok(block_on(self.inner.take_lease(&plan)))
    }
}

/// The stamps of rows from before they were read; see [`Cacheops::lease`].
#[derive(Clone)]
pub struct Lease {
    stamps: Arc<[Arc<Stamp>]>,
    /// What the rows depend on besides.
    more: Arc<Dependencies>,
    inner: Arc<Inner>,
    /// Whether a profile forbids to cache what is made from the rows.
    never: bool,
}

impl Lease {
    /// Reads the rows. Whatever `run` gets from the cache counts for the rows as
    /// well, and so does what it says of itself: the returned lease has it.
    ///
    /// # Errors
    ///
    /// The error of `run`, unchanged.
    pub(crate) fn read<R, E>(self, run: impl FnOnce() -> Result<R, E>) -> Result<(R, Lease), E> {
        let stamps = self.stamps.to_vec();
        let recorder = Recorder::new(Dependencies { stamps, ..Dependencies::default() }, None);
        let (entered, readings) = (recorder.begin(), Readings::begin());
        let rows = run()?;
        if !readings.are_committed() {
            recorder::note_unknown(None);
        }
        drop(entered);
        let mut found = recorder.take();
        let all = std::mem::take(&mut found.stamps);
        let stamps = if all.len() == self.stamps.len() { self.stamps.clone() } else { all.into() };
        Ok((rows, Lease { stamps, more: Arc::new(found), ..self }))
    }

    /// Makes the fill around this point depend on the rows. Outside of any fill,
    /// one that begins later in this thread, and may show the rows, is not stored
    /// if they have changed by then. They count until the [`Page`](crate::Page)s
    /// end that the thread has entered, or else the next one, and as long as
    /// `reader` lives.
    pub fn bind(&self, reader: &RowReader) {
        recorder::note_rows(reader, &self.stamps, &self.more);
        if self.never {
            recorder::with_current(|fill| fill.uncacheable = true);
        }
    }

    /// Whether no change is known to have touched the rows since, and nothing
    /// they were made from has expired. Over a shared tier it is false while
    /// changes are not reported.
    #[must_use]
    pub fn is_current(&self) -> bool {
        let shared = &self.inner.settings.shared;
        shared.as_ref().is_none_or(|shared| shared.is_informed())
            && self.stamps.iter().all(|stamp| stamp.is_current())
            && self.more.expires_at.is_none_or(|at| self.inner.now() < at)
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("is_current", &self.is_current()).finish_non_exhaustive()
    }
}
