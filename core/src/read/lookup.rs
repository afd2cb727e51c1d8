//! Looking for a fragment: in memory, then in the shared tier, where there is
//! one, and taking the stamps to fill it with.

use std::time::{Duration, Instant};

use crate::cache::handle::Inner;
use crate::clock::micros;
use crate::fragment::{Dependencies, Fragment, TemplateUse};
use crate::key::{FragmentKey, KeyWriter};
use crate::observe::{CacheRead, Outcome};
use crate::prefix::Prefixes;
use crate::queryset::QuerySet;
use crate::read::fill::{Found, Hit, Plan, Request};
use crate::read::page::Page;
use crate::read::recorder;
use crate::shared::{Leased, LookupResult};
use crate::store::{LeaseScope, Stamp};
use crate::sync::Arc;
use crate::write::transaction::Readings;

/// Says whether a template that a body was found to use is still the same.
pub(crate) trait IsSame: Fn(&TemplateUse) -> bool {}
impl<F: Fn(&TemplateUse) -> bool + ?Sized> IsSame for F {}

/// Where a fragment lies for whoever asks, and since when it is asked for.
/// It is taken when the method is called: what it comes from may be of the
/// calling thread, and a future goes on in another.
pub(crate) struct Address<'a> {
    pub(crate) key: FragmentKey,
    prefixes: Prefixes<'a>,
    /// If an observer wants to know.
    since: Option<Instant>,
}

impl Address<'_> {
    pub(crate) fn prefix(&self) -> &str {
        &self.prefixes.combined
    }
}

/// A request under way, and where its fragment lies.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'r> {
    pub(crate) request: &'r Request<'r>,
    pub(crate) address: &'r Address<'r>,
}

impl Asked<'_> {
    /// Whether callers that miss together share one fill. What is read of a snapshot
    /// is for its reader alone.
    pub(crate) fn may_share(&self) -> bool {
        self.request.lock && Readings::begin().are_committed()
    }
}

