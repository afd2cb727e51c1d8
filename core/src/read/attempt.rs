//! One attempt at a request: a hit, a fill, or whom to wait for.

use crate::cache::handle::Cacheops;
use crate::cache::inner::Inner;
use crate::clock::micros;
use crate::error::Error;
use crate::fragment::{Body, Dependencies, Fragment};
use crate::observe::observers::is_notifying;
use crate::observe::{CacheRead, Outcome};
use crate::read::fill::Fill;
use crate::read::recorder;
use crate::read::request::{LookupContext, Plan, SameTemplate};
use crate::read::single_flight::{Follower, Leader, Role};
use crate::shared::LookupResult;
use crate::sync::Arc;
use crate::write::transaction::{self, Readings};

/// The answer to a [`Request`](crate::Request).
#[derive(Debug)]
pub enum Found {
    /// The fragment, current.
    Hit(Hit),
    /// The caller is to make the fragment, and finish the fill with it.
    Miss(Fill),
    /// The caller is to make the fragment for itself: it is not cached.
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

/// What comes of an attempt.
pub(crate) enum Attempt {
    Done(Found),
    /// Another fills the fragment: wait for it, then try again.
    Wait(Follower),
}

/// Who makes an attempt.
#[derive(Clone, Copy)]
pub(crate) struct Caller {
    /// Whether it is a future: its fill may need the very thread that would wait
    /// for it.
    pub(crate) is_async: bool,
    /// Whether it may wait for another.
    pub(crate) may_wait: bool,
}

/// Whether others may be waiting for this thread, which then must not wait for
/// them: it runs a fill, or an observer, whose caller may lead one.
fn is_busy() -> bool {
    recorder::current().is_some() || is_notifying()
}

impl Cacheops {
    pub(crate) async fn attempt(
        &self,
        context: &LookupContext<'_>,
        is_same: &(impl SameTemplate + ?Sized),
        caller: Caller,
    ) -> Result<Attempt, Error> {
        let (inner, LookupContext { request, address }) = (&*self.inner, *context);
        if !inner.is_enabled() || transaction::is_dirty() {
            return Ok(Attempt::Done(inner.bypass(context, Outcome::Bypassed)));
        }
        if request.skip {
            let plan = Plan::of(inner, request).ok();
            return Ok(Attempt::Done(inner.bypass_uncached(context, plan.as_ref()).await));
        }
        if let Some(page) = request.page.filter(|page| page.is_of(inner)) {
            page.note_request(address.key, address.prefix());
        }
        match inner.look_up(address, request.page, is_same).await {
            Ok(found) => Ok(Attempt::Done(inner.hit(context, found))),
            Err(outcome) => self.attempt_miss(context, outcome, is_same, caller).await,
        }
    }

    /// The rest of an attempt, where memory has nothing of use.
    async fn attempt_miss(
        &self,
        context: &LookupContext<'_>,
        outcome: Outcome,
        is_same: &(impl SameTemplate + ?Sized),
        caller: Caller,
    ) -> Result<Attempt, Error> {
        let (inner, address) = (&*self.inner, context.address);
        let plan = Plan::of(inner, context.request)?;
        if plan.never {
            return Ok(Attempt::Done(inner.bypass_uncached(context, Some(&plan)).await));
        }
        let leader = match self.join_single_flight(context, caller) {
            Ok(leader) => leader,
            Err(follower) if outcome.is_outage() => return Ok(Attempt::Wait(follower)),
            Err(follower) => {
                return Ok(self.follow(context, &plan, is_same, caller, follower).await);
            }
        };
        if outcome.is_outage() {
            return Ok(Attempt::Done(self.fill_unverified(context, plan, outcome, leader)));
        }
        // The previous leader may just have stored it.
        if leader.is_some()
            && inner.settings.store.get(&address.key).is_some()
            && let Ok(found) = inner.look_up(address, None, is_same).await
        {
            return Ok(Attempt::Done(inner.hit(context, found)));
        }
        let result = match caller.may_wait && !is_busy() {
            true => inner.wait_or_lease(context, &plan, is_same).await,
            false => inner.look_up_or_lease(context, &plan, is_same, context.request.page).await,
        };
        Ok(Attempt::Done(match result {
            Ok(LookupResult::Found(fragment)) => inner.hit(context, (fragment, Outcome::SharedHit)),
            Ok(LookupResult::Leased(leased, shared)) => {
                let outcome = if shared == Outcome::NoValue { outcome } else { shared };
                inner.report(context, outcome, None);
                Found::Miss(Fill::begin(&self.inner, context, plan, leased, leader))
            }
            Err(outage) => self.fill_unverified(context, plan, outage, leader),
        }))
    }

    /// The answer while the shared tier is unreachable: nothing verifies what is
    /// made now, and it is not stored. A leader makes it for those, too, who
    /// arrive before it starts.
    fn fill_unverified(
        &self,
        context: &LookupContext<'_>,
        plan: Plan,
        outcome: Outcome,
        leader: Option<Leader>,
    ) -> Found {
        if leader.is_none() {
            return self.inner.bypass(context, outcome);
        }
        self.inner.report(context, outcome, None);
        Found::Miss(Fill::begin_unverified(&self.inner, context, plan, leader))
    }

