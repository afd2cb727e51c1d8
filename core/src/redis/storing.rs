//! Storing fragments, and the lock of a fill.

use std::time::{Duration, Instant};

use super::bulk::LARGE;
use super::codec::encode;
use super::fill_lock::FillLock;
use super::keys::{fragment_key, lock_key};
use super::tier::Tier;
use crate::fragment::Fragment;
use crate::key::FragmentKey;
use crate::protocol::{Command, Reply};

impl Tier {
    /// Waits until the process that fills a fragment has released its lock, for `limit`
    /// and the limit of a lock at most.
    pub(crate) async fn wait_for_holder(&self, prefix: &str, key: FragmentKey, limit: Duration) {
        let until = Instant::now() + limit.min(self.state.options.lock_limit);
        let key = lock_key(prefix, key);
        let waiter = self.state.waiters.wait_for(&key);
        loop {
            let released = waiter.next();
            let Ok(link) = self.state.link().await else { break };
            // The read is tracked, so the server pushes when the key goes.
            match self.state.run(&link, &[Command::Get(key.as_slice().into())]).await {
                Ok(replies) if replies.first().and_then(Reply::value).is_some() => {}
                _ => break,
            }
            if !self.state.happens_before(until, released).await {
                break;
            }
        }
    }

    /// Stores a fragment for all processes, and releases the lock of its fill. If the
    /// fragment cannot be stored, other processes fill it again: nothing is lost.
    pub(crate) async fn put(
        &self,
        prefix: &str,
        key: FragmentKey,
        fragment: &Fragment,
        lock: Option<FillLock>,
    ) {
        let options = &self.state.options;
        self.state.lengths.note(key, fragment.len());
        let now = self.time();
        let left = fragment.expires_at().map(|at| Duration::from_micros(at.saturating_sub(now)));
        let limit = left.map_or(options.retention, |left| left.min(options.retention));
        let mut commands = Vec::with_capacity(2);
        let bytes = encode(key, fragment, options.compress_above);
        match bytes.filter(|bytes| bytes.len() <= options.value_limit) {
            Some(bytes) if bytes.len() >= LARGE => {
                if let Some(link) = self.state.link_now() {
                    link.store(fragment_key(prefix, key), bytes, Some(limit)).await;
                }
            }
            Some(bytes) => {
                commands.push(Command::Set(fragment_key(prefix, key), bytes, Some(limit)))
            }
            None => {}
        }
        self.send(commands, lock).await;
    }

    /// Releases the lock of a fill that came to nothing.
    pub(crate) async fn release(&self, lock: Option<FillLock>) {
        self.send(Vec::new(), lock).await;
    }

    async fn send(&self, mut commands: Vec<Command>, lock: Option<FillLock>) {
        let key = lock.as_ref().map(|lock| lock.key.clone());
        commands.extend(lock.and_then(FillLock::release));
        if let Some(link) = self.state.link_now() {
            let _ = self.state.run(&link, &commands).await;
        }
        // Callers of this process need not wait for the push.
        key.iter().for_each(|key| self.state.waiters.wake(key));
    }
}
