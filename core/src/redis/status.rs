//! What an application sees of the shared tier.

use crate::observe::FragmentInfo;

/// What the shared tier holds of a fragment; see
/// [`Cacheops::shared_fragment`](crate::Cacheops::shared_fragment).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SharedFragment {
    /// The fragment, as it is in the shared tier.
    pub info: FragmentInfo,
    /// Its size in the shared tier, in bytes; compressed if it is long.
    pub bytes: usize,
}

/// The connection to the shared tier at one moment; see
/// [`Cacheops::shared_status`](crate::Cacheops::shared_status).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedStatus {
    /// Whether there is a connection.
    pub state: LinkState,
    /// How many rows, tables and names wait to be invalidated; zero unless
    /// [`Redis::queue_invalidations`](crate::Redis::queue_invalidations) is on.
    pub pending: usize,
    /// The number of the current session, or of the last one. Each connection
    /// has a higher number than the one before, so a changed number means that
    /// there was an outage.
    pub sessions: u64,
    /// How many servers are connected: one, or the masters of a cluster. Zero
    /// while there is no connection.
    pub servers: usize,
}

/// Whether there is a connection to the shared tier.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkState {
    /// Connected.
    Live,
    /// The connection broke, for the given reason, and is being set up again.
    /// Callers wait for it, for the
    /// [operation timeout](crate::Redis::operation_timeout) at most.
    Reconnecting(String),
    /// The servers count as down, for the given reason. Nothing is sent to them
    /// and nobody waits; the cache keeps trying to connect.
    Down(String),
}
