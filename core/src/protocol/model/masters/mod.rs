//! Two live masters, and sentinels that lag: a search of its own.
//!
//! Three sentinels, each with its own view of who the master is; two servers,
//! of which both may call themselves master, or one be a replica that lags;
//! processes that fill, read and announce at whichever they are connected to.
//! The decision is the shipped [`Quorum`](crate::protocol::Quorum). Of the stamps
//! protocol there is one stamp left, with the stamp of everything above it that
//! bears the mark of its server; the other search is about the rest.
//!
//! Any sentinel may begin a failover, adopt its epoch late, and tell the others
//! late or never; the old master may go on for ever, or be told, which cuts its
//! connections. A question may be answered by any sentinels in any
//! order, or be given up.
//!
//! **Never stale**: a strict lookup serves nothing older than what had been
//! announced by anybody when it began; one in memory nothing older than what had
//! been announced when the last heartbeat that counts began. And hits there are,
//! and announcements at a master that is not the first.
//!
//! Each way in [`Broken`] to do it wrong is found out.
//!
//! - `state`: a state; `world`: who takes part, and the steps.
//! - `servers`: sentinels and servers; `process`: connecting, lookups, fills,
//!   announcements, heartbeats.
//! - `tests`: the searches.

mod process;
mod servers;
mod state;
mod tests;
mod world;

/// Ways to do it wrong, each of which the search has to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Broken {
    /// The first sentinel to answer decides.
    FirstAnswer,
    /// Sentinels that do not answer say nothing against a server.
    SilenceAgrees,
    /// A lookup goes by what was answered before it began.
    OldAnswer,
    /// A heartbeat vouches for memory, whoever is master.
    HeartbeatUnconfirmed,
    /// Only those who read ask.
    AnnouncedAnywhere,
    /// An announcement goes by what was answered before the commit.
    AskedBeforeCommit,
    /// One address under two epochs is one master.
    EpochIgnored,
    /// A server is used that one sentinel has named.
    UsedTooEarly,
    /// What was made at a server holds there after the next failover, too.
    MarkWithoutEpoch,
    /// A server that is made a replica keeps its connections, and nobody looks
    /// whether its data is still the same.
    ConnectionsSurvive,
}
