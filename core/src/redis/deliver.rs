//! Carrying invalidations out, and noting when.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::Why;
use super::keeper::Keeper;
use super::link::Link;
use crate::invalidate::{Event, everything_key, name_key, registry_key, variant_key};
use crate::protocol::{Command, Next, Registry, Reply, Sweep, SweepTarget, Swept};
use crate::store::Dropped;
use crate::value::Row;

/// The most keys that go into one command.
const AT_ONCE: usize = 4_000;

/// Drops what an event meets, in the shared store and then in memory.
pub(crate) async fn deliver(
    keeper: &Keeper,
    link: &Link,
    prefix: &str,
    event: &Event<'_>,
) -> Result<Dropped, Why> {
    // Until it is dropped in memory too.
    let _dropping = keeper.begin_drop();
    let key = match *event {
        Event::Rows { table, rows } => {
            return deliver_rows(keeper, link, prefix, table, rows).await;
        }
        Event::Table(table) => registry_key(prefix, table).into_bytes(),
        Event::Name(name) => name_key(prefix, name),
        Event::Variant(name, variant) => variant_key(prefix, name, variant),
        Event::Everything => everything_key(&keeper.prefix),
    };
    let table = match event {
        Event::Table(table) => Some(*table),
        Event::Everything => Some(EVERYTHING),
        _ => None,
    };
    let replies =
        send(keeper, link, vec![Command::Unlink(vec![key.clone()])], prefix, table).await?;
    keeper.near.key_changed(&key);
    if let Event::Table(_) = event {
        keeper.registries.forget(&key);
    }
    Ok(Dropped {
        schemes: 0,
        stamps: replies.iter().map(Reply::count).sum::<u64>() as usize,
        whole: table.is_some(),
    })
}

async fn deliver_rows(
    keeper: &Keeper,
    link: &Link,
    prefix: &str,
    table: &str,
    rows: &[Row],
) -> Result<Dropped, Why> {
    let registry = registry_key(prefix, table);
    let target = SweepTarget {
        prefix,
        table,
        registry: registry.as_bytes(),
        rows,
        at_once: AT_ONCE,
        atomic: link.is_atomic(),
    };
    let mut sweep = Sweep::new(keeper.registries.get(&registry));
    let mut next = sweep.begin(&target);
    let swept = loop {
        match next {
            Next::Send(commands) => {
                let replies = send(keeper, link, commands, prefix, Some(table)).await?;
                next = sweep.step(&target, &replies);
            }
            Next::Done(swept) => break swept,
        }
    };
    Ok(forget(keeper, registry, swept))
}

/// Drops in memory what was dropped in the shared store.
fn forget(keeper: &Keeper, registry: String, swept: Swept) -> Dropped {
    if swept.whole {
        keeper.near.key_changed(registry.as_bytes());
    } else {
        keeper.near.drop_other_epoch(&registry, swept.registry.epoch);
        keeper.near.keys_changed(swept.keys.iter().map(Vec::as_slice));
    }
    let dropped = Dropped {
        schemes: swept.registry.schemes.len(),
        stamps: swept.unlinked as usize,
        whole: swept.whole,
    };
    keeper.registries.set(registry, swept.registry);
    dropped
}

/// Sends commands that drop, and with them the time at which they did. The
/// replies to the former.
async fn send(
    keeper: &Keeper,
    link: &Link,
    mut commands: Vec<Command>,
    prefix: &str,
    table: Option<&str>,
) -> Result<Vec<Reply>, Why> {
    let note = table.map(|table| keeper.times.note(keeper, prefix, table));
    commands.extend(note.clone());
    let mut replies = link.run(&commands).await?;
    let noted = note.and_then(|note| Some((note, replies.pop()?)));
    for (command, reply) in commands.iter().zip(&replies) {
        if let (Command::Unlink(_), Reply::Refused(why)) = (command, reply) {
            return Err(Why::new(format!("the server refuses UNLINK: {why}")));
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

/// Stands for all tables among the times.
const EVERYTHING: &str = "*";

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
    fn note(&self, keeper: &Keeper, prefix: &str, table: &str) -> Command {
        self.seen.store(true, Ordering::SeqCst);
        let now = keeper.time();
        let next = |noted: u64| Some(now.max(noted + 1));
        let before = self.noted.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        let to = before.map_or(now, |before| now.max(before + 1));
        Command::Raise { key: times_key(&keeper.prefix), member: member(prefix, table), to }
    }
}

impl Keeper {
    /// When one of `tables`, given with their prefixes, or any at all, was last
    /// invalidated. Now, if that cannot be known.
    pub(crate) async fn last_invalidation(&self, tables: &[(String, &str)]) -> Option<u64> {
        let Ok(link) = self.link().await else { return Some(self.time()) };
        let key = times_key(&self.prefix);
        let mut members: Vec<Vec<u8>> =
            tables.iter().map(|(prefix, table)| member(prefix, table)).collect();
        members.push(EVERYTHING.as_bytes().to_vec());
        let asked = [Command::Scores(key.clone(), members), Command::Highest(key)];
        let replies = match link.run(&asked).await {
            Ok(replies) => replies,
            Err(why) => {
                self.lost(link.session, &why);
                return Some(self.time());
            }
        };
        let latest = |reply: Option<&Reply>| match reply {
            Some(Reply::Scores(scores)) => scores.iter().flatten().copied().max(),
            _ => None,
        };
        let (of_tables, highest) = (latest(replies.first()), latest(replies.get(1)));
        if highest.is_some() {
            self.times.seen.store(true, Ordering::SeqCst);
        } else if self.times.seen.swap(false, Ordering::SeqCst) {
            self.times.floor.store(self.time(), Ordering::SeqCst);
        }
        let found = if tables.is_empty() { highest } else { of_tables };
        let floor = self.times.floor.load(Ordering::SeqCst);
        found.max((floor > 0).then_some(floor))
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
#[derive(Debug, Default)]
pub(crate) struct Registries(std::sync::Mutex<std::collections::HashMap<String, Registry>>);

impl Registries {
    fn get(&self, key: &str) -> Registry {
        crate::sync::lock(&self.0).get(key).cloned().unwrap_or_default()
    }

    fn forget(&self, key: &[u8]) {
        if let Ok(key) = std::str::from_utf8(key) {
            crate::sync::lock(&self.0).remove(key);
        }
    }

    fn set(&self, key: String, registry: Registry) {
        crate::sync::lock(&self.0).insert(key, registry);
    }
}
