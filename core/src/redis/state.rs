//! The state of the connection that all threads of a process share.
//!
//! Callers take the connection from here, and give it up when it fails. The
//! thread in `supervisor` sets it up again.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::abandoned::AbandonedBatches;
use super::connection_state::{ConnectionState, SessionState};
use super::error::LinkError;
use super::forked::{self, FORKED, OwnerProcess};
use super::key_waiters::KeyWaiters;
use super::lengths::Lengths;
use super::link::Link;
use super::log;
use super::node::Heartbeat;
use super::options::Redis;
use super::pending::Pending;
use super::registries::Registries;
use super::sentinels::Sentinels;
use super::server_clock::ServerClock;
use super::status::{LinkState, SharedStatus};
use super::times::Times;
use crate::clock::Clock;
use crate::prefix::Prefix;
use crate::protocol::{Command, MemoryTrust, Reply};
use crate::store::MemoryStore;
use crate::sync::{lock, read, write};
use crate::write::invalidation::Invalidation;

/// What all threads share of the connection.
pub(crate) struct SharedState {
    pub(crate) near: Arc<MemoryStore>,
    pub(crate) options: Redis,
    /// The prefix of the stamp of everything: the fixed part.
    pub(crate) prefix: String,
    pub(super) owner: OwnerProcess,
    /// The runtime of the supervisor's thread, for timers.
    pub(super) runtime: Handle,
    connection: RwLock<ConnectionState>,
    /// Wakes those who wait for `connection` to change.
    changed: Notify,
    pub(super) pending: Mutex<Pending>,
    /// Wakes the supervisor.
    pub(super) wake_up: Notify,
    /// Until when memory can be trusted, in nanoseconds after `origin`.
    trusted_until: AtomicU64,
    pub(crate) origin: Instant,
    pub(crate) clock: ServerClock,
    pub(crate) times: Times,
    pub(crate) registries: Registries,
    pub(crate) lengths: Lengths,
    pub(crate) waiters: KeyWaiters,
    /// Those who name the master, if there are any.
    pub(crate) sentinels: Option<Arc<Sentinels>>,
    pub(crate) abandoned: AbandonedBatches,
    stopped: AtomicBool,
    /// How often the server has pushed that all keys are gone, and how many of
    /// these pushes have been dealt with.
    pub(super) flushes: AtomicU64,
    pub(super) flushes_seen: AtomicU64,
    /// How many locks are being released.
    releasing: AtomicUsize,
}

/// Keeps the supervisor alive until a lock has been released.
pub(crate) struct ReleaseGuard(Arc<SharedState>);

impl Drop for ReleaseGuard {
    fn drop(&mut self) {
        self.0.releasing.fetch_sub(1, Ordering::SeqCst);
        self.0.wake_supervisor();
    }
}

/// Whether an invalidation is queued though there is a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Enqueue {
    UnlessConnected,
    /// The connection is given up, since what is queued is delivered first.
    Always,
}

/// How a new cache begins: with a store, a connection to set up and a clock.
pub(super) struct Parts {
    pub(super) near: Arc<MemoryStore>,
    pub(super) options: Redis,
    pub(super) runtime: Handle,
    pub(super) clock: Option<Arc<dyn Clock>>,
}

impl SharedState {
    pub(super) fn new(parts: Parts, prefix: &Prefix) -> Self {
        let Parts { near, options, runtime, clock } = parts;
        let limit = options.queue_limit.unwrap_or(0);
        let registries = Registries::beside(near.limit());
        let sentinels = options.sentinels().map(|listed| Arc::new(Sentinels::new(listed)));
        SharedState {
            near,
            options,
            prefix: prefix.fixed().to_owned(),
            owner: OwnerProcess::here(),
            runtime,
            connection: RwLock::new(ConnectionState::Down("not connected yet".to_owned())),
            changed: Notify::new(),
            pending: Mutex::new(Pending::new(limit)),
            wake_up: Notify::new(),
            trusted_until: AtomicU64::new(0),
            origin: Instant::now(),
            clock: ServerClock::new(clock),
            times: Times::default(),
            registries,
            lengths: Lengths::new(),
            waiters: KeyWaiters::default(),
            sentinels,
            abandoned: AbandonedBatches::default(),
            stopped: AtomicBool::new(false),
            flushes: AtomicU64::new(0),
            flushes_seen: AtomicU64::new(0),
            releasing: AtomicUsize::new(0),
        }
    }

