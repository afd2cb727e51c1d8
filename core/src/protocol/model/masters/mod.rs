//! Two live masters, and sentinels that lag: a search of its own.
//!
//! The world has three sentinels, each with its own view of who the master is;
//! two servers, which may both call themselves master, or of which one may be a
//! replica that lags; and processes that fill, read and announce at the server
//! they are connected to. The decision is the shipped
//! [`Quorum`](crate::protocol::Quorum). Of the protocol of stamps, only one stamp
//! is left, with the stamp of everything above it, which contains the fingerprint
//! of its server. The other search covers the rest.
//!
//! Any sentinel may begin a failover, adopt its epoch late, and tell the others
//! late or never. The old master may continue for ever, or be told, which cuts
//! its connections. Any sentinels may answer a query in any order, or it may be
//! given up.
//!
//! **Never stale**: a strict lookup serves nothing older than what anybody had
//! announced when it began. A lookup in memory serves nothing older than what had
//! been announced when the last valid heartbeat began. There are also hits, and
//! announcements at a master that is not the first.
//!
//! The search finds every way in [`Broken`] to do it wrong.
//!
//! - `state`: a state; `world`: the participants and the steps.
//! - `servers`: sentinels and servers; `process`: connecting, lookups, fills,
//!   announcements, heartbeats.
//! - `tests`: the searches.

mod process;
mod servers;
mod state;
mod tests;
mod world;

/// Ways to do it wrong. The search has to find each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Broken {
    /// The first sentinel to answer decides.
    FirstAnswer,
    /// Sentinels that do not answer count in favour of a server.
    SilenceAgrees,
    /// A lookup uses an answer from before it began.
    OldAnswer,
    /// A heartbeat renews trust whoever is master.
    HeartbeatUnconfirmed,
    /// Only readers ask the sentinels.
    AnnouncedAnywhere,
    /// An announcement uses an answer from before the commit.
    AskedBeforeCommit,
    /// One address under two epochs counts as one master.
    EpochIgnored,
    /// A server is used after one sentinel has named it.
    UsedTooEarly,
    /// What was stored at a server stays valid there after the next failover.
    MarkWithoutEpoch,
    /// A server that becomes a replica keeps its connections, and nobody
    /// checks whether its data is the same.
    ConnectionsSurvive,
}
