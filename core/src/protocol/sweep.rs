//! Sweeps: dropping the stamps that a change of rows matches.
//!
//! A sweep works in passes. A pass deletes the stamps that the rows match under
//! the known schemes, and reads the registry in the same round trip. If the
//! registry shows schemes that were not known, everything is deleted again, under
//! all schemes. If the deletions of a pass are not one atomic step before the
//! read of the registry, a second pass always follows. Otherwise a fill could
//! begin in between, with a row that it got under a stamp that is not yet
//! deleted, and a fresh stamp of its own.
//!
//! If the rows match more keys than a limit, the table is dropped: one command,
//! which is always possible.

use std::collections::HashSet;

use super::{Command, EPOCH, Reply, Token};
use crate::value::Row;
use crate::write::keys::{Scheme, row_key};

/// The schemes of a table and the epoch that they were registered in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Registry {
    pub(crate) epoch: Option<Token>,
    pub(crate) schemes: Vec<Scheme>,
}

impl Registry {
    fn read(fields: &[(Vec<u8>, Vec<u8>)]) -> Self {
        let mut registry = Registry::default();
        for (field, value) in fields {
            if field == EPOCH {
                registry.epoch = Token::read(value);
            } else {
                registry.schemes.push(Scheme::from_field(field));
            }
        }
        registry
    }

    fn covers(&self, other: &Registry) -> bool {
        other.schemes.iter().all(|scheme| self.schemes.contains(scheme))
    }
}

/// The subject of a sweep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SweepTarget<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) table: &'a str,
    pub(crate) registry: &'a [u8],
    pub(crate) rows: &'a [Row],
    /// The largest number of keys that are deleted one by one. More keys drop
    /// the table.
    pub(crate) most: usize,
    /// The largest number of keys in one command. More keys are not one
    /// atomic step.
    pub(crate) at_once: usize,
    /// Whether one command deletes all its keys in one atomic step, and
    /// commands are executed in order.
    pub(crate) atomic: bool,
}

/// A sweep in progress.
#[derive(Clone, Debug)]
pub(crate) struct Sweep {
    known: Registry,
    keys: Vec<Vec<u8>>,
    /// Whether the registry has been read since the change.
    has_looked: bool,
    passes: usize,
    /// Consecutive passes after which no new scheme appeared.
    stable: usize,
    /// In how many steps the last pass deleted its keys.
    steps: usize,
    whole: bool,
    unlinked: u64,
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Send these commands, and continue with the replies.
    Send(Vec<Command>),
    Done(Swept),
}

/// The result of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// The keys of all stamps that the rows match.
    pub(crate) keys: Vec<Vec<u8>>,
    /// The contents of the registry at the end.
    pub(crate) registry: Registry,
    /// Whether the whole table was dropped.
    pub(crate) whole: bool,
    /// How many stamps existed.
    pub(crate) unlinked: u64,
}

/// A registry with more schemes is dropped as a whole, because a change would
/// have to delete as many stamps for each row. No process registers more than a
/// quarter of them.
const MOST_SCHEMES: usize = 512;

/// A registry that grows for so many passes is dropped as a whole.
const MOST_PASSES: usize = 8;

impl Sweep {
    /// Begins a sweep with the schemes that were last seen, which may be out
    /// of date.
    pub(crate) fn new(known: Registry) -> Self {
        Sweep {
            known,
            keys: Vec::new(),
            has_looked: false,
            passes: 0,
            stable: 0,
            steps: 0,
            whole: false,
            unlinked: 0,
        }
    }

    /// The first commands.
    pub(crate) fn begin(&mut self, target: &SweepTarget<'_>) -> Next {
        self.pass(target)
    }

    /// The step that follows from the replies to the last commands.
    pub(crate) fn step(&mut self, target: &SweepTarget<'_>, replies: &[Reply]) -> Next {
        self.unlinked += replies.iter().map(Reply::count).sum::<u64>();
        if self.whole {
            return self.done();
        }
        let Some(Reply::Fields(fields)) = replies.last() else {
            // There is no registry: the key contains something else.
            return self.drop_table(target);
        };
        let found = Registry::read(fields);
        let covered = self.known.covers(&found);
        self.known = found;
        self.has_looked = true;
        if self.known.schemes.len() > MOST_SCHEMES {
            return self.drop_table(target);
        }
        if self.passes == 0 {
            return self.pass(target);
        }
        self.stable = if covered { self.stable + 1 } else { 0 };
        let enough = if self.steps <= usize::from(target.atomic) { 1 } else { 2 };
        if self.stable >= enough {
            self.done()
        } else if self.passes >= MOST_PASSES {
            self.drop_table(target)
        } else {
            self.pass(target)
        }
    }

    /// Deletes all keys that the rows match under the known schemes.
    fn pass(&mut self, target: &SweepTarget<'_>) -> Next {
        let keys = match spell_all(target, &self.known.schemes) {
            Some(keys) => keys,
            None if self.has_looked => return self.drop_table(target),
            // The scheme that needs a missing column, or leads to too
            // many keys, may no longer be registered.
            None => return Next::Send(vec![Command::HGetAll(target.registry.to_vec())]),
        };
        self.passes += 1;
        let mut commands: Vec<Command> =
            keys.chunks(target.at_once.max(1)).map(|keys| Command::Unlink(keys.to_vec())).collect();
        self.steps = if target.atomic { commands.len() } else { keys.len() };
        self.keys = keys;
        commands.push(Command::HGetAll(target.registry.to_vec()));
        Next::Send(commands)
    }

    /// Drops the registry, and with it every fragment that was made from the
    /// table.
    fn drop_table(&mut self, target: &SweepTarget<'_>) -> Next {
        self.whole = true;
        self.known = Registry::default();
        Next::Send(vec![Command::Unlink(vec![target.registry.to_vec()])])
    }

    fn done(&mut self) -> Next {
        Next::Done(Swept {
            keys: std::mem::take(&mut self.keys),
            registry: std::mem::take(&mut self.known),
            whole: self.whole,
            unlinked: self.unlinked,
        })
    }
}

/// The keys of all stamps that rows match, each once. `None` if a row lacks a
/// field that a scheme needs, because it may match any stamp of the scheme, or if
/// there are more keys than the limit.
fn spell_all(target: &SweepTarget<'_>, schemes: &[Scheme]) -> Option<Vec<Vec<u8>>> {
    let expected = target.rows.len().saturating_mul(schemes.len());
    let mut keys = Vec::with_capacity(expected.min(target.most));
    let mut seen: HashSet<String> = HashSet::new();
    let mut key = String::new();
    for row in target.rows {
        for scheme in schemes {
            if !row_key(target.prefix, target.table, scheme, row, &mut key) {
                return None;
            }
            if !seen.contains(&key) {
                if keys.len() == target.most {
                    return None;
                }
                keys.push(key.clone().into_bytes());
                seen.insert(key.clone());
            }
        }
    }
    Some(keys)
}
