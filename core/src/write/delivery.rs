//! Carrying out what was announced.

use std::collections::VecDeque;

use crate::cache::handle::Cacheops;
use crate::error::Error;
use crate::observe::observers::Delivered;
use crate::store::Dropped;
use crate::sync::block_on;
use crate::write::commit::CommitMark;
use crate::write::invalidation::{Due, WriteEvent, gather};
use crate::write::keys::Event;
use crate::write::suppression::is_suppressed;

/// Invalidations under way. The data has changed already, so all of them are
/// carried out, whatever becomes of the future that waits for them.
pub(crate) struct Delivery {
    cache: Cacheops,
    waiting: VecDeque<Step>,
    first: Result<(), Error>,
    /// Ends when all has been carried out.
    #[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "it is there to be dropped"))]
    mark: Option<CommitMark>,
}

/// One of them.
pub(crate) struct Step {
    pub(crate) due: Due,
    /// What was wrong with what was announced.
    valid: Result<(), Error>,
    /// What has been dropped for it already.
    pub(crate) dropped: Dropped,
}

impl Step {
    pub(crate) fn new(due: Due, valid: Result<(), Error>) -> Self {
        Step { due, valid, dropped: Dropped::default() }
    }
}

impl Delivery {
    /// Takes what is announced, for whoever calls: what prefixes it lies
    /// behind, and whether the caller is to be silent. Where there is nothing
    /// but this process, it is carried out at once.
    pub(crate) fn begin(cache: &Cacheops, events: impl IntoIterator<Item = WriteEvent>) -> Self {
        let settings = &cache.inner.settings;
        let gathered = if is_suppressed() { Vec::new() } else { gather(events) };
        let due = gathered.into_iter().filter_map(|event| event.due(&settings.prefix));
        Delivery::of(cache, due.map(|(due, valid)| Step::new(due, valid)), None)
    }

    /// The same for what has been prepared.
    pub(crate) fn of(
        cache: &Cacheops,
        steps: impl IntoIterator<Item = Step>,
        mark: Option<CommitMark>,
    ) -> Self {
        let waiting = steps.into_iter().collect();
        let mut delivery = Delivery { cache: cache.clone(), waiting, first: Ok(()), mark };
        if cache.inner.settings.shared.is_none() {
            delivery.first = block_on(delivery.run());
        }
        delivery
    }

    /// Carries all of them out, whatever error comes of one; the first error.
    pub(crate) async fn run(&mut self) -> Result<(), Error> {
        while let Some(step) = self.waiting.front() {
            let done = self.cache.carry_out(&step.due.prefix, step.due.event(), step.dropped).await;
            let valid = self.waiting.pop_front().map_or(Ok(()), |step| step.valid);
            let first = std::mem::replace(&mut self.first, Ok(()));
            self.first = first.and(done).and(valid);
        }
        std::mem::replace(&mut self.first, Ok(()))
    }
}

impl Drop for Delivery {
    /// Hands over what is left, and does nothing itself: it may be dropped in
    /// a panic, in a runtime that ends, or where there is no thread to be had.
    fn drop(&mut self) {
        #[cfg(feature = "redis")]
        if let Some(shared) = &self.cache.inner.settings.shared
            && !self.waiting.is_empty()
        {
            let waiting = std::mem::take(&mut self.waiting);
            let dues = waiting.into_iter().map(|step| step.due).collect();
            let observers = self.cache.inner.settings.observers.clone();
            shared.abandon(crate::redis::AbandonedBatch {
                dues,
                observers,
                mark: self.mark.take(),
            });
        }
    }
}

impl Cacheops {
    /// Drops what an event meets, and tells the observers.
    pub(crate) async fn carry_out(
        &self,
        prefix: &str,
        event: Event<'_>,
        before: Dropped,
    ) -> Result<(), Error> {
        let inner = &*self.inner;
        let settings = &inner.settings;
        let outcome = match &settings.shared {
            Some(shared) => shared.invalidate(prefix, &event).await,
            None => {
                let dropped = settings.store.invalidate(prefix, &event, inner.now());
                Ok(Delivered::Dropped(before.and(dropped)))
            }
        };
        settings.observers.invalidated(event, &outcome);
        outcome.map(|_| ())
    }
}
