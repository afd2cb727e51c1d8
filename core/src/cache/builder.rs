//! Settings of a cache.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::handle::Cacheops;
use crate::cache::inner::{Inner, Settings};
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, ErrorKind};
use crate::observe::observers::Observers;
use crate::observe::{CacheInvalidated, CacheRead, InvalidationFailed};
use crate::prefix::{ComputePrefix, Prefix, PrefixQuery};
use crate::profile::{Profile, Profiles};
use crate::queryset::Limits;
use crate::shared::Tier;
use crate::store::{MemoryStore, StampMetaOptions};

/// Settings of a [`Cacheops`], begun by [`Cacheops::builder`].
///
/// ```
/// use std::time::Duration;
/// use cacheops::Cacheops;
///
/// let cache = Cacheops::builder()
///     .memory_limit(256 << 20)
///     .time_to_live(Duration::from_secs(24 * 3600))
///     .on_cache_read(|read| eprintln!("{}: {}", read.name, read.outcome))
///     .build()?;
/// # Ok::<_, cacheops::Error>(())
/// ```
#[must_use]
pub struct Builder {
    prefix: String,
    compute_prefix: Option<ComputePrefix>,
    memory_limit: u64,
    time_to_live: Option<Duration>,
    profiles: Vec<(String, Profile)>,
    limits: Limits,
    clock: Option<Arc<dyn Clock>>,
    #[cfg(feature = "redis")]
    redis: Option<crate::redis::Redis>,
    observers: Observers,
    enabled: bool,
    inspect: bool,
    wait_timeout: Duration,
}

impl Cacheops {
    /// A cache in this process with the default settings: 64 MiB, no limit on
    /// the time to live. It needs nothing installed.
    #[must_use]
    pub fn in_memory() -> Self {
        let builder = Builder::new();
        let prefix = Prefix::new(String::new(), None);
        let store = builder.store(&prefix);
        builder.assemble(Profiles::default(), prefix, store, None)
    }

    /// Begins the settings of a cache.
    pub fn builder() -> Builder {
        Builder::new()
    }
}

impl Builder {
    fn new() -> Self {
        Builder {
            prefix: String::new(),
            compute_prefix: None,
            memory_limit: 64 << 20,
            time_to_live: None,
            profiles: Vec::new(),
            limits: Limits::default(),
            clock: None,
            #[cfg(feature = "redis")]
            redis: None,
            observers: Observers::default(),
            enabled: true,
            inspect: false,
            wait_timeout: Duration::from_secs(10),
        }
    }

