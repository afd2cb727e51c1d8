//! Looking fragments up in the store, and taking leases.

use std::sync::Arc;

use super::error::LinkError;
use super::lease::{LeaseInProgress, Leased};
use super::link::Link;
use super::master_check::MasterCheck;
use super::prefetch::Prefetch;
use super::search::{Entry, Search};
use super::tier::Tier;
use crate::error::{Error, ErrorKind};
use crate::fragment::Fragment;
use crate::key::FragmentKey;
use crate::observe::Outcome;
use crate::queryset::LeaseScope;
use crate::read::page::Page;
use crate::shared::LookupRequest;

/// The result of a lookup that takes a lease.
pub(crate) enum LookupResult {
    Found(Arc<Fragment>),
    /// The fragment is to be filled, for the given reason.
    Leased(Leased, Outcome),
}

impl Tier {
    /// Compares the stamps of a fragment in memory with those in the store.
    pub(crate) async fn revalidate(
        &self,
        prefix: &str,
        key: FragmentKey,
        near: Arc<Fragment>,
        page: Option<&Page>,
    ) -> Result<Arc<Fragment>, Outcome> {
        let link = self.state.link().await.map_err(|_| Outcome::Unverified)?;
        let check = self.state.begin_lookup_check();
        let mut search = Search::new(&self.state, &link);
        if search.was_invalidated(&near) {
            return Err(Outcome::StampChanged);
        }
        let prefetch = Prefetch::begin(page, &key);
        if prefetch.is_empty()
            && near.has_current_stamps()
            && let Some(revalidation) = self.revalidations.of(&key, &near)
        {
            let verdict = revalidation
                .run(&self.state.near, &link)
                .await
                .map_err(|error| self.disconnect(&link, &error))?;
            self.confirm_master(&link, &check).await?;
            return verdict.outcome().map_or(Ok(near), Err);
        }
        let leader = Entry::new(prefix, key, Some(near));
        let mut entries = prefetch.entries(&self.state, leader, prefix);
        search.find(&mut entries, None).await.map_err(|error| self.disconnect(&link, &error))?;
        self.confirm_master(&link, &check).await?;
        prefetch.finish(entries)
    }

    /// The fragment that was just filled, under stamps that are current, if it still
    /// holds. A push may drop stamps without a change, as when a nested fill registers a
    /// scheme of the same table; their tokens in the store tell.
    pub(crate) async fn restamp_if_current(&self, made: &Fragment) -> Option<Fragment> {
        let link = self.state.link_now()?;
        let check = self.state.begin_lookup_check();
        let restamped = Search::new(&self.state, &link).restamp_if_current(made).await;
        let restamped = restamped.map_err(|error| self.disconnect(&link, &error)).ok()?;
        self.confirm_master(&link, &check).await.ok()?;
        restamped
    }

    /// Reads a fragment from the store, and in the same round trip takes the lease to
    /// fill it with. `holds` decides whether the fragment may be served.
    pub(crate) async fn find_or_lease(
        &self,
        request: LookupRequest<'_>,
        holds: impl Fn(&Fragment) -> Result<(), Outcome>,
    ) -> Result<LookupResult, Outcome> {
        let LookupRequest { scope, key, lock, outdated, page } = request;
        let prefix = &*scope.prefixes.combined;
        let link = self.state.link().await.map_err(|_| Outcome::BreakerOpen)?;
        let check = self.state.begin_lookup_check();
        let mut search = Search::new(&self.state, &link);
        let leasing = LeaseInProgress::begin(&self.state, &link, scope, lock);
        let mut leasing = leasing.ok_or(Outcome::BreakerOpen)?;
        let prefetch = Prefetch::begin(page, &key);
        let leader = search.anew(prefix, key, outdated);
        let mut entries = prefetch.entries(&self.state, leader, prefix);
        let found = search.find(&mut entries, Some(&mut leasing)).await;
        found.map_err(|error| self.disconnect(&link, &error))?;
        self.confirm_master(&link, &check).await?;
        let found = prefetch.finish(entries);
        let outcome = match found.and_then(|fragment| holds(&fragment).map(|()| fragment)) {
            Ok(fragment) => return Ok(LookupResult::Found(fragment)),
            Err(outcome) => outcome,
        };
        if leasing.has_lost() {
            leasing = self.lease_again(&link, scope, leasing).await.ok_or(Outcome::BreakerOpen)?;
        }
        let leased = leasing.finish().await.ok_or(Outcome::BreakerOpen)?;
        Ok(LookupResult::Leased(leased, outcome))
    }

    /// Takes the lease once more, after stamps that seemed leased were found missing:
    /// what is filled under those could not be stored.
    async fn lease_again<'a>(
        &'a self,
        link: &'a Arc<Link>,
        scope: &LeaseScope<'a>,
        mut before: LeaseInProgress<'a>,
    ) -> Option<LeaseInProgress<'a>> {
        let mut leasing = LeaseInProgress::begin(&self.state, link, scope, None)?;
        self.send_lease(link, &mut leasing).await?;
        leasing.take_over(&mut before);
        Some(leasing)
    }

    async fn send_lease(&self, link: &Link, leasing: &mut LeaseInProgress<'_>) -> Option<()> {
        let replies = self.state.run(link, &leasing.commands()).await.ok()?;
        let settled = leasing.settle(&replies, |_, _| {});
        settled.map_err(|error| self.disconnect(link, &error)).ok()
    }

    /// Gives the connection up unless it leads to the master. What was read there counts
    /// for nothing then.
    async fn confirm_master(&self, link: &Link, check: &MasterCheck) -> Result<(), Outcome> {
        let confirmed = self.state.confirm_master(link, check).await;
        confirmed.map_err(|error| self.disconnect(link, &error.into()))
    }

    /// Gives the connection up.
    fn disconnect(&self, link: &Link, error: &LinkError) -> Outcome {
        self.state.disconnect(link.session, error);
        Outcome::Unverified
    }

    /// The fragment in the store, its length there, and whether it holds; for inspection.
    pub(crate) async fn peek(
        &self,
        prefix: &str,
        key: FragmentKey,
    ) -> Result<Option<(Arc<Fragment>, usize, bool)>, Error> {
        let link = self.state.link().await.map_err(unavailable)?;
        let check = self.state.begin_lookup_check();
        let entry = Entry::new(prefix, key, None);
        let found = Search::new(&self.state, &link).peek(entry).await.map_err(unavailable)?;
        let confirmed = self.state.confirm_master(&link, &check).await;
        confirmed.map_err(|error| unavailable(error.into()))?;
        Ok(found)
    }

    /// Takes the lease of a fill, and its lock if `lock` names the fragment.
    pub(crate) async fn lease(
        &self,
        scope: &LeaseScope<'_>,
        lock: Option<FragmentKey>,
    ) -> Option<Leased> {
        let link = self.state.link().await.ok()?;
        let mut leasing = LeaseInProgress::begin(&self.state, &link, scope, lock)?;
        self.send_lease(&link, &mut leasing).await?;
        if leasing.has_lost() {
            leasing = self.lease_again(&link, scope, leasing).await?;
        }
        leasing.finish().await
    }
}

fn unavailable(error: LinkError) -> Error {
    Error::new(ErrorKind::Unavailable, format!("redis: {error}"))
}
