//! Looking a fragment up: in memory, then in the shared tier, where there is
//! one. That lookup also takes the stamps to fill the fragment with.

use crate::cache::inner::Inner;
use crate::fragment::Fragment;
use crate::observe::Outcome;
use crate::read::page::Page;
use crate::read::request::{Address, LookupContext, Plan, SameTemplate};
use crate::shared::{LookupRequest, LookupResult};
use crate::sync::Arc;

impl Inner {
    /// The fragment, if it is in memory and holds, and how that was found; else
    /// why not. With a shared tier that may take a round trip, to revalidate it.
    pub(crate) async fn look_up(
        &self,
        address: &Address<'_>,
        page: Option<&Page>,
        is_same: &(impl SameTemplate + ?Sized),
    ) -> Result<(Arc<Fragment>, Outcome), Outcome> {
        let near = self.settings.store.get(&address.key);
        self.validate(address, near, page, is_same).await
    }

    /// [`look_up`](Self::look_up) where `near` is what is in memory.
    pub(crate) async fn validate(
        &self,
        address: &Address<'_>,
        near: Option<Arc<Fragment>>,
        page: Option<&Page>,
        is_same: &(impl SameTemplate + ?Sized),
    ) -> Result<(Arc<Fragment>, Outcome), Outcome> {
        let Some(shared) = &self.settings.shared else {
            return self.validate_locally(address, near, is_same);
        };
        let page = page.filter(|page| page.is_of(self));
        match page.and_then(|page| page.take_prefetched(&address.key, shared.bound())) {
            Some(Ok(fragment)) if self.check(&fragment, is_same).is_ok() => {
                return Ok((fragment, Outcome::SharedHit));
            }
            Some(Err(outcome)) => return Err(outcome),
            _ => {}
        }
        let near = near.ok_or(Outcome::NoValue)?;
        if !shared.is_strict() && !shared.is_trusted() {
            shared.renew_trust().await;
        }
        // Before the check: a stamp that is current afterwards was so while
        // trust held.
        let is_trusted = shared.is_trusted();
        match self.check(&near, is_same) {
            Ok(()) if is_trusted => return Ok((near, Outcome::Hit)),
            Ok(()) | Err(Outcome::StampChanged) => {}
            // True wherever it is stored.
            Err(outcome) => return Err(outcome),
        }
        let fragment = shared.revalidate(address.prefix(), address.key, near, page).await?;
        self.check(&fragment, is_same)?;
        Ok((fragment, Outcome::SharedHit))
    }

    /// [`validate`](Self::validate) without a shared tier.
    fn validate_locally(
        &self,
        address: &Address<'_>,
        near: Option<Arc<Fragment>>,
        is_same: &(impl SameTemplate + ?Sized),
    ) -> Result<(Arc<Fragment>, Outcome), Outcome> {
        let fragment = near.ok_or(Outcome::NoValue)?;
        match self.check(&fragment, is_same) {
            Ok(()) => Ok((fragment, Outcome::Hit)),
            Err(outcome) => {
                self.settings.store.forget(&address.key, &fragment);
                Err(outcome)
            }
        }
    }

    /// The fragment, if it is in the shared tier and holds; else the stamps to
    /// fill it with, and the reason. Waits for another process that fills it.
    pub(crate) async fn wait_or_lease(
        &self,
        context: &LookupContext<'_>,
        plan: &Plan,
        is_same: &(impl SameTemplate + ?Sized),
    ) -> Result<LookupResult, Outcome> {
        let page = context.request.page;
        let result = self.look_up_or_lease(context, plan, is_same, page).await?;
        let is_taken = matches!(&result, LookupResult::Leased(leased, _) if leased.is_taken);
        let Some(shared) = self.settings.shared.as_ref().filter(|_| is_taken) else {
            return Ok(result);
        };
        drop(result);
        let Address { key, .. } = context.address;
        let prefix = context.address.prefix();
        shared.wait_for_holder(prefix, *key, self.settings.wait_timeout).await;
        self.look_up_or_lease(context, plan, is_same, None).await
    }

    /// [`wait_or_lease`](Self::wait_or_lease) without waiting.
    pub(crate) async fn look_up_or_lease(
        &self,
        context: &LookupContext<'_>,
        plan: &Plan,
        is_same: &(impl SameTemplate + ?Sized),
        page: Option<&Page>,
    ) -> Result<LookupResult, Outcome> {
        let address = context.address;
        let scope = context.scope(plan);
        let Some(shared) = &self.settings.shared else {
            return Ok(LookupResult::Leased(self.lease_locally(&scope).await, Outcome::NoValue));
        };
        let page = page.filter(|page| page.is_of(self));
        let near = self.settings.store.get(&address.key);
        let outdated = near.as_deref().filter(|near| !near.has_current_stamps());
        let holds = |fragment: &Fragment| self.check(fragment, is_same);
        let lock = context.may_share().then_some(address.key);
        let request = LookupRequest { scope: &scope, key: address.key, lock, outdated, page };
        let mut result = shared.find_or_lease(request, holds).await;
        if let Ok(LookupResult::Leased(leased, _)) = &mut result {
            self.keep_out_commits(&scope, &mut leased.stamps);
            if let Some(near) = near.filter(|near| self.check(near, is_same).is_err()) {
                self.settings.store.forget(&address.key, &near);
            }
        }
        result
    }

    /// Whether a fragment holds, as far as this process knows.
    pub(crate) fn check(
        &self,
        fragment: &Fragment,
        is_same: &(impl SameTemplate + ?Sized),
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

    /// Whether a commit in progress touches a fragment of the shared tier.
    /// Without one, marking the commit has dropped the stamps.
    pub(crate) fn is_being_written(&self, fragment: &Fragment) -> bool {
        self.settings.shared.is_some() && self.commits.touch(fragment)
    }
}
