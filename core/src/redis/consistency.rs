//! How stale a lookup may be.

use std::time::Duration;

/// How long a lookup may still find what *another* process has invalidated; at
/// most one second by default. In the process that invalidates, no lookup finds
/// it once the call has returned.
///
/// ```
/// use std::time::Duration;
/// use cacheops::{Consistency, Redis};
///
/// assert_eq!(Consistency::default(), Consistency::Bounded(Duration::from_secs(1)));
/// let strict = Redis::url("redis://localhost").consistency(Consistency::Strict);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Consistency {
    /// Hits come from process memory, and Redis pushes invalidations, usually
    /// within a millisecond. If pushes may be missing, because the connection
    /// is gone or silent, memory still answers for at most this long. The
    /// time between two heartbeats to each server is a third of it, at most a
    /// second.
    Bounded(Duration),
    /// Every hit asks Redis, in one round trip: no lookup finds anything that
    /// was invalidated anywhere before it began. Fragments that the page also
    /// had the last time are current as of the first lookup of the page.
    Strict,
}

impl Default for Consistency {
    /// Bounded by one second.
    fn default() -> Self {
        Consistency::Bounded(Duration::from_secs(1))
    }
}
