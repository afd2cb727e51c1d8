//! Time as a parameter.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Tells the cache the current time.
///
/// Time limits use it, and
/// [`get_last_invalidation`](crate::Cacheops::get_last_invalidation) returns its
/// time. It must never go back.
pub trait Clock: Send + Sync + 'static {
    /// The time since 1970-01-01 in UTC.
    fn now(&self) -> Duration;
}

/// The clock of the machine at the time when the cache was created, advanced by
/// the monotonic clock. Setting the clock of the machine moves no time limit.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
    epoch: Duration,
}

impl SystemClock {
    /// Starts at the current time of the machine.
    #[must_use]
    pub fn new() -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        SystemClock { start: Instant::now(), epoch }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.epoch + self.start.elapsed()
    }
}

/// A clock for tests, which moves only when it is told to.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use cacheops::{Cacheops, ManualClock};
///
/// let clock = Arc::new(ManualClock::new());
/// let cache = Cacheops::builder().clock(clock.clone()).build()?;
/// let count = || cache.cached().name("n").time_to_live(Duration::from_secs(60)).get_or_fill(|| {
///     Ok::<_, cacheops::Error>(cache.stats().misses)
/// });
/// assert_eq!(count()?, count()?);
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(count()?, 2);
/// # Ok::<_, cacheops::Error>(())
/// ```
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// Starts at 2020-01-01.
    #[must_use]
    pub fn new() -> Self {
        ManualClock(AtomicU64::new(1_577_836_800_000_000))
    }

    /// Advances the clock by `time`, in whole microseconds.
    pub fn advance(&self, time: Duration) {
        self.0.fetch_add(micros(time), Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        ManualClock::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// Whole microseconds, the unit of the cache; at most 584,000 years.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
