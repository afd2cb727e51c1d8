//! A process that was forked off one that had built a cache has a copy of all
//! but the threads, so nobody there keeps the connection: who waited for it
//! would wait without end, and what is written to it would be mixed up with what
//! the other process writes. Nothing is asked of the server there.

use super::error::LinkError;
use crate::error::{Error, ErrorKind};

/// What is told in a child.
pub(super) const FORKED: &str =
    "this process was forked off the one that built the cache: build one in each process";

/// The process that has the thread that keeps the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnerProcess(u32);

impl OwnerProcess {
    pub(super) fn here() -> Self {
        OwnerProcess(std::process::id())
    }

    /// Whether this is another process. It costs a call of the system, so it
    /// is for trips, not for what is in memory.
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

/// Why a child's trip comes to nothing.
pub(super) fn link_error() -> LinkError {
    LinkError::new(FORKED)
}

/// What a child's invalidation comes to, whatever the settings: nobody there
/// would deliver what is kept.
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
    use crate::store::{MemoryStore, StampMetaOptions};
    use crate::write::keys::Event;

    #[test]
    fn a_child_is_another_process() {
        assert!(!OwnerProcess::here().is_other_process());
        assert!(OwnerProcess(1).is_not(2) && !OwnerProcess(1).is_not(1));
    }

    /// As it is in a child: no thread, and a state that the other one left.
    #[test]
    fn a_child_is_told() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let prefix = Prefix::new(String::new(), None);
        let near = Arc::new(MemoryStore::new(
            prefix.clone(),
            1 << 20,
            StampMetaOptions { labels: false, shared: true },
        ));
        let redis = Redis::url("redis://127.0.0.1:1").queue_invalidations(10);
        let parts = Parts { near, options: redis, runtime: runtime.handle().clone(), clock: None };
        let mut state = SharedState::new(parts, &prefix);
        state.owner = OwnerProcess::of_other_process();
        let error = runtime.block_on(state.link()).err().unwrap();
        assert_eq!(error.to_string(), FORKED);
        let outcome = runtime.block_on(state.invalidate("", &Event::Everything));
        assert_eq!(outcome.err().unwrap().kind(), ErrorKind::InvalidConfig);
        assert_eq!(state.status().pending, 0);
        assert_eq!(state.status().state, LinkState::Down(FORKED.to_owned()));
    }
}
