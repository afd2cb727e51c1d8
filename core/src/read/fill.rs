//! Reads and fills: the way of a fragment from being asked for to being kept.

use std::pin::pin;
use std::time::Duration;

use crate::cache::handle::{Cacheops, Inner};
use crate::clock::micros;
use crate::error::{Error, ErrorKind};
use crate::fragment::{Body, Dependencies, Fragment, TemplateUse};
use crate::key::FragmentKey;
use crate::observe::Outcome;
use crate::observe::observers::is_telling;
use crate::queryset::{QuerySet, TableDnf, to_dnf};
use crate::read::find::Following;
use crate::read::lookup::{Asked, IsSame};
use crate::read::page::Page;
use crate::read::recorder::{self, PollScope as _, Recorder};
use crate::read::single_flight::{Lead, Left, Role};
use crate::shared::{FillLock, Leased, LookupResult};
use crate::store::{LeaseScope, Stamp};
use crate::sync::{Arc, block_on};
use crate::write::keys::check_name;
use crate::write::transaction::{self, Readings};

/// What a caller asks for: how the fragment is found, and what it stands on
/// if it has to be filled. For plugins of template engines.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// All that identifies the fragment, hashed.
    pub key: FragmentKey,
    /// What it is made from.
    pub querysets: &'a [&'a QuerySet],
    /// The name that [`invalidate_fragment`](Cacheops::invalidate_fragment)
    /// reaches it by.
    pub name: Option<&'a str>,
    /// What it varies by, encoded: reaches it besides the name.
    pub variant: Option<&'a [u8]>,
    /// What observers are told where it has no name.
    pub place: &'a str,
    /// Its own time limit.
    pub time_to_live: Option<Duration>,
    /// Whether callers that miss together share one fill.
    pub lock: bool,
    /// Told not to cache this, nor what is around it.
    pub skip: bool,
    /// The page that asks.
    pub page: Option<&'a Page>,
}

impl<'a> Request<'a> {
    /// Asks for the fragment under `key`, made from no queryset.
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

    pub(crate) fn label(&self) -> &'a str {
        self.name.unwrap_or(self.place)
    }
}

/// The answer to a [`Request`].
#[derive(Debug)]
pub enum Found {
    /// The fragment, current.
    Hit(Hit),
    /// The caller is to make it.
    Miss(Fill),
    /// The caller is to make it for itself: it is not cached.
    Bypass,
}

/// A fragment that was found.
#[derive(Clone, Debug)]
pub struct Hit(pub(crate) Arc<Fragment>);

impl Hit {
    /// The text, if the fragment came from a template.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.0.body {
            Body::Text(text) => Some(text),
            Body::Value(_) => None,
        }
    }

    pub(crate) fn value(&self) -> Option<&[u8]> {
        match &self.0.body {
            Body::Value(bytes) => Some(bytes),
            Body::Text(_) => None,
        }
    }
}

/// What comes of one attempt at a request.
pub(crate) enum Attempt {
    Done(Found),
    /// Another is filling: wait for it, then try again.
    Wait(Following),
}

/// Who asks.
#[derive(Clone, Copy)]
pub(crate) struct Caller {
    /// A future: its fill may need the very thread that would wait for it.
    pub(crate) is_async: bool,
    /// Whether it may wait for another.
    pub(crate) may_wait: bool,
}

impl Cacheops {
    /// Looks for a fragment; waits for another caller that is filling it.
    /// `is_same` says whether a template that its body was found to use
    /// ([`use_template`](Self::use_template)) is still the same.
    ///
    /// # Errors
    ///
    /// A queryset that makes no sense, a table without a profile, a time limit
    /// of zero.
    pub fn find(
        &self,
        request: &Request<'_>,
        is_same: &dyn Fn(&TemplateUse) -> bool,
    ) -> Result<Found, Error> {
        let inner = &*self.inner;
        let address = inner.address(request.key, request.querysets.iter().copied());
        self.find_asked(&Asked { request, address: &address }, is_same)
    }

