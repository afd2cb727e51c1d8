//! Pages: what is requested together. It can be fetched together, and what was
//! read for a page counts until the page ends.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::fragment::Fragment;
use crate::key::FragmentKey;
use crate::observe::Outcome;
use crate::read::reads::{PageReads, UnscopedReads};
use crate::store::Stamp;
#[cfg(feature = "redis")]
use crate::store::StoreId;
use crate::sync::{Arc, Mutex, Weak, lock};

/// The rendering of one page, begun by [`Cacheops::page`](crate::Cacheops::page).
///
/// **What it has read counts until it ends.** A value that was got with a page,
/// outside of any fill, may be shown by one that begins later: a row around
/// which a fragment is made, say. A fragment of the page that begins after such
/// a value has changed is not stored, for it may be made from data that is older
/// than its stamps. A value of which nothing reports changes, such as one read
/// while the shared tier was unreachable or the cache was off, counts as
/// changed. With [`enter`](Self::enter) the same holds for everything that the
/// thread reads. A value that was got without a page counts only for the fill
/// around it.
///
/// **Over a shared tier it prefetches.** The first fragment that has to be
/// looked up there fetches those that followed it the last time, in the same
/// round trip: 64 at most. What was prefetched counts for this page only, as of
/// the page's first lookup, and no longer than the bound of
/// [`Consistency`](crate::Consistency), one second in strict mode. After that
/// it is looked up again.
///
/// The plugins of template engines begin one page a rendering. A handler that
/// gets several values itself can begin one, too. A clone is the same page,
/// which ends with its last clone.
///
/// ```
/// # use cacheops::{Cacheops, Error, QuerySet, eq};
/// # let cache = Cacheops::in_memory();
/// let page = cache.page();
/// for id in 1..=3 {
///     let article = QuerySet::table("articles").filter(eq("id", id));
///     cache.cached_as(article).page(&page).get_or_fill(|| Ok::<_, Error>(id))?;
/// }
/// # Ok::<_, Error>(())
/// ```
#[derive(Clone)]
pub struct Page(Arc<PageState>);

/// A page that may have ended.
pub(crate) type WeakPage = Weak<PageState>;

pub(crate) struct PageState {
    reads: Mutex<PageReads>,
    /// Only where there is a shared tier.
    prefetch: Option<Prefetch>,
}

/// Remembers from page to page which fragments follow which.
pub(crate) trait PrefetchMemory: Send + Sync {
    /// Whether fragments lie behind prefixes of their own.
    fn has_computed_prefix(&self) -> bool;

    /// What followed a fragment on the last page that looked it up.
    #[cfg(feature = "redis")]
    fn prefetch_list(&self, leader: &FragmentKey) -> std::sync::Arc<[FragmentRef]>;

    fn remember(&self, leader: FragmentKey, list: Vec<FragmentRef>);
}

/// What a page requests, and what it has prefetched.
struct Prefetch {
    memory: std::sync::Arc<dyn PrefetchMemory>,
    requests: Mutex<PageRequests>,
}

#[derive(Default)]
struct PageRequests {
    /// Everything that was requested, in its order.
    fragments: Vec<FragmentRef>,
    /// Which of them led a round trip.
    leaders: Vec<usize>,
    /// What was prefetched, and when. `None` is a fragment that was not found
    /// and is made since: nothing is known of it any more.
    prefetched: HashMap<FragmentKey, (Instant, Option<Prefetched>)>,
}

/// Identifies a fragment in the shared tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FragmentRef {
    pub(crate) key: FragmentKey,
    /// Only where it is computed; else all fragments share one.
    pub(crate) prefix: Option<Arc<str>>,
}

/// A fragment that was prefetched, or why there is none.
type Prefetched = Result<Arc<Fragment>, Outcome>;

/// The most fragments that one lookup prefetches.
const MAX_PREFETCH: usize = 64;

/// The most requests that a page remembers.
const MAX_REQUESTS: usize = MAX_PREFETCH * MAX_PREFETCH;

impl PageRequests {
    /// Whether it remembers no more requests.
    fn is_full(&self) -> bool {
        self.fragments.len() >= MAX_REQUESTS
    }
}

impl Page {
    /// A page that prefetches by `memory`, if there is a shared tier.
    pub(crate) fn new(memory: Option<std::sync::Arc<dyn PrefetchMemory>>) -> Self {
        let prefetch = memory.map(|memory| Prefetch { memory, requests: Mutex::default() });
        Page(Arc::new(PageState { reads: Mutex::default(), prefetch }))
    }

    pub(crate) fn downgrade(&self) -> WeakPage {
        Arc::downgrade(&self.0)
    }

    pub(crate) fn upgrade(weak: &WeakPage) -> Option<Page> {
        weak.upgrade().map(Page)
    }

    pub(crate) fn is(&self, weak: &WeakPage) -> bool {
        weak.as_ptr() == Arc::as_ptr(&self.0)
    }

    /// Whether it prefetches by `memory`. For any other cache it only notes what
    /// has been read.
    pub(crate) fn is_of(&self, memory: &impl PrefetchMemory) -> bool {
        let own = self.0.prefetch.as_ref().map(|prefetch| std::sync::Arc::as_ptr(&prefetch.memory));
        own.is_some_and(|own| std::ptr::addr_eq(own, memory))
    }

