//! Keeping the line to the shared store: a thread that connects, watches and
//! connects again, and what the callers in other threads see of it.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::{Either, select};
use redis::{PushInfo, PushKind, Value};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::abandoned::AbandonedBatches;
use super::deliver::{Registries, Times, deliver};
use super::discover::Discovery;
use super::forked::{self, FORKED, OwnerProcess};
use super::key_waiters::KeyWaiters;
use super::link::Link;
use super::master_check::MasterCheck;
use super::master_check::MasterCheckError;
use super::node::Heartbeat;
use super::options::Redis;
use super::pending::Pending;
use super::rights::Rights;
use super::sentinels::Sentinels;
use super::{LinkError, SetupError, log};
use crate::clock::{Clock, micros};
use crate::prefix::Prefix;
use crate::protocol::{Command, Reply, Token};
use crate::store::MemoryStore;
use crate::sync::{lock, read, write};
use crate::write::invalidation::Due;
use crate::write::keys::everything_key;

/// What all threads share of the line.
pub(crate) struct SharedState {
    pub(crate) near: Arc<MemoryStore>,
    pub(crate) options: Redis,
    /// What stands before the key that everything depends on.
    pub(crate) prefix: String,
    /// What the user has to be allowed.
    rights: Rights,
    pub(super) owner: OwnerProcess,
    /// The runtime of the thread, for timers.
    handle: Handle,
    pub(super) connection: RwLock<ConnectionState>,
    pending: Mutex<Pending>,
    /// Those who wait for the state to change.
    pub(super) changed: Notify,
    /// The thread, when there is something to do for it.
    wake_up: Notify,
    /// Nanoseconds after `origin`.
    pub(super) trusted_until: AtomicU64,
    pub(crate) origin: Instant,
    /// The server's clock less this machine's, in microseconds.
    offset: AtomicI64,
    /// What tells the time instead of the server: for tests.
    clock: Option<Arc<dyn Clock>>,
    pub(crate) times: Times,
    pub(crate) registries: Registries,
    pub(crate) waiters: KeyWaiters,
    /// Who say which server is the master, where there are any.
    pub(crate) sentinels: Option<Arc<Sentinels>>,
    pub(crate) abandoned: AbandonedBatches,
    stopped: AtomicBool,
    /// How often all keys have gone at once, and how many of these times the data
    /// has been looked at since.
    flushes: AtomicU64,
    flushes_seen: AtomicU64,
    /// How many locks are being given back.
    releasing: AtomicUsize,
}

/// A lock that is being given back.
pub(crate) struct ReleaseGuard(Arc<SharedState>);

impl Drop for ReleaseGuard {
    fn drop(&mut self) {
        self.0.releasing.fetch_sub(1, Ordering::SeqCst);
        self.0.wake_up.notify_one();
    }
}

pub(super) enum ConnectionState {
    Live(Arc<Link>),
    /// The servers are there and refuse to drop keys: nothing is asked of them
    /// until they do not.
    Refusing(Arc<Link>, String),
    /// It was cut a moment ago: whoever comes may wait for the next until then.
    Reconnecting(Instant, String),
    /// It is held for dead, and nobody waits.
    Down(String),
}

/// The line to the shared tier at one moment; see
/// [`Cacheops::shared_status`](crate::Cacheops::shared_status).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedStatus {
    /// What the line does.
    pub state: LinkState,
    /// How many rows, tables and names are kept until they can be invalidated;
    /// zero unless [`Redis::queue_invalidations`](crate::Redis::queue_invalidations) is on.
    pub pending: usize,
    /// The number of this connection, or of the last one. A later connection
    /// has a higher number, so it tells whether there was an outage.
    pub sessions: u64,
    /// How many servers this one goes to: one, or the masters of a cluster.
    /// Zero while there is none.
    pub servers: usize,
}

