//! Keeping the line to the shared store: a thread that connects, watches and
//! connects again, and what the callers in other threads see of it.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::{Either, select};
use redis::{PushInfo, PushKind, Value};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::deliver::{Registries, Times, deliver};
use super::discover::Discovery;
use super::forked::{self, Birthplace, FORKED};
use super::link::Link;
use super::node::Beat;
use super::options::Redis;
use super::pending::Pending;
use super::rest::Rests;
use super::rights::Rights;
use super::sentinels::Sentinels;
use super::vouch::Doubt;
use super::vouch::Question;
use super::waiters::Waiters;
use super::{Unfit, Why, log};
use crate::clock::{Clock, micros};
use crate::events::Due;
use crate::invalidate::everything_key;
use crate::prefix::Prefix;
use crate::protocol::{Command, Reply, Token};
use crate::store::MemoryStore;
use crate::sync::{lock, read, write};

/// What all threads share of the line.
pub(crate) struct Keeper {
    pub(crate) near: Arc<MemoryStore>,
    pub(crate) options: Redis,
    /// What stands before the key that everything depends on.
    pub(crate) prefix: String,
    /// What the user has to be allowed.
    rights: Rights,
    pub(super) birthplace: Birthplace,
    /// The runtime of the thread, for timers.
    handle: Handle,
    pub(super) state: RwLock<State>,
    pending: Mutex<Pending>,
    /// Those who wait for the state to change.
    pub(super) changed: Notify,
    /// The thread, when there is something to do for it.
    wanted: Notify,
    /// Nanoseconds after `origin`.
    pub(super) trusted_until: AtomicU64,
    pub(crate) origin: Instant,
    /// The server's clock less this machine's, in microseconds.
    offset: AtomicI64,
    /// What tells the time instead of the server: for tests.
    clock: Option<Arc<dyn Clock>>,
    pub(crate) times: Times,
    pub(crate) registries: Registries,
    pub(crate) waiters: Waiters,
    /// Who say which server is the master, where there are any.
    pub(crate) sentinels: Option<Arc<Sentinels>>,
    pub(crate) rests: Rests,
    stopped: AtomicBool,
    /// How often all keys have gone at once, and how many of these times the data
    /// has been looked at since.
    flushes: AtomicU64,
    flushes_seen: AtomicU64,
    /// How many locks are being given back.
    releasing: AtomicUsize,
}

/// A lock that is being given back.
pub(crate) struct Releasing(Arc<Keeper>);

impl Drop for Releasing {
    fn drop(&mut self) {
        self.0.releasing.fetch_sub(1, Ordering::SeqCst);
        self.0.wanted.notify_one();
    }
}

pub(super) enum State {
    Live(Arc<Link>),
    /// The servers are there and refuse to drop keys: nothing is asked of them
    /// until they do not.
    Refusing(Arc<Link>, String),
    /// It was cut a moment ago: whoever comes may wait for the next until then.
    Reconnecting(Instant, String),
    /// It is held for dead, and nobody waits.
    Open(String),
}

/// The line to the shared tier at one moment; see
/// [`Cacheops::shared_status`](crate::Cacheops::shared_status).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedStatus {
    /// What the line does.
    pub state: LinkState,
    /// How many rows, tables and names are kept until they can be invalidated;
    /// zero unless [`Redis::degraded`](crate::Redis::degraded) is on.
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
    Open(String),
}

const FLUSHED: &str = "all keys have gone: the server was flushed, or loads other data";

const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
/// How often a connection is set up in a row.
const SET_UPS: usize = 4;

const LONGEST_PAUSE: Duration = Duration::from_millis(500);

