//! Settings of a cache.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::error::{Error, ErrorKind};
use crate::handle::Cacheops;
use crate::observe::{CacheInvalidated, CacheRead, Observers};
use crate::profile::{Profile, Profiles};
use crate::queryset::Limits;
use crate::store::{MemoryStore, Store};

/// Settings of a [`Cacheops`], begun by [`Cacheops::builder`].
///
/// ```
/// use std::time::Duration;
/// use cacheops::Cacheops;
///
/// let cache = Cacheops::builder()
///     .memory_limit(256 << 20)
///     .timeout(Duration::from_secs(24 * 3600))
///     .on_cache_read(|read| eprintln!("{}: {}", read.name, read.outcome))
///     .build()?;
/// # Ok::<_, cacheops::Error>(())
/// ```
#[must_use]
pub struct Builder {
    prefix: String,
    memory_limit: u64,
    timeout: Option<Duration>,
    profiles: Vec<(String, Profile)>,
    limits: Limits,
    clock: Arc<dyn Clock>,
    observers: Observers,
    enabled: bool,
    inspect: bool,
    wait_limit: Duration,
}

/// What the cache is made of, checked.
pub(crate) struct Settings {
    pub(crate) store: Box<dyn Store>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) profiles: Profiles,
    pub(crate) limits: Limits,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observers: Observers,
    pub(crate) enabled: bool,
    pub(crate) inspect: bool,
    pub(crate) wait_limit: Duration,
    pub(crate) prefix: String,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Builder {
            prefix: String::new(),
            memory_limit: 64 << 20,
            timeout: None,
            profiles: Vec::new(),
            limits: Limits::default(),
            clock: Arc::new(SystemClock::new()),
            observers: Observers::default(),
            enabled: true,
            inspect: false,
            wait_limit: Duration::from_secs(10),
        }
    }

    /// Stands before every key, so that several caches can share a store.
    /// Empty by default.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The most memory that fragments may take, in bytes, what it costs to
    /// keep them included. 64 MiB by default. The cache has up to 64 shards,
    /// and a fragment must fit into one: below 8 MiB that is all of the limit,
    /// above it never less than 4 MiB.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = bytes;
        self
    }

    /// The time limit of fragments for which neither they themselves nor a
    /// profile say one. None by default: what is exact needs no time limit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// What holds for the tables of a pattern: a name, `prefix.*`, or `*`.
    /// The longest that fits a table wins. With none at all, every table has
    /// the default profile; with some, a table that none covers is an error.
    pub fn profile(mut self, pattern: impl Into<String>, profile: Profile) -> Self {
        self.profiles.push((pattern.into(), profile));
        self
    }

    /// The largest number of values in an `IN` that still narrows
    /// invalidation; 8 by default. A fragment gets a stamp for each.
    pub fn in_limit(mut self, values: usize) -> Self {
        self.limits.in_values = values;
        self.limits.conjunctions = self.limits.conjunctions.max(values);
        self
    }

    /// What tells the time; the machine's clock by default.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Is called for every fragment asked for, in the thread that asks.
    pub fn on_cache_read(
        mut self,
        observer: impl Fn(&CacheRead<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.observers.reads.push(Box::new(observer));
        self
    }

    /// Is called for every invalidation, when it has been done.
    pub fn on_cache_invalidated(
        mut self,
        observer: impl Fn(&CacheInvalidated<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.observers.invalidations.push(Box::new(observer));
        self
    }

    /// Whether the cache caches; false makes it a no-op: everything is
    /// rendered, nothing kept. See [`Cacheops::set_enabled`].
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// Whether fragments remember their names and what they depend on in
    /// words, for [`Cacheops::fragments`]. Costs about 150 bytes a fragment;
    /// off by default.
    pub fn inspect(mut self, inspect: bool) -> Self {
        self.inspect = inspect;
        self
    }

    /// The longest that a synchronous caller waits for another that fills the
    /// same fragment, before it renders for itself; 10 seconds by default.
    pub fn wait_limit(mut self, limit: Duration) -> Self {
        self.wait_limit = limit;
        self
    }

    /// Makes the cache.
    ///
    /// # Errors
    ///
    /// Says which setting makes no sense: a pattern of tables, two profiles
    /// for one, a time limit or a memory limit of zero.
    pub fn build(mut self) -> Result<Cacheops, Error> {
        if self.memory_limit == 0 {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                "a memory limit of zero keeps nothing: use `enabled(false)` to switch the cache off",
            ));
        }
        if self.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(Error::new(
                ErrorKind::InvalidTimeout,
                "a time limit of zero keeps nothing: leave it out for none",
            ));
        }
        let profiles = Profiles::new(std::mem::take(&mut self.profiles))?;
        Ok(self.assemble(profiles))
    }

    /// Makes the cache of the default settings, which need no check.
    pub(crate) fn build_default() -> Cacheops {
        Builder::new().assemble(Profiles::default())
    }

    fn assemble(self, profiles: Profiles) -> Cacheops {
        Cacheops::from_settings(Settings {
            store: Box::new(MemoryStore::new(&self.prefix, self.memory_limit, self.inspect)),
            timeout: self.timeout,
            profiles,
            limits: self.limits,
            clock: self.clock,
            observers: self.observers,
            enabled: self.enabled,
            inspect: self.inspect,
            wait_limit: self.wait_limit,
            prefix: self.prefix,
        })
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("prefix", &self.prefix)
            .field("memory_limit", &self.memory_limit)
            .field("timeout", &self.timeout)
            .field("profiles", &self.profiles)
            .finish_non_exhaustive()
    }
}