    pub(crate) fn find_asked(
        &self,
        asked: &Asked<'_>,
        is_same: &dyn Fn(&TemplateUse) -> bool,
    ) -> Result<Found, Error> {
        let caller = Caller { is_async: false, may_wait: true };
        match block_on(pin!(self.attempt(asked, is_same, caller)))? {
            Attempt::Done(found) => Ok(found),
            Attempt::Wait(following) => {
                block_on(pin!(self.find_after(asked, is_same, caller, following)))
            }
        }
    }

    pub(crate) async fn find_async(&self, asked: &Asked<'_>) -> Result<Found, Error> {
        let caller = Caller { is_async: true, may_wait: true };
        match self.attempt(asked, &any_template, caller).await? {
            Attempt::Done(found) => Ok(found),
            Attempt::Wait(following) => {
                self.find_after(asked, &any_template, caller, following).await
            }
        }
    }

    pub(crate) async fn attempt(
        &self,
        asked: &Asked<'_>,
        is_same: &(impl IsSame + ?Sized),
        caller: Caller,
    ) -> Result<Attempt, Error> {
        let (inner, Asked { request, address }) = (&*self.inner, *asked);
        if !inner.is_enabled() || transaction::is_dirty() {
            return Ok(Attempt::Done(inner.bypass(asked, Outcome::Bypassed)));
        }
        if request.skip {
            let plan = Plan::of(inner, request).ok();
            return Ok(Attempt::Done(inner.bypass_uncached(asked, plan.as_ref()).await));
        }
        if let Some(page) = request.page.filter(|page| page.is_of(inner)) {
            page.note(address.key, address.prefix());
        }
        match inner.look(address, request.page, is_same).await {
            Ok(found) => Ok(Attempt::Done(inner.hit(asked, found))),
            Err(why) => self.attempt_without(asked, why, is_same, caller).await,
        }
    }

    /// The rest of an attempt, where there is nothing of use in memory, for
    /// what is said.
    async fn attempt_without(
        &self,
        asked: &Asked<'_>,
        why: Outcome,
        is_same: &(impl IsSame + ?Sized),
        caller: Caller,
    ) -> Result<Attempt, Error> {
        let (inner, address) = (&*self.inner, asked.address);
        let plan = Plan::of(inner, asked.request)?;
        if plan.never {
            return Ok(Attempt::Done(inner.bypass_uncached(asked, Some(&plan)).await));
        }
        let lead = match self.take_off(asked, caller) {
            Ok(lead) => lead,
            Err(following) if why.is_outage() => return Ok(Attempt::Wait(following)),
            Err(following) => {
                return Ok(self.follow(asked, &plan, is_same, caller, following).await);
            }
        };
        if why.is_outage() {
            return Ok(Attempt::Done(self.fill_unvouched(asked, plan, why, lead)));
        }
        // The one that led before may just have stored it.
        if lead.is_some()
            && inner.settings.store.get(&address.key).is_some()
            && let Ok(found) = inner.look(address, None, is_same).await
        {
            return Ok(Attempt::Done(inner.hit(asked, found)));
        }
        let may_wait = caller.may_wait && !is_busy();
        match inner.look_or_lease(asked, &plan, is_same, may_wait).await {
            Ok(LookupResult::Found(fragment)) => {
                Ok(Attempt::Done(inner.hit(asked, (fragment, Outcome::SharedHit))))
            }
            Ok(LookupResult::Leased(leased, shared)) => {
                let why = if shared == Outcome::NoValue { why } else { shared };
                inner.report(asked, why, None);
                let fill = Fill::begin(self, asked, plan, leased, lead);
                Ok(Attempt::Done(Found::Miss(fill)))
            }
            Err(why) => Ok(Attempt::Done(self.fill_unvouched(asked, plan, why, lead))),
        }
    }

    /// The answer where the shared tier is away: nothing vouches for what is
    /// made now, and it is not kept. Whoever leads makes it for those who come
    /// before it begins, too.
    fn fill_unvouched(
        &self,
        asked: &Asked<'_>,
        plan: Plan,
        why: Outcome,
        lead: Option<Lead>,
    ) -> Found {
        if lead.is_none() {
            return self.inner.bypass(asked, why);
        }
        self.inner.report(asked, why, None);
        Found::Miss(Fill::begin_unvouched(self, asked, plan, lead))
    }

