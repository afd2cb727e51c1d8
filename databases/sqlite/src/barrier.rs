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
    /// The tables that it changes; `None` for all.
    tables: Option<Vec<String>>,
    /// The files that it is made to.
    files: Vec<Arc<File>>,
}

impl Commit {
    /// Marks what is about to be committed to some files.
    pub(crate) fn begin(changes: Changes, files: Vec<Arc<File>>) -> Self {
        let begin = |(to, events): (Arc<Installation>, Vec<WriteEvent>)| {
            let pending = to.cache.begin_commit(events);
            (to, pending)
        };
        let pending = changes.events.into_iter().map(begin).collect();
        Commit { pending, tables: changes.tables, files }
    }

    /// The commit is visible: what it changed is dropped. The observers of the cache
    /// are told of an error; what could not be delivered will be.
    pub(crate) fn committed(self) {
        for file in &self.files {
            file.end_commit(true);
        }
        for (to, pending) in self.pending {
            if pending.committed().is_err_and(|error| error.is_transient()) {
                monitor::deliver_later(Undelivered { to, tables: self.tables.clone() });
            }
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

/// Changes that a cache could not be told, by table.
pub(crate) struct Undelivered {
    pub(crate) to: Arc<Installation>,
    pub(crate) tables: Option<Vec<String>>,
}

impl Undelivered {
    /// Tries again.
    pub(crate) fn deliver(self) {
        let events = match &self.tables {
            Some(tables) => tables.iter().map(|table| WriteEvent::table(table)).collect(),
            None => vec![WriteEvent::everything()],
        };
        if self.to.cache.invalidate_batch(events).is_err_and(|error| error.is_transient()) {
            monitor::deliver_later(self);
        }
    }
}
