//! A database file: which of its commits were made by connections of this process.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::probe::{Counter, Probe};

/// A database file that connections of this process have opened.
pub(crate) struct File {
    path: PathBuf,
    identity: Option<Identity>,
    state: Mutex<State>,
}

/// What tells a file from another one that takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity(u64, u64);

#[cfg(unix)]
fn identity(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|file| Identity(file.dev(), file.ino()))
}

// Windows does not let a file be replaced while it is open.
#[cfg(not(unix))]
fn identity(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().map(|_| Identity(0, 0))
}

struct State {
    probe: Option<Probe>,
    /// The counter with all commits that are explained: those that were there when it
    /// was opened, and ours.
    explained: Option<Counter>,
    /// How many of ours are in progress, for all that is known. All but the last of
    /// them are over, since one waits for the other.
    in_progress: usize,
    /// Others have changed something, which nobody has been told yet.
    unexplained: bool,
    /// The version of its schema, and its tables, when they were read last.
    schema: Option<i64>,
    tables: Vec<String>,
    /// This process has changed the schema since then.
    redefined: bool,
}

/// What others have changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    Nothing,
    /// These tables, or some of them.
    Tables(Vec<String>),
    Everything,
}

impl File {
    /// A file as it is now. It need not be there yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        let mut state = State {
            probe: None,
            explained: Some(Counter::EMPTY),
            in_progress: 0,
            unexplained: false,
            schema: None,
            tables: Vec::new(),
            redefined: false,
        };
        if state.open(&path) {
            state.explained = state.counter();
            state.read_schema();
        } else if fs::metadata(&path).is_ok_and(|file| file.len() > 0) {
            state.explained = None;
        }
        File { identity: identity(&path), path, state: Mutex::new(state) }
    }

    /// Whether the path leads to another file, or to none any more.
    pub(crate) fn is_replaced(&self) -> bool {
        self.identity.is_some() && identity(&self.path) != self.identity
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is known how many commits there were.
    pub(crate) fn is_counted(&self) -> bool {
        let mut state = self.state();
        state.open(&self.path);
        state.counter().is_some()
    }

    /// One of our connections, which holds the lock for writing, is about to commit,
    /// maybe another schema.
    pub(crate) fn begin_commit(&self, redefines: bool) {
        let mut state = self.state();
        state.open(&self.path);
        let counter = state.counter();
        state.unexplained |= !state.explains(counter);
        state.explained = counter.map(Counter::next);
        state.in_progress += 1;
        state.redefined |= redefines;
    }

    /// A commit that has begun is over.
    pub(crate) fn end_commit(&self, committed: bool) {
        let mut state = self.state();
        state.in_progress = state.in_progress.saturating_sub(1);
        let counter = state.counter();
        let is_uncounted = counter.map(Counter::next) == state.explained;
        if !committed {
            // Nothing has come of what was counted for it.
            state.explained = counter.filter(|_| is_uncounted);
        } else if is_uncounted && counter.is_some() && state.in_progress == 0 {
            // SQLite does not count a commit that changes no page, such as that of an
            // update to the same values.
            state.explained = counter;
        }
    }

    /// Whether all commits of ours that have begun are over, for sure.
    pub(crate) fn commits_are_over(&self) -> bool {
        let mut state = self.state();
        let Some(counter) = state.counter() else { return false };
        let is_counted = state.explained.is_some_and(|explained| explained.is_same(counter));
        // In WAL mode a commit is visible when it is counted. Else the counter is written
        // before, and nobody can read until it is over.
        let probe = &mut state.probe;
        is_counted
            && (counter.is_wal() || probe.as_mut().is_some_and(|probe| probe.read().is_some()))
    }

    /// What others have changed since the last look.
    pub(crate) fn foreign(&self) -> Foreign {
        let mut state = self.state();
        state.open(&self.path);
        let counter = state.counter();
        let expected = state.explained.zip(counter);
        let last_is_in_progress = state.in_progress > 0
            && expected.is_some_and(|(explained, now)| explained.is_same(now.next()));
        if !last_is_in_progress {
            // Others commit only when none of ours is in progress.
            state.unexplained |= !state.explains(counter);
            state.explained = counter;
        }
        match state.unexplained {
            true => state.changed(),
            false => {
                state.learn_schema(counter);
                Foreign::Nothing
            }
        }
    }

    /// All that is in the file, or may have been.
    pub(crate) fn all(&self) -> Foreign {
        let state = self.state();
        match state.tables.is_empty() || state.redefined {
            true => Foreign::Everything,
            false => Foreign::Tables(state.tables.clone()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Opens the file, if it is not open and is there. Whether it is open.
    fn open(&mut self, path: &Path) -> bool {
        if self.probe.is_none() && fs::metadata(path).is_ok() {
            self.probe = Probe::open(path);
        }
        self.probe.is_some()
    }

    fn counter(&mut self) -> Option<Counter> {
        match &mut self.probe {
            Some(probe) => probe.counter(),
            // It is not there yet.
            None => self.explained.filter(|explained| *explained == Counter::EMPTY),
        }
    }

    fn explains(&self, counter: Option<Counter>) -> bool {
        self.explained.zip(counter).is_some_and(|(explained, now)| explained.is_same(now))
    }

    /// The tables that there are and that there were; everything, if one of them may
    /// have another definition.
    fn changed(&mut self) -> Foreign {
        let (schema, mut tables) = (self.schema, std::mem::take(&mut self.tables));
        let is_known = !std::mem::take(&mut self.redefined);
        self.unexplained = false;
        if !self.read_schema() || !is_known || (self.schema != schema && !tables.is_empty()) {
            return Foreign::Everything;
        }
        tables.extend(self.tables.iter().cloned());
        tables.sort();
        tables.dedup();
        Foreign::Tables(tables)
    }

    /// Reads the schema after this process has changed it. It counts if it is that of
    /// the given count of commits.
    fn learn_schema(&mut self, counter: Option<Counter>) {
        if self.redefined && self.in_progress == 0 {
            let is_read = self.read_schema();
            let now = self.counter();
            let is_same = counter.zip(now).is_some_and(|(before, now)| before.is_same(now));
            self.redefined = !is_read || !is_same;
        }
    }

    fn read_schema(&mut self) -> bool {
        let Some(probe) = &mut self.probe else { return false };
        let (schema, tables) = (probe.read(), probe.tables());
        let is_read = schema.is_some() && tables.is_some();
        self.schema = schema;
        self.tables = tables.unwrap_or_default();
        is_read
    }
}
