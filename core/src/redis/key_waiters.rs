//! Waiting for a key to change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::sync::lock;

/// All waiting callers, by key.
#[derive(Debug, Default)]
pub(crate) struct KeyWaiters(Mutex<HashMap<Vec<u8>, Arc<Notify>>>);

/// A caller that waits for a key to change.
pub(crate) struct KeyWaiter<'k> {
    all: &'k KeyWaiters,
    key: &'k [u8],
    woken: Option<Arc<Notify>>,
}

impl KeyWaiters {
    /// Wakes all callers that wait for a key.
    pub(crate) fn wake(&self, key: &[u8]) {
        if let Some(woken) = lock(&self.0).get(key) {
            woken.notify_waiters();
        }
    }

    /// Registers a caller, which pushes for the key wake.
    pub(crate) fn wait_for<'k>(&'k self, key: &'k [u8]) -> KeyWaiter<'k> {
        let woken = lock(&self.0).entry(key.to_vec()).or_default().clone();
        KeyWaiter { all: self, key, woken: Some(woken) }
    }
}

impl KeyWaiter<'_> {
    /// The next change after this call.
    pub(crate) fn next(&self) -> impl Future<Output = ()> {
        let change = self.woken.as_ref().map(|woken| woken.clone().notified_owned());
        async {
            if let Some(change) = change {
                change.await;
            }
        }
    }
}

impl Drop for KeyWaiter<'_> {
    fn drop(&mut self) {
        self.woken = None;
        let mut all = lock(&self.all.0);
        if all.get(self.key).is_some_and(|woken| Arc::strong_count(woken) == 1) {
            all.remove(self.key);
        }
    }
}
