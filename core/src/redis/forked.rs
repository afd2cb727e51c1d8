//! Child processes. A process that was forked after the cache was built has a copy of
//! it without the supervisor's thread: nobody there keeps the connection, callers would
//! wait for ever, and what they write would mix with what the parent writes. So a child
//! sends nothing to the server.

use super::error::LinkError;
use crate::error::{Error, ErrorKind};

/// The reason that a child gets.
pub(super) const FORKED: &str =
    "this process was forked off the one that built the cache: build one in each process";

/// The process that the supervisor runs in.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnerProcess(u32);

impl OwnerProcess {
    pub(super) fn here() -> Self {
        OwnerProcess(std::process::id())
    }

    /// Whether this is another process. This takes a system call, so it is for round
    /// trips, not for hits in memory.
    pub(super) fn is_other_process(self) -> bool {
        self.is_not(std::process::id())
    }

    fn is_not(self, process: u32) -> bool {
        self.0 != process
    }

    #[cfg(test)]
    pub(super) fn of_other_process() -> Self {
        OwnerProcess(std::process::id().wrapping_add(1))
    }
}

/// The error of a round trip in a child.
pub(super) fn link_error() -> LinkError {
    LinkError::new(FORKED)
}

/// The error of an invalidation in a child, whatever the settings: nobody there would
/// deliver a queue.
pub(super) fn invalidation_error() -> Error {
    Error::new(ErrorKind::InvalidConfig, format!("redis: {FORKED}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{FORKED, OwnerProcess};
    use crate::error::ErrorKind;
    use crate::prefix::Prefix;
    use crate::redis::state::{Parts, SharedState};
    use crate::redis::{LinkState, Redis};
    use crate::store::{MemoryStore, StampMetaOptions, StoreId};
    use crate::write::invalidation::Invalidation;

    #[test]
    fn a_child_is_another_process() {
        assert!(!OwnerProcess::here().is_other_process());
        assert!(OwnerProcess(1).is_not(2) && !OwnerProcess(1).is_not(1));
    }

    /// The state of a child: no supervisor, and a connection of the parent.
    #[test]
    fn a_child_is_told() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let prefix = Prefix::new(String::new(), None);
        let near = Arc::new(MemoryStore::new(
            prefix.clone(),
            1 << 20,
            StampMetaOptions { labels: false, shared: Some(StoreId::new()) },
        ));
        let redis = Redis::url("redis://127.0.0.1:1").queue_invalidations(10);
        let parts = Parts { near, options: redis, runtime: runtime.handle().clone(), clock: None };
        let mut state = SharedState::new(parts, &prefix);
        state.owner = OwnerProcess::of_other_process();
        let error = runtime.block_on(state.link()).err().unwrap();
        assert_eq!(error.to_string(), FORKED);
        let outcome = runtime.block_on(state.invalidate(&Invalidation::everything()));
        assert_eq!(outcome.err().unwrap().kind(), ErrorKind::InvalidConfig);
        assert_eq!(state.status().pending, 0);
        assert_eq!(state.status().state, LinkState::Down(FORKED.to_owned()));
    }
}
