//! Commits whose end is not known yet.

use std::sync::Arc;

use cacheops::{PendingCommit, WriteEvent};

use crate::file::File;
use crate::monitor;
use crate::registry::Installation;
use crate::transaction::Changes;

/// A commit that is in progress: what it changes is marked in each cache.
pub(crate) struct Commit {
    pending: Vec<(Arc<Installation>, PendingCommit)>,
    /// The files that it is made to.
    files: Vec<Arc<File>>,
}

impl Commit {
    /// Marks what is about to be committed to some files.
    pub(crate) fn begin(changes: Changes, files: Vec<Arc<File>>) -> Self {
        let begin = |(to, events): (Arc<Installation>, Vec<WriteEvent>)| {
            let pending = to.cache.begin_commit(reachable(&to, events));
            (to, pending)
        };
        let pending = changes.events.into_iter().map(begin).collect();
        Commit { pending, files }
    }

    /// The commit is visible: what it changed is dropped. The observers of the cache
    /// are told of an error; what could not be delivered will be.
    pub(crate) fn committed(self) {
        for file in &self.files {
            file.end_commit(true);
        }
        for (to, pending) in self.pending {
            Undelivered { to, pending }.deliver();
        }
    }

    /// Nothing was committed.
    pub(crate) fn rolled_back(self) {
        for file in &self.files {
            file.end_commit(false);
        }
        self.pending.into_iter().for_each(|(_, pending)| pending.rolled_back());
    }

    /// Whether it is over for sure, as its files tell. Where there are none, nobody else
    /// reads the database, and the next statement of its connection will tell.
    pub(crate) fn is_over(&self) -> bool {
        !self.files.is_empty() && self.files.iter().all(|file| file.commits_are_over())
    }

    pub(crate) fn has_files(&self) -> bool {
        !self.files.is_empty()
    }
}

/// What reaches all that `events` are about. Which prefix the application would compute
/// is not known here: the thread may be a driver's, or the monitor's.
fn reachable(to: &Installation, events: Vec<WriteEvent>) -> Vec<WriteEvent> {
    match !events.is_empty() && to.cache.has_computed_prefix() {
        true => vec![WriteEvent::everything()],
        false => events,
    }
}

/// Changes that a cache is to be told. Until it has been, they are marked: what they
/// affect is not found.
pub(crate) struct Undelivered {
    to: Arc<Installation>,
    pending: PendingCommit,
}

impl Undelivered {
    pub(crate) fn new(to: &Arc<Installation>, events: Vec<WriteEvent>) -> Self {
        let pending = to.cache.begin_commit(reachable(to, events));
        Undelivered { to: Arc::clone(to), pending }
    }

    /// Tells the cache, now or as soon as that is possible. The observers of the cache
    /// are told of an error.
    pub(crate) fn deliver(mut self) {
        if self.pending.try_committed().is_err_and(|error| error.is_transient()) {
            monitor::deliver_later(self);
        }
    }

    /// In place of many for one cache, that everything has changed.
    pub(crate) fn merge(all: &mut Vec<Undelivered>) {
        let mut merged: Vec<Undelivered> = Vec::new();
        for undelivered in all.iter() {
            if merged.iter().all(|other| !Arc::ptr_eq(&other.to, &undelivered.to)) {
                merged.push(Undelivered::new(&undelivered.to, vec![WriteEvent::everything()]));
            }
        }
        // What stands in their place is marked before their marks go.
        let before = std::mem::replace(all, merged);
        before.into_iter().for_each(|undelivered| undelivered.pending.rolled_back());
    }
}
