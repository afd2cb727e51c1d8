//! What a worker writes, and how it tells of it.

use std::thread;
use std::time::Duration;

use cacheops::{Error, LinkState, WriteEvent};
use serde::Serialize;

use super::database::{Change, How, ROWS, TABLE, any_row};
use super::rng::Rng;
use super::tenants;
use super::worker::{Bug, WorkerProcess};

/// One who writes.
pub struct Writer<'a> {
    worker: &'a WorkerProcess,
    rng: Rng,
    /// Invalidations that have returned here, and may not have reached others.
    due: Vec<Change>,
}

/// How often an invalidation is tried before the writer goes on without: it
/// is for whoever changes the row next.
const TRIES: u32 = 20;

impl<'a> Writer<'a> {
    pub fn new(worker: &'a WorkerProcess, seed: u64) -> Writer<'a> {
        Writer { worker, rng: Rng::new(seed), due: Vec::new() }
    }

    /// Writes until the worker is to end: alone, or many in a row.
    pub fn run(&mut self) {
        while !self.worker.stops_writing() {
            let writes = if self.rng.once_in(30) { 20 } else { 1 };
            for _ in 0..writes {
                self.write();
            }
            thread::sleep(Duration::from_millis(self.rng.within(10, 150)));
        }
        self.settle();
    }

    fn write(&mut self) {
        let tenant = tenants::any(&mut self.rng);
        tenants::be(tenant);
        let ids: Vec<u64> = self.rows().into_iter().map(|key| tenant * ROWS + key).collect();
        let mut changes = self.worker.database.commit(&ids);
        if let Some(way) = self.announce(&changes) {
            for change in &mut changes {
                change.how = How { worker: self.worker.job.number, way };
                self.worker.oracle.announced_here(change);
            }
            self.due.extend(changes);
        }
        self.settle();
    }

    /// One or two rows, mostly of the first ones.
    fn rows(&mut self) -> Vec<u64> {
        let count = if self.rng.once_in(5) { 2 } else { 1 };
        let mut ids: Vec<u64> = (0..count).map(|_| any_row(&mut self.rng)).collect();
        ids.dedup();
        ids
    }

    /// Invalidates what changed; which way, if that has returned.
    fn announce(&mut self, changes: &[Change]) -> Option<u64> {
        if self.worker.job.bug == Some(Bug::Forget) && self.rng.once_in(10) {
            return Some(u64::MAX);
        }
        for _ in 0..TRIES {
            let way = self.rng.below(60);
            match self.invalidate(changes, way) {
                Ok(()) => {
                    self.worker.tally(|tally| tally.invalidations += 1);
                    return Some(way);
                }
                Err(_) => self.worker.tally(|tally| tally.undelivered += 1),
            }
            if self.worker.stops_writing() {
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        None
    }

    fn invalidate(&self, changes: &[Change], way: u64) -> Result<(), Error> {
        let cache = &self.worker.cache;
        match way {
            0 => cache.invalidate_model(TABLE),
            1 => cache.invalidate_all(),
            // A field may be missing that a scheme needs: the whole table then.
            2 => cache
                .invalidate_objs(TABLE, changes.iter().map(|change| Id { id: change.id % ROWS })),
            3..20 => cache.invalidate_batch(events(changes)),
            20..40 => {
                let tenant = tenants::present();
                let batch =
                    tenants::begin(tenant, || cache.invalidate_batch_async(events(changes)));
                let done = futures_executor::block_on(batch);
                tenants::be(tenant);
                done
            }
            _ => cache.invalidate_objs(TABLE, rows(changes)),
        }
    }

    /// Tells the others what has reached them. With `queue_invalidations` that is when
    /// nothing waits any more and the line is there.
    fn settle(&mut self) {
        let status = self.worker.cache.shared_status().unwrap();
        let is_settled = status.pending == 0 && status.state == LinkState::Live;
        if !self.due.is_empty() && (is_settled || !self.worker.job.queues) {
            self.worker.database.announce(&self.due);
            self.due.clear();
        }
    }
}

/// All that is known of a row.
#[derive(Serialize)]
struct Id {
    id: u64,
}

fn events(changes: &[Change]) -> Vec<WriteEvent> {
    let mut events = vec![WriteEvent::fragment("part")];
    for change in changes {
        let rows: Vec<_> = change.rows().collect();
        let pairs = rows.windows(2);
        events.extend(
            pairs.map(|pair| WriteEvent::update(TABLE, &pair[0].fields(), &pair[1].fields())),
        );
    }
    events
}

/// Each place once where the changed rows were or are.
fn rows(changes: &[Change]) -> Vec<serde_json::Value> {
    let mut rows: Vec<serde_json::Value> = Vec::new();
    for fields in changes.iter().flat_map(|change| change.rows()).map(|row| row.fields()) {
        if !rows.contains(&fields) {
            rows.push(fields);
        }
    }
    rows
}