    /// What a follower does. If the leader is a future, it may need this one to
    /// end before it can go on: while it is still looking, nobody waits for it.
    async fn follow(
        &self,
        context: &LookupContext<'_>,
        plan: &Plan,
        is_same: &(impl SameTemplate + ?Sized),
        caller: Caller,
        follower: Follower,
    ) -> Attempt {
        if !caller.is_async || follower.pending.has_started() {
            return Attempt::Wait(follower);
        }
        let page = context.request.page;
        match self.inner.look_up_or_lease(context, plan, is_same, page).await {
            Ok(LookupResult::Found(fragment)) => {
                Attempt::Done(self.inner.hit(context, (fragment, Outcome::SharedHit)))
            }
            Ok(LookupResult::Leased(..)) | Err(_) => Attempt::Wait(follower),
        }
    }

    /// Makes the caller the leader of the fill, if it can be one; the error is
    /// whom to wait for.
    fn join_single_flight(
        &self,
        context: &LookupContext<'_>,
        caller: Caller,
    ) -> Result<Option<Leader>, Follower> {
        if !context.may_share() {
            return Ok(None);
        }
        match self.inner.single_flight.join(context.address.key, caller.is_async) {
            Role::Leader(leader) => Ok(Some(leader)),
            // Whoever fills never waits, so that no two wait for each other.
            Role::Follower(_) if !caller.may_wait || is_busy() => Ok(None),
            Role::Follower(follower) => Err(follower),
            Role::Independent => Ok(None),
        }
    }

    /// Begins a fill in place of a fragment that was found and is of no use.
    pub(crate) async fn refill(
        &self,
        context: &LookupContext<'_>,
        found: &Hit,
    ) -> Result<Found, Error> {
        let inner = &*self.inner;
        inner.settings.store.forget(&context.address.key, &found.0);
        let plan = Plan::of(inner, context.request)?;
        Ok(match inner.lease(context, &plan).await {
            Some(leased) => Found::Miss(Fill::begin(&self.inner, context, plan, leased, None)),
            None => {
                // Nothing reports changes: it counts as changed.
                recorder::note_unknown(context.request.page);
                Found::Bypass
            }
        })
    }
}

impl Inner {
    /// Has the caller make the fragment for itself, while nothing reports
    /// changes: what shows it is not stored.
    pub(crate) fn bypass(&self, context: &LookupContext<'_>, outcome: Outcome) -> Found {
        self.report(context, outcome, None);
        recorder::note_unknown(context.request.page);
        Found::Bypass
    }

    /// [`bypass`](Self::bypass) for what must not be cached: what is around it
    /// depends on what it names, and is not stored.
    async fn bypass_uncached(&self, context: &LookupContext<'_>, plan: Option<&Plan>) -> Found {
        self.report(context, Outcome::Bypassed, None);
        match plan {
            Some(plan) => self.depend_on(context, plan, true).await,
            None => {
                recorder::with_current(|fill| fill.uncacheable = true);
                recorder::note_unknown(context.request.page);
            }
        }
        Found::Bypass
    }

    /// Makes what is around this point depend on what a request stands on, before
    /// the caller makes it for itself.
    pub(crate) async fn depend_on(
        &self,
        context: &LookupContext<'_>,
        plan: &Plan,
        uncacheable: bool,
    ) {
        let page = context.request.page;
        if !recorder::is_recording(page) {
            return;
        }
        let leased = self.lease_scope(&context.scope(plan), None).await;
        let now = self.now();
        let is_clean = leased.as_ref().is_some_and(|leased| leased.around.is_current(page));
        if !is_clean || !Readings::begin().are_committed() {
            recorder::note_unknown(page);
        }
        let dependencies = Dependencies {
            stamps: leased.map(|leased| leased.stamps).unwrap_or_default(),
            expires_at: plan.time_to_live.map(|limit| now.saturating_add(micros(limit))),
            uncacheable,
            ..Dependencies::default()
        };
        recorder::note_fill(&dependencies, page);
    }

    pub(crate) fn hit(
        &self,
        context: &LookupContext<'_>,
        (fragment, outcome): (Arc<Fragment>, Outcome),
    ) -> Found {
        self.report(context, outcome, Some(&fragment));
        recorder::note_hit(&fragment, context.request.page);
        Found::Hit(Hit(fragment))
    }

    /// Counts a lookup, and tells the observers.
    pub(crate) fn report(
        &self,
        context: &LookupContext<'_>,
        outcome: Outcome,
        fragment: Option<&Arc<Fragment>>,
    ) {
        self.counters.count_read(outcome);
        let Some(since) = context.address.since else { return };
        let age = |fragment: &Arc<Fragment>| {
            std::time::Duration::from_micros(self.now().saturating_sub(fragment.stored_at))
        };
        self.settings.observers.read(&CacheRead {
            name: context.request.label(),
            key: context.request.key,
            outcome,
            time: since.elapsed(),
            age: fragment.map(age),
        });
    }
}