    /// Notes what was read for it outside of any fill.
    pub(crate) fn note_read(&self, stamps: &[Arc<Stamp>]) {
        lock(&self.0.reads).add(stamps);
    }

    /// Notes that something was read for it of which nothing reports changes:
    /// it counts as changed.
    pub(crate) fn note_unknown(&self) {
        lock(&self.0.reads).outdate();
    }

    /// Takes over what was read before it.
    pub(crate) fn claim(&self, unscoped: &mut UnscopedReads) {
        unscoped.claim(&mut lock(&self.0.reads));
    }

    /// Whether everything that was read for it is still current.
    pub(crate) fn is_read_current(&self) -> bool {
        lock(&self.0.reads).is_current()
    }

    #[cfg(feature = "redis")]
    pub(crate) fn knows_reads(&self) -> bool {
        lock(&self.0.reads).is_complete()
    }

    /// Whether something was read for it in such a store.
    #[cfg(feature = "redis")]
    pub(crate) fn has_read(&self, is_such: impl Fn(Option<StoreId>) -> bool) -> bool {
        lock(&self.0.reads).has_read(is_such)
    }

    #[cfg(feature = "redis")]
    pub(crate) fn read_stamps(&self, stamps: &mut Vec<Arc<Stamp>>) {
        stamps.extend(lock(&self.0.reads).stamps().cloned());
    }

    /// Notes that a fragment was requested.
    pub(crate) fn note_request(&self, key: FragmentKey, prefix: &str) {
        let Some(prefetch) = &self.0.prefetch else { return };
        let is_computed = prefetch.memory.has_computed_prefix();
        let mut requests = lock(&prefetch.requests);
        if !requests.is_full() {
            requests
                .fragments
                .push(FragmentRef { key, prefix: is_computed.then(|| prefix.into()) });
        }
    }

    /// What was prefetched of a fragment less than `bound` ago. One that was
    /// not found is made now, so that it is returned once.
    pub(crate) fn take_prefetched(
        &self,
        key: &FragmentKey,
        bound: Duration,
    ) -> Option<Result<Arc<Fragment>, Outcome>> {
        let mut requests = lock(&self.0.prefetch.as_ref()?.requests);
        let (since, prefetched) = requests.prefetched.get_mut(key)?;
        if since.elapsed() >= bound {
            // It may be looked up again, and lead a round trip.
            requests.prefetched.remove(key);
            return None;
        }
        match prefetched {
            Some(Ok(fragment)) => Some(Ok(fragment.clone())),
            _ => prefetched.take(),
        }
    }

    /// What the lookup of `leader`, which was requested before, is to prefetch.
    /// Nothing if it was prefetched itself, or if the page has more requests than
    /// it remembers.
    #[cfg(feature = "redis")]
    pub(crate) fn begin_trip(&self, leader: &FragmentKey) -> Vec<FragmentRef> {
        let Some(prefetch) = &self.0.prefetch else { return Vec::new() };
        let mut requests = lock(&prefetch.requests);
        if requests.is_full() || requests.prefetched.contains_key(leader) {
            return Vec::new();
        }
        // Another thread may have requested something for the page meanwhile.
        let Some(place) = requests.fragments.iter().rposition(|it| it.key == *leader) else {
            return Vec::new();
        };
        if requests.leaders.last() != Some(&place) {
            requests.leaders.push(place);
        }
        let list = prefetch.memory.prefetch_list(leader);
        list.iter().filter(|it| !requests.prefetched.contains_key(&it.key)).cloned().collect()
    }

    #[cfg(feature = "redis")]
    pub(crate) fn add_prefetched(&self, key: FragmentKey, since: Instant, found: Prefetched) {
        if let Some(prefetch) = &self.0.prefetch {
            lock(&prefetch.requests).prefetched.insert(key, (since, Some(found)));
        }
    }
}

impl Drop for Prefetch {
    /// Remembers what followed the page's first fragment, and each that led a
    /// round trip.
    fn drop(&mut self) {
        let requests = std::mem::take(&mut *lock(&self.requests));
        let is_full = requests.is_full();
        let PageRequests { fragments, leaders, .. } = requests;
        let first = (!fragments.is_empty() && leaders.first() != Some(&0)).then_some(0);
        for place in first.into_iter().chain(leaders) {
            let Some((leader, rest)) = fragments.get(place..).and_then(<[_]>::split_first) else {
                continue;
            };
            if is_full && rest.len() < MAX_PREFETCH {
                // Nobody knows what else followed.
                break;
            }
            let mut list: Vec<FragmentRef> = Vec::with_capacity(rest.len().min(MAX_PREFETCH));
            for fragment in rest {
                if list.len() < MAX_PREFETCH && fragment != leader && !list.contains(fragment) {
                    list.push(fragment.clone());
                }
            }
            self.memory.remember(leader.key, list);
        }
    }
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let prefetches = self.0.prefetch.is_some();
        f.debug_struct("Page").field("prefetches", &prefetches).finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "redis", not(shuttle)))]
mod tests;
