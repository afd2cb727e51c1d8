//! The contract between the cache and where it keeps things.

mod container;
mod memory;
mod stamp;

pub(crate) use memory::MemoryStore;
pub(crate) use stamp::{Stamp, invalidations};

use crate::fragment::Fragment;
use crate::invalidate::Event;
use crate::key::FragmentKey;
use crate::queryset::TableDnf;
use crate::sync::Arc;

/// What a fill depends on before anything is read.
pub(crate) struct Scope<'a> {
    /// The conjunctions of each table.
    pub(crate) tables: &'a [TableDnf],
    /// The fragment's name.
    pub(crate) name: Option<&'a str>,
    /// What else it varies by, encoded, if it has a name.
    pub(crate) variant: Option<&'a [u8]>,
}

/// Where fragments and stamps are kept.
///
/// The decisions are made elsewhere: what is a hit ([`Fragment`] and its
/// stamps), what a change means ([`Event`]). A store keeps, hands out and
/// drops. It must keep two promises, and the rule above all follows:
///
/// 1. A lease taken after [`invalidate`](Store::invalidate) has returned holds
///    no stamp that it dropped, and a lease taken before it, if the event
///    meets what it covers, holds one that is no longer current.
/// 2. A stamp that was dropped, or lost in any other way, is never current
///    again.
///
/// No method may block on anything but other callers' short sections.
pub(crate) trait Store: Send + Sync {
    /// What is kept under `key`, current or not. Nothing is promised to stay.
    fn get(&self, key: &FragmentKey) -> Option<Arc<Fragment>>;

    /// Keeps `fragment` in place of what was there. False when it is larger
    /// than the store can take; what was there may then stay.
    fn put(&self, key: FragmentKey, fragment: Arc<Fragment>) -> bool;

    /// Forgets `fragment`, found not to be current any more.
    fn forget(&self, key: &FragmentKey, fragment: &Arc<Fragment>);

    /// Registers the schemes of `scope`, then reads or creates its stamps:
    /// in that order, and both before the caller reads any data.
    fn lease(&self, scope: &Scope<'_>) -> Vec<Arc<Stamp>>;

    /// Drops what `event` meets; has done so when it returns. `now` is in
    /// microseconds since 1970.
    fn invalidate(&self, event: &Event<'_>, now: u64) -> Dropped;

    /// When one of `tables`, or any at all if there are none, was last
    /// invalidated, in microseconds since 1970.
    fn last_invalidation(&self, tables: &[String]) -> Option<u64>;

    /// All that is kept, current or not, in no order; for inspection.
    fn fragments(&self) -> Vec<(FragmentKey, Arc<Fragment>)>;

    /// How much is kept.
    fn usage(&self) -> Usage;
}

/// What an invalidation did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// How many schemes were looked at.
    pub(crate) schemes: usize,
    /// How many stamps were there and are not any more.
    pub(crate) stamps: usize,
    /// Whether a table was dropped as a whole.
    pub(crate) whole: bool,
}

/// How much a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Fragments, the invalidated ones that nobody asked for since included.
    pub fragments: usize,
    /// What they weigh, in bytes, with their place in the store.
    pub bytes: u64,
    /// Stamps under conjunctions and names.
    pub stamps: usize,
}
