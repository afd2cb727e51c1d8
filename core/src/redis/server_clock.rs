//! The time by the server's clock, which all processes share.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::node::Heartbeat;
use crate::clock::{Clock, micros};

/// The server's clock, as the last heartbeat showed it.
pub(crate) struct ServerClock {
    /// The server's clock less this machine's, in microseconds.
    offset: AtomicI64,
    /// Tells the time instead of the server, for tests.
    replacement: Option<Arc<dyn Clock>>,
}

impl ServerClock {
    pub(super) fn new(replacement: Option<Arc<dyn Clock>>) -> Self {
        ServerClock { offset: AtomicI64::new(0), replacement }
    }

    /// Compares the clocks. The server read its own between request and reply; the
    /// middle is the best guess.
    pub(super) fn set(&self, heartbeat: &Heartbeat) {
        let asked = SystemTime::now() - heartbeat.sent.elapsed() / 2;
        let here = asked.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let offset = i64::try_from(heartbeat.time).unwrap_or(0) - i64::try_from(here).unwrap_or(0);
        self.offset.store(offset, Ordering::Relaxed);
    }

    /// The time in microseconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        match &self.replacement {
            Some(clock) => micros(clock.now()),
            None => self.server_now(),
        }
    }

    /// [`now`](Self::now), whatever clock the cache was given.
    pub(crate) fn server_now(&self) -> u64 {
        let here = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let here = u64::try_from(here).unwrap_or(u64::MAX);
        here.saturating_add_signed(self.offset.load(Ordering::Relaxed))
    }
}
