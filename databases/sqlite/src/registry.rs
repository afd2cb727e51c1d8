//! The caches that are told of writes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use cacheops::Cacheops;

/// A cache that is told of what is written, and how.
pub(crate) struct Installation {
    pub(crate) cache: Cacheops,
    pub(crate) row_budget: usize,
    /// How often to look for writes of other processes; zero for never.
    pub(crate) external_writes: Duration,
}

/// The installed caches, in an order that does not change.
pub(crate) type Installed = Arc<[Arc<Installation>]>;

static INSTALLED: RwLock<Option<Installed>> = RwLock::new(None);
/// Moves with each change of them.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// The installed caches as a connection knows them: looked up again after a change.
#[derive(Default)]
pub(crate) struct Known {
    generation: Option<u64>,
    installed: Installed,
}

impl Known {
    pub(crate) fn current(&mut self) -> &Installed {
        let generation = GENERATION.load(Ordering::Acquire);
        if self.generation != Some(generation) {
            self.installed = current();
            self.generation = Some(generation);
        }
        &self.installed
    }
}

/// The caches that are installed now.
pub(crate) fn current() -> Installed {
    let installed = INSTALLED.read().unwrap_or_else(PoisonError::into_inner);
    installed.clone().unwrap_or_default()
}

/// Adds a cache, or changes how it is told.
pub(crate) fn add(installation: Installation) {
    change(|installed| {
        installed.retain(|other| !other.cache.is_same(&installation.cache));
        installed.push(Arc::new(installation));
    });
}

/// Takes a cache away. Whether none is left.
pub(crate) fn remove(cache: &Cacheops) -> bool {
    change(|installed| installed.retain(|other| !other.cache.is_same(cache)))
}

/// Changes the installed caches. Whether none is left.
fn change(change: impl FnOnce(&mut Vec<Arc<Installation>>)) -> bool {
    let mut installed = INSTALLED.write().unwrap_or_else(PoisonError::into_inner);
    let mut all = installed.as_deref().unwrap_or_default().to_vec();
    change(&mut all);
    let is_empty = all.is_empty();
    *installed = Some(all.into());
    GENERATION.fetch_add(1, Ordering::AcqRel);
    is_empty
}
