//! Pages: what is asked for together. It can be fetched together, and what was
//! read for a page counts until the page ends.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::cache::handle::{Cacheops, Inner};
use crate::fragment::Fragment;
use crate::key::FragmentKey;
use crate::observe::Outcome;
use crate::read::reads::{Reads, Strays};
use crate::read::recorder;
use crate::store::Stamp;
use crate::sync::{Arc, Mutex, Weak, lock};

/// The rendering of one page: what it asks for.
///
/// **What it has read counts until it ends.** A value that was got with a page,
/// outside of any other fill, may be shown by one that is filled later: a row
/// around which a fragment is made, say. A fragment of the page that begins
/// when such a value has changed is not kept, for it may be made from what is
/// older than its stamps. A value of which nothing would tell that it changes,
/// such as one that was read while the shared tier or the cache was off, counts
/// as changed. With [`enter`](Self::enter) that holds for all that
/// the thread reads. Without a page, a value that was got counts no longer
/// than for the fill it was got in.
///
/// Over a shared tier, the first fragment that has to be asked for there brings
/// along those that followed it the last time, in the same trip. What was
/// brought along counts for this page only, as of the page's first question,
/// and no longer than the bound of [`Consistency`](crate::Consistency), a second
/// in strict mode: then it is asked about again. 64 fragments are brought along
/// at most.
///
/// Plugins of engines begin one a rendering. A handler that asks for several
/// values by itself can begin one, too; a clone is the same page, which ends
/// with its last clone.
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
#[derive(Clone, Default)]
pub struct Page(Arc<State>);

/// A page that may have ended.
pub(crate) type WeakPage = Weak<State>;

#[derive(Default)]
pub(crate) struct State {
    read: Mutex<Reads>,
    shared: Option<Shared>,
}

/// What only a shared tier wants to know.
struct Shared {
    cache: Cacheops,
    asked: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    /// All that was asked for, in its order.
    fragments: Vec<FragmentRef>,
    /// Where in it a trip began.
    trips: Vec<usize>,
    /// What was brought along, found or not; or what was made since, of which
    /// nothing is known.
    ahead: HashMap<FragmentKey, (Instant, Option<Brought>)>,
}

/// Where a fragment lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FragmentRef {
    pub(crate) key: FragmentKey,
    /// Only where it is computed; else it is the same for all.
    pub(crate) prefix: Option<Arc<str>>,
}

/// A fragment that was brought along, or why it is none.
type Brought = Result<Arc<Fragment>, Outcome>;

/// The most fragments that are brought along.
const MOST: usize = 64;

impl Cacheops {
    /// Begins a [`Page`]: what is asked for with it counts until it ends, and
    /// over a shared tier is fetched together.
    #[must_use]
    pub fn page(&self) -> Page {
        let shared = self.inner.settings.shared.as_ref();
        let shared = shared.map(|_| Shared { cache: self.clone(), asked: Mutex::default() });
        Page(Arc::new(State { read: Mutex::default(), shared }))
    }
}

