//! Carrying invalidations out: those that a caller waits for, and what a dropped
//! future has left of them, which the thread that keeps the connection does.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::LinkError;
use super::deliver::deliver;
use super::forked;
use super::state::SharedState;
use crate::error::{Error, ErrorKind};
use crate::observe::observers::{Delivered, Observers};
use crate::sync::lock;
use crate::write::commit::CommitMark;
use crate::write::invalidation::Due;
use crate::write::keys::Event;

/// Invalidations that nobody waits for any more, and who is to hear of them.
pub(crate) struct AbandonedBatch {
    pub(crate) dues: VecDeque<Due>,
    pub(crate) observers: Arc<Observers>,
    /// Ends when all has been carried out.
    pub(crate) mark: Option<CommitMark>,
}

/// All that was left, in its order.
#[derive(Default)]
pub(crate) struct AbandonedBatches {
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<AbandonedBatch>,
    /// Whether one that was taken is still being carried out.
    is_busy: bool,
}

impl AbandonedBatches {
    /// Leaves something to the thread. It may be called from a destructor: it
    /// does nothing else, and cannot fail.
    pub(crate) fn push(&self, batch: AbandonedBatch) {
        lock(&self.queue).waiting.push_back(batch);
        self.filled.notify_one();
    }

    /// Whether all has been carried out.
    pub(crate) fn are_done(&self) -> bool {
        let queue = lock(&self.queue);
        queue.waiting.is_empty() && !queue.is_busy
    }

    fn next(&self) -> Option<AbandonedBatch> {
        let mut queue = lock(&self.queue);
        let next = queue.waiting.pop_front();
        queue.is_busy = next.is_some();
        next
    }
}

impl SharedState {
    /// Drops what an event meets, in the shared store and in memory.
    pub(crate) async fn invalidate(
        &self,
        prefix: &str,
        event: &Event<'_>,
    ) -> Result<Delivered, Error> {
        if self.owner.is_other_process() {
            return Err(forked::invalidation_error());
        }
        let mut failed_before = false;
        loop {
            let error = match self.link().await {
                Ok(link) => match deliver(self, &link, prefix, event).await {
                    Ok(dropped) => return Ok(Delivered::Dropped(dropped)),
                    Err(error) => {
                        self.undelivered(link.session, &error);
                        error
                    }
                },
                Err(error) => error,
            };
            // Whatever becomes of it elsewhere: nothing old is served here,
            // since all that memory knows is unverified now.
            self.near.all_changed();
            if self.options.queue_limit.is_none() {
                return Err(undelivered(&error));
            }
            // Once more, if there is a line again by now; then the thread that
            // keeps the line delivers it, before anything else goes by it.
            if self.enqueue(&Due::of(prefix, event), failed_before) {
                return Ok(Delivered::Queued);
            }
            failed_before = true;
        }
    }

    /// Carries out what is left, one after the other, for as long as the
    /// thread lives.
    pub(crate) async fn deliver_abandoned(self: Arc<Self>) {
        loop {
            while let Some(batch) = self.abandoned.next() {
                self.deliver_batch(batch).await;
            }
            // It may wait for just this, to end.
            self.wake_supervisor();
            self.abandoned.filled.notified().await;
        }
    }

    async fn deliver_batch(&self, batch: AbandonedBatch) {
        let AbandonedBatch { dues, observers, mark: _mark } = batch;
        let mut told = Vec::new();
        for due in dues {
            // Nobody is there to hear of an error but those who observe.
            let outcome = self.invalidate(&due.prefix, &due.event()).await;
            observers.note(due.event(), &outcome);
            if observers.hear_invalidations() {
                told.push((due, outcome));
            }
        }
        if !told.is_empty() {
            tell(told, observers);
        }
    }
}

/// Tells the observers, in a thread of their own: they may ask the cache, which
/// would wait for this very thread. If none can be had, they are not told.
fn tell(told: Vec<(Due, Result<Delivered, Error>)>, observers: Arc<Observers>) {
    let tell = move || {
        told.iter().for_each(|(due, outcome)| observers.tell(due.event(), outcome));
    };
    let _ = std::thread::Builder::new().name("cacheops-tell".into()).spawn(tell);
}

fn undelivered(error: &LinkError) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!(
            "the invalidation did not reach Redis ({error}), and other processes may serve what it was about: try again, or undo the change; `Redis::queue_invalidations` keeps such invalidations instead"
        ),
    )
}