    /// What a follower does. A leader that is a future may be one that this one
    /// has to end for to go on: while it looks, it is not waited for.
    async fn follow(
        &self,
        asked: &Asked<'_>,
        plan: &Plan,
        is_same: &(impl IsSame + ?Sized),
        caller: Caller,
        following: Following,
    ) -> Attempt {
        if !caller.is_async || following.flight.is_filling() {
            return Attempt::Wait(following);
        }
        match self.inner.look_or_lease(asked, plan, is_same, false).await {
            Ok(LookupResult::Found(fragment)) => {
                Attempt::Done(self.inner.hit(asked, (fragment, Outcome::SharedHit)))
            }
            Ok(LookupResult::Leased(..)) | Err(_) => Attempt::Wait(following),
        }
    }

    /// Begins a fill in place of what was found and is of no use.
    pub(crate) async fn refill(&self, asked: &Asked<'_>, found: &Hit) -> Result<Found, Error> {
        let inner = &*self.inner;
        inner.settings.store.forget(&asked.address.key, &found.0);
        let plan = Plan::of(inner, asked.request)?;
        Ok(match inner.lease(asked, &plan).await {
            Some(leased) => Found::Miss(Fill::begin(self, asked, plan, leased, None)),
            None => {
                // Nothing tells of changes: as if they had come already.
                recorder::unknown(asked.request.page);
                Found::Bypass
            }
        })
    }

    /// Leads the flight of the fragment, flies alone, or says whom to wait for.
    fn take_off(&self, asked: &Asked<'_>, caller: Caller) -> Result<Option<Lead>, Following> {
        if !asked.may_share() {
            return Ok(None);
        }
        match self.inner.flights.join(asked.address.key, caller.is_async) {
            Role::Lead(lead) => Ok(Some(lead)),
            // Whoever fills something never waits, so no two wait for each other;
            // nor does an observer, whose caller may lead.
            Role::Follow(..) if !caller.may_wait || is_busy() => Ok(None),
            Role::Follow(flight, came) => Err(Following { flight, came }),
            Role::Alone => Ok(None),
        }
    }

    /// Whether a fill is under way around this point.
    #[must_use]
    pub fn is_filling(&self) -> bool {
        recorder::current().is_some()
    }

    /// Tells the fill around this point, if there is one, that it must not be
    /// stored: it shows something that nothing could ever invalidate.
    pub fn do_not_cache(&self) {
        recorder::record(|outer| outer.uncacheable = true);
    }

    /// Tells the fill around this point, if there is one, that it used a
    /// template which its key does not cover.
    pub fn use_template(&self, template: TemplateUse) {
        recorder::record(|outer| outer.templates.push(template));
    }

    /// Makes the fill around this point depend on what a fragment stands on that
    /// is not to be looked up, nor kept by itself: before its body runs. Where
    /// there is none, it counts for the page.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find).
    pub fn pass(&self, request: &Request<'_>) -> Result<(), Error> {
        if !recorder::counts_around(request.page) {
            return Ok(());
        }
        let inner = &*self.inner;
        let plan = Plan::of(inner, request)?;
        let address = inner.address(request.key, request.querysets.iter().copied());
        let asked = Asked { request, address: &address };
        block_on(pin!(inner.stand_on(&asked, &plan, plan.never)));
        Ok(())
    }

    /// Takes the stamps of querysets before their rows are read elsewhere, so
    /// that whatever shows the rows later can depend on them as they were.
    ///
    /// # Errors
    ///
    /// A queryset that makes no sense, a table without a profile.
    pub fn lease(&self, querysets: &[&QuerySet]) -> Result<Lease, Error> {
        let inner = &*self.inner;
        let (_, never) = inner.profile_of(querysets)?;
        let tables = inner.tables(querysets)?;
        let names: Vec<&str> = tables.iter().map(|dnf| &*dnf.table).collect();
        let prefixes = inner.settings.prefix.all_of(&names);
        let scope = LeaseScope {
            prefixes: &prefixes,
            tables: &tables,
            name: None,
            variant: None,
            #[cfg(feature = "redis")]
            page: None,
        };
        let stamps = match block_on(inner.lease_scope(&scope, None)) {
            Some(leased) if Readings::begin().are_committed() => leased.stamps,
            // Nothing would tell when the rows change: as if they had.
            _ => vec![Stamp::dropped()],
        };
        Ok(Lease { stamps: stamps.into(), more: Arc::default(), never, cache: self.clone() })
    }
}