    /// Counts a lock as being released until the guard is dropped.
    pub(crate) fn begin_release(self: &Arc<Self>) -> ReleaseGuard {
        self.releasing.fetch_add(1, Ordering::SeqCst);
        ReleaseGuard(self.clone())
    }

    /// Has the supervisor look for work.
    pub(super) fn wake_supervisor(&self) {
        self.wake_up.notify_one();
    }

    /// Waits until all locks are released and all abandoned batches are
    /// delivered, for one operation timeout at most.
    pub(super) async fn finish(&self) {
        let until = Instant::now() + self.options.operation_timeout;
        loop {
            let wake_up = self.wake_up.notified();
            let is_done = self.releasing.load(Ordering::SeqCst) == 0 && self.abandoned.are_done();
            if is_done || !self.happens_before(until, wake_up).await {
                return;
            }
        }
    }

    /// The connection. If it has just broken, this waits for the next one, for
    /// one operation timeout at most.
    pub(crate) async fn link(&self) -> Result<Arc<Link>, LinkError> {
        if let Some(link) = self.link_now() {
            return Ok(link);
        }
        if self.owner.is_other_process() {
            return Err(forked::link_error());
        }
        loop {
            let changed = self.changed.notified();
            let (until, reason) = match &*read(&self.connection) {
                ConnectionState::Live(link) => return Ok(link.clone()),
                ConnectionState::Down(reason) | ConnectionState::Refusing(_, reason) => {
                    return Err(LinkError::new(reason));
                }
                ConnectionState::Reconnecting(until, reason) => (*until, reason.clone()),
            };
            if Instant::now() >= until || !self.happens_before(until, changed).await {
                return Err(LinkError::new(reason));
            }
        }
    }

    /// The connection, if there is one now.
    pub(crate) fn link_now(&self) -> Option<Arc<Link>> {
        if self.owner.is_other_process() {
            return None;
        }
        match &*read(&self.connection) {
            ConnectionState::Live(link) => Some(link.clone()),
            _ => None,
        }
    }

    /// Sends commands over a connection, and gives it up if that fails.
    pub(super) async fn run(
        &self,
        link: &Link,
        commands: &[Command],
    ) -> Result<Vec<Reply>, LinkError> {
        let replies = link.run(commands).await;
        if let Err(error) = &replies {
            self.disconnect(link.session, error);
        }
        replies
    }

    /// Waits for an event; false if `until` comes first.
    pub(crate) async fn happens_before(&self, until: Instant, event: impl Future) -> bool {
        self.within(until.saturating_duration_since(Instant::now()), event).await.is_some()
    }

    /// Waits for an event; `None` if it does not come within the limit.
    pub(crate) async fn within<T>(
        &self,
        limit: Duration,
        event: impl Future<Output = T>,
    ) -> Option<T> {
        let timer = {
            let _context = self.runtime.enter();
            tokio::time::timeout(limit, event)
        };
        timer.await.ok()
    }

    /// Whether memory can be relied on: all invalidation pushes older than the
    /// bound have arrived.
    pub(crate) fn is_trusted(&self) -> bool {
        self.nanos(Instant::now()) < self.trusted_until.load(Ordering::Acquire)
    }

