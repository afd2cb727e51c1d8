//! What one can see of the cache: events, counters, and the fragments in it.

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
    /// Found in the shared tier, or found to be current by asking it.
    SharedHit,
    /// Nothing under the key: never filled, evicted, or too large to keep.
    NoValue,
    /// Something it depends on was invalidated.
    StampChanged,
    /// A stamp is not in the shared tier any more, and nobody had said so:
    /// invalidated while this process did not listen, expired, or evicted.
    StampLost,
    /// Its time limit, or that of something inside it, has passed.
    Expired,
    /// A template that its body used is another one now.
    TemplateChanged,
    /// It is in memory, but nothing vouches for it: the line to the shared tier
    /// is cut or has just failed. Rendered, and not kept.
    Unverified,
    /// The shared tier is held for dead, and was not asked. Rendered, by this
    /// caller or by another that asked together with it, and not kept.
    BreakerOpen,
    /// The cache is switched off, or was told not to cache this.
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

    /// Whether what is made now must not be kept, since nothing could vouch
    /// for it.
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

/// A fragment was asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CacheRead<'a> {
    /// The fragment's name; where it has none, its place: `page.html:12`.
    pub name: &'a str,
    /// What it is stored under.
    pub key: FragmentKey,
    /// Hit or miss, and why.
    pub outcome: Outcome,
    /// How long the question took, without the fill that may follow.
    pub time: Duration,
    /// How long ago the fragment was stored, for a hit.
    pub age: Option<Duration>,
}

/// Something was invalidated.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CacheInvalidated<'a> {
    /// What: a table, a fragment's name, or everything.
    pub target: Target<'a>,
    /// The changed rows; none when the table was dropped as a whole.
    pub rows: &'a [crate::Row],
    /// How many schemes of the table were looked at.
    pub schemes: usize,
    /// How many stamps were dropped.
    pub dropped: usize,
    /// Whether a table was dropped as a whole, be it for a row that lacked a
    /// field.
    pub whole_table: bool,
    /// Whether it could not be delivered to the shared tier yet, and is kept
    /// until it can ([`Redis::queue_invalidations`]). It has been done in this process.
    ///
    /// [`Redis::queue_invalidations`]: https://docs.rs/cacheops/latest/cacheops/struct.Redis.html#method.queue_invalidations
    pub queued: bool,
}

/// Something was to be invalidated, and other processes may go on serving it:
/// the shared tier could not be reached, or has refused.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InvalidationFailed<'a> {
    /// What: a table, a fragment's name, or everything.
    pub target: Target<'a>,
    /// The changed rows; none when it was about the whole.
    pub rows: &'a [crate::Row],
    /// What the caller was told, if one was there to hear of it.
    pub error: &'a crate::Error,
}

/// What an invalidation aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target<'a> {
    /// A table, or rows of it.
    Table(&'a str),
    /// The fragments of a name.
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
    /// What it is stored under.
    pub key: FragmentKey,
    /// The fragment's name or place; empty without
    /// [`Builder::inspect`](crate::Builder::inspect).
    pub name: String,
    /// The length of the text or value, in bytes.
    pub len: usize,
    /// How long ago it was stored.
    pub age: Duration,
    /// How long it may still live.
    pub expires_in: Option<Duration>,
    /// What it depends on; empty without
    /// [`Builder::inspect`](crate::Builder::inspect).
    pub depends_on: Vec<String>,
    /// Whether it would be a hit now.
    pub is_current: bool,
}

/// What has happened since the cache was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Reads that found their fragment.
    pub hits: u64,
    /// Of these, reads that asked the shared tier.
    pub shared_hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Of these, reads that found nothing.
    pub no_value: u64,
    /// Of these, reads that found something invalidated.
    pub stamp_changed: u64,
    /// Of these, reads that found something a stamp of which was lost.
    pub stamp_lost: u64,
    /// Of these, reads that found something in memory that nothing vouched for.
    pub unverified: u64,
    /// Of these, reads that did not ask the shared tier, held for dead.
    pub breaker_open: u64,
    /// Of these, reads that found something expired.
    pub expired: u64,
    /// Of these, reads that found something made of another template.
    pub template_changed: u64,
    /// Of these, reads that were not to be cached.
    pub bypassed: u64,
    /// Fragments stored.
    pub stored: u64,
    /// Fills whose result was not stored: overtaken by an invalidation, too
    /// large, or not to be cached. A fill that failed has no result.
    pub not_stored: u64,
    /// Invalidations; those that are kept until they can be delivered count
    /// once, when they are kept.
    pub invalidations: u64,
    /// Invalidations that have failed: other processes may go on serving what
    /// they were about.
    pub failed_invalidations: u64,
    /// Calls of observers that have panicked. Nobody else notices.
    pub observer_panics: u64,
}
