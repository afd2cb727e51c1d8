//! Commands to a shared store, and replies. Each command touches only the keys
//! that it names, and is atomic. Nothing relies on more.

use std::sync::Arc;
use std::time::Duration;

/// A key that is read repeatedly.
pub(crate) type Key = Arc<[u8]>;

/// A command to the shared store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Command {
    /// Reads a key, with tracking: a change of the key is pushed. →
    /// [`Reply::Value`]
    Get(Key),
    /// Reads a key, without tracking. → [`Reply::Value`]
    Peek(Key),
    /// Reads a field of a hash, with tracking of the hash. → [`Reply::Value`]
    HGet(Key, &'static [u8]),
    /// Reads a field of a hash, without tracking. → [`Reply::Value`]
    HPeek(Key, &'static [u8]),
    /// Reads a hash. → [`Reply::Fields`]
    HGetAll(Vec<u8>),
    /// Writes a field if it does not exist. → [`Reply::Done`]
    HSetNx(Key, Vec<u8>, Vec<u8>),
    /// Writes a key if it does not exist, with an expiry. → [`Reply::Done`]
    SetNx(Key, Vec<u8>, Option<Duration>),
    /// Writes a key, with an expiry. → [`Reply::Done`]
    Set(Vec<u8>, Vec<u8>, Option<Duration>),
    /// Sets the expiry of a key, in milliseconds since 1970, subject to a
    /// condition. → [`Reply::Count`], zero if nothing has changed
    ExpireAt(Key, u64, Unless),
    /// Deletes keys; atomically where one server has them all. →
    /// [`Reply::Count`] of the keys that existed
    Unlink(Vec<Vec<u8>>),
    /// Raises the score of a member. → [`Reply::Count`], zero if it was as
    /// high already
    Raise { key: Vec<u8>, member: Vec<u8>, to: u64 },
    /// Gives a member a score if it has none. → [`Reply::Count`]
    Begin { key: Vec<u8>, member: Vec<u8>, at: u64 },
    /// Raises the score of a member by one. → [`Reply::Done`]
    Nudge { key: Vec<u8>, member: Vec<u8> },
    /// The score of each member. → [`Reply::Scores`]
    Scores(Vec<u8>, Vec<Vec<u8>>),
    /// The highest score of all but one member. → [`Reply::Scores`]
    Highest(Vec<u8>, &'static str),
}

/// When a key keeps its expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Unless {
    /// If it has an expiry.
    Limited,
    /// If it has no expiry, or one that is as late or later.
    Later,
}

/// The answer to a [`Command`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reply {
    Value(Option<Vec<u8>>),
    Fields(Vec<(Vec<u8>, Vec<u8>)>),
    Done(bool),
    Count(u64),
    Scores(Vec<Option<u64>>),
    /// The server refused: its memory is full, or the key has another type.
    Refused(String),
}

impl Reply {
    /// The value, if the reply is a value and the value exists.
    pub(crate) fn into_value(self) -> Option<Vec<u8>> {
        match self {
            Reply::Value(value) => value,
            _ => None,
        }
    }

    pub(crate) fn value(&self) -> Option<&[u8]> {
        match self {
            Reply::Value(Some(value)) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn count(&self) -> u64 {
        match self {
            Reply::Count(count) => *count,
            _ => 0,
        }
    }
}
