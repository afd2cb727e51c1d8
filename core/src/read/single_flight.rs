//! Single flight: of the callers that miss together, one fills and the others
//! wait for it. What they wait for is only the end of the fill; then they look
//! again, and take what they find if its stamps are current. So a caller that
//! arrives after an invalidation never gets what was begun before it, nor does
//! it wait for that.
//!
//! What is made and cannot be kept is handed to those who waited. Nothing
//! vouches for what was made while the shared tier is away, so it is for those
//! only who had come when it was begun.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::fragment::{Dependencies, Fragment};
use crate::key::FragmentKey;
use crate::read::recorder::Recorder;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::timer::{self, Deadline};
use crate::sync::{Arc, Condvar, Mutex, Weak, lock};

/// A fill under way that others wait for.
#[derive(Default)]
pub(crate) struct Flight {
    /// Led by a future, which may need the very thread that would wait.
    is_async: bool,
    /// What its leader makes, from when it has looked everywhere.
    making: OnceLock<Making>,
    state: Mutex<State>,
    landed: Condvar,
    /// What the fill lasts with, if it does not by itself.
    lasts: OnceLock<std::sync::Weak<str>>,
    /// Whether it was overtaken by an invalidation, or has failed: those who waited for it
    /// had nothing of it, and may wait for another.
    is_overtaken: AtomicBool,
    left: OnceLock<Left>,
}

struct Making {
    began: Moment,
    /// What it has been found to depend on; `None` where nothing could tell of
    /// changes from the start.
    recorder: Option<Weak<Recorder>>,
}

/// What a fill leaves to those who waited for it.
pub(crate) struct Left {
    pub(crate) fragment: Arc<Fragment>,
    /// Whether nothing can vouch for it: it is for those who had come when it
    /// was begun.
    pub(crate) unvouched: bool,
}

/// A place in the order in which callers come and fills begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

/// How often a waiting caller looks whether the fill has been given up.
const LOOK: Duration = Duration::from_millis(10);

#[derive(Default)]
struct State {
    landed: bool,
    wakers: BTreeMap<u64, Waker>,
    next: u64,
}

impl Flight {
    /// Blocks until the fill has ended, or until then; whether it has ended.
    pub(crate) fn wait(&self, until: Option<Instant>) -> bool {
        if self.is_async {
            return false;
        }
        loop {
            let left = timer::left(until);
            let state = lock(&self.state);
            let step = left.min(LOOK);
            let waited = self.landed.wait_timeout_while(state, step, |state| !state.landed);
            let landed = waited.map(|(state, _)| state.landed).unwrap_or(true);
            if landed || self.is_over() {
                return true;
            }
            if left.is_zero() {
                return false;
            }
        }
    }

    pub(crate) fn is_filling(&self) -> bool {
        self.making.get().is_some()
    }

    /// Whether nothing can come of it any more that others could take.
    fn is_over(&self) -> bool {
        self.is_given_up() || self.has_found(|found| !found.are_current())
    }

    fn is_given_up(&self) -> bool {
        self.lasts.get().is_some_and(|life| life.strong_count() == 0)
    }

    fn has_found(&self, what: impl FnOnce(&Dependencies) -> bool) -> bool {
        let recorder = self.making.get().and_then(|making| making.recorder.as_ref()?.upgrade());
        recorder.is_some_and(|fill| fill.with(|found| what(found)))
    }

    /// Whether those who waited for it may wait for another.
    pub(crate) fn is_overtaken(&self) -> bool {
        self.is_overtaken.load(Ordering::SeqCst)
            || self.has_found(|found| !found.has_current_stamps())
    }

    /// Whether its fill began after a caller had come.
    pub(crate) fn began_after(&self, came: Moment) -> bool {
        self.making.get().is_some_and(|making| making.began > came)
    }

    /// What it has left, once it has landed.
    pub(crate) fn left(&self) -> Option<&Left> {
        self.left.get()
    }

    /// Waits until the fill has ended, or until then; whether it has ended.
    pub(crate) fn landing(self: Arc<Self>, until: Option<Instant>) -> Landing {
        Landing { flight: self, until: Deadline::new(until), place: None }
    }

    fn land(&self) {
        let wakers = {
            let mut state = lock(&self.state);
            state.landed = true;
            std::mem::take(&mut state.wakers)
        };
        self.landed.notify_all();
        timer::wake_all(wakers.into_values());
    }
}

/// The end of a fill, as a future.
pub(crate) struct Landing {
    flight: Arc<Flight>,
    until: Deadline,
    /// Its place among those who wait.
    place: Option<u64>,
}

