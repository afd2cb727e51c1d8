//! The fill of a fragment that was not found: from the lease to the store.

use std::time::Duration;

use crate::cache::inner::Inner;
use crate::clock::micros;
use crate::fragment::{Body, Dependencies, Fragment};
use crate::key::FragmentKey;
use crate::read::page::Page;
use crate::read::recorder::{self, FillOwner, Recorder};
use crate::read::request::{LookupContext, Plan};
use crate::read::single_flight::{Handoff, Leader};
use crate::shared::{Around, FillLock, Leased};
use crate::store::Stamp;
use crate::sync::{Arc, block_on};
use crate::write::transaction::Readings;

/// The making of a fragment that was not found.
///
/// It holds the stamps from before anything was read. Dropped without
/// [`finish`](Fill::finish), by an error or a panic, it stores nothing, and
/// those who wait for it go on.
pub struct Fill {
    inner: Arc<Inner>,
    key: FragmentKey,
    /// The prefix of its key in the shared tier.
    prefix: Box<str>,
    recorder: Arc<Recorder>,
    /// Held against other processes.
    lock: Option<Box<FillLock>>,
    time_to_live: Option<Duration>,
    label: Option<Box<str>>,
    /// The page that requested it.
    page: Option<Page>,
    /// Ends the single flight, after the fragment has been stored.
    leader: Option<Leader>,
    /// Whether everything that was read before it began was still current then.
    is_clean: bool,
    /// The transactions that it reads in.
    readings: Readings,
    /// Whether nothing verifies it, since the shared tier is unreachable.
    is_unverified: bool,
    is_done: bool,
}

impl Fill {
    pub(crate) fn begin(
        inner: &Arc<Inner>,
        context: &LookupContext<'_>,
        plan: Plan,
        leased: Leased,
        leader: Option<Leader>,
    ) -> Self {
        // After the lease: any change from here on drops a stamp of this fill.
        let is_clean = leased.around.is_current(context.request.page);
        let mut fill = Fill::new(inner, context, plan, leased.stamps, is_clean);
        fill.lock = leased.lock.map(Box::new);
        if !fill.is_clean {
            fill.recorder.with(|found| found.uncacheable = true);
            fill.recorder.outdate();
        }
        if let Some(leader) = &leader {
            leader.start(Some(&fill.recorder));
        }
        fill.leader = leader;
        fill
    }

    /// Begins a fill without a lease: what it shows counts as changed.
    pub(crate) fn begin_unverified(
        inner: &Arc<Inner>,
        context: &LookupContext<'_>,
        plan: Plan,
        leader: Option<Leader>,
    ) -> Self {
        let is_clean = Around::AsInMemory.is_current(context.request.page);
        let mut fill = Fill::new(inner, context, plan, vec![Stamp::dropped()], is_clean);
        if let Some(leader) = &leader {
            leader.start(None);
        }
        fill.leader = leader;
        fill.is_unverified = true;
        fill
    }

    fn new(
        inner: &Arc<Inner>,
        context: &LookupContext<'_>,
        plan: Plan,
        stamps: Vec<Arc<Stamp>>,
        is_clean: bool,
    ) -> Self {
        let LookupContext { request, address } = context;
        let is_shared = inner.settings.shared.is_some();
        Fill {
            inner: inner.clone(),
            key: address.key,
            prefix: if is_shared { address.prefix().into() } else { Box::default() },
            lock: None,
            readings: Readings::begin(),
            is_clean,
            recorder: Recorder::new(
                Dependencies { stamps, ..Dependencies::default() },
                request.page,
            ),
            time_to_live: plan.time_to_live,
            label: inner.settings.inspect.then(|| request.label().into()),
            page: request.page.cloned(),
            leader: None,
            is_unverified: false,
            is_done: false,
        }
    }

    /// Makes this the fill that what follows in this thread belongs to, until it
    /// is finished or dropped.
    pub fn enter(&self) {
        self.recorder.enter();
    }

    /// [`enter`](Self::enter) for an engine that drops nothing when a body fails:
    /// the fill counts as abandoned as soon as nobody holds its `owner`. The fill
    /// is to be dropped some time after that.
    pub fn enter_while(&self, owner: &FillOwner) {
        self.recorder.end_with(owner.clone());
        if let Some(leader) = &self.leader {
            leader.end_with(owner.clone());
        }
        self.recorder.enter();
    }