impl Page {
    /// Has everything that is read through a cache in this thread, outside of
    /// any fill, count for this page until it ends: values that are got, and
    /// rows of lazy querysets. So a handler enters its page first, and gets
    /// its values and renders with no more to be thought of. It may be entered
    /// in several threads; a second time in one does nothing.
    ///
    /// ```
    /// # use cacheops::{Cacheops, Error, QuerySet, eq};
    /// # let cache = Cacheops::in_memory();
    /// # fn render(_: &[u64]) -> Result<String, Error> { Ok(String::new()) }
    /// let page = cache.page();
    /// page.enter();
    /// let ids = cache.cached_as("articles").get_or_fill(|| Ok::<_, Error>(vec![1, 2]))?;
    /// // Kept only if the ids are still those.
    /// let one = QuerySet::table("articles").filter(eq("id", 1));
    /// let text = cache.cached_as(one).get_or_fill(|| render(&ids))?;
    /// # Ok::<_, Error>(())
    /// ```
    pub fn enter(&self) {
        recorder::enter_page(self);
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

    /// Whether it fetches for this cache. For another one, it only notes what has
    /// been read.
    pub(crate) fn is_of(&self, cache: &Inner) -> bool {
        self.0.shared.as_ref().is_some_and(|shared| std::ptr::eq(&*shared.cache.inner, cache))
    }

    /// Notes what was read for it outside of any fill.
    pub(crate) fn note_read(&self, stamps: &[Arc<Stamp>]) {
        lock(&self.0.read).add(stamps);
    }

    /// Notes that something was read for it of which nothing tells when it
    /// changes: as if it had.
    pub(crate) fn note_unknown(&self) {
        lock(&self.0.read).outdate();
    }

    /// Takes over what was read before it.
    pub(crate) fn claim(&self, strays: &mut Strays) {
        strays.claim(&mut lock(&self.0.read));
    }

    /// Whether what was read for it is still current.
    pub(crate) fn is_read_current(&self) -> bool {
        lock(&self.0.read).is_current()
    }

    #[cfg(feature = "redis")]
    pub(crate) fn knows_reads(&self) -> bool {
        lock(&self.0.read).is_whole()
    }

    #[cfg(feature = "redis")]
    pub(crate) fn read_stamps(&self, stamps: &mut Vec<Arc<Stamp>>) {
        stamps.extend(lock(&self.0.read).stamps().cloned());
    }

    /// Notes that a fragment was asked for.
    pub(crate) fn note(&self, key: FragmentKey, prefix: &str) {
        let Some(page) = &self.0.shared else { return };
        let is_computed = page.cache.inner.settings.prefix.is_computed();
        let mut asked = lock(&page.asked);
        if asked.fragments.len() < MOST * MOST {
            asked.fragments.push(FragmentRef { key, prefix: is_computed.then(|| prefix.into()) });
        }
    }

    /// What was brought along of a fragment. What was not found there is made
    /// now, and so no longer counts.
    pub(crate) fn take(&self, key: &FragmentKey, bound: Duration) -> Option<Brought> {
        let mut asked = lock(&self.0.shared.as_ref()?.asked);
        let (since, brought) = asked.ahead.get_mut(key)?;
        if since.elapsed() >= bound {
            // It may be asked about again, and lead a trip.
            asked.ahead.remove(key);
            return None;
        }
        match brought {
            Some(Ok(fragment)) => Some(Ok(fragment.clone())),
            _ => brought.take(),
        }
    }

    /// What the trip for the fragment asked for last is to bring along. One
    /// that was brought along itself leads none.
    #[cfg(feature = "redis")]
    pub(crate) fn begin_trip(&self) -> Vec<FragmentRef> {
        let Some(page) = &self.0.shared else { return Vec::new() };
        let mut asked = lock(&page.asked);
        let place = asked.fragments.len().saturating_sub(1);
        let Some(leader) = asked.fragments.get(place).map(|fragment| fragment.key) else {
            return Vec::new();
        };
        if asked.ahead.contains_key(&leader) {
            return Vec::new();
        }
        asked.trips.push(place);
        let Some(shared) = &page.cache.inner.settings.shared else { return Vec::new() };
        let followers = shared.prefetch_list(&leader);
        followers
            .iter()
            .filter(|fragment| !asked.ahead.contains_key(&fragment.key))
            .cloned()
            .collect()
    }

    #[cfg(feature = "redis")]
    pub(crate) fn bring(&self, key: FragmentKey, since: Instant, found: Brought) {
        if let Some(page) = &self.0.shared {
            lock(&page.asked).ahead.insert(key, (since, Some(found)));
        }
    }
}

impl Drop for Shared {
    /// Remembers what followed what: the page's first fragment, and each that
    /// a trip was made for.
    fn drop(&mut self) {
        let asked = std::mem::take(&mut *lock(&self.asked));
        let Some(shared) = &self.cache.inner.settings.shared else { return };
        let first = (!asked.fragments.is_empty() && asked.trips.first() != Some(&0)).then_some(0);
        for place in first.into_iter().chain(asked.trips) {
            let Some((leader, rest)) = asked.fragments.get(place..).and_then(<[_]>::split_first)
            else {
                continue;
            };
            let mut followers: Vec<FragmentRef> = Vec::with_capacity(rest.len().min(MOST));
            for fragment in rest {
                if followers.len() < MOST && fragment != leader && !followers.contains(fragment) {
                    followers.push(fragment.clone());
                }
            }
            shared.remember_prefetch_list(leader.key, followers);
        }
    }
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Page").field("shared", &self.0.shared.is_some()).finish_non_exhaustive()
    }
}
