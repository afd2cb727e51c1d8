//! What a caller requests, and what follows from it before anything is looked
//! up: where the fragment lies, and what a fill of it stands on.

use std::time::{Duration, Instant};

use crate::cache::inner::Inner;
use crate::error::{Error, ErrorKind};
use crate::fragment::TemplateUse;
use crate::key::{FragmentKey, KeyWriter};
use crate::prefix::Prefixes;
use crate::queryset::{LeaseScope, QuerySet, TableDnf, to_dnf};
use crate::read::page::Page;
use crate::write::keys::check_name;
use crate::write::transaction::Readings;

/// How a fragment is found, and what it stands on if it has to be filled. For
/// plugins of template engines.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Everything that identifies the fragment, hashed.
    pub key: FragmentKey,
    /// What it is made from.
    pub querysets: &'a [&'a QuerySet],
    /// The name that
    /// [`invalidate_fragment`](crate::Cacheops::invalidate_fragment) reaches it
    /// by.
    pub name: Option<&'a str>,
    /// What it varies by, encoded: reaches it together with the name.
    pub variant: Option<&'a [u8]>,
    /// What observers are told if it has no name, such as `page.html:12`.
    pub place: &'a str,
    /// Its own time to live.
    pub time_to_live: Option<Duration>,
    /// Whether callers that miss together share one fill.
    pub lock: bool,
    /// Whether neither this fragment nor what is around it may be cached.
    pub skip: bool,
    /// The page that requests it.
    pub page: Option<&'a Page>,
}

impl<'a> Request<'a> {
    /// Requests the fragment under `key`, made from no queryset.
    #[must_use]
    pub fn new(key: FragmentKey) -> Self {
        Request {
            key,
            querysets: &[],
            name: None,
            variant: None,
            place: "",
            time_to_live: None,
            lock: true,
            skip: false,
            page: None,
        }
    }

    /// What observers are told.
    pub(crate) fn label(&self) -> &'a str {
        self.name.unwrap_or(self.place)
    }
}

/// Says whether a template that a body was found to use is still the same.
pub(crate) trait SameTemplate: Fn(&TemplateUse) -> bool {}
impl<F: Fn(&TemplateUse) -> bool + ?Sized> SameTemplate for F {}

/// The [`SameTemplate`] of callers that use no templates.
pub(crate) fn any_template(_: &TemplateUse) -> bool {
    true
}

/// Where a fragment lies for a caller, and since when it has been looked up. It
/// is computed in the call itself: a computed prefix may depend on the calling
/// thread, and a future goes on in another.
pub(crate) struct Address<'a> {
    pub(crate) key: FragmentKey,
    pub(crate) prefixes: Prefixes<'a>,
    /// Only if an observer wants to know.
    pub(crate) since: Option<Instant>,
}

impl Address<'_> {
    pub(crate) fn prefix(&self) -> &str {
        &self.prefixes.combined
    }
}

/// A request that is looked up, and where its fragment lies.
#[derive(Clone, Copy)]
pub(crate) struct LookupContext<'r> {
    pub(crate) request: &'r Request<'r>,
    pub(crate) address: &'r Address<'r>,
}

impl LookupContext<'_> {
    /// Whether callers that miss together share one fill. What is read from a
    /// snapshot is for its reader alone.
    pub(crate) fn may_share(&self) -> bool {
        self.request.lock && Readings::begin().are_committed()
    }

    /// The stamps that a fill of the fragment leases.
    pub(crate) fn scope<'s>(&'s self, plan: &'s Plan) -> LeaseScope<'s> {
        LeaseScope {
            prefixes: &self.address.prefixes,
            tables: &plan.tables,
            name: self.request.name,
            variant: self.request.variant,
            #[cfg(feature = "redis")]
            page: self.request.page,
        }
    }
}

/// What a fill stands on, and how long its fragment lives.
pub(crate) struct Plan {
    pub(crate) tables: Vec<TableDnf>,
    pub(crate) time_to_live: Option<Duration>,
    /// Whether a profile forbids to cache it.
    pub(crate) never: bool,
}

impl Plan {
    pub(crate) fn of(inner: &Inner, request: &Request<'_>) -> Result<Self, Error> {
        if request.time_to_live.is_some_and(|time_to_live| time_to_live.is_zero()) {
            return Err(zero_time_to_live());
        }
        request.name.map_or(Ok(()), check_name)?;
        let profile = inner.profile_of(request.querysets)?;
        let default = inner.settings.time_to_live;
        Ok(Plan {
            tables: inner.tables(request.querysets)?,
            time_to_live: request.time_to_live.or(profile.time_to_live).or(default),
            never: profile.never,
        })
    }
}

/// The error for a time to live that stores nothing.
pub(crate) fn zero_time_to_live() -> Error {
    Error::new(
        ErrorKind::InvalidTimeToLive,
        "a time to live must be above zero: leave it out for the default, or do not cache at all",
    )
}

impl Inner {
    /// Where a fragment lies for the caller. A computed prefix is part of its
    /// key.
    pub(crate) fn address<'t>(
        &self,
        key: FragmentKey,
        querysets: impl Iterator<Item = &'t QuerySet>,
    ) -> Address<'_> {
        let since = self.settings.observers.wants_reads().then(Instant::now);
        let prefix = &self.settings.prefix;
        if !prefix.is_computed() {
            return Address { key, prefixes: prefix.all_of(&[]), since };
        }
        let tables: Vec<&str> = querysets.flat_map(QuerySet::tables).collect();
        let prefixes = prefix.all_of(&tables);
        let mut prefixed = KeyWriter::new();
        prefixed.str(&prefixes.combined);
        prefixed.bytes(key.as_bytes());
        Address { key: prefixed.finish(), prefixes, since }
    }

    /// The profile of what is made from several tables: the shortest time to
    /// live of theirs, and never cached if one of them is not.
    pub(crate) fn profile_of(
        &self,
        querysets: &[&QuerySet],
    ) -> Result<crate::profile::Profile, Error> {
        let mut all = crate::profile::Profile::new();
        for table in querysets.iter().flat_map(|queryset| queryset.tables()) {
            let one = self.settings.profiles.of(table)?;
            all.never |= one.never;
            all.time_to_live = [all.time_to_live, one.time_to_live].into_iter().flatten().min();
        }
        Ok(all)
    }

    /// The conjunctions of all tables that the querysets read.
    pub(crate) fn tables(&self, querysets: &[&QuerySet]) -> Result<Vec<TableDnf>, Error> {
        let mut tables = Vec::with_capacity(querysets.len());
        for queryset in querysets {
            tables.extend(to_dnf(queryset, self.settings.limits)?);
        }
        Ok(tables)
    }
}