/// Whether others may be waiting for this thread.
fn is_busy() -> bool {
    recorder::current().is_some() || is_telling()
}

/// What a caller says who knows no templates: it cannot tell.
pub(crate) fn any_template(_: &TemplateUse) -> bool {
    true
}

/// Stamps as they were before rows were read; see [`Cacheops::lease`].
#[derive(Clone, Debug)]
pub struct Lease {
    stamps: Arc<[Arc<Stamp>]>,
    /// What the rows depend on besides.
    more: Arc<Dependencies>,
    cache: Cacheops,
    /// A profile says that fragments made from the rows are never cached.
    never: bool,
}

impl Lease {
    /// Reads the rows. Whatever `run` gets from the cache meanwhile, or says of
    /// what it makes, is so of the rows: the lease that comes with them has it.
    ///
    /// # Errors
    ///
    /// The error of `run`, unchanged.
    pub(crate) fn read<R, E>(self, run: impl FnOnce() -> Result<R, E>) -> Result<(R, Lease), E> {
        let stamps = self.stamps.to_vec();
        let recorder = Recorder::new(Dependencies { stamps, ..Dependencies::default() });
        let (entered, readings) = (recorder.begin(), Readings::begin());
        let rows = run()?;
        if !readings.are_committed() {
            recorder::unknown(None);
        }
        drop(entered);
        let mut found = recorder.take();
        let all = std::mem::take(&mut found.stamps);
        let stamps = if all.len() == self.stamps.len() { self.stamps } else { all.into() };
        Ok((rows, Lease { stamps, more: Arc::new(found), cache: self.cache, never: self.never }))
    }

    /// Makes the fill around this point depend on the rows. Where there is
    /// none, a fill that begins later in this thread is not stored if the rows,
    /// which it may show, have changed by then. They count until the
    /// [`Page`]s end that are under way in this thread, or else the next one,
    /// and as long as `reader` lives.
    pub fn bind(&self, reader: &std::sync::Arc<()>) {
        recorder::bind(reader, &self.stamps, &self.more);
        if self.never {
            recorder::record(|outer| outer.uncacheable = true);
        }
    }

    /// Whether no change is known to have met the rows since, nor a time limit
    /// of what they were made from; over a shared tier, while news of changes
    /// come in.
    #[must_use]
    pub fn is_current(&self) -> bool {
        let inner = &self.cache.inner;
        inner.settings.shared.as_ref().is_none_or(|shared| shared.is_informed())
            && self.stamps.iter().all(|stamp| stamp.is_current())
            && self.more.expires_at.is_none_or(|at| inner.now() < at)
    }
}

/// What a fill needs to know before it begins.
pub(crate) struct Plan {
    pub(crate) tables: Vec<TableDnf>,
    pub(crate) time_to_live: Option<Duration>,
    never: bool,
}

impl Plan {
    fn of(inner: &Inner, request: &Request<'_>) -> Result<Self, Error> {
        if request.time_to_live.is_some_and(|time_to_live| time_to_live.is_zero()) {
            return Err(zero_time_to_live());
        }
        request.name.map_or(Ok(()), check_name)?;
        let (time_to_live, never) = inner.profile_of(request.querysets)?;
        Ok(Plan {
            tables: inner.tables(request.querysets)?,
            time_to_live: request.time_to_live.or(time_to_live).or(inner.settings.time_to_live),
            never,
        })
    }
}

/// The error for a time limit that keeps nothing.
pub(crate) fn zero_time_to_live() -> Error {
    Error::new(
        ErrorKind::InvalidTimeToLive,
        "a time limit must be above zero: leave it out for the default, or leave the caching out",
    )
}

