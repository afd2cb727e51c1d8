//! Carrying out what was announced.

use std::collections::VecDeque;

use crate::error::Error;
use crate::events::{Due, WriteEvent, gather};
use crate::handle::Cacheops;
use crate::invalidate::Event;
use crate::observe::{CacheInvalidated, Target};
use crate::record::is_quiet;
use crate::sync::block_on;
use crate::value::Row;

/// Invalidations under way. The data has changed already, so all of them are
/// carried out, even if the future is dropped that waits for them.
pub(crate) struct Delivery {
    cache: Cacheops,
    waiting: VecDeque<(Due, Result<(), Error>)>,
}

impl Delivery {
    pub(crate) fn new(cache: &Cacheops, events: impl IntoIterator<Item = WriteEvent>) -> Self {
        let prefix = &cache.inner.settings.prefix;
        let waiting = match is_quiet() {
            true => VecDeque::new(),
            false => gather(events).into_iter().filter_map(|event| event.due(prefix)).collect(),
        };
        Delivery { cache: cache.clone(), waiting }
    }

    /// Carries all of them out, whatever error comes of one; the first error.
    pub(crate) async fn run(&mut self) -> Result<(), Error> {
        let mut first = Ok(());
        while let Some((due, _)) = self.waiting.front() {
            let done = self.cache.carry_out(&due.prefix, due.event()).await;
            let valid = self.waiting.pop_front().map_or(Ok(()), |(_, valid)| valid);
            first = first.and(done).and(valid);
        }
        first
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.waiting.is_empty() || std::thread::panicking() {
            return;
        }
        let waiting = std::mem::take(&mut self.waiting);
        let mut rest = Delivery { cache: self.cache.clone(), waiting };
        let run = move || {
            // Nobody is there to hear of an error. What this process has in
            // memory is distrusted in any case.
            let _ = block_on(rest.run());
        };
        // Without a thread to spare it is as if it had failed.
        let _ = std::thread::Builder::new().name("cacheops-rest".into()).spawn(run);
    }
}

impl Cacheops {
    /// Drops what an event meets, and tells the observers.
    pub(crate) async fn carry_out(&self, prefix: &str, event: Event<'_>) -> Result<(), Error> {
        let inner = &*self.inner;
        let settings = &inner.settings;
        let dropped = match &settings.shared {
            Some(shared) => shared.invalidate(prefix, &event).await?,
            None => settings.store.invalidate(&event, inner.now()),
        };
        inner.counters.invalidated();
        let (target, rows): (_, &[Row]) = match event {
            Event::Rows { table, rows } => (Target::Table(table), rows),
            Event::Table(table) => (Target::Table(table), &[]),
            Event::Name(name) | Event::Variant(name, _) => (Target::Fragment(name), &[]),
            Event::Everything => (Target::Everything, &[]),
        };
        settings.observers.invalidated(&CacheInvalidated {
            target,
            rows,
            schemes: dropped.schemes,
            dropped: dropped.stamps,
            whole: dropped.whole,
        });
        Ok(())
    }
}
