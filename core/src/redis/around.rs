//! What was read around a fill, asked of the stores that it lies in.
//!
//! A lease brings the pushes of its own store. Those of another store, which another
//! cache of this process uses, may still be on their way: only that store can tell.

use std::sync::{Arc, Mutex, Weak};

use super::error::LinkError;
use super::lease::LeaseInProgress;
use super::link::Link;
use super::stamp_map::Lineage;
use super::stamps::{read_command, settle, token_at};
use super::state::SharedState;
use crate::protocol::Command;
use crate::read::page::Page;
use crate::read::surroundings::{self, Surroundings};
use crate::shared::Around;
use crate::store::{SharedStamp, Stamp, StoreId};
use crate::sync::lock;

/// The caches of this process that have a shared tier, by their stores.
static STORES: Mutex<Vec<(StoreId, Weak<SharedState>)>> = Mutex::new(Vec::new());

/// Makes a cache known to the others of this process, as long as it lives.
pub(super) fn register(state: &Arc<SharedState>) {
    let mut stores = lock(&STORES);
    stores.retain(|(_, state)| state.strong_count() > 0);
    stores.extend(state.near.id().map(|id| (id, Arc::downgrade(state))));
}

/// The cache of a store; `None` if it is gone.
fn state_of(store: StoreId) -> Option<Arc<SharedState>> {
    let stores = lock(&STORES);
    stores.iter().find(|(id, _)| *id == store).and_then(|(_, state)| state.upgrade())
}

/// Asks the stores of other caches for what was read around a fill: in one round trip
/// to each of them, if there are any. Call it after the lease, from a cache whose store
/// is `own`; `None` is one in memory. Whether all of it is current.
pub(crate) async fn others_hold(own: Option<StoreId>, page: Option<&Page>) -> bool {
    let mut stamps = surroundings::stamps_of_others(own, page);
    while let Some(store) = stamps.first().and_then(|stamp| stamp.store()) {
        let is_of_it = |stamp: &Arc<Stamp>| stamp.store() == Some(store);
        let (of_store, rest): (Vec<_>, Vec<_>) = stamps.into_iter().partition(is_of_it);
        stamps = rest;
        let Some(state) = state_of(store) else { return false };
        if !state.still_has(&of_store).await {
            return false;
        }
    }
    true
}

impl LeaseInProgress<'_> {
    /// What is known of what was read around the fill, after the lease. `None` if the
    /// connection failed.
    pub(super) async fn check_around(&self) -> Option<Around> {
        let (state, page) = (self.state, self.page);
        let known = surroundings::surroundings(page);
        if known == Surroundings::Outdated {
            return Some(Around::Changed);
        }
        // Pushes may be late or may come from own writes.
        let is_sure = known == Surroundings::Current && self.link.is_causal;
        let holds = !is_sure && self.own_around_holds().await?;
        Some(match others_hold(state.near.id(), page).await {
            false => Around::Changed,
            true if holds => Around::Holds,
            true => Around::AsInMemory,
        })
    }

    /// Reads the stamps of what was read around the fill again, those of its own store,
    /// and drops those that are gone. Returns whether the store still has all of them,
    /// and nothing was read from a cache in memory. `None` if the connection failed.
    async fn own_around_holds(&self) -> Option<bool> {
        let mut around = surroundings::surrounding_stamps(self.page);
        let are_shared = around.iter().all(|stamp| stamp.shared().is_some());
        around.retain(|stamp| stamp.store() == self.state.near.id());
        let again = self.state.read_again(self.link, &around).await.ok()?;
        Some(are_shared && again.has_tokens)
    }
}

/// What came of reading stamps again.
struct ReadAgain {
    /// Whether the store has the tokens that are known of all of them.
    has_tokens: bool,
    /// Whether all of them can be relied on in memory, too.
    is_settled: bool,
}

impl SharedState {
    /// Whether the store has all of these stamps, which are stamps of it. Those that are
    /// gone are dropped.
    async fn still_has(&self, stamps: &[Arc<Stamp>]) -> bool {
        let Ok(link) = self.link().await else { return false };
        let check = self.begin_lookup_check();
        let Ok(again) = self.read_again(&link, stamps).await else { return false };
        match self.confirm_master(&link, &check).await {
            Ok(()) => again.has_tokens && again.is_settled,
            Err(error) => {
                self.disconnect(link.session, &error.into());
                false
            }
        }
    }

    /// Reads stamps of this store again, and those above them, and drops those that are
    /// gone.
    async fn read_again(&self, link: &Link, stamps: &[Arc<Stamp>]) -> Result<ReadAgain, LinkError> {
        let line = Lineage::of(stamps);
        let reads: Vec<Command> = line.stamps().filter_map(read_command).collect();
        let replies = self.run(link, &reads).await?;
        let is_complete = replies.len() == line.len();
        let mut again = ReadAgain { has_tokens: is_complete, is_settled: is_complete };
        for (stamp, reply) in line.stamps().zip(&replies) {
            let found = reply.value().and_then(|value| token_at(stamp, value, link));
            let known = stamp.shared().and_then(SharedStamp::token);
            again.has_tokens &= found.is_some() && found == known;
            again.is_settled &= settle(&self.near, link, stamp, found);
        }
        Ok(again)
    }
}
