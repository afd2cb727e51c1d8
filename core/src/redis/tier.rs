//! The shared tier as the core sees it. `lookup` finds fragments and takes leases,
//! `storing` writes fragments.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::abandoned::AbandonedBatch;
use super::around;
use super::error::SetupError;
use super::options::Redis;
use super::prefetch::PrefetchLists;
use super::revalidation::PreparedRevalidations;
use super::rights::Rights;
use super::state::{Parts, SharedState};
use super::status::SharedStatus;
use super::supervisor::supervise;
use crate::clock::Clock;
use crate::error::Error;
use crate::key::FragmentKey;
use crate::observe::observers::Delivered;
use crate::prefix::Prefix;
use crate::protocol::MemoryTrust;
use crate::read::page::FragmentRef;
use crate::store::MemoryStore;
use crate::write::invalidation::Invalidation;

/// The shared tier: Redis, and the supervisor that keeps the connection to it.
pub(crate) struct Tier {
    pub(super) state: Arc<SharedState>,
    thread: Option<JoinHandle<()>>,
    prefetch_lists: PrefetchLists,
    pub(super) revalidations: PreparedRevalidations,
}

impl Tier {
    /// Connects, and starts the supervisor.
    pub(crate) fn start(
        options: Redis,
        near: Arc<MemoryStore>,
        prefix: &Prefix,
        clock: Option<Arc<dyn Clock>>,
    ) -> Result<Self, Error> {
        options.check()?;
        let failed = |error: std::io::Error| {
            SetupError::unavailable(format!("its thread cannot be started: {error}"))
        };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let prefetch_lists = PrefetchLists::beside(near.limit());
        let revalidations = PreparedRevalidations::beside(near.limit());
        let parts = Parts { near, options, runtime: runtime.handle().clone(), clock };
        let state = Arc::new(SharedState::new(parts, prefix));
        around::register(&state);
        let rights = Rights::new(prefix);
        let (sender, first_outcome) = std::sync::mpsc::sync_channel(1);
        let of_supervisor = state.clone();
        let life = move || {
            let first = move |outcome| {
                // This fails only if the caller is gone.
                let _ = sender.send(outcome);
            };
            runtime.block_on(supervise(of_supervisor, rights, first));
            // A call that still blocks, such as the lookup of a host name, delays nobody.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("cacheops-redis".into()).spawn(life);
        let thread = Some(thread.map_err(failed)?);
        let tier = Tier { state, thread, prefetch_lists, revalidations };
        match first_outcome.recv() {
            Ok(Ok(())) => Ok(tier),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(SetupError::unavailable("its thread has ended").into()),
        }
    }

    pub(crate) fn status(&self) -> SharedStatus {
        self.state.status()
    }

    /// What is kept beside the fragments, in bytes, roughly.
    pub(crate) fn bookkeeping(&self) -> u64 {
        self.prefetch_lists.bytes() + self.revalidations.bytes() + self.state.registries.bytes()
    }

    /// The time by the server's clock, in microseconds since 1970.
    pub(crate) fn time(&self) -> u64 {
        self.state.clock.now()
    }

    pub(crate) fn is_strict(&self) -> bool {
        self.state.options.is_strict()
    }

    /// How long what was read from the store counts.
    pub(crate) fn bound(&self) -> Duration {
        self.state.options.bound()
    }

    /// Whether a fragment whose stamps are current may be served from memory.
    pub(crate) fn is_trusted(&self) -> bool {
        self.state.memory_trust() == MemoryTrust::Trusted
    }

    /// Whether all invalidation pushes older than the bound have arrived.
    pub(crate) fn is_informed(&self) -> bool {
        self.state.is_trusted()
    }

    /// Sends a heartbeat if there is a connection, and so waits for all pushes up to
    /// now.
    pub(crate) async fn renew_trust(&self) {
        if let Some(link) = self.state.link_now() {
            // `is_trusted` tells the result.
            let _ = self.state.heartbeat(&link).await;
        }
    }

    /// The fragments that followed one on the last page that asked for it.
    pub(crate) fn prefetch_list(&self, key: &FragmentKey) -> Arc<[FragmentRef]> {
        self.prefetch_lists.get(key)
    }

    pub(crate) fn remember_prefetch_list(&self, key: FragmentKey, list: Vec<FragmentRef>) {
        self.prefetch_lists.remember(key, list);
    }

    /// Drops what an invalidation matches, in the store and in memory.
    pub(crate) async fn invalidate(&self, invalidation: &Invalidation) -> Result<Delivered, Error> {
        self.state.invalidate(invalidation).await
    }

    /// Leaves the rest of a batch to the supervisor.
    pub(crate) fn abandon(&self, batch: AbandonedBatch) {
        self.state.abandoned.push(batch);
    }

    /// When one of `tables`, or any at all, was last invalidated, by the
    /// server's clock, in microseconds. Now, if that cannot be known.
    pub(crate) async fn last_invalidation(&self, tables: &[(String, String)]) -> Option<u64> {
        self.state.last_invalidation(tables).await
    }
}

impl Drop for Tier {
    fn drop(&mut self) {
        let thread = self.thread.take();
        if self.state.owner.is_other_process() {
            // The thread runs in the parent process only.
            std::mem::forget(thread);
            return;
        }
        self.state.stop();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            // If the thread panicked, the panic hook has reported it.
            let _ = thread.join();
        }
    }
}