impl Inner {
    /// Where a fragment lies for the caller. A computed prefix is part of its
    /// key.
    pub(crate) fn address<'t>(
        &self,
        key: FragmentKey,
        querysets: impl Iterator<Item = &'t QuerySet>,
    ) -> Address<'_> {
        let since = self.settings.observers.hear_reads().then(Instant::now);
        let prefix = &self.settings.prefix;
        if !prefix.is_computed() {
            return Address { key, prefixes: prefix.all_of(&[]), since };
        }
        let tables: Vec<&str> = querysets.flat_map(QuerySet::tables).collect();
        let prefixes = prefix.all_of(&tables);
        let mut whole = KeyWriter::new();
        whole.str(&prefixes.combined);
        whole.bytes(key.as_bytes());
        Address { key: whole.finish(), prefixes, since }
    }

    /// The fragment, if it is in memory and holds, and who says so; else why
    /// not. Over a shared tier that may take a trip, in which it is asked
    /// whether it holds.
    pub(crate) async fn look(
        &self,
        address: &Address<'_>,
        page: Option<&Page>,
        is_same: &(impl IsSame + ?Sized),
    ) -> Result<(Arc<Fragment>, Outcome), Outcome> {
        let near = self.settings.store.get(&address.key);
        self.look_at(address, near, page, is_same).await
    }

    /// [`look`](Self::look) where that is what is in memory.
    pub(crate) async fn look_at(
        &self,
        address: &Address<'_>,
        near: Option<Arc<Fragment>>,
        page: Option<&Page>,
        is_same: &(impl IsSame + ?Sized),
    ) -> Result<(Arc<Fragment>, Outcome), Outcome> {
        let Some(shared) = &self.settings.shared else {
            return self.look_here(address, near, is_same);
        };
        let page = page.filter(|page| page.is_of(self));
        match page.and_then(|page| page.take(&address.key, shared.bound())) {
            Some(Ok(fragment)) if self.check(&fragment, is_same).is_ok() => {
                return Ok((fragment, Outcome::SharedHit));
            }
            Some(Err(why)) => return Err(why),
            _ => {}
        }
        let near = near.ok_or(Outcome::NoValue)?;
        if !shared.is_strict() && !shared.is_trusted() {
            shared.renew_trust().await;
        }
        // Asked first: what is current after that was so while trust held.
        let is_trusted = shared.is_trusted();
        match self.check(&near, is_same) {
            Ok(()) if is_trusted => return Ok((near, Outcome::Hit)),
            Ok(()) | Err(Outcome::StampChanged) => {}
            // It is so wherever it lies.
            Err(why) => return Err(why),
        }
        let fragment = shared.revalidate(address.prefix(), address.key, near, page).await?;
        self.check(&fragment, is_same)?;
        Ok((fragment, Outcome::SharedHit))
    }

    /// [`look`](Self::look) where there is nothing but this process.
    fn look_here(
        &self,
        address: &Address<'_>,
        near: Option<Arc<Fragment>>,
        is_same: &(impl IsSame + ?Sized),
    ) -> Result<(Arc<Fragment>, Outcome), Outcome> {
        let fragment = near.ok_or(Outcome::NoValue)?;
        match self.check(&fragment, is_same) {
            Ok(()) => Ok((fragment, Outcome::Hit)),
            Err(why) => {
                self.settings.store.forget(&address.key, &fragment);
                Err(why)
            }
        }
    }

    /// The fragment, if it lies in the shared tier and holds; else the stamps
    /// to fill it with, and why. Waits, if it may, for another process that is
    /// filling it.
    pub(crate) async fn look_or_lease(
        &self,
        asked: &Asked<'_>,
        plan: &Plan,
        is_same: &(impl IsSame + ?Sized),
        may_wait: bool,
    ) -> Result<LookupResult, Outcome> {
        let page = asked.request.page;
        let looked = self.look_once(asked, plan, is_same, page).await?;
        let is_taken = matches!(&looked, LookupResult::Leased(leased, _) if leased.is_taken);
        let Some(shared) = self.settings.shared.as_ref().filter(|_| is_taken && may_wait) else {
            return Ok(looked);
        };
        drop(looked);
        let Address { key, .. } = asked.address;
        shared.wait_for_holder(asked.address.prefix(), *key, self.settings.wait_timeout).await;
        self.look_once(asked, plan, is_same, None).await
    }

    async fn look_once(
        &self,
        asked: &Asked<'_>,
        plan: &Plan,
        is_same: &(impl IsSame + ?Sized),
        page: Option<&Page>,
    ) -> Result<LookupResult, Outcome> {
        let address = asked.address;
        let scope = self.scope(asked, plan);
        let Some(shared) = &self.settings.shared else {
            return Ok(LookupResult::Leased(self.lease_here(&scope), Outcome::NoValue));
        };
        let page = page.filter(|page| page.is_of(self));
        let was = self.settings.store.get(&address.key);
        let outdated = was.as_deref().filter(|was| !was.has_current_stamps());
        let holds = |fragment: &Fragment| self.check(fragment, is_same);
        let mut looked = shared
            .find_or_lease(&scope, address.key, asked.may_share(), outdated, page, holds)
            .await;
        if let Ok(LookupResult::Leased(leased, _)) = &mut looked {
            self.keep_out_commits(&scope, &mut leased.stamps);
        }
        if let (Ok(LookupResult::Leased(..)), Some(was)) = (&looked, &was)
            && self.check(was, is_same).is_err()
        {
            self.settings.store.forget(&address.key, was);
        }
        looked
    }

    fn scope<'s>(&self, asked: &'s Asked<'_>, plan: &'s Plan) -> LeaseScope<'s> {
        LeaseScope {
            prefixes: &asked.address.prefixes,
            tables: &plan.tables,
            name: asked.request.name,
            variant: asked.request.variant,
            #[cfg(feature = "redis")]
            page: asked.request.page,
        }
    }

    /// Takes the stamps of a fill, and asks for its lock; `None` where there is
    /// no line to the shared tier.
    pub(crate) async fn lease(&self, asked: &Asked<'_>, plan: &Plan) -> Option<Leased> {
        let lock = asked.may_share().then_some(asked.address.key);
        self.lease_scope(&self.scope(asked, plan), lock).await
    }

    pub(crate) async fn lease_scope(
        &self,
        scope: &LeaseScope<'_>,
        lock: Option<FragmentKey>,
    ) -> Option<Leased> {
        match &self.settings.shared {
            None => Some(self.lease_here(scope)),
            Some(shared) => {
                let mut leased = shared.lease(scope, lock).await?;
                self.keep_out_commits(scope, &mut leased.stamps);
                Some(leased)
            }
        }
    }

    fn lease_here(&self, scope: &LeaseScope<'_>) -> Leased {
        let mut stamps = self.settings.store.lease(scope).stamps;
        self.keep_out_commits(scope, &mut stamps);
        Leased { stamps, is_taken: false, lock: None, around_holds: false }
    }

    /// What is read while a commit changes it may be of before and of after: it is
    /// as if it had changed already.
    fn keep_out_commits(&self, scope: &LeaseScope<'_>, stamps: &mut Vec<Arc<Stamp>>) {
        if self.commits.touch_scope(scope) {
            stamps.push(Stamp::dropped());
        }
    }

    /// Whether a fragment holds, as far as this process knows.
    pub(crate) fn check(
        &self,
        fragment: &Fragment,
        is_same: &(impl IsSame + ?Sized),
    ) -> Result<(), Outcome> {
        if !fragment.has_current_stamps() || self.is_being_written(fragment) {
            Err(Outcome::StampChanged)
        } else if fragment.expires_at().is_some_and(|at| at <= self.now()) {
            Err(Outcome::Expired)
        } else if !fragment.templates().iter().all(is_same) {
            Err(Outcome::TemplateChanged)
        } else {
            Ok(())
        }
    }

    /// Answers that the caller is to render for itself, while nothing tells what
    /// changes: nothing that shows it is stored.
    pub(crate) fn bypass(&self, asked: &Asked<'_>, why: Outcome) -> Found {
        self.report(asked, why, None);
        recorder::unknown(asked.request.page);
        Found::Bypass
    }

    /// The same where it is not to be cached: it stands on what it names, and
    /// nothing is stored around it.
    pub(crate) async fn bypass_uncached(&self, asked: &Asked<'_>, plan: Option<&Plan>) -> Found {
        self.report(asked, Outcome::Bypassed, None);
        match plan {
            Some(plan) => self.stand_on(asked, plan, true).await,
            None => {
                recorder::record(|outer| outer.uncacheable = true);
                recorder::unknown(asked.request.page);
            }
        }
        Found::Bypass
    }

    /// Makes what is around this point depend on what a request stands on that
    /// is made for its caller alone, before it is made.
    pub(crate) async fn stand_on(&self, asked: &Asked<'_>, plan: &Plan, uncacheable: bool) {
        let page = asked.request.page;
        if !recorder::counts_around(page) {
            return;
        }
        let leased = self.lease_scope(&self.scope(asked, plan), None).await;
        let now = self.now();
        if leased.is_none() || !Readings::begin().are_committed() {
            recorder::unknown(page);
        }
        let stands_on = Dependencies {
            stamps: leased.map(|leased| leased.stamps).unwrap_or_default(),
            expires_at: plan
                .time_to_live
                .map(|time_to_live| now.saturating_add(micros(time_to_live))),
            uncacheable,
            ..Dependencies::default()
        };
        recorder::made(&stands_on, page);
    }

    pub(crate) fn hit(
        &self,
        asked: &Asked<'_>,
        (fragment, outcome): (Arc<Fragment>, Outcome),
    ) -> Found {
        self.report(asked, outcome, Some(&fragment));
        recorder::found(&fragment, asked.request.page);
        Found::Hit(Hit(fragment))
    }

    pub(crate) fn report(
        &self,
        asked: &Asked<'_>,
        outcome: Outcome,
        fragment: Option<&Arc<Fragment>>,
    ) {
        self.counters.read(outcome);
        let Some(since) = asked.address.since else { return };
        self.settings.observers.read(&CacheRead {
            name: asked.request.label(),
            key: asked.request.key,
            outcome,
            time: since.elapsed(),
            age: fragment.map(|f| Duration::from_micros(self.now().saturating_sub(f.stored_at))),
        });
    }
}
