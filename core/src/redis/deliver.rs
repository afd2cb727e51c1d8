//! Carrying invalidations out, and noting when.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::LinkError;
use super::bounded_map::{BoundedMap, Weight};
use super::link::Link;
use super::state::{SharedState, read_everything};
use crate::protocol::{Command, Next, Registry, Reply, Sweep, SweepTarget, Swept};
use crate::store::Dropped;
use crate::value::Row;
use crate::write::keys::{
    Event, MOST_KEYS, Scheme, everything_key, name_key, registry_key, variant_key,
};

/// The most keys that go into one command, and so into one trip: time limits
/// hold for a trip, however many of them a batch takes.
const AT_ONCE: usize = 2_000;

/// Drops what an event meets, in the shared store and then in memory. It is
/// delivered only if the server was the master at some time after it came.
pub(crate) async fn deliver(
    state: &SharedState,
    link: &Link,
    prefix: &str,
    event: &Event<'_>,
) -> Result<Dropped, LinkError> {
    let check = state.begin_master_check();
    let dropped = carry_out(state, link, prefix, event).await?;
    state.confirm_master(link, &check).await?;
    Ok(dropped)
}

async fn carry_out(
    state: &SharedState,
    link: &Link,
    prefix: &str,
    event: &Event<'_>,
) -> Result<Dropped, LinkError> {
    let key = match *event {
        Event::Rows { table, rows } => {
            return deliver_rows(state, link, prefix, table, rows).await;
        }
        Event::Table(table) => registry_key(prefix, table).into_bytes(),
        Event::Name(name) => name_key(prefix, name),
        Event::Variant(name, variant) => variant_key(prefix, name, variant),
        Event::Everything => everything_key(&state.prefix),
    };
    let table = match event {
        Event::Table(table) => Some(*table),
        Event::Everything => Some(EVERYTHING),
        _ => None,
    };
    let replies =
        send(state, link, vec![Command::Unlink(vec![key.clone()])], prefix, table).await?;
    state.near.key_changed(&key);
    if let Event::Table(_) = event {
        state.registries.forget(&key);
    }
    Ok(Dropped {
        schemes: 0,
        stamps: replies.iter().map(Reply::count).sum::<u64>() as usize,
        whole_table: table.is_some(),
    })
}

async fn deliver_rows(
    state: &SharedState,
    link: &Link,
    prefix: &str,
    table: &str,
    rows: &[Row],
) -> Result<Dropped, LinkError> {
    let registry = registry_key(prefix, table);
    let target = SweepTarget {
        prefix,
        table,
        registry: registry.as_bytes(),
        rows,
        most: MOST_KEYS,
        at_once: AT_ONCE,
        atomic: link.drops_atomically(),
    };
    let mut sweep = Sweep::new(state.registries.get(&registry));
    let mut next = sweep.begin(&target);
    let swept = loop {
        match next {
            Next::Send(commands) => {
                let replies = send(state, link, commands, prefix, Some(table)).await?;
                next = sweep.step(&target, &replies);
            }
            Next::Done(swept) => break swept,
        }
    };
    Ok(forget(state, registry, swept))
}

/// Drops in memory what was dropped in the shared store.
fn forget(state: &SharedState, registry: String, swept: Swept) -> Dropped {
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

/// Sends commands that drop, and with them the time at which they did. The
/// replies to the former.
async fn send(
    state: &SharedState,
    link: &Link,
    mut commands: Vec<Command>,
    prefix: &str,
    table: Option<&str>,
) -> Result<Vec<Reply>, LinkError> {
    let note = table.map(|table| state.times.note(state, prefix, table));
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
            // No room: whoever remembers a time takes now for what is lost.
            Reply::Refused(_) => Command::Unlink(vec![key]),
            _ => return Ok(replies),
        };
        link.run(&[mend]).await?;
    }
    Ok(replies)
}

/// Whether a command is as large as one may be, and so ends its trip.
fn is_full(command: &Command) -> bool {
    matches!(command, Command::Unlink(keys) if keys.len() >= AT_ONCE)
}

/// Stands for all tables among the times.
const EVERYTHING: &str = "*";

/// Stands among the times for the one from which on they are all there. As
/// long as it is that of the stamp of everything, nothing was lost that any
/// fragment can depend on.
const BEGINNING: &str = "+";

/// The times of invalidations. The store keeps them in a sorted set, by table.
#[derive(Debug, Default)]
pub(crate) struct Times {
    /// The latest that this process has noted.
    noted: AtomicU64,
    /// Whether this process has seen the set.
    seen: AtomicBool,
    /// Counts in place of what the store has lost.
    floor: AtomicU64,
}

