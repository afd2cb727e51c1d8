//! What is said to a shared store. Each command touches the keys that it
//! names and no other, and is atomic by itself; nothing relies on more.

use std::sync::Arc;
use std::time::Duration;

/// A key that is read again and again.
pub(crate) type Key = Arc<[u8]>;

/// A command to the shared store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Command {
    /// Reads a key, and asks to be told when it changes. → [`Reply::Value`]
    Get(Key),
    /// Reads a key, and asks for nothing. → [`Reply::Value`]
    Peek(Key),
    /// Reads a field of a hash, and asks to be told when the hash changes.
    /// → [`Reply::Value`]
    HGet(Key, &'static [u8]),
    /// Reads a field of a hash, and asks for nothing. → [`Reply::Value`]
    HPeek(Key, &'static [u8]),
    /// Reads a hash. → [`Reply::Fields`]
    HGetAll(Vec<u8>),
    /// Writes a field if it is not there. → [`Reply::Done`]
    HSetNx(Key, Vec<u8>, Vec<u8>),
    /// Writes a key if it is not there, to live for so long at most.
    /// → [`Reply::Done`]
    SetNx(Key, Vec<u8>, Option<Duration>),
    /// Writes a key, to live for so long at most. → [`Reply::Done`]
    Set(Vec<u8>, Vec<u8>, Option<Duration>),
    /// Has a key end at a time, in milliseconds since 1970, unless it is to end
    /// otherwise. → [`Reply::Count`], zero if nothing has changed
    ExpireAt(Key, u64, Unless),
    /// Drops keys, all at once where one server has them.
    /// → [`Reply::Count`], of those that were there
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

/// When a key keeps its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Unless {
    /// It has one.
    Limited,
    /// It has none, or one as late or later.
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
    /// The server would not: its memory is full, or the key is of another kind.
    Refused(String),
}

impl Reply {
    /// The value, if the reply is one and it was there.
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
