//! Single flight: of the callers that miss a key together, one (the leader)
//! fills it and the others (followers) wait.
//!
//! Followers wait only for the end of the fill. Then they look the fragment up
//! again, and use what they find if its stamps are current. So a caller that
//! arrives after an invalidation never gets what was begun before it, nor does
//! it wait for that.
//!
//! A leader hands what it made and could not store to its followers. While the
//! shared tier is unreachable nothing verifies what it makes, so that goes only
//! to callers that had arrived before the fill started.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::fragment::{Dependencies, Fragment};
use crate::key::FragmentKey;
use crate::read::recorder::{FillOwner, Recorder};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::timer::{self, Deadline};
use crate::sync::{Arc, Condvar, Mutex, Weak, lock};

/// A fill that others wait for.
#[derive(Default)]
pub(crate) struct PendingFill {
    /// Whether its leader is a future, which may need the very thread that
    /// would wait.
    is_async: bool,
    /// Set when the leader has found the fragment nowhere and makes it.
    started: OnceLock<Started>,
    state: Mutex<State>,
    end: Condvar,
    /// Whoever the fill ends with, if it can be abandoned without a drop.
    owner: OnceLock<FillOwner>,
    /// Whether an invalidation overtook it, or it failed: its followers got
    /// nothing from it, and may wait for another.
    is_overtaken: AtomicBool,
    handoff: OnceLock<Handoff>,
}

struct Started {
    at: LogicalTime,
    /// What the fill depends on so far; `None` where nothing reports changes
    /// from the start.
    recorder: Option<Weak<Recorder>>,
}

/// What a leader gives to its followers without storing it.
pub(crate) struct Handoff {
    pub(crate) fragment: Arc<Fragment>,
    /// Whether nothing verifies it: then it is only for those who had arrived
    /// before the fill started.
    pub(crate) is_unverified: bool,
}

/// A point in the order in which callers arrive and fills start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogicalTime(u64);

/// How often a blocked follower checks whether the fill was abandoned.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

#[derive(Default)]
struct State {
    has_ended: bool,
    wakers: BTreeMap<u64, Waker>,
    next: u64,
}

impl PendingFill {
    /// Blocks until the fill has ended, or until then. Returns whether it has
    /// ended.
    pub(crate) fn wait(&self, until: Option<Instant>) -> bool {
        if self.is_async {
            return false;
        }
        loop {
            let left = timer::left(until);
            let state = lock(&self.state);
            let step = left.min(POLL_INTERVAL);
            let waited = self.end.wait_timeout_while(state, step, |state| !state.has_ended);
            let has_ended = waited.map(|(state, _)| state.has_ended).unwrap_or(true);
            if has_ended || self.is_obsolete() {
                return true;
            }
            if left.is_zero() {
                return false;
            }
        }
    }

    /// [`wait`](Self::wait) as a future.
    pub(crate) fn wait_async(self: Arc<Self>, until: Option<Instant>) -> WaitForEnd {
        WaitForEnd { pending: self, until: Deadline::new(until), place: None }
    }

    /// Whether its leader is making the fragment, and no longer looking for it.
    pub(crate) fn has_started(&self) -> bool {
        self.started.get().is_some()
    }

    /// Whether followers can no longer use what comes of it.
    fn is_obsolete(&self) -> bool {
        self.is_abandoned() || self.has_found(|found| !found.are_current())
    }

    fn is_abandoned(&self) -> bool {
        self.owner.get().is_some_and(FillOwner::is_gone)
    }

    fn has_found(&self, what: impl FnOnce(&Dependencies) -> bool) -> bool {
        let recorder = self.started.get().and_then(|started| started.recorder.as_ref()?.upgrade());
        recorder.is_some_and(|fill| fill.with(|found| what(found)))
    }

    /// Whether its followers may wait for another fill.
    pub(crate) fn is_overtaken(&self) -> bool {
        self.is_overtaken.load(Ordering::SeqCst)
            || self.has_found(|found| !found.has_current_stamps())
    }

    /// Whether the fill started after a caller had arrived.
    pub(crate) fn started_after(&self, arrived: LogicalTime) -> bool {
        self.started.get().is_some_and(|started| started.at > arrived)
    }

    /// What the leader has handed off; set before the fill ends.
    pub(crate) fn handoff(&self) -> Option<&Handoff> {
        self.handoff.get()
    }

    fn end(&self) {
        let wakers = {
            let mut state = lock(&self.state);
            state.has_ended = true;
            std::mem::take(&mut state.wakers)
        };
        self.end.notify_all();
        timer::wake_all(wakers.into_values());
    }
}

/// Waits for the end of a fill. The output says whether it has ended.
pub(crate) struct WaitForEnd {
    pending: Arc<PendingFill>,
    until: Deadline,
    /// Its place among the wakers.
    place: Option<u64>,
}