impl Future for Landing {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        let this = &mut *self;
        let waker = context.waker();
        // Copied and dropped outside of the lock: both are the runtime's affair.
        let copy = waker.clone();
        let mut state = lock(&this.flight.state);
        if state.landed {
            return Poll::Ready(true);
        }
        if this.until.is_over() {
            return Poll::Ready(false);
        }
        let place = *this.place.get_or_insert_with(|| {
            state.next += 1;
            state.next
        });
        if state.wakers.get(&place).is_some_and(|known| known.will_wake(waker)) {
            return Poll::Pending;
        }
        let replaced = state.wakers.insert(place, copy);
        drop(state);
        drop(replaced);
        if this.until.wake(waker) { Poll::Pending } else { Poll::Ready(false) }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let waker = self.place.and_then(|place| lock(&self.flight.state).wakers.remove(&place));
        // What dropping it does is the runtime's affair: not under the lock.
        drop(waker);
    }
}

/// The fills under way.
pub(crate) struct Flights {
    shards: Box<[Mutex<Shard>]>,
    clock: AtomicU64,
}

#[derive(Default)]
struct Shard {
    under_way: HashMap<FragmentKey, Arc<Flight>>,
    /// What could not be kept lately: nobody waits for it.
    unkept: VecDeque<FragmentKey>,
}

const SHARDS: usize = 16;

/// The most that a shard remembers of what could not be kept.
const MOST_UNKEPT: usize = 32;

/// What a caller that missed is to do.
pub(crate) enum Role {
    /// Fill; the flight lands when the guard is dropped, however that comes.
    Lead(Lead),
    /// Wait for another; it came at that moment.
    Follow(Arc<Flight>, Moment),
    /// Fill for itself.
    Alone,
}

impl Flights {
    pub(crate) fn new() -> Arc<Self> {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Arc::new(Flights { shards, clock: AtomicU64::new(0) })
    }

    fn shard(&self, key: &FragmentKey) -> &Mutex<Shard> {
        &self.shards[usize::from(key.as_bytes()[19]) % SHARDS]
    }

    pub(crate) fn join(self: &Arc<Self>, key: FragmentKey, is_async: bool) -> Role {
        let came = Moment(self.clock.load(Ordering::SeqCst));
        let mut shard = lock(self.shard(&key));
        if shard.unkept.contains(&key) {
            return Role::Alone;
        }
        if let Some(flight) = shard.under_way.get(&key).filter(|flight| !flight.is_over()) {
            return Role::Follow(flight.clone(), came);
        }
        let flight = Arc::new(Flight { is_async, ..Flight::default() });
        let over = shard.under_way.insert(key, flight.clone());
        drop(shard);
        // Those who wait for it have nothing of it: they come here again.
        over.iter().for_each(|over| {
            over.is_overtaken.store(true, Ordering::SeqCst);
            over.land();
        });
        Role::Lead(Lead { key, flight, flights: self.clone() })
    }

    /// Notes whether a fragment could be kept.
    pub(crate) fn note_kept(&self, key: &FragmentKey, kept: bool) {
        let unkept = &mut lock(self.shard(key)).unkept;
        match (unkept.iter().position(|known| known == key), kept) {
            (Some(place), true) => drop(unkept.remove(place)),
            (None, false) => {
                if unkept.len() >= MOST_UNKEPT {
                    unkept.pop_front();
                }
                unkept.push_back(*key);
            }
            _ => {}
        }
    }
}

/// The duty to end a flight.
pub(crate) struct Lead {
    key: FragmentKey,
    flight: Arc<Flight>,
    flights: Arc<Flights>,
}

impl Lead {
    /// Notes that it was found nowhere, and is made from now on: while what
    /// `recorder` has found is current, if anything tells of changes.
    pub(crate) fn begin_making(&self, recorder: Option<&Arc<Recorder>>) {
        let began = Moment(self.flights.clock.fetch_add(1, Ordering::SeqCst) + 1);
        let _ = self.flight.making.set(Making { began, recorder: recorder.map(Arc::downgrade) });
    }

    /// Makes the fill one that has been given up as soon as nobody holds this.
    pub(crate) fn last_with(&self, life: std::sync::Weak<str>) {
        let _ = self.flight.lasts.set(life);
    }

    /// Leaves what was made to those who wait.
    pub(crate) fn leave(&self, left: Left) {
        let _ = self.flight.left.set(left);
    }

    /// Tells those who wait that an invalidation came before the end, or that it
    /// has failed.
    pub(crate) fn overtaken(&self) {
        self.flight.is_overtaken.store(true, Ordering::SeqCst);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let mut shard = lock(self.flights.shard(&self.key));
        // One that was given up may have been followed by another.
        let flights = &mut shard.under_way;
        if flights.get(&self.key).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
            flights.remove(&self.key);
        }
        drop(shard);
        self.flight.land();
    }
}
