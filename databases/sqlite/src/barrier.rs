//! Commits whose end is not known yet.

use cacheops::PendingCommit;

use crate::transaction::Events;

/// A commit that is in progress: what it changes is marked in each cache.
pub(crate) struct Commit(Vec<PendingCommit>);

impl Commit {
    /// Marks what is about to be committed.
    pub(crate) fn begin(events: Events) -> Self {
        let begin = |(to, events): (std::sync::Arc<crate::registry::Installation>, _)| {
            to.cache.begin_commit(Vec::into_iter(events))
        };
        Commit(events.into_iter().map(begin).collect())
    }

    /// The commit is visible: what it changed is dropped. The observers of the cache
    /// have been told of an error.
    pub(crate) fn committed(self) {
        for pending in self.0 {
            let _ = pending.committed();
        }
    }

    /// Nothing was committed.
    pub(crate) fn rolled_back(self) {
        self.0.into_iter().for_each(PendingCommit::rolled_back);
    }
}
