//! Reads and fills: the way of a fragment from being asked for to being kept.

use std::time::{Duration, Instant};

use crate::clock::micros;
use crate::error::{Error, ErrorKind};
use crate::flight::{Flight, Lead, Role};
use crate::fragment::{Body, Dependencies, Fragment, TemplateUse};
use crate::handle::{Cacheops, Inner};
use crate::key::FragmentKey;
use crate::observe::{CacheRead, Outcome};
use crate::queryset::{QuerySet, TableDnf, to_dnf};
use crate::record::{self, Recorder};
use crate::store::Scope;
use crate::sync::Arc;

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
    pub timeout: Option<Duration>,
    /// Whether callers that miss together share one fill.
    pub lock: bool,
    /// Told not to cache this, nor what is around it.
    pub skip: bool,
}

/// Says whether a template that a body was found to use is still the same.
pub(crate) type IsSame<'a> = &'a dyn Fn(&TemplateUse) -> bool;

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
            timeout: None,
            lock: true,
            skip: false,
        }
    }

    fn label(&self) -> &'a str {
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
pub struct Hit(Arc<Fragment>);

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
    Wait(Arc<Flight>),
}

/// Who asks.
#[derive(Clone, Copy)]
pub(crate) struct Caller {
    /// A future: its fill may need the very thread that would wait for it.
    is_async: bool,
    /// It has not waited yet.
    may_wait: bool,
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
        let caller = Caller { is_async: false, may_wait: true };
        match self.attempt(request, is_same, caller)? {
            Attempt::Done(found) => Ok(found),
            Attempt::Wait(flight) => {
                flight.wait(self.inner.settings.wait_limit);
                self.find_now(request, is_same, caller)
            }
        }
    }

    pub(crate) async fn find_async(&self, request: &Request<'_>) -> Result<Found, Error> {
        let caller = Caller { is_async: true, may_wait: true };
        match self.attempt(request, &any_template, caller)? {
            Attempt::Done(found) => Ok(found),
            Attempt::Wait(flight) => {
                flight.landing().await;
                self.find_now(request, &any_template, caller)
            }
        }
    }

    fn find_now(
        &self,
        request: &Request<'_>,
        is_same: IsSame<'_>,
        caller: Caller,
    ) -> Result<Found, Error> {
        match self.attempt(request, is_same, Caller { may_wait: false, ..caller })? {
            Attempt::Done(found) => Ok(found),
            // Never without waiting; were it so, rendering is always right.
            Attempt::Wait(_) => Ok(Found::Bypass),
        }
    }

    pub(crate) fn attempt(
        &self,
        request: &Request<'_>,
        is_same: IsSame<'_>,
        caller: Caller,
    ) -> Result<Attempt, Error> {
        let inner = &*self.inner;
        let watch = inner.settings.observers.hear_reads().then(Instant::now);
        if request.skip || !inner.is_enabled() {
            return Ok(Attempt::Done(inner.bypass(request, watch)));
        }
        let why = match inner.lookup(request, is_same) {
            Ok(fragment) => return Ok(Attempt::Done(inner.hit(request, fragment, watch))),
            Err(why) => why,
        };
        let plan = Plan::of(inner, request)?;
        if plan.never {
            return Ok(Attempt::Done(inner.bypass(request, watch)));
        }
        let lead = match self.take_off(request, caller) {
            Ok(lead) => lead,
            Err(flight) => return Ok(Attempt::Wait(flight)),
        };
        if lead.is_some() {
            // The one that led before may just have stored it.
            if let Ok(fragment) = inner.lookup(request, is_same) {
                drop(lead);
                return Ok(Attempt::Done(inner.hit(request, fragment, watch)));
            }
        }
        inner.report(request, why, watch, None);
        Ok(Attempt::Done(Found::Miss(Fill::begin(self, request, plan, lead))))
    }

    /// Leads the flight of the fragment, flies alone, or says whom to wait for.
    fn take_off(&self, request: &Request<'_>, caller: Caller) -> Result<Option<Lead>, Arc<Flight>> {
        if !request.lock {
            return Ok(None);
        }
        match self.inner.flights.join(request.key, caller.is_async) {
            Role::Lead(lead) => Ok(Some(lead)),
            // Whoever fills something never waits, so no two wait for each other.
            Role::Follow(_) if !caller.may_wait || record::current().is_some() => Ok(None),
            Role::Follow(flight) => Err(flight),
        }
    }

    pub(crate) fn forget(&self, key: &FragmentKey, hit: &Hit) {
        self.inner.settings.store.forget(key, &hit.0);
    }

    /// Whether a fill is under way around this point.
    #[must_use]
    pub fn is_filling(&self) -> bool {
        record::current().is_some()
    }

    /// Tells the fill around this point, if there is one, that it must not be
    /// stored: it shows something that nothing could ever invalidate.
    pub fn do_not_cache(&self) {
        record::record(|outer| outer.uncacheable = true);
    }

    /// Tells the fill around this point, if there is one, that it used a
    /// template which its key does not cover.
    pub fn use_template(&self, template: TemplateUse) {
        record::record(|outer| outer.templates.push(template));
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
        let scope = Scope { tables: &tables, name: None, variant: None };
        Ok(Lease { stamps: inner.settings.store.lease(&scope).into(), never })
    }
}