/// What the line to the shared tier does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkState {
    /// Connected.
    Live,
    /// Cut, and being set up again; why it was cut. Whoever asks waits for the
    /// line, as long as an operation may take.
    Reconnecting(String),
    /// Held for dead: nothing is asked until it answers again, and nobody
    /// waits; why it is.
    Down(String),
}

const FLUSHED: &str = "all keys have gone: the server was flushed, or loads other data";

const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
/// How often a connection is set up in a row.
const SET_UPS: usize = 4;

const LONGEST_PAUSE: Duration = Duration::from_millis(500);

impl SharedState {
    pub(crate) fn new(
        near: Arc<MemoryStore>,
        options: Redis,
        prefix: &Prefix,
        handle: Handle,
        clock: Option<Arc<dyn Clock>>,
    ) -> Self {
        let limit = options.queue_limit.unwrap_or(0);
        let registries = Registries::beside(near.limit());
        let sentinels = options.sentinels().map(|listed| Arc::new(Sentinels::new(listed)));
        SharedState {
            near,
            options,
            prefix: prefix.fixed().to_owned(),
            owner: OwnerProcess::here(),
            rights: Rights::new(prefix.fixed(), prefix.is_computed()),
            handle,
            connection: RwLock::new(ConnectionState::Down("not connected yet".to_owned())),
            pending: Mutex::new(Pending::new(limit)),
            changed: Notify::new(),
            wake_up: Notify::new(),
            trusted_until: AtomicU64::new(0),
            origin: Instant::now(),
            offset: AtomicI64::new(0),
            clock,
            times: Times::default(),
            registries,
            waiters: KeyWaiters::default(),
            sentinels,
            abandoned: AbandonedBatches::default(),
            stopped: AtomicBool::new(false),
            flushes: AtomicU64::new(0),
            flushes_seen: AtomicU64::new(0),
            releasing: AtomicUsize::new(0),
        }
    }

    /// Notes that a lock is being given back, until what is returned is
    /// dropped.
    pub(crate) fn release(self: &Arc<Self>) -> ReleaseGuard {
        self.releasing.fetch_add(1, Ordering::SeqCst);
        ReleaseGuard(self.clone())
    }

    /// Has the thread look what there is to do.
    pub(super) fn wake_supervisor(&self) {
        self.wake_up.notify_one();
    }

    /// Waits until all locks are given back and all that was left is carried
    /// out, as long as an operation may take.
    async fn finish(&self) {
        let until = Instant::now() + self.options.operation_timeout;
        loop {
            let wake_up = self.wake_up.notified();
            let is_done = self.releasing.load(Ordering::SeqCst) == 0 && self.abandoned.are_done();
            if is_done || !self.happens_before(until, wake_up).await {
                return;
            }
        }
    }

    /// The line, waiting for it as long as an operation may take if it was cut
    /// a moment ago.
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

    /// Waits for something; false when it has not come by then.
    pub(crate) async fn happens_before(&self, until: Instant, event: impl Future) -> bool {
        self.within(until.saturating_duration_since(Instant::now()), event).await.is_some()
    }

    /// Waits for something; `None` when it has not come in time.
    pub(crate) async fn within<T>(
        &self,
        limit: Duration,
        event: impl Future<Output = T>,
    ) -> Option<T> {
        let timer = {
            let _context = self.handle.enter();
            tokio::time::timeout(limit, event)
        };
        timer.await.ok()
    }

    /// The line, if it holds at this moment.
    pub(crate) fn link_now(&self) -> Option<Arc<Link>> {
        if self.owner.is_other_process() {
            return None;
        }
        match &*read(&self.connection) {
            ConnectionState::Live(link) => Some(link.clone()),
            _ => None,
        }
    }

