//! Fetching the fragments of a page together: the first round trip of a page also
//! fetches the fragments that followed on the last such page.

use std::sync::Arc;
use std::time::Instant;

use super::bounded_map::{BoundedMap, Weight};
use super::lengths::MOST_AHEAD;
use super::search::Entry;
use super::state::SharedState;
use crate::fragment::Fragment;
use crate::key::FragmentKey;
use crate::observe::Outcome;
use crate::read::page::{FragmentRef, Page};

/// For each fragment that led a round trip, the fragments that followed it.
pub(super) struct PrefetchLists(BoundedMap<FragmentKey, Arc<[FragmentRef]>>);

impl Weight for Arc<[FragmentRef]> {
    fn weight(&self) -> usize {
        let prefix =
            |fragment: &FragmentRef| fragment.prefix.as_ref().map_or(0, |prefix| prefix.len());
        self.iter().map(|fragment| size_of::<FragmentRef>() + prefix(fragment)).sum()
    }
}

impl PrefetchLists {
    /// Room beside `limit` bytes of fragments.
    pub(super) fn beside(limit: u64) -> Self {
        PrefetchLists(BoundedMap::beside(limit))
    }

    /// What they take, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    pub(super) fn get(&self, key: &FragmentKey) -> Arc<[FragmentRef]> {
        self.0.get(key).unwrap_or_default()
    }

    pub(super) fn remember(&self, key: FragmentKey, list: Vec<FragmentRef>) {
        if self.0.get(&key).is_none_or(|known| *known != *list) {
            self.0.insert(key, list.into());
        }
    }
}

/// What one round trip fetches for its page beside the fragment that leads it.
pub(super) struct Prefetch<'p> {
    page: Option<&'p Page>,
    since: Instant,
    fragments: Vec<FragmentRef>,
}

impl<'p> Prefetch<'p> {
    /// Begins the round trip of `leader` for a page, if there is one.
    pub(super) fn begin(page: Option<&'p Page>, leader: &FragmentKey) -> Self {
        let since = Instant::now();
        let fragments = page.map(|page| page.begin_trip(leader)).unwrap_or_default();
        Prefetch { page, since, fragments }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fragments.is_empty()
    }

    /// All that the round trip looks for: the leader first, then as many fragments as
    /// its time limit allows.
    pub(super) fn entries<'s>(
        &'s self,
        state: &SharedState,
        leader: Entry<'s>,
        prefix: &'s str,
    ) -> Vec<Entry<'s>> {
        let mut entries = Vec::with_capacity(1 + self.fragments.len());
        entries.push(leader);
        let mut room = MOST_AHEAD;
        entries.extend(self.fragments.iter().filter_map(|fragment| {
            // Whether it has expired is checked when the page asks for it.
            let near = state.near.get(&fragment.key);
            // Of a fragment in memory whose stamps are current, only the stamps are read.
            if !near.as_ref().is_some_and(|near| near.has_current_stamps()) {
                room = room.checked_sub(state.lengths.of(&fragment.key))?;
            }
            Some(Entry::new(fragment.prefix.as_deref().unwrap_or(prefix), fragment.key, near))
        }));
        entries
    }

    /// Gives the page what was found, and returns the result of the leader.
    pub(super) fn finish(&self, entries: Vec<Entry<'_>>) -> Result<Arc<Fragment>, Outcome> {
        let mut found = entries.into_iter().map(|entry| (entry.key, entry.result()));
        let leader = found.next().map_or(Err(Outcome::NoValue), |(_, result)| result);
        if let Some(page) = self.page {
            found.for_each(|(key, result)| page.add_prefetched(key, self.since, result));
        }
        leader
    }
}
