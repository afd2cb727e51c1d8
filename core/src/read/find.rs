//! Finding a fragment, or waiting for another caller that fills it.

use std::pin::pin;
use std::time::Instant;

use crate::cache::handle::Cacheops;
use crate::error::Error;
use crate::fragment::TemplateUse;
use crate::observe::Outcome;
use crate::read::attempt::{Attempt, Caller, Found, Hit};
use crate::read::recorder;
use crate::read::request::{LookupContext, Plan, Request, SameTemplate, any_template};
use crate::read::single_flight::Follower;
use crate::sync::{block_on, timer};

impl Cacheops {
    /// Looks a fragment up, and waits for another caller that fills it.
    /// `is_same` says whether a template that its body was found to use
    /// ([`use_template`](Self::use_template)) is still the same.
    ///
    /// # Errors
    ///
    /// An invalid queryset, a table without a profile, a time to live of zero.
    pub fn find(
        &self,
        request: &Request<'_>,
        is_same: &dyn Fn(&TemplateUse) -> bool,
    ) -> Result<Found, Error> {
        let address = self.inner.address(request.key, request.querysets.iter().copied());
        self.find_in(&LookupContext { request, address: &address }, is_same)
    }

    pub(crate) fn find_in(
        &self,
        context: &LookupContext<'_>,
        is_same: &dyn Fn(&TemplateUse) -> bool,
    ) -> Result<Found, Error> {
        let caller = Caller { is_async: false, may_wait: true };
        match block_on(pin!(self.attempt(context, is_same, caller)))? {
            Attempt::Done(found) => Ok(found),
            Attempt::Wait(follower) => {
                block_on(pin!(self.find_after(context, is_same, caller, follower)))
            }
        }
    }

    pub(crate) async fn find_async(&self, context: &LookupContext<'_>) -> Result<Found, Error> {
        let caller = Caller { is_async: true, may_wait: true };
        match self.attempt(context, &any_template, caller).await? {
            Attempt::Done(found) => Ok(found),
            Attempt::Wait(follower) => {
                self.find_after(context, &any_template, caller, follower).await
            }
        }
    }

    /// Waits for the leader, and then makes another attempt. It waits for a
    /// second leader at most, if the first was of no use: an invalidation
    /// overtook it, it failed, or it had started too early. It never waits longer
    /// than the timeout in all; then it goes on alone.
    async fn find_after(
        &self,
        context: &LookupContext<'_>,
        is_same: &(impl SameTemplate + ?Sized),
        caller: Caller,
        mut follower: Follower,
    ) -> Result<Found, Error> {
        let until = timer::after(self.inner.settings.wait_timeout);
        let arrived = follower.arrived;
        let mut may_wait = true;
        loop {
            follower.arrived = arrived;
            let has_ended = wait(&follower, caller, until).await;
            if has_ended && let Some(found) = self.take_handoff(context, is_same, &follower).await {
                return Ok(found);
            }
            let may_wait_again = follower.pending.is_overtaken() || started_too_early(&follower);
            may_wait &= has_ended && may_wait_again;
            match self.attempt(context, is_same, Caller { may_wait, ..caller }).await? {
                Attempt::Done(found) => return Ok(found),
                Attempt::Wait(_) if !may_wait => {
                    // An attempt that may not wait never says so. If it did, the
                    // caller can still make the fragment for itself.
                    return Ok(self.inner.bypass(context, Outcome::Bypassed));
                }
                Attempt::Wait(next) => follower = next,
            }
            may_wait = false;
        }
    }

    /// Takes what the leader could not store, if it is as good as a hit.
    async fn take_handoff(
        &self,
        context: &LookupContext<'_>,
        is_same: &(impl SameTemplate + ?Sized),
        follower: &Follower,
    ) -> Option<Found> {
        let handoff = follower.pending.handoff()?;
        let (inner, fragment) = (&*self.inner, handoff.fragment.clone());
        let page = context.request.page;
        if !handoff.is_unverified {
            let found =
                inner.validate(context.address, Some(fragment), page, is_same).await.ok()?;
            return Some(inner.hit(context, found));
        }
        // Everything that it shows was read after this caller had arrived, so
        // after every invalidation that had returned by then.
        let is_expired = fragment.expires_at().is_some_and(|at| at <= inner.now());
        if !follower.pending.started_after(follower.arrived)
            || is_expired
            || !fragment.templates().iter().all(is_same)
        {
            return None;
        }
        inner.report(context, Outcome::BreakerOpen, None);
        recorder::note_hit(&fragment, page);
        recorder::note_unknown(page);
        Some(Found::Hit(Hit(fragment)))
    }

    /// Whether a fill runs around this point.
    #[must_use]
    pub fn is_filling(&self) -> bool {
        recorder::current().is_some()
    }

    /// Tells the fill around this point, if there is one, that it must not be
    /// stored: it shows something that nothing could ever invalidate.
    pub fn do_not_cache(&self) {
        recorder::with_current(|fill| fill.uncacheable = true);
    }

    /// Tells the fill around this point, if there is one, that it used a
    /// template which its key does not cover.
    pub fn use_template(&self, template: TemplateUse) {
        recorder::with_current(|fill| fill.templates.push(template));
    }

    /// Makes the fill around this point depend on what a fragment stands on that
    /// is neither looked up nor stored by itself. To be called before its body
    /// runs. Outside of any fill it counts for the page.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find).
    pub fn pass(&self, request: &Request<'_>) -> Result<(), Error> {
        if !recorder::is_recording(request.page) {
            return Ok(());
        }
        let inner = &*self.inner;
        let plan = Plan::of(inner, request)?;
        let address = inner.address(request.key, request.querysets.iter().copied());
        let context = LookupContext { request, address: &address };
        block_on(pin!(inner.depend_on(&context, &plan, plan.never)));
        Ok(())
    }
}

/// Whether the leader handed off something that is only for those who had
/// arrived earlier.
fn started_too_early(follower: &Follower) -> bool {
    let pending = &follower.pending;
    pending.handoff().is_some_and(|handoff| handoff.is_unverified)
        && !pending.started_after(follower.arrived)
}

async fn wait(follower: &Follower, caller: Caller, until: Option<Instant>) -> bool {
    match caller.is_async {
        true => follower.pending.clone().wait_async(until).await,
        false => follower.pending.wait(until),
    }
}
