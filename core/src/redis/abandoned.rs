//! Invalidations whose caller has dropped the future: the supervisor's thread
//! delivers them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::observe::observers::Observers;
use crate::sync::lock;
use crate::write::commit::CommitMark;
use crate::write::invalidation::Invalidation;

/// The rest of a batch, and the observers to tell of it.
pub(crate) struct AbandonedBatch {
    pub(crate) invalidations: VecDeque<Invalidation>,
    pub(crate) observers: Arc<Observers>,
    /// Dropped when the batch has been delivered.
    pub(crate) mark: Option<CommitMark>,
}

/// All abandoned batches, in their order.
#[derive(Default)]
pub(crate) struct AbandonedBatches {
    queue: Mutex<Queue>,
    pushed: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<AbandonedBatch>,
    /// Whether the batch that was taken last is still being delivered.
    is_busy: bool,
}

impl AbandonedBatches {
    /// Leaves a batch to the supervisor. Destructors call this, so it does nothing
    /// else and cannot fail.
    pub(crate) fn push(&self, batch: AbandonedBatch) {
        lock(&self.queue).waiting.push_back(batch);
        self.pushed.notify_one();
    }

    /// Whether all batches have been delivered.
    pub(super) fn are_done(&self) -> bool {
        let queue = lock(&self.queue);
        queue.waiting.is_empty() && !queue.is_busy
    }

    /// The next batch. The one before counts as delivered.
    pub(super) fn next(&self) -> Option<AbandonedBatch> {
        let mut queue = lock(&self.queue);
        let next = queue.waiting.pop_front();
        queue.is_busy = next.is_some();
        next
    }

    /// Waits until a batch is pushed.
    pub(super) async fn pushed(&self) {
        self.pushed.notified().await;
    }
}