impl Keeper {
    pub(crate) fn new(
        near: Arc<MemoryStore>,
        options: Redis,
        prefix: &Prefix,
        handle: Handle,
        clock: Option<Arc<dyn Clock>>,
    ) -> Self {
        let limit = options.degraded.unwrap_or(0);
        let registries = Registries::beside(near.limit());
        let sentinels = options.sentinels().map(|listed| Arc::new(Sentinels::new(listed)));
        Keeper {
            near,
            options,
            prefix: prefix.fixed().to_owned(),
            birthplace: Birthplace::here(),
            rights: Rights::new(prefix.fixed(), prefix.is_computed()),
            handle,
            state: RwLock::new(State::Open("not connected yet".to_owned())),
            pending: Mutex::new(Pending::new(limit)),
            changed: Notify::new(),
            wanted: Notify::new(),
            trusted_until: AtomicU64::new(0),
            origin: Instant::now(),
            offset: AtomicI64::new(0),
            clock,
            times: Times::default(),
            registries,
            waiters: Waiters::default(),
            sentinels,
            rests: Rests::default(),
            stopped: AtomicBool::new(false),
            flushes: AtomicU64::new(0),
            flushes_seen: AtomicU64::new(0),
            releasing: AtomicUsize::new(0),
        }
    }

    /// Notes that a lock is being given back, until what is returned is
    /// dropped.
    pub(crate) fn release(self: &Arc<Self>) -> Releasing {
        self.releasing.fetch_add(1, Ordering::SeqCst);
        Releasing(self.clone())
    }

    /// Has the thread look what there is to do.
    pub(super) fn call_thread(&self) {
        self.wanted.notify_one();
    }

    /// Waits until all locks are given back and all that was left is carried
    /// out, as long as an operation may take.
    async fn finish(&self) {
        let until = Instant::now() + self.options.operation_timeout;
        loop {
            let wanted = self.wanted.notified();
            let is_done = self.releasing.load(Ordering::SeqCst) == 0 && self.rests.are_done();
            if is_done || !self.happens_before(until, wanted).await {
                return;
            }
        }
    }

