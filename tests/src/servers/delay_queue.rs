//! One direction of a proxied connection: the bytes that have arrived, and when they
//! may leave.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// When bytes may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// This long after they arrived.
    After(Duration),
    /// Not at all.
    Closed,
}

/// A queue with a gate at its end.
#[derive(Debug)]
pub struct DelayQueue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    gate: Gate,
    /// Bytes with their times; none at the end of the stream.
    queue: VecDeque<(Instant, Vec<u8>)>,
    cut: bool,
}

impl DelayQueue {
    /// An empty queue.
    pub fn new(gate: Gate) -> DelayQueue {
        let state = State { gate, queue: VecDeque::new(), cut: false };
        DelayQueue { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Adds bytes that have arrived; no bytes mean the end of the stream.
    pub fn put(&self, bytes: &[u8]) {
        let mut state = self.lock();
        if state.cut {
            return;
        }
        state.queue.push_back((Instant::now(), bytes.to_vec()));
        drop(state);
        self.changed.notify_all();
    }

    /// Changes the gate, also for the bytes in the queue.
    pub fn set(&self, gate: Gate) {
        self.lock().gate = gate;
        self.changed.notify_all();
    }

    /// Drops all bytes, now and in future.
    pub fn cut(&self) {
        let mut state = self.lock();
        state.cut = true;
        state.queue.clear();
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for the next bytes that may leave; `None` after a cut.
    pub fn take(&self) -> Option<Vec<u8>> {
        let mut state = self.lock();
        while !state.cut {
            state = match state.wait() {
                Some(Duration::ZERO) => return state.queue.pop_front().map(|(_, bytes)| bytes),
                Some(time) => {
                    let woken = self.changed.wait_timeout(state, time);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How long until the first bytes may leave; `None` until something changes.
    fn wait(&self) -> Option<Duration> {
        let (came, _) = self.queue.front()?;
        match self.gate {
            Gate::After(delay) => Some(delay.saturating_sub(came.elapsed())),
            Gate::Closed => None,
        }
    }
}
