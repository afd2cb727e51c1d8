//! Switching invalidation off, for a thread or for the polls of a future.

use std::cell::Cell;
use std::future::Future;

use crate::sync::scoped::{PollScope, ScopedFuture};
use crate::sync::thread_local;

thread_local! {
    /// How many suppressions are active.
    static SUPPRESSIONS: Cell<usize> = const { Cell::new(0) };
}

/// Runs `work` with invalidation switched off on this thread, for every cache:
/// calls to invalidate do nothing. What changes meanwhile stays stale until you
/// invalidate it. This is for imports that end with one
/// [`invalidate_model`](crate::Cacheops::invalidate_model).
///
/// ```
/// # let cache = cacheops::Cacheops::in_memory();
/// # fn import() -> Result<(), cacheops::Error> { Ok(()) }
/// cacheops::no_invalidation(import)?;
/// cache.invalidate_model("articles")?;
/// # Ok::<_, cacheops::Error>(())
/// ```
pub fn no_invalidation<R>(work: impl FnOnce() -> R) -> R {
    let _suppression = Suppression::new();
    work()
}

/// [`no_invalidation`] for a future, wherever it is polled. It covers neither
/// what the future spawns nor what was announced before and is only awaited in
/// it.
pub fn no_invalidation_async<F: Future>(work: F) -> impl Future<Output = F::Output> + use<F> {
    ScopedFuture::new(SuppressionScope, work)
}

/// Whether invalidation is switched off on this thread.
pub(crate) fn is_suppressed() -> bool {
    SUPPRESSIONS.try_with(Cell::get).unwrap_or(0) > 0
}

/// Switches invalidation off on this thread while it lives.
struct Suppression(());

impl Suppression {
    fn new() -> Self {
        let _ = SUPPRESSIONS.try_with(|count| count.set(count.get() + 1));
        Suppression(())
    }
}

impl Drop for Suppression {
    fn drop(&mut self) {
        let _ = SUPPRESSIONS.try_with(|count| count.set(count.get().saturating_sub(1)));
    }
}

/// Switches invalidation off during the polls of a future.
struct SuppressionScope;

impl PollScope for SuppressionScope {
    type Guard = Suppression;

    fn begin(&self) -> Suppression {
        Suppression::new()
    }
}