    /// The line, waiting for it as long as an operation may take if it was cut
    /// a moment ago.
    pub(crate) async fn link(&self) -> Result<Arc<Link>, Why> {
        if let Some(link) = self.link_now() {
            return Ok(link);
        }
        if self.birthplace.is_elsewhere() {
            return Err(forked::why());
        }
        loop {
            let changed = self.changed.notified();
            let (until, why) = match &*read(&self.state) {
                State::Live(link) => return Ok(link.clone()),
                State::Open(why) | State::Refusing(_, why) => return Err(Why::new(why)),
                State::Reconnecting(until, why) => (*until, why.clone()),
            };
            if Instant::now() >= until || !self.happens_before(until, changed).await {
                return Err(Why::new(why));
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
        if self.birthplace.is_elsewhere() {
            return None;
        }
        match &*read(&self.state) {
            State::Live(link) => Some(link.clone()),
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
    pub(crate) async fn beat(&self, link: &Link) -> Result<(), Why> {
        let question = self.ask_for_master();
        let known = self.known();
        let compared = self.ask(link).await.and_then(|beat| {
            self.compare(link, &known, &beat)?;
            Ok(beat)
        });
        let mut beat = match compared {
            Ok(beat) => beat,
            Err(why) => {
                self.lost(link.session, &why);
                return Err(why);
            }
        };
        match self.confirm(link, &question).await {
            Ok(()) => {
                beat.sent = beat.sent.min(question.since);
                self.renew_trust(link.session, &beat);
                Ok(())
            }
            // What was heard before counts until the bound is over.
            Err(Doubt::Nobody(_)) if self.is_trusted() => Ok(()),
            Err(Doubt::Elsewhere(why) | Doubt::Nobody(why)) => {
                self.lost(link.session, &why);
                Err(why)
            }
        }
    }

    /// A sign of life of all servers; an error if all keys have gone since their
    /// data was last looked at.
    async fn ask(&self, link: &Link) -> Result<Beat, Why> {
        let beat = link.beat(&everything_key(&self.prefix)).await?;
        match self.flushes.load(Ordering::SeqCst) == self.flushes_seen.load(Ordering::SeqCst) {
            true => Ok(beat),
            false => Err(Why::exchanged(FLUSHED)),
        }
    }

    fn renew_trust(&self, session: u64, beat: &Beat) {
        let state = read(&self.state);
        if !matches!(&*state, State::Live(link) if link.session == session) {
            return;
        }
        let until = self.nanos(beat.sent + self.options.bound());
        self.trusted_until.fetch_max(until, Ordering::AcqRel);
        self.set_clock(beat);
    }

    /// Compares the clocks: the server was asked somewhere between then and now.
    fn set_clock(&self, beat: &Beat) {
        let asked = SystemTime::now() - beat.sent.elapsed() / 2;
        let here = asked.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let offset = i64::try_from(beat.time).unwrap_or(0) - i64::try_from(here).unwrap_or(0);
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
    pub(crate) fn lost(&self, session: u64, why: &Why) {
        let mut state = write(&self.state);
        if !state.is_of(session) {
            return;
        }
        self.trusted_until.store(0, Ordering::Release);
        *state = if why.silent {
            State::Open(why.to_string())
        } else {
            State::Reconnecting(Instant::now() + self.options.operation_timeout, why.to_string())
        };
        drop(state);
        self.near.all_changed();
        self.wanted.notify_one();
        self.changed.notify_waiters();
        log::lost(&self.prefix, session, why, self.options.operation_timeout);
    }

    fn open_breaker(&self, session: u64, why: &str) {
        let before = std::mem::replace(&mut *write(&self.state), State::Open(why.to_owned()));
        self.changed.notify_waiters();
        // Each attempt that fails in the same way is no news.
        if !matches!(before, State::Open(known) if known == why) {
            log::away(&self.prefix, session, why);
        }
    }

    /// Keeps an invalidation that could not be delivered. False when there is a
    /// line again, by which it can; unless it is to be kept `in_any_case`, for
    /// which the line is given up, since all that waits goes first.
    pub(crate) fn keep(&self, event: &Due, in_any_case: bool) -> bool {
        let mut state = write(&self.state);
        if let State::Live(link) = &*state {
            if !in_any_case {
                return false;
            }
            let (session, limit) = (link.session, self.options.operation_timeout);
            let why = Why::new("an invalidation failed twice");
            self.trusted_until.store(0, Ordering::Release);
            *state = State::Reconnecting(Instant::now() + limit, why.to_string());
            self.wanted.notify_one();
            log::lost(&self.prefix, session, &why, limit);
        }
        lock(&self.pending).push(event.clone());
        true
    }

    /// Is called for whatever a server says unasked.
    fn hear(&self, session: u64, push: &PushInfo) {
        match push.kind {
            PushKind::Disconnection => self.lost(session, &Why::new("the connection was closed")),
            PushKind::Invalidate => match push.data.first() {
                Some(Value::Array(keys)) => keys.iter().for_each(|key| self.hear_of(key)),
                Some(Value::BulkString(_)) => push.data.iter().for_each(|key| self.hear_of(key)),
                // All keys, or something that is not understood: what is there
                // now may be older than what was.
                _ => {
                    self.flushes.fetch_add(1, Ordering::SeqCst);
                    self.near.all_changed();
                    self.lost(session, &Why::new(FLUSHED));
                }
            },
            _ => {}
        }
    }

    fn hear_of(&self, key: &Value) {
        let Value::BulkString(key) = key else { return self.near.all_changed() };
        self.near.key_changed(key);
        self.waiters.wake(key);
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.wanted.notify_one();
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    pub(crate) fn status(&self) -> SharedStatus {
        let state = read(&self.state);
        let (now, sessions, servers) = match &*state {
            _ if self.birthplace.is_elsewhere() => (LinkState::Open(FORKED.to_owned()), 0, 0),
            State::Live(link) => (LinkState::Live, link.session, link.nodes.len()),
            State::Reconnecting(_, why) => (LinkState::Reconnecting(why.clone()), 0, 0),
            State::Open(why) => (LinkState::Open(why.clone()), 0, 0),
            State::Refusing(link, why) => {
                (LinkState::Open(why.clone()), link.session, link.nodes.len())
            }
        };
        let sessions = sessions.max(self.near.session());
        SharedStatus { state: now, pending: lock(&self.pending).len(), sessions, servers }
    }

    /// The life of the thread. `first` hears what came of the first attempt.
    pub(crate) async fn run(self: Arc<Self>, first: impl FnOnce(Result<(), Unfit>)) {
        let hearing = Arc::downgrade(&self);
        let on_push = Arc::new(move |session, push: PushInfo| {
            if let Some(keeper) = hearing.upgrade() {
                keeper.hear(session, &push);
            }
        });
        let discovery = match Discovery::new(&self.options, self.rights.clone(), on_push) {
            Ok(discovery) => discovery,
            Err(unfit) => return first(Err(unfit)),
        };
        let asking = self.sentinels.clone().map(|all| discovery.serve(all));
        let asking = std::pin::pin!(async {
            match asking {
                Some(asking) => asking.await,
                None => std::future::pending().await,
            }
        });
        tokio::spawn(self.clone().carry_out_rests());
        let living = std::pin::pin!(self.live(&discovery, first));
        // Asking has no end of its own.
        select(living, asking).await;
    }

    /// Connects and keeps the link, until the cache ends.
    async fn live(&self, discovery: &Discovery, first: impl FnOnce(Result<(), Unfit>)) {
        let mut memory = Memory::default();
        let mut first = Some(first);
        let mut pause = SHORTEST_PAUSE;
        while !self.is_stopped() {
            match self.set_up(discovery, &mut memory).await {
                Ok(link) => {
                    pause = SHORTEST_PAUSE;
                    first.take().into_iter().for_each(|first| first(Ok(())));
                    self.watch(&link).await;
                }
                Err(unfit) => {
                    self.open_breaker(memory.session, unfit.text());
                    let may_be_away = self.options.degraded.is_some() && unfit.is_away();
                    if let Some(first) = first.take() {
                        if !may_be_away {
                            return first(Err(unfit));
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
        let wanted = std::pin::pin!(self.wanted.notified());
        let slept = std::pin::pin!(tokio::time::sleep(pause));
        let _ = select(wanted, slept).await;
    }

    /// [`try_set_up`](Self::try_set_up), again where the server gets another
    /// identity meanwhile, as it does when its first replica comes.
    async fn set_up(&self, discovery: &Discovery, memory: &mut Memory) -> Result<Arc<Link>, Unfit> {
        for _ in 1..SET_UPS {
            match self.try_set_up(discovery, memory).await {
                Err(unfit) if unfit.is_passing => {}
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
        memory: &mut Memory,
    ) -> Result<Arc<Link>, Unfit> {
        memory.session += 1;
        let link = {
            let sentinels = self.sentinels.as_deref();
            let linking = std::pin::pin!(discovery.link(memory.session, sentinels));
            match self.unless_stopped(linking).await {
                Some(link) => Arc::new(link?),
                None => return Err(Unfit::away("the cache has ended")),
            }
        };
        // Nothing is read or written by a server before a majority has named it
        // as it is now.
        let question = self.ask_for_master();
        self.check_identity(&link, memory).await?;
        self.ask_for_drops(&link).await?;
        let delivered = self.open(&link, &question).await?;
        log::live(&self.prefix, link.session, link.nodes.len(), delivered);
        Ok(link)
    }

    /// Delivers what is waiting, and opens the line for all; how many rows,
    /// tables and names were waiting.
    pub(super) async fn open(&self, link: &Arc<Link>, question: &Question) -> Result<usize, Why> {
        let mut beat = self.ask(link).await?;
        beat.sent = beat.sent.min(question.since);
        self.confirm(link, question).await.map_err(Why::from)?;
        self.set_clock(&beat);
        let mut delivered = 0;
        loop {
            delivered += self.deliver_pending(link).await?;
            let mut state = write(&self.state);
            if !lock(&self.pending).is_empty() {
                continue;
            }
            self.near.begin_session(link.session);
            *state = State::Live(link.clone());
            break;
        }
        self.renew_trust(link.session, &beat);
        self.changed.notify_waiters();
        Ok(delivered)
    }

    async fn unless_stopped<F: Future + Unpin>(&self, work: F) -> Option<F::Output> {
        let mut work = work;
        loop {
            let wanted = std::pin::pin!(self.wanted.notified());
            match select(work, wanted).await {
                Either::Left((done, _)) => return Some(done),
                Either::Right((_, rest)) if !self.is_stopped() => work = rest,
                Either::Right(_) => return None,
            }
        }
    }

    /// A store that may have gone back in time, since its servers are others
    /// than those that the stamp of everything was made at, or than this
    /// process was at before, loses that stamp, and with it all it holds.
    async fn check_identity(&self, link: &Link, memory: &mut Memory) -> Result<(), Unfit> {
        let flushes = self.flushes.load(Ordering::SeqCst);
        let is_other = memory.mark.is_some_and(|known| known != link.mark)
            || flushes != self.flushes_seen.load(Ordering::SeqCst);
        let key = everything_key(&self.prefix);
        let found = link.run(&[Command::Peek(key.as_slice().into())]).await?;
        let found = found.into_iter().next().and_then(|reply| reply.into_value());
        let is_known = found.is_none_or(|value| read_everything(&value, link).is_some());
        if (is_other || !is_known)
            && let Some(Reply::Refused(answer)) =
                link.run(&[Command::Unlink(vec![key])]).await?.first()
        {
            return Err(Why::refused(answer).into());
        }
        memory.mark = Some(link.mark);
        self.flushes_seen.store(flushes, Ordering::SeqCst);
        Ok(())
    }

    /// Delivers what is kept; how many rows, tables and names that was.
    async fn deliver_pending(&self, link: &Link) -> Result<usize, Why> {
        let mut waiting = lock(&self.pending).take();
        let count = waiting.iter().map(Due::len).sum();
        while let Some(kept) = waiting.first_mut() {
            let delivered = deliver(self, link, &kept.prefix, &kept.event()).await;
            if let Err(why) = delivered {
                // The server drops other keys: a wider one, so that this one
                // does not hold up all that wait behind it.
                let before = kept.len();
                if why.refused && kept.widen() {
                    lock(&self.pending).delivered(before - kept.len());
                    continue;
                }
                lock(&self.pending).put_back(waiting, why.silent);
                return Err(why);
            }
            lock(&self.pending).delivered(kept.len());
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

impl State {
    /// Whether it has the line of a session.
    pub(super) fn is_of(&self, session: u64) -> bool {
        matches!(self, State::Live(link) | State::Refusing(link, _) if link.session == session)
    }
}

/// What the thread remembers from one line to the next.
#[derive(Default)]
struct Memory {
    session: u64,
    mark: Option<[u8; Link::MARK]>,
}

/// What is written under the key that everything depends on: a token, who the
/// servers were that it was made at, and when, in microseconds since 1970.
pub(crate) fn write_everything(token: Token, link: &Link, now: u64) -> Vec<u8> {
    let mut value = token.as_bytes().to_vec();
    value.extend(link.mark);
    value.extend(now.to_le_bytes());
    value
}

/// Reads what [`write_everything`] wrote; `None` if the servers were others.
pub(crate) fn read_everything(value: &[u8], link: &Link) -> Option<(Token, u64)> {
    let (token, rest) = value.split_at_checked(Token::LEN)?;
    let (mark, made_at) = rest.split_at_checked(Link::MARK)?;
    let made_at = u64::from_le_bytes(made_at.try_into().ok()?);
    Token::read(token).filter(|_| mark == link.mark).zip(Some(made_at))
}