impl Times {
    /// The command that notes an invalidation of now.
    fn note(&self, state: &SharedState, prefix: &str, table: &str) -> Command {
        self.seen.store(true, Ordering::SeqCst);
        let now = state.time();
        let next = |noted: u64| Some(now.max(noted + 1));
        let before = self.noted.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        let to = before.map_or(now, |before| now.max(before + 1));
        Command::Raise { key: times_key(&state.prefix), member: member(prefix, table), to }
    }

    /// The command that notes from when on the times are all there, unless that
    /// is noted.
    pub(crate) fn begin(&self, state: &SharedState, now: u64) -> Command {
        let member = BEGINNING.as_bytes().to_vec();
        Command::Begin { key: times_key(&state.prefix), member, at: now }
    }

    /// What counts in place of times that this process has seen, and that are
    /// not there any more.
    fn floor(&self, are_there: bool, now: u64) -> Option<u64> {
        if are_there {
            self.seen.store(true, Ordering::SeqCst);
        } else if self.seen.swap(false, Ordering::SeqCst) {
            self.floor.store(now, Ordering::SeqCst);
        }
        Some(self.floor.load(Ordering::SeqCst)).filter(|floor| *floor > 0)
    }
}

impl SharedState {
    /// When one of `tables`, given with their prefixes, or any at all, was last
    /// invalidated. Now, if that cannot be known.
    pub(crate) async fn last_invalidation(&self, tables: &[(String, &str)]) -> Option<u64> {
        let Ok(link) = self.link().await else { return Some(self.time()) };
        let check = self.begin_lookup_check();
        let times = async {
            let times = self.ask_for_times(&link, tables).await?;
            self.confirm_master(&link, &check).await?;
            Ok::<_, LinkError>(times)
        };
        match times.await {
            Ok(times) => times,
            Err(error) => {
                self.disconnect(link.session, &error);
                Some(self.time())
            }
        }
    }

    async fn ask_for_times(
        &self,
        link: &Link,
        tables: &[(String, &str)],
    ) -> Result<Option<u64>, LinkError> {
        let key = times_key(&self.prefix);
        let mut members: Vec<Vec<u8>> =
            tables.iter().map(|(prefix, table)| member(prefix, table)).collect();
        members.extend([EVERYTHING, BEGINNING].map(|name| name.as_bytes().to_vec()));
        let replies = link
            .run(&[
                Command::Scores(key.clone(), members),
                Command::Highest(key, BEGINNING),
                Command::Get(everything_key(&self.prefix).into()),
            ])
            .await?;
        let scores = |n: usize| match replies.get(n) {
            Some(Reply::Scores(scores)) => scores.as_slice(),
            _ => &[],
        };
        let (beginning, of_tables) = match scores(0).split_last() {
            Some((beginning, of_tables)) => (*beginning, of_tables.iter().flatten().max()),
            None => (None, None),
        };
        let highest = scores(1).iter().flatten().max();
        let everything = replies.get(2).and_then(Reply::value);
        let made_at = everything.and_then(|value| read_everything(value, link));
        let begun = self.begun(link, beginning, made_at.map(|(_, made_at)| made_at)).await?;
        let known = if tables.is_empty() { highest } else { of_tables };
        Ok(known.copied().max(begun).max(self.times.floor(highest.is_some(), self.time())))
    }

    /// Since when the times are all there, if some may have been lost.
    async fn begun(
        &self,
        link: &Link,
        beginning: Option<u64>,
        made_at: Option<u64>,
    ) -> Result<Option<u64>, LinkError> {
        if beginning.is_some() || made_at.is_none() {
            return Ok(beginning.filter(|_| beginning != made_at));
        }
        let now = self.time();
        link.run(&[self.times.begin(self, now)]).await?;
        Ok(Some(now))
    }
}

fn times_key(prefix: &str) -> Vec<u8> {
    format!("{prefix}last").into_bytes()
}

/// The name of a table among the times; its prefix counts where it is computed.
fn member(prefix: &str, table: &str) -> Vec<u8> {
    if table == EVERYTHING {
        return EVERYTHING.into();
    }
    format!("{prefix}{table}").into_bytes()
}

/// The registries as they were last seen.
#[derive(Debug)]
pub(crate) struct Registries(BoundedMap<String, Registry>);

impl Weight for Registry {
    fn weight(&self) -> usize {
        // Its key is about as long as a scheme.
        size_of::<Registry>() + 32 + self.schemes.iter().map(Scheme::weight).sum::<usize>()
    }
}

impl Registries {
    /// Room for what goes with `limit` bytes of fragments; tenants may have many.
    pub(crate) fn beside(limit: u64) -> Self {
        Registries(BoundedMap::beside(limit))
    }

    /// What they take, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    fn get(&self, key: &str) -> Registry {
        self.0.get(key).unwrap_or_default()
    }

    fn forget(&self, key: &[u8]) {
        if let Ok(key) = std::str::from_utf8(key) {
            self.0.remove(key);
        }
    }

    fn set(&self, key: String, registry: Registry) {
        self.0.insert(key, registry);
    }
}
