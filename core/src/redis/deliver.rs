//! Delivering invalidations: to the store, then to memory.

use std::sync::Arc;

use super::abandoned::AbandonedBatch;
use super::error::LinkError;
use super::forked;
use super::link::Link;
use super::state::{Enqueue, SharedState};
use super::times::{EVERYTHING, member};
use crate::error::{Error, ErrorKind};
use crate::observe::observers::{Delivered, Observers};
use crate::protocol::{Command, Next, Reply, Sweep, SweepTarget, Swept};
use crate::store::Dropped;
use crate::value::Row;
use crate::write::invalidation::{Invalidation, Subject};
use crate::write::keys::{MOST_KEYS, everything_key, name_key, registry_key, variant_key};

/// The most keys in one command, and so in one round trip: the time limit holds for
/// each round trip, however many a batch takes.
const AT_ONCE: usize = 2_000;

impl SharedState {
    /// Drops what an invalidation matches, in the store and in memory.
    pub(crate) async fn invalidate(&self, invalidation: &Invalidation) -> Result<Delivered, Error> {
        if self.owner.is_other_process() {
            return Err(forked::invalidation_error());
        }
        let mut how = Enqueue::UnlessConnected;
        loop {
            let error = match self.link().await {
                Ok(link) => match deliver(self, &link, invalidation).await {
                    Ok(dropped) => return Ok(Delivered::Dropped(dropped)),
                    Err(error) => {
                        self.undelivered(link.session, &error);
                        error
                    }
                },
                Err(error) => error,
            };
            // This process serves nothing old, whatever happens elsewhere: it no
            // longer relies on what is in memory.
            self.near.all_changed();
            if self.options.queue_limit.is_none() {
                return Err(undelivered(&error));
            }
            // If there is a connection again by now, this tries once more. Else the
            // supervisor delivers the invalidation before anything else is sent.
            if self.enqueue(invalidation, how) {
                return Ok(Delivered::Queued);
            }
            how = Enqueue::Always;
        }
    }

    /// Delivers the abandoned batches one after the other, as long as the supervisor
    /// runs.
    pub(super) async fn deliver_abandoned(self: Arc<Self>) {
        loop {
            while let Some(batch) = self.abandoned.next() {
                self.deliver_batch(batch).await;
            }
            // The supervisor may wait for this before it ends.
            self.wake_supervisor();
            self.abandoned.pushed().await;
        }
    }

    async fn deliver_batch(&self, batch: AbandonedBatch) {
        let AbandonedBatch { invalidations, observers, mark: _mark } = batch;
        let mut outcomes = Vec::new();
        for invalidation in invalidations {
            // No caller is left to get an error; observers are told.
            let outcome = self.invalidate(&invalidation).await;
            observers.count(&invalidation, &outcome);
            if observers.wants_invalidations() {
                outcomes.push((invalidation, outcome));
            }
        }
        if !outcomes.is_empty() {
            notify(outcomes, observers);
        }
    }
}

/// Tells the observers, in a thread of their own: they may use the cache, which
/// would wait for the supervisor's thread. If no thread can be started, they are not
/// told.
fn notify(outcomes: Vec<(Invalidation, Result<Delivered, Error>)>, observers: Arc<Observers>) {
    let notify = move || {
        outcomes.iter().for_each(|(it, outcome)| observers.notify(it, outcome));
    };
    let _ = std::thread::Builder::new().name("cacheops-observers".into()).spawn(notify);
}

fn undelivered(error: &LinkError) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!(
            "the invalidation did not reach Redis ({error}), so other processes may serve what it invalidates: try again, or undo the change; `Redis::queue_invalidations` queues such invalidations instead"
        ),
    )
}

/// Drops what an invalidation matches, in the store and then in memory. It counts as
/// delivered only if the server was the master at some time after it began.
pub(super) async fn deliver(
    state: &SharedState,
    link: &Link,
    invalidation: &Invalidation,
) -> Result<Dropped, LinkError> {
    let check = state.begin_master_check();
    let delivery = Delivery { state, link, prefix: &invalidation.prefix };
    let dropped = delivery.drop(&invalidation.subject).await?;
    state.confirm_master(link, &check).await?;
    Ok(dropped)
}