impl Future for WaitForEnd {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        let this = &mut *self;
        let waker = context.waker();
        // Cloned and dropped outside of the lock: both run the runtime's code.
        let copy = waker.clone();
        let mut state = lock(&this.pending.state);
        if state.has_ended {
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

impl Drop for WaitForEnd {
    fn drop(&mut self) {
        let waker = self.place.and_then(|place| lock(&self.pending.state).wakers.remove(&place));
        // Dropped outside of the lock: it runs the runtime's code.
        drop(waker);
    }
}

/// All pending fills of a cache, by key.
pub(crate) struct SingleFlight {
    shards: Box<[Mutex<Shard>]>,
    clock: AtomicU64,
}

#[derive(Default)]
struct Shard {
    pending: HashMap<FragmentKey, Arc<PendingFill>>,
    /// Keys whose fragments could not be stored lately: nobody waits for them.
    not_stored: VecDeque<FragmentKey>,
}

const SHARDS: usize = 16;

/// The most keys that a shard remembers as not stored.
const MAX_NOT_STORED: usize = 32;

/// What a caller that missed is to do.
pub(crate) enum Role {
    /// Fill. The pending fill ends when the guard is dropped.
    Leader(Leader),
    /// Wait for the leader.
    Follower(Follower),
    /// Fill for itself.
    Independent,
}

/// Whom a caller waits for, and when it arrived.
pub(crate) struct Follower {
    pub(crate) pending: Arc<PendingFill>,
    pub(crate) arrived: LogicalTime,
}

impl SingleFlight {
    pub(crate) fn new() -> Arc<Self> {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Arc::new(SingleFlight { shards, clock: AtomicU64::new(0) })
    }

    fn shard(&self, key: &FragmentKey) -> &Mutex<Shard> {
        &self.shards[usize::from(key.as_bytes()[19]) % SHARDS]
    }

    /// Gives a caller that missed `key` its role.
    pub(crate) fn join(self: &Arc<Self>, key: FragmentKey, is_async: bool) -> Role {
        let arrived = LogicalTime(self.clock.load(Ordering::SeqCst));
        let mut shard = lock(self.shard(&key));
        if shard.not_stored.contains(&key) {
            return Role::Independent;
        }
        if let Some(pending) = shard.pending.get(&key).filter(|pending| !pending.is_obsolete()) {
            return Role::Follower(Follower { pending: pending.clone(), arrived });
        }
        let pending = Arc::new(PendingFill { is_async, ..PendingFill::default() });
        let obsolete = shard.pending.insert(key, pending.clone());
        drop(shard);
        // Its followers cannot use it: they come here again.
        obsolete.iter().for_each(|obsolete| {
            obsolete.is_overtaken.store(true, Ordering::SeqCst);
            obsolete.end();
        });
        Role::Leader(Leader { key, pending, single_flight: self.clone() })
    }

    /// Notes whether a fragment could be stored.
    pub(crate) fn note_stored(&self, key: &FragmentKey, is_stored: bool) {
        let not_stored = &mut lock(self.shard(key)).not_stored;
        match (not_stored.iter().position(|known| known == key), is_stored) {
            (Some(place), true) => drop(not_stored.remove(place)),
            (None, false) => {
                if not_stored.len() >= MAX_NOT_STORED {
                    not_stored.pop_front();
                }
                not_stored.push_back(*key);
            }
            _ => {}
        }
    }
}

/// Ends a pending fill when dropped.
pub(crate) struct Leader {
    key: FragmentKey,
    pending: Arc<PendingFill>,
    single_flight: Arc<SingleFlight>,
}

impl Leader {
    /// Notes that the fragment was found nowhere and is made from now on. The
    /// fill is good for followers while what `recorder` has found is current.
    pub(crate) fn start(&self, recorder: Option<&Arc<Recorder>>) {
        let at = LogicalTime(self.single_flight.clock.fetch_add(1, Ordering::SeqCst) + 1);
        let recorder = recorder.map(Arc::downgrade);
        let _ = self.pending.started.set(Started { at, recorder });
    }

    /// Makes the fill count as abandoned as soon as its owner is gone.
    pub(crate) fn end_with(&self, owner: FillOwner) {
        let _ = self.pending.owner.set(owner);
    }

    /// Gives what was made to the followers.
    pub(crate) fn hand_off(&self, handoff: Handoff) {
        let _ = self.pending.handoff.set(handoff);
    }

    /// Tells the followers that an invalidation overtook the fill, or that it
    /// failed.
    pub(crate) fn note_overtaken(&self) {
        self.pending.is_overtaken.store(true, Ordering::SeqCst);
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        let mut shard = lock(self.single_flight.shard(&self.key));
        // Another may have replaced one that was abandoned.
        let is_own = |pending: &Arc<PendingFill>| Arc::ptr_eq(pending, &self.pending);
        if shard.pending.get(&self.key).is_some_and(is_own) {
            shard.pending.remove(&self.key);
        }
        drop(shard);
        self.pending.end();
    }
}
