//! Observation of the cache: events, counters, and its fragments.

mod counters;
pub(crate) mod observers;

pub(crate) use counters::Counters;

use std::fmt;
use std::time::Duration;

use crate::key::FragmentKey;

/// Whether a read found its fragment, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Found in the memory of the process, and current.
    Hit,
    /// Found in the shared tier, or confirmed by it.
    SharedHit,
    /// Nothing under the key: never filled, evicted, or too large to store.
    NoValue,
    /// Something it depends on was invalidated.
    StampChanged,
    /// A stamp is no longer in the shared tier, and no push was received: it
    /// was invalidated while this process was not connected, expired, or
    /// evicted.
    StampLost,
    /// Its time limit, or that of something inside it, has passed.
    Expired,
    /// A template that its body used has changed.
    TemplateChanged,
    /// It is in memory, but unverified: the connection to the shared tier is
    /// cut or has just failed. Rendered and not stored.
    Unverified,
    /// The shared tier counts as unreachable, and was not asked. Rendered, by
    /// this caller or by another that asked at the same time, and not stored.
    BreakerOpen,
    /// The cache is switched off, or caching is off for this read.
    Bypassed,
}

impl Outcome {
    pub(crate) const ALL: [Outcome; 10] = [
        Outcome::Hit,
        Outcome::SharedHit,
        Outcome::NoValue,
        Outcome::StampChanged,
        Outcome::StampLost,
        Outcome::Expired,
        Outcome::TemplateChanged,
        Outcome::Unverified,
        Outcome::BreakerOpen,
        Outcome::Bypassed,
    ];

    /// Whether it is a hit.
    #[must_use]
    pub fn is_hit(self) -> bool {
        matches!(self, Outcome::Hit | Outcome::SharedHit)
    }

    /// Whether what is rendered now must not be stored, because nothing can
    /// verify it.
    pub(crate) fn is_outage(self) -> bool {
        matches!(self, Outcome::Unverified | Outcome::BreakerOpen)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Hit => "hit",
            Outcome::SharedHit => "shared hit",
            Outcome::NoValue => "no value",
            Outcome::StampChanged => "stamp changed",
            Outcome::StampLost => "stamp lost",
            Outcome::Unverified => "unverified",
            Outcome::BreakerOpen => "breaker open",
            Outcome::Expired => "expired",
            Outcome::TemplateChanged => "template changed",
            Outcome::Bypassed => "bypassed",
        })
    }
}

/// A lookup of a fragment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CacheRead<'a> {
    /// The name of the fragment or, if it has none, its place:
    /// `page.html:12`.
    pub name: &'a str,
    /// Its key.
    pub key: FragmentKey,
    /// Hit or miss, and why.
    pub outcome: Outcome,
    /// How long the lookup took, without the fill that may follow.
    pub time: Duration,
    /// How long ago the fragment was stored, for a hit.
    pub age: Option<Duration>,
}

/// An invalidation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CacheInvalidated<'a> {
    /// The target: a table, the name of a fragment, or everything.
    pub target: Target<'a>,
    /// The changed rows; empty if the whole table was dropped.
    pub rows: &'a [crate::Row],
    /// How many schemes of the table were checked.
    pub schemes: usize,
    /// How many stamps were dropped.
    pub dropped: usize,
    /// Whether a whole table was dropped, for example because a row lacked a
    /// column.
    pub whole_table: bool,
    /// Whether it could not be delivered to the shared tier yet, and is
    /// queued ([`Redis::queue_invalidations`]). It has been carried out in
    /// this process.
    ///
    /// [`Redis::queue_invalidations`]: https://docs.rs/cacheops/latest/cacheops/struct.Redis.html#method.queue_invalidations
    pub queued: bool,
}

/// An invalidation that failed because the shared tier was unreachable or refused
/// it. Other processes may still serve what was to be invalidated.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InvalidationFailed<'a> {
    /// The target: a table, the name of a fragment, or everything.
    pub target: Target<'a>,
    /// The changed rows; empty if it was not about rows.
    pub rows: &'a [crate::Row],
    /// The error for the caller.
    pub error: &'a crate::Error,
}

/// The target of an invalidation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target<'a> {
    /// A table, or rows of it.
    Table(&'a str),
    /// The fragments with a name.
    Fragment(&'a str),
    /// Everything.
    Everything,
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Table(name) => write!(f, "table {name}"),
            Target::Fragment(name) => write!(f, "fragment {name}"),
            Target::Everything => f.write_str("everything"),
        }
    }
}

/// A fragment in the cache, as [`Cacheops::fragments`](crate::Cacheops::fragments)
/// lists it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FragmentInfo {
    /// Its key.
    pub key: FragmentKey,
    /// The name or place of the fragment; empty without
    /// [`Builder::inspect`](crate::Builder::inspect).
    pub name: String,
    /// The length of the text or value, in bytes.
    pub len: usize,
    /// How long ago it was stored.
    pub age: Duration,
    /// How long until it expires.
    pub expires_in: Option<Duration>,
    /// Its dependencies; empty without
    /// [`Builder::inspect`](crate::Builder::inspect).
    pub depends_on: Vec<String>,
    /// Whether it would be a hit now.
    pub is_current: bool,
}

/// Counters since the cache was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Reads that found their fragment.
    pub hits: u64,
    /// Hits that asked the shared tier.
    pub shared_hits: u64,
    /// Reads that did not find it: the sum of the following reasons.
    pub misses: u64,
    /// Misses: nothing under the key.
    pub no_value: u64,
    /// Misses: invalidated.
    pub stamp_changed: u64,
    /// Misses: a stamp was lost.
    pub stamp_lost: u64,
    /// Misses: in memory, but unverified.
    pub unverified: u64,
    /// Misses: the shared tier counted as unreachable.
    pub breaker_open: u64,
    /// Misses: expired.
    pub expired: u64,
    /// Misses: a template has changed.
    pub template_changed: u64,
    /// Misses: not to be cached.
    pub bypassed: u64,
    /// Fragments stored.
    pub stored: u64,
    /// Fills whose result was not stored: overtaken by an invalidation, too
    /// large, or not to be cached. A failed fill has no result.
    pub not_stored: u64,
    /// Invalidations. A queued one counts once, when it is queued.
    pub invalidations: u64,
    /// Failed invalidations: other processes may still serve what was to be
    /// invalidated.
    pub failed_invalidations: u64,
    /// Observer calls that panicked. Nothing else is affected.
    pub observer_panics: u64,
}
