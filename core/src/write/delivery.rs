//! Delivering invalidations: every public call, blocking or not, ends here.

use std::collections::VecDeque;

use crate::cache::inner::Inner;
use crate::error::Error;
use crate::observe::observers::Delivered;
use crate::store::Dropped;
use crate::sync::{Arc, block_on};
use crate::write::commit::CommitMark;
use crate::write::invalidation::{Invalidation, WriteEvent, merge};
use crate::write::suppression::is_suppressed;

/// A batch of invalidations. The data has changed already, so all of them are
/// delivered, even if the future that waits for them is dropped.
pub(crate) struct Delivery {
    inner: Arc<Inner>,
    steps: VecDeque<Step>,
    first: Result<(), Error>,
    /// Dropped when the batch has been delivered.
    #[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "it is there to be dropped"))]
    mark: Option<CommitMark>,
}

/// One event of a batch.
pub(crate) struct Step {
    /// `None` if there is nothing to deliver, only a mistake to report.
    pub(crate) invalidation: Option<Invalidation>,
    /// The mistake in what was announced.
    pub(crate) error: Option<Error>,
    /// What has been dropped for it already.
    pub(crate) dropped: Dropped,
}

impl Step {
    /// What `events` announce, behind the prefixes of the calling thread. If
    /// invalidation is suppressed in it, only mistakes are left.
    pub(crate) fn all(inner: &Inner, events: impl IntoIterator<Item = WriteEvent>) -> Vec<Self> {
        let is_suppressed = is_suppressed();
        let steps = merge(events).into_iter().map(|event| {
            let (invalidation, error) = event.into_parts(&inner.settings.prefix);
            let invalidation = invalidation.filter(|_| !is_suppressed);
            Step { invalidation, error, dropped: Dropped::default() }
        });
        steps.filter(|step| step.invalidation.is_some() || step.error.is_some()).collect()
    }

    /// Delivers it, and says nothing of the mistake in it.
    pub(crate) async fn deliver(&self, inner: &Inner) -> Result<(), Error> {
        match &self.invalidation {
            Some(invalidation) => inner.deliver(invalidation, self.dropped).await,
            None => Ok(()),
        }
    }
}

impl Delivery {
    /// Prepares what `events` announce. Without a shared tier, it is delivered
    /// at once.
    pub(crate) fn begin(inner: &Arc<Inner>, events: impl IntoIterator<Item = WriteEvent>) -> Self {
        Delivery::of(inner, Step::all(inner, events), None)
    }

    /// [`begin`](Self::begin) for what has been prepared.
    pub(crate) fn of(inner: &Arc<Inner>, steps: Vec<Step>, mark: Option<CommitMark>) -> Self {
        let mut delivery =
            Delivery { inner: inner.clone(), steps: steps.into(), first: Ok(()), mark };
        if inner.settings.shared.is_none() {
            delivery.first = block_on(delivery.run());
        }
        delivery
    }

    /// Delivers all of them, even if one has an error. Returns the first error.
    pub(crate) async fn run(&mut self) -> Result<(), Error> {
        while let Some(step) = self.steps.front() {
            let done = step.deliver(&self.inner).await;
            let mistake = self.steps.pop_front().and_then(|step| step.error);
            let first = std::mem::replace(&mut self.first, Ok(()));
            self.first = first.and(done).and(mistake.map_or(Ok(()), Err));
        }
        std::mem::replace(&mut self.first, Ok(()))
    }
}

impl Drop for Delivery {
    /// Leaves the rest to the supervisor, and does nothing itself: it may run in
    /// a panic, in a runtime that ends, or where no thread can be started.
    fn drop(&mut self) {
        #[cfg(feature = "redis")]
        if let Some(shared) = &self.inner.settings.shared
            && !self.steps.is_empty()
        {
            let steps = std::mem::take(&mut self.steps);
            shared.abandon(crate::redis::AbandonedBatch {
                invalidations: steps.into_iter().filter_map(|step| step.invalidation).collect(),
                observers: self.inner.settings.observers.clone(),
                mark: self.mark.take(),
            });
        }
    }
}

impl Inner {
    /// Drops what an invalidation matches, and tells the observers. `before` has
    /// been dropped for it already.
    async fn deliver(&self, invalidation: &Invalidation, before: Dropped) -> Result<(), Error> {
        let settings = &self.settings;
        let outcome = match &settings.shared {
            Some(shared) => shared.invalidate(invalidation).await,
            None => {
                let dropped = settings.store.invalidate(invalidation, self.now());
                Ok(Delivered::Dropped(before.and(dropped)))
            }
        };
        settings.observers.invalidated(invalidation, &outcome);
        outcome.map(|_| ())
    }
}
