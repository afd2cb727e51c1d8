//! Locks and threads, from the standard library or from shuttle, which tries
//! the interleavings (`RUSTFLAGS="--cfg shuttle"`).

pub(crate) mod scoped;
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

/// Runs a future to its end in this thread, which sleeps while the future is
/// pending. It needs no runtime, and may be called from within one, or from
/// within itself.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    // A thread that is ending has no parker to use again.
    let parker = IDLE.try_with(std::cell::Cell::take).ok().flatten().unwrap_or_default();
    let mut context = Context::from_waker(&parker.waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            let _ = IDLE.try_with(|idle| idle.set(Some(parker)));
            return output;
        }
        parker.wake.wait();
    }
}

std::thread_local! {
    /// The parker that this thread used last, to be used again. Whoever still
    /// holds its waker wakes a later future once too often, and no more.
    static IDLE: std::cell::Cell<Option<ThreadParker>> = const { std::cell::Cell::new(None) };
}

/// Parks a thread until its waker is called.
struct ThreadParker {
    wake: std::sync::Arc<WakeFlag>,
    waker: Waker,
}

impl Default for ThreadParker {
    fn default() -> Self {
        let wake = std::sync::Arc::new(WakeFlag::default());
        ThreadParker { waker: Waker::from(wake.clone()), wake }
    }
}

/// Whether a parked thread has been woken.
#[derive(Default)]
struct WakeFlag {
    is_woken: std::sync::Mutex<bool>,
    changed: std::sync::Condvar,
}

impl WakeFlag {
    fn wait(&self) {
        let flag = self.is_woken.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let woken = self.changed.wait_while(flag, |is_woken| !*is_woken);
        *woken.unwrap_or_else(|poisoned| poisoned.into_inner()) = false;
    }
}

impl Wake for WakeFlag {
    fn wake(self: std::sync::Arc<Self>) {
        *self.is_woken.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = true;
        self.changed.notify_one();
    }
}
