//! Locks and threads, from the standard library or from shuttle, which tries
//! the interleavings (`RUSTFLAGS="--cfg shuttle"`).

pub(crate) mod timer;

use std::pin::pin;
use std::task::{Context, Poll, Wake, Waker};

#[cfg(not(shuttle))]
pub(crate) use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak, atomic,
    },
    thread_local,
};

#[cfg(shuttle)]
pub(crate) use shuttle::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak, atomic,
    },
    thread_local,
};

/// Locks; a panic elsewhere while the lock was held does not spread. Every
/// critical section here leaves its data whole at each step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// [`lock`] for readers.
pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// [`lock`] for a writer.
pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Runs a future to its end in this thread, which sleeps while there is nothing
/// to do. It needs no runtime, and may be called from within one, or from
/// within itself.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    // A thread that is ending keeps nothing.
    let bell = IDLE.try_with(std::cell::Cell::take).ok().flatten().unwrap_or_default();
    let mut context = Context::from_waker(&bell.waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            let _ = IDLE.try_with(|idle| idle.set(Some(bell)));
            return output;
        }
        bell.alarm.wait();
    }
}

std::thread_local! {
    /// What woke this thread the last time, to be used again. Whoever still
    /// holds it wakes a later future once too often, and no more.
    static IDLE: std::cell::Cell<Option<Bell>> = const { std::cell::Cell::new(None) };
}

/// An alarm, and the waker that rings it.
struct Bell {
    alarm: std::sync::Arc<Alarm>,
    waker: Waker,
}

impl Default for Bell {
    fn default() -> Self {
        let alarm = std::sync::Arc::new(Alarm::default());
        Bell { waker: Waker::from(alarm.clone()), alarm }
    }
}

/// Wakes a sleeping thread.
#[derive(Default)]
struct Alarm {
    rang: std::sync::Mutex<bool>,
    ring: std::sync::Condvar,
}

impl Alarm {
    fn wait(&self) {
        let rang = self.rang.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let woken = self.ring.wait_while(rang, |rang| !*rang);
        *woken.unwrap_or_else(|poisoned| poisoned.into_inner()) = false;
    }
}

impl Wake for Alarm {
    fn wake(self: std::sync::Arc<Self>) {
        *self.rang.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = true;
        self.ring.notify_one();
    }
}