/// What a caller says who knows no templates: it cannot tell.
pub(crate) fn any_template(_: &TemplateUse) -> bool {
    true
}

/// Stamps as they were before rows were read; see [`Cacheops::lease`].
#[derive(Clone, Debug)]
pub struct Lease {
    stamps: Arc<[Arc<crate::store::Stamp>]>,
    /// A profile says that fragments made from the rows are never cached.
    never: bool,
}

impl Lease {
    /// Makes the fill around this point depend on the rows. Where there is
    /// none, a fill that begins in this thread while `reader` lives is not
    /// stored if the rows, which it may show, have changed by then.
    pub fn bind(&self, reader: &std::sync::Arc<()>) {
        record::bind(reader, &self.stamps);
        if self.never {
            record::record(|outer| outer.uncacheable = true);
        }
    }

    /// Whether no change has met the rows since.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.stamps.iter().all(|stamp| stamp.is_current())
    }
}

/// What a fill needs to know before it begins.
struct Plan {
    tables: Vec<TableDnf>,
    timeout: Option<Duration>,
    never: bool,
}

impl Plan {
    fn of(inner: &Inner, request: &Request<'_>) -> Result<Self, Error> {
        if request.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(zero_timeout());
        }
        let (timeout, never) = inner.profile_of(request.querysets)?;
        Ok(Plan {
            tables: inner.tables(request.querysets)?,
            timeout: request.timeout.or(timeout).or(inner.settings.timeout),
            never,
        })
    }
}

/// The error for a time limit that keeps nothing.
pub(crate) fn zero_timeout() -> Error {
    Error::new(
        ErrorKind::InvalidTimeout,
        "a time limit must be above zero: leave it out for the default, or leave the caching out",
    )
}

impl Inner {
    /// The shortest time limit of the profiles of all tables, and whether one
    /// of them forbids caching.
    fn profile_of(&self, querysets: &[&QuerySet]) -> Result<(Option<Duration>, bool), Error> {
        let mut timeout: Option<Duration> = None;
        let mut never = false;
        for table in querysets.iter().flat_map(|queryset| queryset.tables()) {
            let profile = self.settings.profiles.of(table)?;
            never |= profile.never;
            timeout = [timeout, profile.timeout].into_iter().flatten().min();
        }
        Ok((timeout, never))
    }

    /// Answers that the caller is to render for itself, and sees to it that
    /// nothing around is stored: it would lack what is read meanwhile.
    fn bypass(&self, request: &Request<'_>, watch: Option<Instant>) -> Found {
        self.report(request, Outcome::Bypassed, watch, None);
        record::record(|outer| outer.uncacheable = true);
        Found::Bypass
    }