impl Inner {
    /// The shortest time limit of the profiles of all tables, and whether one
    /// of them forbids caching.
    fn profile_of(&self, querysets: &[&QuerySet]) -> Result<(Option<Duration>, bool), Error> {
        let mut time_to_live: Option<Duration> = None;
        let mut never = false;
        for table in querysets.iter().flat_map(|queryset| queryset.tables()) {
            let profile = self.settings.profiles.of(table)?;
            never |= profile.never;
            time_to_live = [time_to_live, profile.time_to_live].into_iter().flatten().min();
        }
        Ok((time_to_live, never))
    }

    /// The conjunctions of all tables that the querysets read.
    fn tables(&self, querysets: &[&QuerySet]) -> Result<Vec<TableDnf>, Error> {
        let mut tables = Vec::with_capacity(querysets.len());
        for queryset in querysets {
            tables.extend(to_dnf(queryset, self.settings.limits)?);
        }
        Ok(tables)
    }
}

/// The making of a fragment that was not found.
///
/// It holds the stamps as they were before anything was read. Dropped without
/// [`finish`](Fill::finish), by an error or a panic, it stores nothing and
/// lets those go on who wait for it.
pub struct Fill {
    cache: Cacheops,
    key: FragmentKey,
    /// What stands before its key in the shared tier.
    prefix: Box<str>,
    recorder: Arc<Recorder>,
    /// Held against other processes.
    lock: Option<Box<FillLock>>,
    time_to_live: Option<Duration>,
    label: Option<Box<str>>,
    /// The page that asked.
    page: Option<Page>,
    /// Ends the flight; after the fragment has been stored.
    lead: Option<Lead>,
    /// Whether what was read before it began is still as it was.
    is_clean: bool,
    /// The transactions that it reads in.
    readings: Readings,
    /// Whether nothing vouches for it, since the shared tier is away.
    is_unvouched: bool,
    done: bool,
}

impl Fill {
    fn begin(
        cache: &Cacheops,
        asked: &Asked<'_>,
        plan: Plan,
        leased: Leased,
        lead: Option<Lead>,
    ) -> Self {
        let mut fill = Fill::new(cache, asked, plan.time_to_live, leased.stamps, lead);
        fill.lock = leased.lock.map(Box::new);
        fill.is_clean |= leased.around_holds;
        fill.recorder.with(|found| found.uncacheable = !fill.is_clean);
        if let Some(lead) = &fill.lead {
            lead.begin_making(Some(&fill.recorder));
        }
        fill
    }

    /// Begins one without stamps: it is as if what it shows had changed already.
    fn begin_unvouched(
        cache: &Cacheops,
        asked: &Asked<'_>,
        plan: Plan,
        lead: Option<Lead>,
    ) -> Self {
        let stamps = vec![Stamp::dropped()];
        let mut fill = Fill::new(cache, asked, plan.time_to_live, stamps, lead);
        fill.is_unvouched = true;
        fill.lead.iter().for_each(|lead| lead.begin_making(None));
        fill
    }

    fn new(
        cache: &Cacheops,
        asked: &Asked<'_>,
        time_to_live: Option<Duration>,
        stamps: Vec<Arc<Stamp>>,
        lead: Option<Lead>,
    ) -> Self {
        let settings = &cache.inner.settings;
        let Asked { request, address } = asked;
        let is_shared = settings.shared.is_some();
        Fill {
            cache: cache.clone(),
            key: address.key,
            prefix: if is_shared { address.prefix().into() } else { Box::default() },
            lock: None,
            // Now, when whatever changes from here on meets a stamp of this fill.
            readings: Readings::begin(),
            is_clean: recorder::is_data_around_current(request.page),
            recorder: Recorder::new(Dependencies { stamps, ..Dependencies::default() }),
            time_to_live,
            label: settings.inspect.then(|| request.label().into()),
            page: request.page.cloned(),
            lead,
            is_unvouched: false,
            done: false,
        }
    }

    /// Makes this the fill that what follows in this thread belongs to, until
    /// it is finished or dropped.
    pub fn enter(&self) {
        self.recorder.enter();
    }

    /// [`enter`](Self::enter) where nothing is dropped when a body fails: the
    /// fill counts as given up as soon as nobody holds `life`. It is to be
    /// dropped some time after that.
    pub fn enter_while(&self, life: &std::sync::Weak<str>) {
        self.recorder.last_with(life.clone());
        if let Some(lead) = &self.lead {
            lead.last_with(life.clone());
        }
        self.recorder.enter();
    }

