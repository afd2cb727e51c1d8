//! The shared data of all handles of a cache.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::{Clock, micros};
use crate::key::FragmentKey;
use crate::observe::Counters;
use crate::observe::observers::Observers;
use crate::prefix::Prefix;
use crate::profile::Profiles;
use crate::queryset::Limits;
use crate::read::page::{FragmentRef, PrefetchMemory};
use crate::read::single_flight::SingleFlight;
use crate::shared::Tier;
use crate::store::MemoryStore;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Arc, Mutex, lock};
use crate::write::commit::Commits;

/// The checked settings of a cache, and what was created from them.
pub(crate) struct Settings {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) shared: Option<Tier>,
    pub(crate) time_to_live: Option<Duration>,
    pub(crate) profiles: Profiles,
    pub(crate) limits: Limits,
    pub(crate) clock: std::sync::Arc<dyn Clock>,
    pub(crate) observers: Arc<Observers>,
    pub(crate) enabled: bool,
    pub(crate) inspect: bool,
    pub(crate) wait_timeout: Duration,
    pub(crate) prefix: Prefix,
}

/// A cache, as all its handles share it.
pub(crate) struct Inner {
    pub(crate) settings: Settings,
    pub(crate) single_flight: Arc<SingleFlight>,
    pub(crate) counters: Counters,
    pub(crate) commits: Arc<Commits>,
    enabled: AtomicBool,
    /// The engines that have an environment with this cache.
    engines: Mutex<BTreeSet<&'static str>>,
}

impl Inner {
    pub(crate) fn new(settings: Settings) -> Self {
        let enabled = AtomicBool::new(settings.enabled);
        Inner {
            settings,
            single_flight: SingleFlight::new(),
            counters: Counters::new(),
            commits: Arc::default(),
            enabled,
            engines: Mutex::default(),
        }
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }

    pub(crate) fn set_enabled(&self, enabled: bool) {
        self.enabled.store(enabled, Ordering::SeqCst);
    }

    /// Whether this is the first environment of an engine.
    pub(crate) fn is_first_environment(&self, engine: &'static str) -> bool {
        lock(&self.engines).insert(engine)
    }

    /// Microseconds since 1970, by the clock of the shared tier if there is one.
    pub(crate) fn now(&self) -> u64 {
        match &self.settings.shared {
            Some(shared) => shared.time(),
            None => micros(self.settings.clock.now()),
        }
    }
}

impl PrefetchMemory for Inner {
    fn has_computed_prefix(&self) -> bool {
        self.settings.prefix.is_computed()
    }

    #[cfg(feature = "redis")]
    fn prefetch_list(&self, leader: &FragmentKey) -> std::sync::Arc<[FragmentRef]> {
        let shared = self.settings.shared.as_ref();
        shared.map(|shared| shared.prefetch_list(leader)).unwrap_or_default()
    }

    fn remember(&self, leader: FragmentKey, list: Vec<FragmentRef>) {
        if let Some(shared) = &self.settings.shared {
            shared.remember_prefetch_list(leader, list);
        }
    }
}