    /// The fragment, if it is there and holds; else why not.
    fn lookup(&self, request: &Request<'_>, is_same: IsSame<'_>) -> Result<Arc<Fragment>, Outcome> {
        let store = &self.settings.store;
        let Some(fragment) = store.get(&request.key) else {
            return Err(Outcome::NoValue);
        };
        let why = if !fragment.stamps().iter().all(|stamp| stamp.is_current()) {
            Outcome::StampChanged
        } else if fragment.expires_at().is_some_and(|at| at <= self.now()) {
            Outcome::Expired
        } else if !fragment.templates().iter().all(is_same) {
            Outcome::TemplateChanged
        } else {
            return Ok(fragment);
        };
        store.forget(&request.key, &fragment);
        Err(why)
    }

    fn hit(&self, request: &Request<'_>, fragment: Arc<Fragment>, watch: Option<Instant>) -> Found {
        self.report(request, Outcome::Hit, watch, Some(&fragment));
        record::record(|outer| outer.absorb_fragment(&fragment));
        Found::Hit(Hit(fragment))
    }

    fn report(
        &self,
        request: &Request<'_>,
        outcome: Outcome,
        watch: Option<Instant>,
        fragment: Option<&Arc<Fragment>>,
    ) {
        self.counters.read(outcome);
        let Some(watch) = watch else { return };
        self.settings.observers.read(&CacheRead {
            name: request.label(),
            key: request.key,
            outcome,
            time: watch.elapsed(),
            age: fragment.map(|f| Duration::from_micros(self.now().saturating_sub(f.stored_at))),
        });
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
    recorder: Arc<Recorder>,
    timeout: Option<Duration>,
    label: Option<Box<str>>,
    /// Ends the flight; after the fragment has been stored.
    lead: Option<Lead>,
    done: bool,
}

impl Fill {
    fn begin(cache: &Cacheops, request: &Request<'_>, plan: Plan, lead: Option<Lead>) -> Self {
        let scope = Scope { tables: &plan.tables, name: request.name, variant: request.variant };
        let settings = &cache.inner.settings;
        let stamps = settings.store.lease(&scope);
        // Now, when whatever changes from here on meets a stamp of this fill.
        let uncacheable = !record::is_data_around_current();
        Fill {
            cache: cache.clone(),
            key: request.key,
            recorder: Recorder::new(Dependencies {
                stamps,
                uncacheable,
                ..Dependencies::default()
            }),
            timeout: plan.timeout,
            label: settings.inspect.then(|| request.label().into()),
            lead,
            done: false,
        }
    }

    /// Makes this the fill that what follows in this thread belongs to, until
    /// it is finished or dropped.
    pub fn enter(&self) {
        self.recorder.enter();
    }

    pub(crate) fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }

    /// Stores the text, unless something it depends on has changed since the
    /// fill began; then it is good for this caller and nobody else.
    pub fn finish(self, text: std::sync::Arc<str>) {
        self.store(Some(Body::Text(text)));
    }

    /// Ends the fill without storing anything.
    pub fn abandon(self) {
        self.store(None);
    }

    pub(crate) fn finish_value(self, bytes: Option<Vec<u8>>) {
        self.store(bytes.map(|bytes| Body::Value(bytes.into())));
    }

    fn store(mut self, body: Option<Body>) {
        let inner = self.cache.inner.clone();
        let now = inner.now();
        let expires_at = self.timeout.map(|timeout| now.saturating_add(micros(timeout)));
        let dependencies = self.hand_over(expires_at);
        let stored = match body {
            Some(body) if dependencies.are_current() && inner.is_enabled() => {
                let fragment = Fragment::new(body, dependencies, now, self.label.as_deref());
                inner.settings.store.put(self.key, Arc::new(fragment))
            }
            _ => false,
        };
        inner.counters.filled(stored);
        self.lead = None;
    }

    /// Leaves the stack, and gives to the fill around this one, if there is
    /// one, all that this one depends on.
    fn hand_over(&mut self, expires_at: Option<u64>) -> Dependencies {
        self.done = true;
        self.recorder.leave();
        let mut dependencies = self.recorder.take();
        dependencies.limit(expires_at);
        record::record(|outer| outer.absorb(&dependencies));
        dependencies
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        if !self.done {
            self.hand_over(None);
        }
    }
}

impl std::fmt::Debug for Fill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fill").field("key", &self.key).finish_non_exhaustive()
    }
}
