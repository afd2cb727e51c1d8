//! The times of invalidations. The store keeps them in a sorted set, by table.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::protocol::Command;

/// The member that stands for all tables.
pub(super) const EVERYTHING: &str = "*";

/// The member that says since when the set is complete. As long as that is when the
/// stamp of everything was made, no time was lost that a fragment can depend on.
pub(super) const BEGINNING: &str = "+";

/// What this process knows of the set.
#[derive(Debug, Default)]
pub(crate) struct Times {
    /// The latest time that this process has noted.
    noted: AtomicU64,
    /// Whether this process has seen the set.
    seen: AtomicBool,
    /// Counts in place of the times that the store has lost.
    floor: AtomicU64,
}

impl Times {
    /// The command that notes an invalidation at `now`, or later than all that were
    /// noted before.
    pub(super) fn note(&self, prefix: &str, now: u64, member: Vec<u8>) -> Command {
        self.seen.store(true, Ordering::SeqCst);
        let next = |noted: u64| Some(now.max(noted + 1));
        let before = self.noted.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        let to = before.map_or(now, |before| now.max(before + 1));
        Command::Raise { key: times_key(prefix), member, to }
    }

    /// What counts in place of times that this process has seen, and that the store
    /// has lost.
    pub(super) fn floor(&self, found: SetFound, now: u64) -> Option<u64> {
        match found {
            SetFound::Times => self.seen.store(true, Ordering::SeqCst),
            SetFound::Empty => {
                if self.seen.swap(false, Ordering::SeqCst) {
                    self.floor.store(now, Ordering::SeqCst);
                }
            }
        }
        Some(self.floor.load(Ordering::SeqCst)).filter(|floor| *floor > 0)
    }
}

/// What was found of the set in the store.
#[derive(Clone, Copy)]
pub(super) enum SetFound {
    Times,
    Empty,
}

/// The command that notes since when the set is complete, unless that is noted.
pub(super) fn begin(prefix: &str, now: u64) -> Command {
    let member = BEGINNING.as_bytes().to_vec();
    Command::Begin { key: times_key(prefix), member, at: now }
}

pub(super) fn times_key(prefix: &str) -> Vec<u8> {
    format!("{prefix}last").into_bytes()
}

/// The member of a table. Its prefix is part of it, since it may be computed.
pub(super) fn member(prefix: &str, table: &str) -> Vec<u8> {
    if table == EVERYTHING {
        return EVERYTHING.into();
    }
    format!("{prefix}{table}").into_bytes()
}