    /// Stands before every key, so that several caches can share a store; an
    /// invalidation reaches only what lies under its own. Empty by default.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Computes what stands behind the fixed prefix, from the tables that a
    /// key is about: one store for many tenants. It is called for the tables
    /// of each fragment, and for each table of its own, when stamps are taken
    /// and when rows change; what it returns for one table must be the same in
    /// both. It may look at a thread-local tenant. None is computed by default,
    /// and [`invalidate_all`](Cacheops::invalidate_all) reaches all of them.
    ///
    /// ```
    /// # use cacheops::Cacheops;
    /// let cache = Cacheops::builder()
    ///     .prefix("shop:")
    ///     .prefix_by(|query| query.databases().map(|name| format!("{name}:")).collect())
    ///     .build()?;
    /// # Ok::<_, cacheops::Error>(())
    /// ```
    pub fn prefix_by(
        mut self,
        compute: impl Fn(&PrefixQuery<'_>) -> String + Send + Sync + 'static,
    ) -> Self {
        self.compute_prefix = Some(Arc::new(compute));
        self
    }

    /// Shares fragments and invalidations with other processes by a Redis,
    /// given by its URL or in [more detail](crate::Redis). The memory of this
    /// process stays in front of it. None by default.
    ///
    /// ```no_run
    /// # use cacheops::Cacheops;
    /// let cache = Cacheops::builder().prefix("shop:").redis("redis://127.0.0.1:6379/0").build()?;
    /// # Ok::<_, cacheops::Error>(())
    /// ```
    ///
    /// [`build`](Self::build) connects, and waits for that: a server that is
    /// too old, or cannot be reached, is an error there. It starts a thread,
    /// which ends with the last handle of the cache; no runtime is needed.
    #[cfg(feature = "redis")]
    pub fn redis(mut self, redis: impl Into<crate::redis::Redis>) -> Self {
        self.redis = Some(redis.into());
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
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = Some(time_to_live);
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
    /// invalidation; 8 by default. A fragment gets a stamp for each. Other
    /// conditions narrow by up to 64 conjunctions in any case.
    pub fn in_limit(mut self, values: usize) -> Self {
        self.limits.in_values = values;
        self
    }

    /// What tells the time; by default the machine's clock, and over a shared
    /// tier the server's, which is the same for all machines.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Is called for every fragment asked for, in the thread that asks. A panic
    /// of an observer is caught, and counted in
    /// [`Stats::observer_panics`](crate::Stats::observer_panics).
    pub fn on_cache_read(
        mut self,
        observer: impl Fn(&CacheRead<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.observers.reads.push(Box::new(observer));
        self
    }

    /// Is called for every invalidation, when it has been done: in the thread
    /// that has done it, and for the rest of a batch whose future was dropped
    /// in one of the cache's own, if one can be had. A panic of an observer is
    /// caught, and counted in
    /// [`Stats::observer_panics`](crate::Stats::observer_panics).
    pub fn on_cache_invalidated(
        mut self,
        observer: impl Fn(&CacheInvalidated<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.observers.invalidations.push(Box::new(observer));
        self
    }

    /// Is called for every invalidation that did not reach the shared tier, as
    /// [`on_cache_invalidated`](Self::on_cache_invalidated) is for the others:
    /// other processes may go on serving what it was about. Never without a
    /// shared tier, nor for what is kept until it can be delivered.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use cacheops::Cacheops;
    ///
    /// static FAILED: AtomicU64 = AtomicU64::new(0);
    ///
    /// let cache = Cacheops::builder()
    ///     .on_invalidation_failed(|failed| {
    ///         eprintln!("{} may be stale elsewhere: {}", failed.target, failed.error);
    ///         FAILED.fetch_add(1, Ordering::Relaxed);
    ///     })
    ///     .build()?;
    /// # Ok::<_, cacheops::Error>(())
    /// ```
    pub fn on_invalidation_failed(
        mut self,
        observer: impl Fn(&InvalidationFailed<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.observers.failures.push(Box::new(observer));
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

    /// The longest that a caller waits for others that fill the same fragment,
    /// be it a thread or a future, before it renders for itself; 10 seconds by
    /// default. Futures need no runtime for it: where one waits, a thread
    /// `cacheops-timer` keeps the time, one for all caches of the process.
    pub fn wait_timeout(mut self, limit: Duration) -> Self {
        self.wait_timeout = limit;
        self
    }

    /// Makes the cache.
    ///
    /// # Errors
    ///
    /// Says which setting makes no sense: a pattern of tables, two profiles
    /// for one, a time limit or a memory limit of zero. With the feature
    /// `redis` also a URL that is none or a user who is refused
    /// ([`InvalidConfig`](ErrorKind::InvalidConfig)), a server that is too old
    /// or of another kind ([`UnfitServer`](ErrorKind::UnfitServer)), and one
    /// that cannot be reached ([`Unavailable`](ErrorKind::Unavailable)), which
    /// is worth another try.
    pub fn build(mut self) -> Result<Cacheops, Error> {
        if self.memory_limit == 0 {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                "a memory limit of zero keeps nothing: use `enabled(false)` to switch the cache off",
            ));
        }
        if self.time_to_live.is_some_and(|time_to_live| time_to_live.is_zero()) {
            return Err(Error::new(
                ErrorKind::InvalidTimeToLive,
                "a time limit of zero keeps nothing: leave it out for none",
            ));
        }
        let profiles = Profiles::new(std::mem::take(&mut self.profiles))?;
        let prefix = Prefix::new(self.prefix.clone(), self.compute_prefix.clone());
        let store = self.store(&prefix);
        let shared = self.connect(&store, &prefix)?;
        Ok(self.assemble(profiles, prefix, store, shared))
    }

    fn store(&self, prefix: &Prefix) -> Arc<MemoryStore> {
        let meta = StampMetaOptions {
            labels: self.inspect,
            #[cfg(feature = "redis")]
            shared: self.redis.is_some(),
        };
        Arc::new(MemoryStore::new(prefix.clone(), self.memory_limit, meta))
    }

    #[cfg(feature = "redis")]
    fn connect(
        &mut self,
        store: &Arc<MemoryStore>,
        prefix: &Prefix,
    ) -> Result<Option<Tier>, Error> {
        let Some(redis) = self.redis.take() else { return Ok(None) };
        Tier::start(redis, store.clone(), prefix, self.clock.clone()).map(Some)
    }

    #[cfg(not(feature = "redis"))]
    fn connect(&mut self, _: &Arc<MemoryStore>, _: &Prefix) -> Result<Option<Tier>, Error> {
        Ok(None)
    }

    fn assemble(
        self,
        profiles: Profiles,
        prefix: Prefix,
        store: Arc<MemoryStore>,
        shared: Option<Tier>,
    ) -> Cacheops {
        Cacheops::new(Inner::new(Settings {
            store,
            shared,
            time_to_live: self.time_to_live,
            profiles,
            limits: self.limits,
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock::new())),
            observers: Arc::new(self.observers),
            enabled: self.enabled,
            inspect: self.inspect,
            wait_timeout: self.wait_timeout,
            prefix,
        }))
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("prefix", &self.prefix)
            .field("memory_limit", &self.memory_limit)
            .field("time_to_live", &self.time_to_live)
            .field("profiles", &self.profiles)
            .finish_non_exhaustive()
    }
}