    pub(crate) fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }

    /// Stores the text, unless something it depends on has changed since the
    /// fill began; then it is good for this caller and nobody else.
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
        let inner = self.cache.inner.clone();
        let now = inner.now();
        let expires_at =
            self.time_to_live.map(|time_to_live| now.saturating_add(micros(time_to_live)));
        let dependencies = self.hand_over(expires_at);
        let Some(body) = body.filter(|_| inner.is_enabled()) else {
            return self.store_nothing(&inner).await;
        };
        if self.is_unvouched {
            return self.leave(body, dependencies, now);
        }
        let is_over = dependencies.expires_at.is_some_and(|at| at <= now);
        let is_nobodys = dependencies.uncacheable;
        let made = Fragment::new(body, dependencies, now, self.label.as_deref());
        let confirmed = if is_nobodys { None } else { confirmed(&inner, made).await };
        if let Some(fragment) = confirmed {
            let kept = self.put(&inner, fragment).await;
            self.note_kept(&inner, kept && !is_over);
            inner.counters.filled(kept);
            return;
        }
        if is_nobodys && self.is_clean {
            self.note_kept(&inner, false);
        } else if let Some(lead) = &self.lead {
            lead.overtaken();
        }
        self.store_nothing(&inner).await;
    }

    async fn store_nothing(&mut self, inner: &Inner) {
        if let Some(shared) = &inner.settings.shared {
            shared.release(self.lock.take().map(|lock| *lock)).await;
        }
        if !self.is_unvouched {
            inner.counters.filled(false);
        }
    }

    /// Has others wait for a fill of this fragment, or not, from now on.
    fn note_kept(&self, inner: &Inner, kept: bool) {
        // Those that wait are led by others: whoever led this one knew nothing
        // to the contrary.
        if !kept || self.lead.is_none() {
            inner.flights.note_kept(&self.key, kept);
        }
    }

    /// Leaves what nothing vouches for to those who wait for it.
    fn leave(&mut self, body: Body, dependencies: Dependencies, now: u64) {
        let is_for_all = self.is_clean && !dependencies.uncacheable;
        if let Some(lead) = self.lead.as_ref().filter(|_| is_for_all) {
            let fragment = Fragment::new(body, dependencies, now, self.label.as_deref());
            lead.leave(Left { fragment: Arc::new(fragment), unvouched: true });
        }
    }

    /// Keeps the fragment, here and in the shared tier; leaves it to those who
    /// wait where there is no room for it here.
    async fn put(&mut self, inner: &Inner, fragment: Arc<Fragment>) -> bool {
        let near = inner.settings.store.put(self.key, fragment.clone());
        if !near && let Some(lead) = &self.lead {
            lead.leave(Left { fragment: fragment.clone(), unvouched: false });
        }
        let Some(shared) = &inner.settings.shared else { return near };
        shared.put(&self.prefix, self.key, &fragment, self.lock.take().map(|lock| *lock)).await;
        true
    }

    /// Leaves the stack, and gives to the fill around this one, or else to the
    /// page, all that this one depends on.
    fn hand_over(&mut self, expires_at: Option<u64>) -> Dependencies {
        self.done = true;
        self.recorder.leave();
        let mut dependencies = self.recorder.take();
        dependencies.limit(expires_at);
        if !self.readings.are_committed() {
            self.is_clean = false;
            dependencies.uncacheable = true;
        }
        recorder::made(&dependencies, self.page.as_ref());
        if !self.is_clean {
            // It may show what had changed around it, which its page knows
            // nothing of if it was read for another.
            recorder::unknown(self.page.as_ref());
        }
        dependencies
    }
}

/// The fragment, if nothing that it depends on has changed since its lease.
async fn confirmed(inner: &Inner, made: Fragment) -> Option<Arc<Fragment>> {
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
        if !self.done {
            // Of those who wait one goes on in its place, and the others wait again.
            self.lead.iter().for_each(Lead::overtaken);
            self.hand_over(None);
        }
    }
}

impl std::fmt::Debug for Fill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fill").field("key", &self.key).finish_non_exhaustive()
    }
}
