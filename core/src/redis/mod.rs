//! Redis, Valkey or Dragonfly as the shared tier.
//!
//! - `options`: what an application says of it.
//! - `access`, `endpoint`: as whom, and the way to a server; `connecting`: what to do where it is barred;
//!   `rights`: whether the user may do all that the tier does.
//! - `node`, `slots`, `link`: connections, the slots of a cluster, the line
//!   made of them; `wire` writes commands and reads replies.
//! - `discover`, `keeper`: finding the servers, and keeping the line: a thread
//!   that connects, watches and connects again.
//! - `sentinels`, `vouch`: asking who the master is, and what comes of it.
//! - `stamp_map`: what is known of stamps for the time of a trip.
//! - `codec`: how a fragment is written down; `bulk`: the connections by which
//!   large ones go.
//! - `pending`: invalidations that could not be delivered yet; `refusal`: a
//!   server that is there, and will not drop keys; `rest`: carrying out what is
//!   announced, and what dropped futures have left of it.
//! - `forked`: processes that have no thread to keep the connection.
//! - `log`: what operators are told.
//! - `same_data`: whether the data behind a connection is still the same.
//! - `tier`: lookups and fills over the line, by `search`, `revalidation` and `lease`;
//!   `deliver`: invalidations.

mod abandoned;
mod access;
mod advice;
mod bounded_map;
mod bulk;
mod codec;
mod data_identity;
mod deliver;
mod discover;
mod endpoint;
mod forked;
mod key_waiters;
mod lease;
mod lengths;
mod link;
mod log;
mod master_check;
mod node;
mod options;
mod pending;
mod refusing;
mod revalidation;
mod rights;
mod search;
mod sentinels;
mod slots;
mod stamp_map;
mod state;
mod tier;
mod wire;

pub(crate) use abandoned::AbandonedBatch;
pub use access::{Credentials, Tls};
pub(crate) use lease::{FillLock, Leased};
pub use options::{Consistency, Redis};
pub use state::{LinkState, SharedStatus};
pub(crate) use tier::{LookupResult, Tier};

use std::fmt;
use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// Why a trip to the shared store came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinkError {
    text: String,
    /// The time limit has passed.
    pub(crate) is_timeout: bool,
    /// The server is there, and refuses to drop keys.
    pub(crate) refused: bool,
    /// The server is there, and its data may be other data.
    exchanged: bool,
}

impl LinkError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        LinkError { text: text.into(), is_timeout: false, refused: false, exchanged: false }
    }

    /// What a server says that refuses to drop keys.
    pub(crate) fn refused(answer: &str) -> Self {
        let text = format!("the server refuses UNLINK: {answer}");
        LinkError { refused: true, ..LinkError::new(text) }
    }

    /// What a server has may be other data than before.
    pub(crate) fn exchanged(text: &str) -> Self {
        LinkError { exchanged: true, ..LinkError::new(text) }
    }

    pub(crate) fn is_timeout(limit: Duration) -> Self {
        LinkError { is_timeout: true, ..LinkError::new(format!("no answer within {limit:?}")) }
    }

    pub(crate) fn sentinels_silent(limit: Duration) -> Self {
        let text = format!("no majority of the sentinels answers within {limit:?}");
        LinkError { is_timeout: true, ..LinkError::new(text) }
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a server cannot be used.
#[derive(Clone, Debug)]
pub(crate) struct SetupError {
    kind: ErrorKind,
    text: String,
    /// It was about to change, and may do now.
    pub(crate) is_transient: bool,
}

impl SetupError {
    /// What the application says of it is wrong.
    pub(crate) fn config(text: impl Into<String>) -> Self {
        SetupError { kind: ErrorKind::InvalidConfig, text: text.into(), is_transient: false }
    }

    /// It is another kind of server than the one that is needed.
    pub(crate) fn server(text: impl Into<String>) -> Self {
        SetupError { kind: ErrorKind::UnfitServer, text: text.into(), is_transient: false }
    }

    /// It cannot be reached now.
    pub(crate) fn away(text: impl Into<String>) -> Self {
        SetupError { kind: ErrorKind::Unavailable, text: text.into(), is_transient: false }
    }

    pub(crate) fn is_unavailable(&self) -> bool {
        self.kind == ErrorKind::Unavailable
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl From<SetupError> for Error {
    fn from(error: SetupError) -> Self {
        Error::new(error.kind, format!("redis: {}", error.text))
    }
}

impl From<LinkError> for SetupError {
    fn from(error: LinkError) -> Self {
        // A right that is lacking does not come by itself.
        match error.refused && error.text.contains("NOPERM") {
            true => SetupError::server(error.text),
            false => SetupError { is_transient: error.exchanged, ..SetupError::away(error.text) },
        }
    }
}