    /// Whether a lookup may rely on memory. In strict mode none may.
    pub(crate) fn memory_trust(&self) -> MemoryTrust {
        match !self.options.is_strict() && self.is_trusted() {
            true => MemoryTrust::Trusted,
            false => MemoryTrust::Untrusted,
        }
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Trusts memory until a bound after the heartbeat was sent, unless its
    /// session is over.
    pub(super) fn renew_trust(&self, session: u64, heartbeat: &Heartbeat) {
        let state = read(&self.connection);
        if !matches!(&*state, ConnectionState::Live(link) if link.session == session) {
            return;
        }
        let until = self.nanos(heartbeat.sent + self.options.bound());
        self.trusted_until.fetch_max(until, Ordering::AcqRel);
        self.clock.set(heartbeat);
    }

    fn end_trust(&self) {
        self.trusted_until.store(0, Ordering::Release);
    }

    /// Gives up the connection of a session, and with it the trust in memory.
    pub(crate) fn disconnect(&self, session: u64, error: &LinkError) {
        let limit = self.options.operation_timeout;
        let mut state = write(&self.connection);
        if !state.is_of(session) {
            return;
        }
        self.end_trust();
        *state = match error.is_timeout() {
            true => ConnectionState::Down(error.to_string()),
            false => ConnectionState::Reconnecting(Instant::now() + limit, error.to_string()),
        };
        drop(state);
        self.near.all_changed();
        self.wake_supervisor();
        self.changed.notify_waiters();
        log::disconnected(&self.prefix, session, error, limit);
    }

    /// Notes that an invalidation failed. If the server refuses to drop keys, the
    /// connection stays and is not read from; else it is given up.
    pub(super) fn undelivered(&self, session: u64, error: &LinkError) {
        if !error.is_refusal() {
            return self.disconnect(session, error);
        }
        let mut state = write(&self.connection);
        let ConnectionState::Live(link) = &*state else { return };
        if link.session != session {
            return;
        }
        let link = link.clone();
        self.end_trust();
        *state = ConnectionState::Refusing(link, error.to_string());
        drop(state);
        self.near.all_changed();
        self.changed.notify_waiters();
        // The supervisor tries at once: the server may refuse this key alone, and
        // everything else waits.
        self.wake_supervisor();
        log::refusing(&self.prefix, session, error);
    }

    /// Counts the servers as down.
    pub(super) fn mark_down(&self, session: u64, reason: &str) {
        let down = ConnectionState::Down(reason.to_owned());
        let before = std::mem::replace(&mut *write(&self.connection), down);
        self.changed.notify_waiters();
        // Attempts that fail in the same way are logged once.
        if !matches!(before, ConnectionState::Down(known) if known == reason) {
            log::unreachable(&self.prefix, session, reason);
        }
    }

    /// Opens a connection to all callers, and begins its session. False while
    /// invalidations are queued: those are delivered first.
    pub(super) fn go_live(&self, link: &Arc<Link>) -> bool {
        let mut state = write(&self.connection);
        if !lock(&self.pending).is_empty() {
            return false;
        }
        self.near.begin_session(link.session);
        *state = ConnectionState::Live(link.clone());
        true
    }

    /// Wakes all callers that wait for the connection.
    pub(super) fn notify_changed(&self) {
        self.changed.notify_waiters();
    }

    /// Queues an invalidation that could not be delivered. False if there is a
    /// connection by which it can be, and `how` does not say otherwise.
    pub(super) fn enqueue(&self, invalidation: &Invalidation, how: Enqueue) -> bool {
        let mut state = write(&self.connection);
        if let ConnectionState::Live(link) = &*state {
            if how == Enqueue::UnlessConnected {
                return false;
            }
            let (session, limit) = (link.session, self.options.operation_timeout);
            let error = LinkError::new("an invalidation failed twice");
            self.end_trust();
            *state = ConnectionState::Reconnecting(Instant::now() + limit, error.to_string());
            self.wake_supervisor();
            log::disconnected(&self.prefix, session, &error, limit);
        }
        lock(&self.pending).push(invalidation.clone());
        true
    }

    pub(super) fn session_state(&self, session: u64) -> SessionState {
        read(&self.connection).session_state(session)
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.wake_supervisor();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    pub(crate) fn status(&self) -> SharedStatus {
        let connection = read(&self.connection);
        let (state, session, servers) = match self.owner.is_other_process() {
            true => (LinkState::Down(FORKED.to_owned()), 0, 0),
            false => connection.describe(),
        };
        let sessions = session.max(self.near.session());
        SharedStatus { state, pending: lock(&self.pending).len(), sessions, servers }
    }
}