    pub(crate) fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }

    /// Stores the text, unless something it depends on has changed since the fill
    /// began; then it is good for this caller and nobody else.
    pub fn finish(self, text: std::sync::Arc<str>) {
        block_on(self.store(Some(Body::Text(text))));
    }

    /// Ends the fill without storing anything.
    pub fn abandon(self) {
        block_on(self.store(None));
    }

    pub(crate) async fn finish_value(self, bytes: Option<Vec<u8>>) {
        self.store(bytes.map(|bytes| Body::Value(bytes.into()))).await;
    }

    async fn store(mut self, body: Option<Body>) {
        let inner = self.inner.clone();
        let now = inner.now();
        let expires_at = self.time_to_live.map(|limit| now.saturating_add(micros(limit)));
        let dependencies = self.leave(expires_at);
        let Some(body) = body.filter(|_| inner.is_enabled()) else {
            return self.store_nothing().await;
        };
        if self.is_unverified {
            return self.hand_off_unverified(body, dependencies, now);
        }
        let is_expired = dependencies.expires_at.is_some_and(|at| at <= now);
        // No connection of this cache brings news of another's stamps.
        let is_foreign =
            dependencies.has_current_stamps() && !inner.settings.store.owns(&dependencies.stamps);
        let is_uncacheable = dependencies.uncacheable || is_foreign;
        let made = Fragment::new(body, dependencies, now, self.label.as_deref());
        let current = if is_uncacheable { None } else { if_current(&inner, made).await };
        if let Some(fragment) = current {
            let is_stored = self.put(fragment).await;
            self.note_stored(is_stored && !is_expired);
            inner.counters.count_fill(is_stored);
            return;
        }
        if is_uncacheable && self.is_clean {
            self.note_stored(false);
        } else if let Some(leader) = &self.leader {
            leader.note_overtaken();
        }
        self.store_nothing().await;
    }

    async fn store_nothing(&mut self) {
        if let Some(shared) = &self.inner.settings.shared {
            shared.release(self.lock.take().map(|lock| *lock)).await;
        }
        if !self.is_unverified {
            self.inner.counters.count_fill(false);
        }
    }

    /// Has later callers wait for a fill of this fragment, or not.
    fn note_stored(&self, is_stored: bool) {
        // Only callers without a leader need to be told of success: a leader was
        // one because nothing spoke against waiting.
        if !is_stored || self.leader.is_none() {
            self.inner.single_flight.note_stored(&self.key, is_stored);
        }
    }

    /// Hands what nothing verifies to the followers.
    fn hand_off_unverified(&mut self, body: Body, dependencies: Dependencies, now: u64) {
        let is_for_all = self.is_clean && !dependencies.uncacheable;
        if let Some(leader) = self.leader.as_ref().filter(|_| is_for_all) {
            let fragment = Fragment::new(body, dependencies, now, self.label.as_deref());
            leader.hand_off(Handoff { fragment: Arc::new(fragment), is_unverified: true });
        }
    }

    /// Stores the fragment, here and in the shared tier. If there is no room for
    /// it here, the followers get it directly.
    async fn put(&mut self, fragment: Arc<Fragment>) -> bool {
        let settings = &self.inner.settings;
        let fits = settings.store.put(self.key, fragment.clone());
        if !fits && let Some(leader) = &self.leader {
            leader.hand_off(Handoff { fragment: fragment.clone(), is_unverified: false });
        }
        let Some(shared) = &settings.shared else { return fits };
        let lock = self.lock.take().map(|lock| *lock);
        shared.put(&self.prefix, self.key, &fragment, lock).await;
        true
    }

    /// Takes the fill off the stack, and passes its dependencies to the fill
    /// around it, or else to the page.
    fn leave(&mut self, expires_at: Option<u64>) -> Dependencies {
        self.is_done = true;
        self.recorder.leave();
        let mut dependencies = self.recorder.take();
        dependencies.limit(expires_at);
        if !self.readings.are_committed() {
            self.is_clean = false;
            dependencies.uncacheable = true;
        }
        recorder::note_fill(&dependencies, self.page.as_ref());
        if !self.is_clean {
            // It may show changed data that its page knows nothing of, if that
            // was read for another page.
            recorder::note_unknown(self.page.as_ref());
        }
        dependencies
    }
}

/// The fragment, if nothing that it depends on has changed since its lease.
async fn if_current(inner: &Inner, made: Fragment) -> Option<Arc<Fragment>> {
    if inner.is_being_written(&made) {
        return None;
    }
    if made.has_current_stamps() {
        return Some(Arc::new(made));
    }
    let shared = inner.settings.shared.as_ref()?;
    shared.restamp_if_current(&made).await.map(Arc::new)
}

impl Drop for Fill {
    fn drop(&mut self) {
        if !self.is_done {
            // One of the followers goes on in its place, and the others wait again.
            self.leader.iter().for_each(Leader::note_overtaken);
            self.leave(None);
        }
    }
}

impl std::fmt::Debug for Fill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fill").field("key", &self.key).finish_non_exhaustive()
    }
}
