//! Ends the waiting of futures, without any runtime: one thread for all caches
//! of the process, which begins when a future waits and ends when none has
//! waited for a while.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;
use std::time::{Duration, Instant};

#[cfg(shuttle)]
pub(crate) use interleaved::Deadline;
#[cfg(not(shuttle))]
pub(crate) use real::Deadline;

/// When a wait of at most `limit` ends that begins now; `None` is never.
pub(crate) fn after(limit: Duration) -> Option<Instant> {
    Instant::now().checked_add(limit)
}

/// Wakes all of them: a runtime's panic must not leave the others asleep, and is
/// none of the business of whoever wakes. Not to be called under a lock, since a
/// runtime may do anything in it.
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    for waker in wakers {
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}

/// What is left until then.
pub(crate) fn left(until: Option<Instant>) -> Duration {
    until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()))
}

#[cfg(not(shuttle))]
mod real {
    use std::collections::BTreeMap;
    use std::sync::{Condvar, Mutex, PoisonError};
    use std::task::Waker;
    use std::time::{Duration, Instant};

    use super::wake_all;
    use crate::sync::lock;

    static WAITING: Mutex<Waiting> =
        Mutex::new(Waiting { wakers: BTreeMap::new(), next: 0, thread_of: None });
    static CHANGED: Condvar = Condvar::new();

    /// How long the thread stays when nobody waits.
    const LINGER: Duration = Duration::from_secs(1);

    struct Waiting {
        /// Whom to wake, by when. Waits begin in the order in which they end,
        /// mostly: a new one is one for the end.
        wakers: BTreeMap<(Instant, u64), Waker>,
        next: u64,
        /// The process that has the thread; a forked one has not.
        thread_of: Option<u32>,
    }

    /// The moment at which a future waits no longer.
    pub(crate) struct Deadline {
        at: Option<Instant>,
        number: Option<u64>,
    }

    impl Deadline {
        /// At `at`, or never.
        pub(crate) fn new(at: Option<Instant>) -> Self {
            Deadline { at, number: None }
        }

        pub(crate) fn is_over(&self) -> bool {
            self.at.is_some_and(|at| Instant::now() >= at)
        }

        /// Has `waker` woken at the moment, in place of one before. False if
        /// nobody could do so.
        pub(crate) fn wake(&mut self, waker: &Waker) -> bool {
            let Some(at) = self.at else { return true };
            // Copied and dropped outside of the lock: both are the runtime's affair.
            let waker = waker.clone();
            let (replaced, can_wake) = self.exchange(at, waker);
            drop(replaced);
            can_wake
        }

        fn exchange(&mut self, at: Instant, waker: Waker) -> (Option<Waker>, bool) {
            let mut waiting = lock(&WAITING);
            let number = self.number.unwrap_or_else(|| {
                waiting.next += 1;
                waiting.next
            });
            self.number = Some(number);
            let is_first = waiting.wakers.keys().next().is_none_or(|first| (at, number) < *first);
            let replaced = waiting.wakers.insert((at, number), waker);
            if waiting.thread_of != Some(std::process::id()) {
                let named = std::thread::Builder::new().name("cacheops-timer".into());
                if named.spawn(run).is_err() {
                    return (replaced, false);
                }
                waiting.thread_of = Some(std::process::id());
            } else if is_first {
                CHANGED.notify_one();
            }
            (replaced, true)
        }
    }

    impl Drop for Deadline {
        fn drop(&mut self) {
            if let (Some(at), Some(number)) = (self.at, self.number) {
                let waker = lock(&WAITING).wakers.remove(&(at, number));
                // What dropping it does is the runtime's affair: not under the lock.
                drop(waker);
            }
        }
    }

