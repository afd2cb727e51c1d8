//! The shared tier as the rest of the core sees it; without the feature
//! `redis` there is none, and all this vanishes.

#[cfg(feature = "redis")]
pub(crate) use crate::redis::others_hold;
#[cfg(feature = "redis")]
pub(crate) use crate::redis::{FillLock, Leased, LookupResult, Tier};
#[cfg(not(feature = "redis"))]
pub(crate) use none::{FillLock, Leased, LookupResult, Tier};

use crate::fragment::Fragment;
use crate::key::FragmentKey;
use crate::queryset::LeaseScope;
use crate::read::page::Page;
use crate::read::surroundings;

/// What a lease has found out about what was read around it.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "only a shared store is asked"))]
pub(crate) enum Around {
    /// It is current if memory says so.
    AsInMemory,
    /// The shared stores have all of it. Pushes may have dropped it in memory because of
    /// this process' own writes.
    Holds,
    /// Some of it has changed, or it is not known whether it has.
    Changed,
}

impl Around {
    /// Whether all of it is current.
    pub(crate) fn is_current(self, page: Option<&Page>) -> bool {
        match self {
            Around::AsInMemory => surroundings::is_surrounding_data_current(page),
            Around::Holds => true,
            Around::Changed => false,
        }
    }
}

/// A lookup in the shared tier that takes the lease of a fill along.
#[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "no tier reads it"))]
pub(crate) struct LookupRequest<'a> {
    pub(crate) scope: &'a LeaseScope<'a>,
    pub(crate) key: FragmentKey,
    /// The fragment whose lock is asked for, if any.
    pub(crate) lock: Option<FragmentKey>,
    /// The fragment in memory that does not hold any more. The next one is likely made
    /// from the same rows.
    pub(crate) outdated: Option<&'a Fragment>,
    /// The page to prefetch for.
    pub(crate) page: Option<&'a Page>,
}

#[cfg(not(feature = "redis"))]
mod none {
    use std::time::Duration;

    use super::{Around, LookupRequest};
    use crate::error::Error;
    use crate::fragment::Fragment;
    use crate::key::FragmentKey;
    use crate::observe::Outcome;
    use crate::observe::observers::Delivered;
    use crate::queryset::LeaseScope;
    use crate::read::page::{FragmentRef, Page};
    use crate::store::Stamp;
    use crate::sync::Arc;
    use crate::write::invalidation::Invalidation;

    /// A tier that cannot be.
    pub(crate) enum Tier {}

    /// A lock that nobody holds.
    pub(crate) enum FillLock {}

    pub(crate) struct Leased {
        pub(crate) stamps: Vec<Arc<Stamp>>,
        pub(crate) is_taken: bool,
        pub(crate) lock: Option<FillLock>,
        pub(crate) around: Around,
    }

    #[expect(dead_code, reason = "what is not there finds nothing")]
    pub(crate) enum LookupResult {
        Found(Arc<Fragment>),
        Leased(Leased, Outcome),
    }

    impl Tier {
        pub(crate) fn time(&self) -> u64 {
            match *self {}
        }

        pub(crate) fn bookkeeping(&self) -> u64 {
            match *self {}
        }

        pub(crate) fn is_strict(&self) -> bool {
            match *self {}
        }

        pub(crate) fn bound(&self) -> Duration {
            match *self {}
        }

        pub(crate) fn is_trusted(&self) -> bool {
            match *self {}
        }

        pub(crate) fn is_informed(&self) -> bool {
            match *self {}
        }

        pub(crate) async fn renew_trust(&self) {
            match *self {}
        }

        pub(crate) fn remember_prefetch_list(&self, _: FragmentKey, _: Vec<FragmentRef>) {
            match *self {}
        }

        pub(crate) async fn revalidate(
            &self,
            _: &str,
            _: FragmentKey,
            _: Arc<Fragment>,
            _: Option<&Page>,
        ) -> Result<Arc<Fragment>, Outcome> {
            match *self {}
        }

        pub(crate) async fn find_or_lease(
            &self,
            _: LookupRequest<'_>,
            _: impl Fn(&Fragment) -> Result<(), Outcome>,
        ) -> Result<LookupResult, Outcome> {
            match *self {}
        }

        pub(crate) async fn lease(
            &self,
            _: &LeaseScope<'_>,
            _: Option<FragmentKey>,
        ) -> Option<Leased> {
            match *self {}
        }

        pub(crate) async fn wait_for_holder(&self, _: &str, _: FragmentKey, _: Duration) {
            match *self {}
        }

        pub(crate) async fn put(&self, _: &str, _: FragmentKey, _: &Fragment, _: Option<FillLock>) {
            match *self {}
        }

        pub(crate) async fn restamp_if_current(&self, _: &Fragment) -> Option<Fragment> {
            match *self {}
        }

        pub(crate) async fn release(&self, _: Option<FillLock>) {
            match *self {}
        }

        pub(crate) async fn invalidate(&self, _: &Invalidation) -> Result<Delivered, Error> {
            match *self {}
        }

        pub(crate) async fn last_invalidation(&self, _: &[(String, String)]) -> Option<u64> {
            match *self {}
        }
    }
}
