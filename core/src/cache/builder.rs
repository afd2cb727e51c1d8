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
#[cfg(feature = "redis")]
use crate::store::StoreId;
use crate::store::{MemoryStore, StampMetaOptions};

/// Settings of a [`Cacheops`]; see [`Cacheops::builder`].
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
    /// A cache in this process with the default settings: 64 MiB, no time
    /// limit. It needs no server.
    #[must_use]
    pub fn in_memory() -> Self {
        let builder = Builder::new();
        let prefix = Prefix::new(String::new(), None);
        let store = builder.store(&prefix);
        builder.assemble(Profiles::default(), prefix, store, None)
    }

    /// Creates the settings of a cache.
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

    /// The prefix of every key, so that several caches can share a store. An
    /// invalidation reaches only keys under its own prefix. Empty by default.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Computes a prefix that follows the fixed one, from the tables that a
    /// key belongs to: one store for many tenants. It is called for the
    /// tables of each fragment, and for each table alone, when stamps are
    /// leased and when rows change. For one table it must return the same
    /// text in both cases. It may read a thread-local tenant. By default no
    /// prefix is computed. [`invalidate_all`](Cacheops::invalidate_all)
    /// reaches all computed prefixes.
    ///
    /// If it panics for a change, everything is invalidated, and the call that
    /// announces the change returns
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig). If it panics in a
    /// lookup, the panic reaches the caller.
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

    /// Shares fragments and invalidations with other processes over a Redis,
    /// given by its URL or with [more settings](crate::Redis). The memory of
    /// this process stays in front of it. None by default.
    ///
    /// ```no_run
    /// # use cacheops::Cacheops;
    /// let cache = Cacheops::builder().prefix("shop:").redis("redis://127.0.0.1:6379/0").build()?;
    /// # Ok::<_, cacheops::Error>(())
    /// ```
    ///
    /// [`build`](Self::build) connects, and waits for the connection. A
    /// server that is too old or unreachable is an error there. It starts a
    /// thread, which ends with the last handle of the cache. No async runtime
    /// is needed.
    #[cfg(feature = "redis")]
    pub fn redis(mut self, redis: impl Into<crate::redis::Redis>) -> Self {
        self.redis = Some(redis.into());
        self
    }

    /// The memory for fragments in bytes, including the overhead of storing
    /// them; 64 MiB by default. The cache has up to 64 shards, and a fragment
    /// must fit into one. With a limit below 8 MiB, one shard has all of it;
    /// above, a shard has at least 4 MiB.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = bytes;
        self
    }

    /// The time limit of fragments if neither they nor a profile have one.
    /// None by default, because exact data needs no time limit.
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = Some(time_to_live);
        self
    }

    /// The settings for the tables of a pattern: a name, `prefix.*`, or `*`.
    /// The longest pattern that matches wins. Without any profile, every
    /// table has the default profile. With profiles, a table that none covers
    /// is an error.
    pub fn profile(mut self, pattern: impl Into<String>, profile: Profile) -> Self {
        self.profiles.push((pattern.into(), profile));
        self
    }

    /// The largest number of values in an `IN` that still narrows
    /// invalidations; 8 by default. A fragment gets a stamp for each value.
    /// Other conditions always narrow by up to 64 conjunctions.
    pub fn in_limit(mut self, values: usize) -> Self {
        self.limits.in_values = values;
        self
    }

    /// The clock; by default that of the machine and, over a shared tier,
    /// that of the server, which is the same for all machines.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// An observer of every lookup. It runs on the thread that looks up. If
    /// it panics, the panic is caught, and counted in
    /// [`Stats::observer_panics`](crate::Stats::observer_panics).
    pub fn on_cache_read(
        mut self,
        observer: impl Fn(&CacheRead<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.observers.reads.push(Box::new(observer));
        self
    }

    /// An observer of every completed invalidation. It runs on the thread
    /// that has carried it out. For the rest of a batch whose future was
    /// dropped, this is a thread of the cache, if one can be started. If it
    /// panics, the panic is caught, and counted in
    /// [`Stats::observer_panics`](crate::Stats::observer_panics).
    pub fn on_cache_invalidated(
        mut self,
        observer: impl Fn(&CacheInvalidated<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.observers.invalidations.push(Box::new(observer));
        self
    }

    /// An observer of every invalidation that did not reach the shared tier,
    /// with the same rules as
    /// [`on_cache_invalidated`](Self::on_cache_invalidated): other processes
    /// may still serve what was to be invalidated. It is never called without
    /// a shared tier, nor for an invalidation that is queued.
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

    /// Whether the cache caches. If false, everything is rendered and nothing
    /// is stored. See [`Cacheops::set_enabled`].
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// Whether fragments remember their names, and their dependencies as
    /// text, for [`Cacheops::fragments`]. This costs about 150 bytes for each
    /// fragment. Off by default.
    pub fn inspect(mut self, inspect: bool) -> Self {
        self.inspect = inspect;
        self
    }

    /// How long a caller, thread or future, waits for another one that fills
    /// the same fragment, before it renders for itself; 10 seconds by
    /// default. A waiting future needs no runtime: a thread `cacheops-timer`
    /// keeps the time for all caches of the process.
    pub fn wait_timeout(mut self, limit: Duration) -> Self {
        self.wait_timeout = limit;
        self
    }

    /// Creates the cache.
    ///
    /// # Errors
    ///
    /// If a setting is not valid: a pattern of tables, two profiles for one
    /// pattern, a time limit or a memory limit of zero. With the feature
    /// `redis`, also if a URL is not valid or a user is refused
    /// ([`InvalidConfig`](ErrorKind::InvalidConfig)), if a server is too old
    /// or of another kind ([`UnfitServer`](ErrorKind::UnfitServer)), or if it
    /// is unreachable ([`Unavailable`](ErrorKind::Unavailable)), where
    /// another attempt may succeed.
    pub fn build(mut self) -> Result<Cacheops, Error> {
        if self.memory_limit == 0 {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                "a memory limit of zero stores nothing: use `enabled(false)` to switch the cache off",
            ));
        }
        if self.time_to_live.is_some_and(|time_to_live| time_to_live.is_zero()) {
            return Err(Error::new(
                ErrorKind::InvalidTimeToLive,
                "a time limit of zero stores nothing: leave it out for none",
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
            shared: self.redis.is_some().then(StoreId::new),
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
