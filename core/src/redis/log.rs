//! What operators are told of the connection: each change of its state, and
//! what is being done about it. Without the feature `tracing`, nothing.

use std::time::Duration;

use super::LinkError;

/// The connection was lost a moment ago.
pub(super) fn disconnect(prefix: &str, session: u64, error: &LinkError, limit: Duration) {
    #[cfg(feature = "tracing")]
    if error.is_timeout {
        tracing::warn!(
            target: "cacheops", prefix, session, %error,
            "Redis does not answer: held for dead, and tried again until it does; meanwhile \
             nothing is served from memory, all is rendered and not bounded_map"
        );
    } else {
        tracing::warn!(
            target: "cacheops", prefix, session, %error, ?limit,
            "the connection to Redis is lost: connecting again, for which callers wait up to the \
             limit; meanwhile nothing is served from memory"
        );
    }
    #[cfg(not(feature = "tracing"))]
    let _ = (prefix, session, error, limit);
}

/// It could not be set up.
pub(super) fn away(prefix: &str, session: u64, error: &str) {
    #[cfg(feature = "tracing")]
    tracing::warn!(
        target: "cacheops", prefix, session, error,
        "Redis cannot be reached: held for dead, and tried again until it can; meanwhile all is \
         rendered and not bounded_map, and nobody waits for it"
    );
    #[cfg(not(feature = "tracing"))]
    let _ = (prefix, session, error);
}

/// It is there.
pub(super) fn live(prefix: &str, session: u64, servers: usize, delivered: usize) {
    #[cfg(feature = "tracing")]
    if session == 1 {
        tracing::info!(target: "cacheops", prefix, session, servers, "connected to Redis");
    } else {
        tracing::warn!(
            target: "cacheops", prefix, session, servers, delivered,
            "connected to Redis again: what is in memory is asked for before it is served, and \
             the invalidations that were bounded_map have been delivered"
        );
    }
    #[cfg(not(feature = "tracing"))]
    let _ = (prefix, session, servers, delivered);
}

/// It is there, and refuses to drop keys.
pub(super) fn refusing(prefix: &str, session: u64, error: &LinkError) {
    #[cfg(feature = "tracing")]
    tracing::warn!(
        target: "cacheops", prefix, session, %error,
        "Redis refuses to drop keys: nothing is asked of it until it does again, which is tried \
         all the time; meanwhile all is rendered and not bounded_map"
    );
    #[cfg(not(feature = "tracing"))]
    let _ = (prefix, session, error);
}

/// It drops keys again.
pub(super) fn willing(prefix: &str, session: u64, delivered: usize) {
    #[cfg(feature = "tracing")]
    tracing::warn!(
        target: "cacheops", prefix, session, delivered,
        "Redis drops keys again: the invalidations that were kept have been delivered"
    );
    #[cfg(not(feature = "tracing"))]
    let _ = (prefix, session, delivered);
}
