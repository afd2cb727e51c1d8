//! Single flight: of the callers that miss together, one fills and the others
//! wait for it. What they wait for is only the end of the fill; then they look
//! again, and take what they find if its stamps are current. So a caller that
//! arrives after an invalidation never gets what was begun before it.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::key::FragmentKey;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Arc, Condvar, Mutex, lock};

/// A fill under way that others wait for.
#[derive(Default)]
pub(crate) struct Flight {
    /// Led by a future, which may need the very thread that would wait.
    is_async: bool,
    /// Whether its leader has looked everywhere, and makes it.
    is_filling: AtomicBool,
    state: Mutex<State>,
    landed: Condvar,
    /// What the fill lasts with, if it does not by itself.
    lasts: OnceLock<std::sync::Weak<str>>,
}

/// How often a waiting caller looks whether the fill has been given up.
const LOOK: Duration = Duration::from_millis(10);

#[derive(Default)]
struct State {
    landed: bool,
    wakers: Vec<Waker>,
}

impl Flight {
    /// Blocks until the fill has ended, or for `limit`.
    pub(crate) fn wait(&self, limit: Duration) {
        if self.is_async {
            return;
        }
        let began = Instant::now();
        loop {
            let left = limit.saturating_sub(began.elapsed());
            let state = lock(&self.state);
            let step = left.min(LOOK);
            let waited = self.landed.wait_timeout_while(state, step, |state| !state.landed);
            let landed = waited.map(|(state, _)| state.landed).unwrap_or(true);
            if landed || left.is_zero() || self.is_given_up() {
                return;
            }
        }
    }

    pub(crate) fn is_filling(&self) -> bool {
        self.is_filling.load(Ordering::SeqCst)
    }

    fn is_given_up(&self) -> bool {
        self.lasts.get().is_some_and(|life| life.strong_count() == 0)
    }

    /// Waits until the fill has ended.
    pub(crate) fn landing(self: Arc<Self>) -> Landing {
        Landing(self)
    }

    fn land(&self) {
        let wakers = {
            let mut state = lock(&self.state);
            state.landed = true;
            std::mem::take(&mut state.wakers)
        };
        self.landed.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// The end of a fill, as a future.
pub(crate) struct Landing(Arc<Flight>);

impl Future for Landing {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.0.state);
        if state.landed {
            return Poll::Ready(());
        }
        if !state.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            state.wakers.push(context.waker().clone());
        }
        Poll::Pending
    }
}

/// The fills under way.
pub(crate) struct Flights(Box<[Shard]>);

type Shard = Mutex<HashMap<FragmentKey, Arc<Flight>>>;

const SHARDS: usize = 16;

/// What a caller that missed is to do.
pub(crate) enum Role {
    /// Fill; the flight lands when the guard is dropped, however that comes.
    Lead(Lead),
    /// Wait for another.
    Follow(Arc<Flight>),
}

impl Flights {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Flights((0..SHARDS).map(|_| Shard::default()).collect()))
    }

    fn shard(&self, key: &FragmentKey) -> &Shard {
        &self.0[usize::from(key.as_bytes()[19]) % SHARDS]
    }

    pub(crate) fn join(self: &Arc<Self>, key: FragmentKey, is_async: bool) -> Role {
        let mut flights = lock(self.shard(&key));
        if let Some(flight) = flights.get(&key).filter(|flight| !flight.is_given_up()) {
            return Role::Follow(flight.clone());
        }
        let flight = Arc::new(Flight { is_async, ..Flight::default() });
        flights.insert(key, flight.clone());
        Role::Lead(Lead { key, flight, flights: self.clone() })
    }
}

/// The duty to end a flight.
pub(crate) struct Lead {
    key: FragmentKey,
    flight: Arc<Flight>,
    flights: Arc<Flights>,
}

impl Lead {
    /// Notes that it was found nowhere.
    pub(crate) fn begin_filling(&self) {
        self.flight.is_filling.store(true, Ordering::SeqCst);
    }

    /// Makes the fill one that has been given up as soon as nobody holds this.
    pub(crate) fn last_with(&self, life: std::sync::Weak<str>) {
        let _ = self.flight.lasts.set(life);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let mut flights = lock(self.flights.shard(&self.key));
        // One that was given up may have been followed by another.
        if flights.get(&self.key).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
            flights.remove(&self.key);
        }
        drop(flights);
        self.flight.land();
    }
}
