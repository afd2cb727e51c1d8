//! Log events for operators: each change of the connection, and what the cache does
//! about it. Without the feature `tracing` there are none.

use std::time::Duration;

use super::error::LinkError;

/// The connection has just broken.
pub(super) fn disconnected(prefix: &str, session: u64, error: &LinkError, limit: Duration) {
    #[cfg(feature = "tracing")]
    if error.is_timeout() {
        tracing::warn!(
            target: "cacheops", prefix, session, %error,
            "Redis does not answer and counts as down: trying to connect again; until then \
             fragments are rendered and not stored"
        );
    } else {
        tracing::warn!(
            target: "cacheops", prefix, session, %error, ?limit,
            "the connection to Redis is lost: connecting again; callers wait for it up to the \
             limit, and nothing is served from memory"
        );
    }
    #[cfg(not(feature = "tracing"))]
    let _ = (prefix, session, error, limit);
}

/// A connection could not be set up.
pub(super) fn unreachable(prefix: &str, session: u64, error: &str) {
    #[cfg(feature = "tracing")]
    tracing::warn!(
        target: "cacheops", prefix, session, error,
        "Redis cannot be reached and counts as down: trying again; until then fragments are \
         rendered and not stored, and no caller waits"
    );
    #[cfg(not(feature = "tracing"))]
    let _ = (prefix, session, error);
}

/// A connection has been set up.
pub(super) fn connected(prefix: &str, session: u64, servers: usize, delivered: usize) {
    #[cfg(feature = "tracing")]
    if session == 1 {
        tracing::info!(target: "cacheops", prefix, session, servers, "connected to Redis");
    } else {
        tracing::warn!(
            target: "cacheops", prefix, session, servers, delivered,
            "connected to Redis again: the queued invalidations are delivered, and fragments in \
             memory are verified before they are served"
        );
    }
    #[cfg(not(feature = "tracing"))]
    let _ = (prefix, session, servers, delivered);
}

/// The server answers, and refuses to drop keys.
pub(super) fn refusing(prefix: &str, session: u64, error: &LinkError) {
    #[cfg(feature = "tracing")]
    tracing::warn!(
        target: "cacheops", prefix, session, %error,
        "Redis refuses to drop keys: trying again with each heartbeat; until then fragments are \
         rendered and not stored"
    );
    #[cfg(not(feature = "tracing"))]
    let _ = (prefix, session, error);
}

/// The server drops keys again.
pub(super) fn drops_again(prefix: &str, session: u64, delivered: usize) {
    #[cfg(feature = "tracing")]
    tracing::warn!(
        target: "cacheops", prefix, session, delivered,
        "Redis drops keys again: the queued invalidations are delivered"
    );
    #[cfg(not(feature = "tracing"))]
    let _ = (prefix, session, delivered);
}
