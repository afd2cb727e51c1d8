//! Inspection of a cache by an application.

use std::time::Duration;

use crate::cache::handle::Cacheops;
use crate::fragment::Fragment;
use crate::key::FragmentKey;
use crate::observe::{FragmentInfo, Stats};
use crate::store::Usage;
#[cfg(feature = "redis")]
use crate::{error::Error, sync::block_on};

impl Cacheops {
    /// Counters since the cache was created.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.settings.observers.add_to(self.inner.counters.stats())
    }

    /// How much memory is in use.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let settings = &self.inner.settings;
        let mut usage = settings.store.usage();
        usage.bookkeeping += settings.shared.as_ref().map_or(0, |shared| shared.bookkeeping());
        usage
    }

    /// The status of the connection to the shared tier; `None` without a
    /// shared tier. It sends nothing, and is cheap enough for a health check.
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn shared_status(&self) -> Option<crate::SharedStatus> {
        self.inner.settings.shared.as_ref().map(|shared| shared.status())
    }

    /// What the shared tier holds of the fragment with a key, and its size
    /// there in bytes. It does not count as a read. `None` if the shared tier
    /// does not have the fragment, if there is no shared tier, or if the
    /// prefix is [computed](crate::Builder::prefix_by). It takes one or two round
    /// trips.
    ///
    /// ```
    /// # let cache = cacheops::Cacheops::builder().inspect(true).build()?;
    /// for fragment in cache.fragments() {
    ///     if let Some(shared) = cache.shared_fragment(&fragment.key)? {
    ///         println!("{}: {} bytes", shared.info.name, shared.bytes);
    ///     }
    /// }
    /// # Ok::<_, cacheops::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// An unreachable shared tier.
    #[cfg(feature = "redis")]
    pub fn shared_fragment(
        &self,
        key: &FragmentKey,
    ) -> Result<Option<crate::SharedFragment>, Error> {
        block_on(self.shared_fragment_async(key))
    }

    /// [`shared_fragment`](Self::shared_fragment) as a future, which waits for the
    /// shared tier without blocking the thread. It works with any runtime.
    ///
    /// # Errors
    ///
    /// As [`shared_fragment`](Self::shared_fragment).
    #[cfg(feature = "redis")]
    pub async fn shared_fragment_async(
        &self,
        key: &FragmentKey,
    ) -> Result<Option<crate::SharedFragment>, Error> {
        let Some(shared) = &self.inner.settings.shared else { return Ok(None) };
        let found = shared.peek(self.prefix(), *key).await?;
        Ok(found.map(|(fragment, bytes, holds)| {
            let mut info = info_of(*key, &fragment, self.inner.now());
            info.is_current &= holds;
            crate::SharedFragment { info, bytes }
        }))
    }

    /// All fragments in the memory of this process, the newest first. It
    /// reads the whole cache. Use it in development and on an operator's
    /// page.
    #[must_use]
    pub fn fragments(&self) -> Vec<FragmentInfo> {
        let now = self.inner.now();
        let all = self.inner.settings.store.fragments();
        let mut infos: Vec<FragmentInfo> =
            all.iter().map(|(key, fragment)| info_of(*key, fragment, now)).collect();
        infos.sort_by(|a, b| a.age.cmp(&b.age).then_with(|| a.key.cmp(&b.key)));
        infos
    }

    /// The fragment with a key, if it is in memory, current or not. It does
    /// not count as a read.
    #[must_use]
    pub fn fragment(&self, key: &FragmentKey) -> Option<FragmentInfo> {
        let fragment = self.inner.settings.store.get(key)?;
        Some(info_of(*key, &fragment, self.inner.now()))
    }
}

fn info_of(key: FragmentKey, fragment: &Fragment, now: u64) -> FragmentInfo {
    let left = |at: u64| Duration::from_micros(at.saturating_sub(now));
    let stamps = fragment.stamps();
    FragmentInfo {
        key,
        name: fragment.label().unwrap_or_default().to_owned(),
        len: fragment.len(),
        age: Duration::from_micros(now.saturating_sub(fragment.stored_at)),
        expires_in: fragment.expires_at().map(left),
        depends_on: stamps.iter().filter_map(|s| s.label().map(str::to_owned)).collect(),
        is_current: stamps.iter().all(|stamp| stamp.is_current())
            && fragment.expires_at().is_none_or(|at| at > now),
    }
}