    /// Whether what the process knows of stamps can be relied on: all news of
    /// changes older than the bound have been heard.
    pub(crate) fn is_trusted(&self) -> bool {
        self.nanos(Instant::now()) < self.trusted_until.load(Ordering::Acquire)
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Asks the server for the time, and so hears all news up to now; and the
    /// sentinels whether it is the master.
    pub(crate) async fn heartbeat(&self, link: &Link) -> Result<(), LinkError> {
        let check = self.begin_master_check();
        let known = self.known();
        let compared = self.ask(link).await.and_then(|heartbeat| {
            self.compare(link, &known, &heartbeat)?;
            Ok(heartbeat)
        });
        let mut heartbeat = match compared {
            Ok(heartbeat) => heartbeat,
            Err(error) => {
                self.disconnect(link.session, &error);
                return Err(error);
            }
        };
        match self.confirm_master(link, &check).await {
            Ok(()) => {
                heartbeat.sent = heartbeat.sent.min(check.since);
                self.renew_trust(link.session, &heartbeat);
                Ok(())
            }
            // What was heard before counts until the bound is over.
            Err(MasterCheckError::NoMajority(_)) if self.is_trusted() => Ok(()),
            Err(MasterCheckError::OtherMaster(error) | MasterCheckError::NoMajority(error)) => {
                self.disconnect(link.session, &error);
                Err(error)
            }
        }
    }

    /// A sign of life of all servers; an error if all keys have gone since their
    /// data was last looked at.
    async fn ask(&self, link: &Link) -> Result<Heartbeat, LinkError> {
        let heartbeat = link.heartbeat(&everything_key(&self.prefix)).await?;
        match self.flushes.load(Ordering::SeqCst) == self.flushes_seen.load(Ordering::SeqCst) {
            true => Ok(heartbeat),
            false => Err(LinkError::exchanged(FLUSHED)),
        }
    }

    fn renew_trust(&self, session: u64, heartbeat: &Heartbeat) {
        let state = read(&self.connection);
        if !matches!(&*state, ConnectionState::Live(link) if link.session == session) {
            return;
        }
        let until = self.nanos(heartbeat.sent + self.options.bound());
        self.trusted_until.fetch_max(until, Ordering::AcqRel);
        self.set_clock(heartbeat);
    }

    /// Compares the clocks: the server was asked somewhere between then and now.
    fn set_clock(&self, heartbeat: &Heartbeat) {
        let asked = SystemTime::now() - heartbeat.sent.elapsed() / 2;
        let here = asked.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let offset = i64::try_from(heartbeat.time).unwrap_or(0) - i64::try_from(here).unwrap_or(0);
        self.offset.store(offset, Ordering::Relaxed);
    }

    /// The time by the server's clock, in microseconds since 1970.
    pub(crate) fn time(&self) -> u64 {
        match &self.clock {
            Some(clock) => micros(clock.now()),
            None => self.server_time(),
        }
    }

    /// [`time`](Self::time), whatever clock the cache was given.
    pub(crate) fn server_time(&self) -> u64 {
        let here = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let here = u64::try_from(here).unwrap_or(u64::MAX);
        here.saturating_add_signed(self.offset.load(Ordering::Relaxed))
    }

    /// Gives up the line of a session, and with it all trust.
    pub(crate) fn disconnect(&self, session: u64, error: &LinkError) {
        let mut state = write(&self.connection);
        if !state.is_of(session) {
            return;
        }
        self.trusted_until.store(0, Ordering::Release);
        *state = if error.is_timeout {
            ConnectionState::Down(error.to_string())
        } else {
            ConnectionState::Reconnecting(
                Instant::now() + self.options.operation_timeout,
                error.to_string(),
            )
        };
        drop(state);
        self.near.all_changed();
        self.wake_up.notify_one();
        self.changed.notify_waiters();
        log::disconnect(&self.prefix, session, error, self.options.operation_timeout);
    }

    fn mark_down(&self, session: u64, reason: &str) {
        let before = std::mem::replace(
            &mut *write(&self.connection),
            ConnectionState::Down(reason.to_owned()),
        );
        self.changed.notify_waiters();
        // Each attempt that fails in the same way is no news.
        if !matches!(before, ConnectionState::Down(known) if known == reason) {
            log::away(&self.prefix, session, reason);
        }
    }

    /// Keeps an invalidation that could not be delivered. False when there is a
    /// line again, by which it can; unless it is to be kept `in_any_case`, for
    /// which the line is given up, since all that waits goes first.
    pub(crate) fn enqueue(&self, event: &Due, in_any_case: bool) -> bool {
        let mut state = write(&self.connection);
        if let ConnectionState::Live(link) = &*state {
            if !in_any_case {
                return false;
            }
            let (session, limit) = (link.session, self.options.operation_timeout);
            let error = LinkError::new("an invalidation failed twice");
            self.trusted_until.store(0, Ordering::Release);
            *state = ConnectionState::Reconnecting(Instant::now() + limit, error.to_string());
            self.wake_up.notify_one();
            log::disconnect(&self.prefix, session, &error, limit);
        }
        lock(&self.pending).push(event.clone());
        true
    }

    /// Is called for whatever a server says unasked.
    fn on_push(&self, session: u64, push: &PushInfo) {
        match push.kind {
            PushKind::Disconnection => {
                self.disconnect(session, &LinkError::new("the connection was closed"))
            }
            PushKind::Invalidate => match push.data.first() {
                Some(Value::Array(keys)) => keys.iter().for_each(|key| self.on_key_push(key)),
                Some(Value::BulkString(_)) => {
                    push.data.iter().for_each(|key| self.on_key_push(key))
                }
                // All keys, or something that is not understood: what is there
                // now may be older than what was.
                _ => {
                    self.flushes.fetch_add(1, Ordering::SeqCst);
                    self.near.all_changed();
                    self.disconnect(session, &LinkError::new(FLUSHED));
                }
            },
            _ => {}
        }
    }

    fn on_key_push(&self, key: &Value) {
        let Value::BulkString(key) = key else { return self.near.all_changed() };
        self.near.key_changed(key);
        self.waiters.wake(key);
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.wake_up.notify_one();
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    pub(crate) fn status(&self) -> SharedStatus {
        let state = read(&self.connection);
        let (now, sessions, servers) = match &*state {
            _ if self.owner.is_other_process() => (LinkState::Down(FORKED.to_owned()), 0, 0),
            ConnectionState::Live(link) => (LinkState::Live, link.session, link.nodes.len()),
            ConnectionState::Reconnecting(_, reason) => {
                (LinkState::Reconnecting(reason.clone()), 0, 0)
            }
            ConnectionState::Down(reason) => (LinkState::Down(reason.clone()), 0, 0),
            ConnectionState::Refusing(link, reason) => {
                (LinkState::Down(reason.clone()), link.session, link.nodes.len())
            }
        };
        let sessions = sessions.max(self.near.session());
        SharedStatus { state: now, pending: lock(&self.pending).len(), sessions, servers }
    }

    /// The life of the thread. `first` hears what came of the first attempt.
    pub(crate) async fn run(self: Arc<Self>, first: impl FnOnce(Result<(), SetupError>)) {
        let state = Arc::downgrade(&self);
        let on_push = Arc::new(move |session, push: PushInfo| {
            if let Some(state) = state.upgrade() {
                state.on_push(session, &push);
            }
        });
        let discovery = match Discovery::new(&self.options, self.rights.clone(), on_push) {
            Ok(discovery) => discovery,
            Err(error) => return first(Err(error)),
        };
        let sentinels = self.sentinels.clone().map(|all| discovery.serve(all));
        let sentinels = std::pin::pin!(async {
            match sentinels {
                Some(sentinels) => sentinels.await,
                None => std::future::pending().await,
            }
        });
        tokio::spawn(self.clone().deliver_abandoned());
        let life = std::pin::pin!(self.live(&discovery, first));
        // Asking has no end of its own.
        select(life, sentinels).await;
    }

    /// Connects and keeps the link, until the cache ends.
    async fn live(&self, discovery: &Discovery, first: impl FnOnce(Result<(), SetupError>)) {
        let mut memory = History::default();
        let mut first = Some(first);
        let mut pause = SHORTEST_PAUSE;
        while !self.is_stopped() {
            match self.set_up(discovery, &mut memory).await {
                Ok(link) => {
                    pause = SHORTEST_PAUSE;
                    first.take().into_iter().for_each(|first| first(Ok(())));
                    self.watch(&link).await;
                }
                Err(error) => {
                    self.mark_down(memory.session, error.text());
                    let may_be_away = self.options.queue_limit.is_some() && error.is_unavailable();
                    if let Some(first) = first.take() {
                        if !may_be_away {
                            return first(Err(error));
                        }
                        first(Ok(()));
                    }
                    self.pause(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        self.finish().await;
    }

    /// Waits, or until something is wanted of the thread.
    async fn pause(&self, pause: Duration) {
        let wake_up = std::pin::pin!(self.wake_up.notified());
        let slept = std::pin::pin!(tokio::time::sleep(pause));
        let _ = select(wake_up, slept).await;
    }

    /// [`try_set_up`](Self::try_set_up), again where the server gets another
    /// identity meanwhile, as it does when its first replica comes.
    async fn set_up(
        &self,
        discovery: &Discovery,
        memory: &mut History,
    ) -> Result<Arc<Link>, SetupError> {
        for _ in 1..SET_UPS {
            match self.try_set_up(discovery, memory).await {
                Err(error) if error.is_transient => {}
                done => return done,
            }
        }
        self.try_set_up(discovery, memory).await
    }

    /// Connects, sees whether the store is the one that it was, delivers what
    /// is waiting, and opens the line for all.
    async fn try_set_up(
        &self,
        discovery: &Discovery,
        memory: &mut History,
    ) -> Result<Arc<Link>, SetupError> {
        memory.session += 1;
        let link = {
            let sentinels = self.sentinels.as_deref();
            let linking = std::pin::pin!(discovery.link(memory.session, sentinels));
            match self.unless_stopped(linking).await {
                Some(link) => Arc::new(link?),
                None => return Err(SetupError::away("the cache has ended")),
            }
        };
        // Nothing is read or written by a server before a majority has named it
        // as it is now.
        let check = self.begin_master_check();
        self.check_identity(&link, memory).await?;
        self.ask_for_drops(&link).await?;
        let delivered = self.open(&link, &check).await?;
        log::live(&self.prefix, link.session, link.nodes.len(), delivered);
        Ok(link)
    }

    /// Delivers what is waiting, and opens the line for all; how many rows,
    /// tables and names were waiting.
    pub(super) async fn open(
        &self,
        link: &Arc<Link>,
        check: &MasterCheck,
    ) -> Result<usize, LinkError> {
        let mut heartbeat = self.ask(link).await?;
        heartbeat.sent = heartbeat.sent.min(check.since);
        self.confirm_master(link, check).await.map_err(LinkError::from)?;
        self.set_clock(&heartbeat);
        let mut delivered = 0;
        loop {
            delivered += self.deliver_pending(link).await?;
            let mut state = write(&self.connection);
            if !lock(&self.pending).is_empty() {
                continue;
            }
            self.near.begin_session(link.session);
            *state = ConnectionState::Live(link.clone());
            break;
        }
        self.renew_trust(link.session, &heartbeat);
        self.changed.notify_waiters();
        Ok(delivered)
    }

    async fn unless_stopped<F: Future + Unpin>(&self, work: F) -> Option<F::Output> {
        let mut work = work;
        loop {
            let wake_up = std::pin::pin!(self.wake_up.notified());
            match select(work, wake_up).await {
                Either::Left((done, _)) => return Some(done),
                Either::Right((_, rest)) if !self.is_stopped() => work = rest,
                Either::Right(_) => return None,
            }
        }
    }

    /// A store that may have gone back in time, since its servers are others
    /// than those that the stamp of everything was made at, or than this
    /// process was at before, loses that stamp, and with it all it holds.
    async fn check_identity(&self, link: &Link, memory: &mut History) -> Result<(), SetupError> {
        let flushes = self.flushes.load(Ordering::SeqCst);
        let is_other = memory.fingerprint.is_some_and(|known| known != link.fingerprint)
            || flushes != self.flushes_seen.load(Ordering::SeqCst);
        let key = everything_key(&self.prefix);
        let found = link.run(&[Command::Peek(key.as_slice().into())]).await?;
        let found = found.into_iter().next().and_then(|reply| reply.into_value());
        let is_known = found.is_none_or(|value| read_everything(&value, link).is_some());
        if (is_other || !is_known)
            && let Some(Reply::Refused(answer)) =
                link.run(&[Command::Unlink(vec![key])]).await?.first()
        {
            return Err(LinkError::refused(answer).into());
        }
        memory.fingerprint = Some(link.fingerprint);
        self.flushes_seen.store(flushes, Ordering::SeqCst);
        Ok(())
    }

    /// Delivers what is kept; how many rows, tables and names that was.
    async fn deliver_pending(&self, link: &Link) -> Result<usize, LinkError> {
        let mut waiting = lock(&self.pending).take();
        let count = waiting.iter().map(Due::len).sum();
        while let Some(bounded_map) = waiting.first_mut() {
            let delivered = deliver(self, link, &bounded_map.prefix, &bounded_map.event()).await;
            if let Err(error) = delivered {
                // The server drops other keys: a wider one, so that this one
                // does not hold up all that wait behind it.
                let before = bounded_map.len();
                if error.refused && bounded_map.widen() {
                    lock(&self.pending).delivered(before - bounded_map.len());
                    continue;
                }
                lock(&self.pending).put_back(waiting, error.is_timeout);
                return Err(error);
            }
            lock(&self.pending).delivered(bounded_map.len());
            waiting.remove(0);
        }
        Ok(count)
    }

    /// Asks after the servers until the line is lost.
    async fn watch(&self, link: &Arc<Link>) {
        let interval =
            (self.options.bound() / 3).clamp(Duration::from_millis(1), Duration::from_secs(1));
        loop {
            self.pause(interval).await;
            if self.is_stopped() || self.look_after(link).await.is_err() {
                return;
            }
        }
    }
}

impl ConnectionState {
    /// Whether it has the line of a session.
    pub(super) fn is_of(&self, session: u64) -> bool {
        matches!(self, ConnectionState::Live(link) | ConnectionState::Refusing(link, _) if link.session == session)
    }
}

/// What the thread remembers from one line to the next.
#[derive(Default)]
struct History {
    session: u64,
    fingerprint: Option<[u8; Link::FINGERPRINT_LEN]>,
}

/// What is written under the key that everything depends on: a token, who the
/// servers were that it was made at, and when, in microseconds since 1970.
pub(crate) fn write_everything(token: Token, link: &Link, now: u64) -> Vec<u8> {
    let mut value = token.as_bytes().to_vec();
    value.extend(link.fingerprint);
    value.extend(now.to_le_bytes());
    value
}

/// Reads what [`write_everything`] wrote; `None` if the servers were others.
pub(crate) fn read_everything(value: &[u8], link: &Link) -> Option<(Token, u64)> {
    let (token, rest) = value.split_at_checked(Token::LEN)?;
    let (fingerprint, made_at) = rest.split_at_checked(Link::FINGERPRINT_LEN)?;
    let made_at = u64::from_le_bytes(made_at.try_into().ok()?);
    Token::read(token).filter(|_| fingerprint == link.fingerprint).zip(Some(made_at))
}
