//! Switching invalidation off, for a thread or for the polls of a future.

use std::cell::Cell;

use crate::sync::scoped::PollScope;
use crate::sync::thread_local;

thread_local! {
    /// How many suppressions are active.
    static SUPPRESSIONS: Cell<usize> = const { Cell::new(0) };
}

/// Whether invalidation is switched off on this thread.
pub(crate) fn is_suppressed() -> bool {
    SUPPRESSIONS.try_with(Cell::get).unwrap_or(0) > 0
}

/// Switches invalidation off on this thread while it lives.
pub(crate) struct Suppression(());

impl Suppression {
    pub(crate) fn new() -> Self {
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
pub(crate) struct SuppressionScope;

impl PollScope for SuppressionScope {
    type Guard = Suppression;

    fn begin(&self) -> Suppression {
        Suppression::new()
    }
}