    /// The life of the thread.
    fn run() {
        let mut waiting = lock(&WAITING);
        loop {
            let now = Instant::now();
            let due = take_due(&mut waiting, now);
            if !due.is_empty() {
                drop(waiting);
                wake_all(due);
                waiting = lock(&WAITING);
                continue;
            }
            let first = waiting.wakers.keys().next().map(|(at, _)| *at);
            let pause = first.map_or(LINGER, |at| at.saturating_duration_since(now));
            let slept = CHANGED.wait_timeout(waiting, pause);
            let (state, outcome) = slept.unwrap_or_else(PoisonError::into_inner);
            waiting = state;
            if first.is_none() && outcome.timed_out() && waiting.wakers.is_empty() {
                waiting.thread_of = None;
                return;
            }
        }
    }

    fn take_due(waiting: &mut Waiting, now: Instant) -> Vec<Waker> {
        let later = waiting.wakers.split_off(&(now, u64::MAX));
        std::mem::replace(&mut waiting.wakers, later).into_values().collect()
    }

    #[cfg(test)]
    mod tests {
        use std::sync::Arc;
        use std::sync::mpsc::{Sender, channel};
        use std::task::{Wake, Waker};
        use std::time::{Duration, Instant};

        use super::{Deadline, LINGER, WAITING};
        use crate::sync::lock;

        struct Tell(Sender<u64>, u64);

        impl Wake for Tell {
            fn wake(self: Arc<Self>) {
                assert!(self.1 != 1, "a runtime panics");
                let _ = self.0.send(self.1);
            }
        }

        /// They are woken in their order, whoever came first; one that panics
        /// keeps nobody; and one that is dropped is not woken.
        #[test]
        fn all_are_woken_in_their_order() {
            let (tell, told) = channel();
            let now = Instant::now();
            let at = |n: u64| {
                let mut deadline = Deadline::new(Some(now + Duration::from_millis(20 * n)));
                assert!(deadline.wake(&Waker::from(Arc::new(Tell(tell.clone(), n)))));
                deadline
            };
            let mut all: Vec<Deadline> = [6, 3, 1, 5, 2].into_iter().map(at).collect();
            drop(all.pop());
            let woken: Vec<u64> =
                (0..3).map(|_| told.recv_timeout(Duration::from_secs(30)).unwrap()).collect();
            assert_eq!(woken, [3, 5, 6]);
            assert!(all.iter().all(Deadline::is_over));
            drop(all);
            let until = now + Duration::from_secs(30) + LINGER;
            while lock(&WAITING).thread_of.is_some() {
                assert!(Instant::now() < until, "the thread stays");
                std::thread::yield_now();
            }
        }
    }
}

/// Under shuttle there is no time: a limit below a second ends at any moment,
/// and a longer one never.
#[cfg(shuttle)]
mod interleaved {
    use std::task::Waker;
    use std::time::{Duration, Instant};

    use crate::sync::atomic::{AtomicBool, Ordering};
    use crate::sync::{Arc, Mutex, lock};

    #[derive(Default)]
    struct State {
        is_over: AtomicBool,
        waker: Mutex<Option<Waker>>,
    }

    pub(crate) struct Deadline(Option<Arc<State>>, bool);

    impl Deadline {
        pub(crate) fn new(at: Option<Instant>) -> Self {
            let ends = super::left(at) < Duration::from_secs(1);
            Deadline(ends.then(Arc::default), false)
        }

        pub(crate) fn is_over(&self) -> bool {
            self.0.as_ref().is_some_and(|state| state.is_over.load(Ordering::SeqCst))
        }

        pub(crate) fn wake(&mut self, waker: &Waker) -> bool {
            let Some(state) = &self.0 else { return true };
            let waker = waker.clone();
            let replaced = lock(&state.waker).replace(waker);
            drop(replaced);
            if !std::mem::replace(&mut self.1, true) {
                let state = state.clone();
                shuttle::thread::spawn(move || {
                    state.is_over.store(true, Ordering::SeqCst);
                    let waker = lock(&state.waker).take();
                    super::wake_all(waker);
                });
            }
            true
        }
    }
}
