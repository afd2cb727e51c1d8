//! Redis, Valkey or Dragonfly as the shared tier.
//!
//! - `options`: what an application says of it.
//! - `access`, `door`: as whom, and the way to a server; `connecting`: what to do where it is barred;
//!   `rights`: whether the user may do all that the tier does.
//! - `node`, `slots`, `link`: connections, the slots of a cluster, the line
//!   made of them; `wire` writes commands and reads replies.
//! - `discover`, `keeper`: finding the servers, and keeping the line: a thread
//!   that connects, watches and connects again.
//! - `sentinels`, `vouch`: asking who the master is, and what comes of it.
//! - `by_address`: what is known of stamps for the time of a trip.
//! - `codec`: how a fragment is written down; `bulk`: the connections by which
//!   large ones go.
//! - `pending`: invalidations that could not be delivered yet; `refusal`: a
//!   server that is there, and will not drop keys; `rest`: carrying out what is
//!   announced, and what dropped futures have left of it.
//! - `forked`: processes that have no thread to keep the connection.
//! - `log`: what operators are told.
//! - `same_data`: whether the data behind a connection is still the same.
//! - `tier`: lookups and fills over the line, by `search`, `question` and `lease`;
//!   `deliver`: invalidations.

mod access;
mod bulk;
mod by_address;
mod codec;
mod connecting;
mod deliver;
mod discover;
mod door;
mod forked;
mod keeper;
mod kept;
mod lease;
mod lengths;
mod link;
mod log;
mod node;
mod options;
mod pending;
mod question;
mod refusal;
mod rest;
mod rights;
mod same_data;
mod search;
mod sentinels;
mod slots;
mod tier;
mod vouch;
mod waiters;
mod wire;

pub use access::{Credentials, Tls};
pub use keeper::{LinkState, SharedStatus};
pub(crate) use lease::{HeldLock, Leased};
pub use options::{Consistency, Redis};
pub(crate) use rest::Rest;
pub(crate) use tier::{Looked, Tier};

use std::fmt;
use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// Why a trip to the shared store came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Why {
    text: String,
    /// The time limit has passed.
    pub(crate) silent: bool,
    /// The server is there, and refuses to drop keys.
    pub(crate) refused: bool,
    /// The server is there, and its data may be other data.
    exchanged: bool,
}

impl Why {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Why { text: text.into(), silent: false, refused: false, exchanged: false }
    }

    /// What a server says that refuses to drop keys.
    pub(crate) fn refused(answer: &str) -> Self {
        let text = format!("the server refuses UNLINK: {answer}");
        Why { refused: true, ..Why::new(text) }
    }

    /// What a server has may be other data than before.
    pub(crate) fn exchanged(text: &str) -> Self {
        Why { exchanged: true, ..Why::new(text) }
    }

    pub(crate) fn silent(limit: Duration) -> Self {
        Why { silent: true, ..Why::new(format!("no answer within {limit:?}")) }
    }

    pub(crate) fn sentinels_silent(limit: Duration) -> Self {
        let text = format!("no majority of the sentinels answers within {limit:?}");
        Why { silent: true, ..Why::new(text) }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a server cannot be used.
#[derive(Clone, Debug)]
pub(crate) struct Unfit {
    kind: ErrorKind,
    text: String,
    /// It was about to change, and may do now.
    pub(crate) is_passing: bool,
}

impl Unfit {
    /// What the application says of it is wrong.
    pub(crate) fn config(text: impl Into<String>) -> Self {
        Unfit { kind: ErrorKind::InvalidConfig, text: text.into(), is_passing: false }
    }

    /// It is another kind of server than the one that is needed.
    pub(crate) fn server(text: impl Into<String>) -> Self {
        Unfit { kind: ErrorKind::UnfitServer, text: text.into(), is_passing: false }
    }

    /// It cannot be reached now.
    pub(crate) fn away(text: impl Into<String>) -> Self {
        Unfit { kind: ErrorKind::Unavailable, text: text.into(), is_passing: false }
    }

    pub(crate) fn is_away(&self) -> bool {
        self.kind == ErrorKind::Unavailable
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl From<Unfit> for Error {
    fn from(unfit: Unfit) -> Self {
        Error::new(unfit.kind, format!("redis: {}", unfit.text))
    }
}

impl From<Why> for Unfit {
    fn from(why: Why) -> Self {
        // A right that is lacking does not come by itself.
        match why.refused && why.text.contains("NOPERM") {
            true => Unfit::server(why.text),
            false => Unfit { is_passing: why.exchanged, ..Unfit::away(why.text) },
        }
    }
}