/// The delivery of one invalidation.
struct Delivery<'a> {
    state: &'a SharedState,
    link: &'a Link,
    prefix: &'a str,
}

impl Delivery<'_> {
    async fn drop(&self, subject: &Subject) -> Result<Dropped, LinkError> {
        let key = match subject {
            Subject::Rows { table, rows } => return self.drop_rows(table, rows).await,
            Subject::Table(table) => registry_key(self.prefix, table).into_bytes(),
            Subject::Fragment(name) => name_key(self.prefix, name),
            Subject::Variant { name, variant } => variant_key(self.prefix, name, variant),
            Subject::Everything => everything_key(&self.state.prefix),
        };
        let table = match subject {
            Subject::Table(table) => Some(&**table),
            Subject::Everything => Some(EVERYTHING),
            _ => None,
        };
        let replies = self.send(vec![Command::Unlink(vec![key.clone()])], table).await?;
        self.state.near.key_changed(&key);
        if let Subject::Table(_) = subject {
            self.state.registries.forget(&key);
        }
        Ok(Dropped {
            schemes: 0,
            stamps: replies.iter().map(Reply::count).sum::<u64>() as usize,
            whole_table: table.is_some(),
        })
    }

    async fn drop_rows(&self, table: &str, rows: &[Row]) -> Result<Dropped, LinkError> {
        let registry = registry_key(self.prefix, table);
        let target = SweepTarget {
            prefix: self.prefix,
            table,
            registry: registry.as_bytes(),
            rows,
            most: MOST_KEYS,
            at_once: AT_ONCE,
            atomic: self.link.drops_atomically(),
        };
        let mut sweep = Sweep::new(self.state.registries.get(&registry));
        let mut next = sweep.begin(&target);
        let swept = loop {
            match next {
                Next::Send(commands) => {
                    let replies = self.send(commands, Some(table)).await?;
                    next = sweep.step(&target, &replies);
                }
                Next::Done(swept) => break swept,
            }
        };
        Ok(self.drop_in_memory(registry, swept))
    }

    /// Drops in memory what was dropped in the store.
    fn drop_in_memory(&self, registry: String, swept: Swept) -> Dropped {
        let state = self.state;
        if swept.whole {
            state.near.key_changed(registry.as_bytes());
        } else {
            state.near.rows_changed(&registry, swept.registry.epoch, &swept.keys);
        }
        let dropped = Dropped {
            schemes: swept.registry.schemes.len(),
            stamps: swept.unlinked as usize,
            whole_table: swept.whole,
        };
        state.registries.set(registry, swept.registry);
        dropped
    }

    /// Sends commands that drop keys, and with them the time of the invalidation.
    /// Returns the replies to the former.
    async fn send(
        &self,
        mut commands: Vec<Command>,
        table: Option<&str>,
    ) -> Result<Vec<Reply>, LinkError> {
        let Delivery { state, link, prefix } = self;
        let note = table
            .map(|table| state.times.note(&state.prefix, state.clock.now(), member(prefix, table)));
        commands.extend(note.clone());
        let mut replies = Vec::with_capacity(commands.len());
        for trip in commands.chunk_by(|before, _| !is_full(before)) {
            replies.extend(link.run(trip).await?);
        }
        let noted = note.and_then(|note| Some((note, replies.pop()?)));
        for (command, reply) in commands.iter().zip(&replies) {
            if let (Command::Unlink(_), Reply::Refused(answer)) = (command, reply) {
                return Err(LinkError::refused(answer));
            }
        }
        if let Some((Command::Raise { key, member, .. }, reply)) = noted {
            let mend = match reply {
                Reply::Count(0) => Command::Nudge { key, member },
                // The server is full. Without the set, processes that have seen it
                // take now for the times that are lost.
                Reply::Refused(_) => Command::Unlink(vec![key]),
                _ => return Ok(replies),
            };
            link.run(&[mend]).await?;
        }
        Ok(replies)
    }
}

/// Whether a command drops as many keys as one may, and so ends its round trip.
fn is_full(command: &Command) -> bool {
    matches!(command, Command::Unlink(keys) if keys.len() >= AT_ONCE)
}
