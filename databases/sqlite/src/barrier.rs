//! Commits whose end is not known yet.

use std::time::Instant;

use cacheops::{Cacheops, WriteEvent};

use crate::transaction::Events;

/// A commit that is under way: what it changes is marked in each cache.
pub(crate) struct Commit {
    pending: Vec<PendingCommit>,
    pub(crate) since: Instant,
    /// It may have changed nothing: the count of changed rows tells, once it is over.
    pub(crate) doubtful: bool,
}

impl Commit {
    /// Marks what is about to be committed.
    pub(crate) fn begin(events: Events, doubtful: bool) -> Self {
        let begin =
            |(to, events): (std::sync::Arc<crate::registry::Installation>, Vec<WriteEvent>)| {
                PendingCommit { cache: to.cache.clone(), events }
            };
        Commit { pending: events.into_iter().map(begin).collect(), since: Instant::now(), doubtful }
    }

    /// The commit is visible: what it changed is dropped. An error has been told to
    /// the observers of the cache.
    pub(crate) fn committed(self) {
        for pending in self.pending {
            let _ = pending.cache.invalidate_batch(pending.events);
        }
    }

    /// Nothing was committed.
    pub(crate) fn rolled_back(self) {}
}

struct PendingCommit {
    cache: Cacheops,
    events: Vec<WriteEvent>,
}
