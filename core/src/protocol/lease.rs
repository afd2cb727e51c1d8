//! Taking stamps before a fill reads anything.
//!
//! The order makes it exact. For each table: create the epoch if there is none,
//! read it, register the schemes, extend its expiry. Then create the stamps that
//! are missing. Then read all stamps, and the epochs again. Only the last reads
//! count. Nothing can be filled under an epoch unless both reads return the same
//! one and no registration was refused. Then the schemes were registered in it.
//! The first read is not tracked, because the registration that follows would
//! cause a push.
//!
//! A registry lives longer than the stamps that are registered in it. Its epoch
//! and its schemes expire together. Extending the expiry is a write like any
//! other: it comes before the last read, which is tracked.

use std::time::Duration;

use super::{Command, EPOCH, Key, Reply, Token, Unless};

/// What a lease has to register and read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct LeasePlan {
    pub(crate) tables: Vec<TablePlan>,
    /// Keys of stamps that are plain keys, with the token to write if there
    /// is none, and the expiry.
    pub(crate) stamps: Vec<(Key, Vec<u8>, Option<Duration>)>,
}

/// A table whose registry takes part in the lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TablePlan {
    pub(crate) registry: Key,
    /// The epoch to write, if there is none.
    pub(crate) epoch: Token,
    /// The schemes to register, as fields of the registry.
    pub(crate) schemes: Vec<Vec<u8>>,
    /// When it expires, in milliseconds since 1970.
    pub(crate) until: u64,
}

/// How many commands a table needs before the stamps, besides those for its
/// schemes: writing and reading its epoch, and extending its expiry.
const OF_TABLE: usize = 4;

/// The stamps as they were found: the epoch of each table, and the token of each
/// plain key. A missing one cannot be relied on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct LeaseReplies {
    pub(crate) epochs: Vec<Option<Token>>,
    pub(crate) stamps: Vec<Option<Vec<u8>>>,
    /// Whether all schemes were registered in the epochs that were found. If
    /// not, changes do not find the stamps under them. The tokens then tell
    /// whether a fragment is current, but nothing can be filled under them.
    pub(crate) is_registered: bool,
}

impl LeasePlan {
    pub(crate) fn commands(&self) -> Vec<Command> {
        let mut commands = Vec::new();
        for table in &self.tables {
            let key = &table.registry;
            let epoch = table.epoch.as_bytes().to_vec();
            commands.push(Command::HSetNx(key.clone(), EPOCH.to_vec(), epoch));
            commands.push(Command::HPeek(key.clone(), EPOCH));
            for scheme in &table.schemes {
                commands.push(Command::HSetNx(key.clone(), scheme.clone(), Vec::new()));
            }
            commands.push(Command::ExpireAt(key.clone(), table.until, Unless::Limited));
            commands.push(Command::ExpireAt(key.clone(), table.until, Unless::Later));
        }
        for (key, token, retention) in &self.stamps {
            commands.push(Command::SetNx(key.clone(), token.clone(), *retention));
        }
        commands.extend(self.stamps.iter().map(|(key, ..)| Command::Get(key.clone())));
        let registries = self.tables.iter().map(|table| table.registry.clone());
        commands.extend(registries.map(|key| Command::HGet(key, EPOCH)));
        commands
    }

    /// What the replies to [`commands`](Self::commands) say.
    pub(crate) fn read(&self, replies: &[Reply]) -> LeaseReplies {
        let value = |at: usize| replies.get(at).and_then(Reply::value);
        let token = |at: usize| value(at).and_then(Token::read);
        let registering: usize =
            self.tables.iter().map(|table| OF_TABLE + table.schemes.len()).sum();
        let reads = registering + self.stamps.len();
        let stamps = (0..self.stamps.len()).map(|n| value(reads + n).map(<[u8]>::to_vec)).collect();
        let mut epochs = Vec::with_capacity(self.tables.len());
        let mut is_registered = true;
        let mut at = 0;
        for (n, table) in self.tables.iter().enumerate() {
            let before = token(at + 1);
            let after = token(reads + self.stamps.len() + n);
            at += 2;
            let registered = replies.get(at..at + table.schemes.len()).unwrap_or_default();
            at += OF_TABLE - 2 + table.schemes.len();
            // A full server refuses.
            let all = registered.iter().all(|reply| matches!(reply, Reply::Done(_)));
            is_registered &= all && before.is_some() && before == after;
            epochs.push(after);
        }
        LeaseReplies { epochs, stamps, is_registered }
    }
}
