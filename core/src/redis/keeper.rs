//! Keeping the line to the shared store: a thread that connects, watches and
//! connects again, and what the callers in other threads see of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::{Either, select};
use redis::{PushInfo, PushKind, Value};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::deliver::{Registries, Times, deliver};
use super::discover::{Discovery, identity_of};
use super::link::Link;
use super::options::Redis;
use super::pending::{Kept, Pending};
use super::{Unfit, Why};
use crate::clock::{Clock, micros};
use crate::invalidate::everything_key;
use crate::protocol::{Command, Token};
use crate::store::MemoryStore;
use crate::sync::{lock, read, write};

/// What all threads share of the line.
pub(crate) struct Keeper {
    pub(crate) near: Arc<MemoryStore>,
    pub(crate) options: Redis,
    /// What stands before the key that everything depends on.
    pub(crate) prefix: String,
    /// The runtime of the thread, for timers.
    handle: Handle,
    state: RwLock<State>,
    pending: Mutex<Pending>,
    /// Those who wait for the state to change.
    changed: Notify,
    /// The thread, when there is something to do for it.
    wanted: Notify,
    /// Nanoseconds after `origin`.
    trusted_until: AtomicU64,
    origin: Instant,
    /// The server's clock less this machine's, in microseconds.
    offset: AtomicI64,
    /// What tells the time instead of the server: for tests.
    clock: Option<Arc<dyn Clock>>,
    pub(crate) times: Times,
    pub(crate) registries: Registries,
    /// When each began of the writes whose replies are not taken in yet.
    writes: Mutex<BTreeMap<u64, Instant>>,
    next_write: AtomicU64,
    /// How many drops are under way, here or in the store.
    drops: AtomicUsize,
    /// Those who wait for a key to change.
    waiters: Mutex<HashMap<Vec<u8>, Arc<Notify>>>,
    stopped: AtomicBool,
}

enum State {
    Live(Arc<Link>),
    /// It was cut a moment ago: whoever comes may wait for the next until then.
    Reconnecting(Instant, String),
    /// It is held for dead, and nobody waits.
    Open(String),
}

/// The line to the shared tier; see
/// [`Cacheops::shared_status`](crate::Cacheops::shared_status).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedStatus {
    /// What the line does.
    pub state: LinkState,
    /// How many rows, tables and names are kept until they can be invalidated.
    pub pending: usize,
    /// How many lines there have been.
    pub sessions: u64,
    /// How many servers this one goes to.
    pub servers: usize,
}

/// What the line to the shared tier does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkState {
    /// Connected.
    Live,
    /// Cut, and being set up again; why it was cut.
    Reconnecting(String),
    /// Held for dead: nothing is asked until it answers again; why it is.
    Open(String),
}

const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

impl Keeper {
    pub(crate) fn new(
        near: Arc<MemoryStore>,
        options: Redis,
        prefix: String,
        handle: Handle,
        clock: Option<Arc<dyn Clock>>,
    ) -> Self {
        let limit = options.degraded.unwrap_or(0);
        Keeper {
            near,
            options,
            prefix,
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
            registries: Registries::default(),
            writes: Mutex::new(BTreeMap::new()),
            next_write: AtomicU64::new(0),
            drops: AtomicUsize::new(0),
            waiters: Mutex::new(HashMap::new()),
            stopped: AtomicBool::new(false),
        }
    }

    /// The line, waiting for it as long as an operation may take if it was cut
    /// a moment ago.
    pub(crate) async fn link(&self) -> Result<Arc<Link>, Why> {
        loop {
            let changed = self.changed.notified();
            let (until, why) = match &*read(&self.state) {
                State::Live(link) => return Ok(link.clone()),
                State::Open(why) => return Err(Why::new(why)),
                State::Reconnecting(until, why) => (*until, why.clone()),
            };
            if Instant::now() >= until || !self.happens_before(until, changed).await {
                return Err(Why::new(why));
            }
        }
    }

    /// Waits for something; false when it has not come by then.
    pub(crate) async fn happens_before(&self, until: Instant, event: impl Future) -> bool {
        let timer = {
            let _context = self.handle.enter();
            tokio::time::timeout_at(until.into(), event)
        };
        timer.await.is_ok()
    }

    /// The line, if it holds at this moment.
    pub(crate) fn link_now(&self) -> Option<Arc<Link>> {
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

    /// Asks the server for the time, and so hears all news up to now.
    pub(crate) async fn beat(&self, link: &Link) -> Result<(), Why> {
        match link.beat().await {
            Ok((sent, time)) => {
                self.renew_trust(link.session, sent, time);
                Ok(())
            }
            Err(why) => {
                self.lost(link.session, &why);
                Err(why)
            }
        }
    }

    fn renew_trust(&self, session: u64, sent: Instant, time: u64) {
        let state = read(&self.state);
        if !matches!(&*state, State::Live(link) if link.session == session) {
            return;
        }
        let until = self.nanos(self.heard_until(sent) + self.options.bound());
        self.trusted_until.fetch_max(until, Ordering::AcqRel);
        self.set_clock(sent, time);
    }

    /// Up to when all changes are heard of, if all news are heard up to `sent`.
    /// The server does not tell a process what it does itself, nor from then on
    /// what others do to the same keys until they are read again: so of keys
    /// that it writes nothing is known until it has taken in the replies.
    fn heard_until(&self, sent: Instant) -> Instant {
        let oldest = lock(&self.writes).values().min().copied();
        oldest.map_or(sent, |oldest| oldest.min(sent))
    }

    /// Notes that something is going to be written; until the guard is dropped.
    pub(crate) fn begin_write(&self) -> Writing<'_> {
        let number = self.next_write.fetch_add(1, Ordering::SeqCst);
        lock(&self.writes).insert(number, Instant::now());
        Writing { keeper: self, number, drops: false }
    }

    /// [`begin_write`](Self::begin_write) for what is dropped.
    pub(crate) fn begin_drop(&self) -> Writing<'_> {
        self.drops.fetch_add(1, Ordering::SeqCst);
        let mut writing = self.begin_write();
        writing.drops = true;
        writing
    }

    /// Whether something may be dropped in the store that is not in memory.
    pub(crate) fn is_dropping(&self) -> bool {
        self.drops.load(Ordering::SeqCst) > 0
    }

    /// Compares the clocks: the server was asked somewhere between then and now.
    fn set_clock(&self, sent: Instant, server: u64) {
        let asked = SystemTime::now() - sent.elapsed() / 2;
        let here = asked.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let offset = i64::try_from(server).unwrap_or(0) - i64::try_from(here).unwrap_or(0);
        self.offset.store(offset, Ordering::Relaxed);
    }

    /// The time by the server's clock, in microseconds since 1970.
    pub(crate) fn time(&self) -> u64 {
        if let Some(clock) = &self.clock {
            return micros(clock.now());
        }
        let here = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let here = u64::try_from(here).unwrap_or(u64::MAX);
        here.saturating_add_signed(self.offset.load(Ordering::Relaxed))
    }

    /// Gives up the line of a session, and with it all trust.
    pub(crate) fn lost(&self, session: u64, why: &Why) {
        let mut state = write(&self.state);
        if !matches!(&*state, State::Live(link) if link.session == session) {
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
    }

    fn open_breaker(&self, why: &str) {
        *write(&self.state) = State::Open(why.to_owned());
        self.changed.notify_waiters();
    }

    /// Keeps an invalidation that could not be delivered. False when there is a
    /// line again, by which it can.
    pub(crate) fn keep(&self, event: &Kept) -> bool {
        let state = read(&self.state);
        if matches!(&*state, State::Live(_)) {
            return false;
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
                // All keys, or something that is not understood.
                _ => self.near.all_changed(),
            },
            _ => {}
        }
    }

    fn hear_of(&self, key: &Value) {
        let Value::BulkString(key) = key else { return self.near.all_changed() };
        self.near.key_changed(key);
        self.wake(key);
    }

    /// Wakes those who wait for a key to change.
    pub(crate) fn wake(&self, key: &[u8]) {
        if let Some(waiter) = lock(&self.waiters).get(key) {
            waiter.notify_waiters();
        }
    }

    /// What is woken when the key is heard to have changed; forgotten by
    /// [`stop_waiting`](Self::stop_waiting).
    pub(crate) fn wait_for(&self, key: &[u8]) -> Arc<Notify> {
        lock(&self.waiters).entry(key.to_vec()).or_default().clone()
    }

    pub(crate) fn stop_waiting(&self, key: &[u8], waiter: Arc<Notify>) {
        drop(waiter);
        let mut waiters = lock(&self.waiters);
        if waiters.get(key).is_some_and(|waiter| Arc::strong_count(waiter) == 1) {
            waiters.remove(key);
        }
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
            State::Live(link) => (LinkState::Live, link.session, link.nodes.len()),
            State::Reconnecting(_, why) => (LinkState::Reconnecting(why.clone()), 0, 0),
            State::Open(why) => (LinkState::Open(why.clone()), 0, 0),
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
        let discovery = match Discovery::new(&self.options, on_push) {
            Ok(discovery) => discovery,
            Err(unfit) => return first(Err(unfit)),
        };
        let mut memory = Memory::default();
        let mut first = Some(first);
        let mut pause = SHORTEST_PAUSE;
        while !self.is_stopped() {
            match self.set_up(&discovery, &mut memory).await {
                Ok(link) => {
                    pause = SHORTEST_PAUSE;
                    first.take().into_iter().for_each(|first| first(Ok(())));
                    self.watch(&discovery, &link).await;
                }
                Err(unfit) => {
                    self.open_breaker(unfit.text());
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
    }

    /// Waits, or until something is wanted of the thread.
    async fn pause(&self, pause: Duration) {
        let wanted = std::pin::pin!(self.wanted.notified());
        let slept = std::pin::pin!(tokio::time::sleep(pause));
        let _ = select(wanted, slept).await;
    }

    /// Connects, sees whether the store is the one that it was, delivers what
    /// is waiting, and opens the line for all.
    async fn set_up(&self, discovery: &Discovery, memory: &mut Memory) -> Result<Arc<Link>, Unfit> {
        memory.session += 1;
        let link = {
            let linking = std::pin::pin!(discovery.link(memory.session));
            match self.unless_stopped(linking).await {
                Some(link) => Arc::new(link?),
                None => return Err(Unfit::away("the cache has ended")),
            }
        };
        self.check_identity(&link, memory).await?;
        let (sent, time) = link.beat().await?;
        self.set_clock(sent, time);
        loop {
            self.deliver_pending(&link).await?;
            let mut state = write(&self.state);
            if !lock(&self.pending).is_empty() {
                continue;
            }
            self.near.begin_session(link.session);
            *state = State::Live(link.clone());
            break;
        }
        self.renew_trust(link.session, sent, time);
        self.changed.notify_waiters();
        Ok(link)
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
        let identity = identity_of(link);
        let is_other = memory.identity.as_ref().is_some_and(|known| *known != identity);
        let key = everything_key(&self.prefix);
        let found = link.run(&[Command::Get(key.clone())]).await?;
        let found = found.into_iter().next().and_then(|reply| reply.into_value());
        let is_known = found.is_none_or(|value| read_everything(&value, link).is_some());
        if is_other || !is_known {
            link.run(&[Command::Unlink(vec![key])]).await?;
        }
        memory.identity = Some(identity);
        Ok(())
    }

    async fn deliver_pending(&self, link: &Link) -> Result<(), Unfit> {
        let mut waiting = lock(&self.pending).take();
        while let Some(kept) = waiting.first() {
            let delivered = deliver(self, link, &kept.prefix, &kept.event()).await;
            if let Err(why) = delivered {
                lock(&self.pending).put_back(waiting);
                return Err(Unfit::away(why.to_string()));
            }
            waiting.remove(0);
        }
        Ok(())
    }

    /// Asks after the servers until the line is lost.
    async fn watch(&self, discovery: &Discovery, link: &Arc<Link>) {
        let interval =
            (self.options.bound() / 3).clamp(Duration::from_millis(1), Duration::from_secs(1));
        let mut looked = Instant::now();
        loop {
            self.pause(interval).await;
            let is_live = self.link_now().is_some_and(|now| now.session == link.session);
            if self.is_stopped() || !is_live || self.beat(link).await.is_err() {
                return;
            }
            if looked.elapsed() >= Duration::from_secs(1) {
                looked = Instant::now();
                if discovery.is_elsewhere(link).await {
                    return self.lost(link.session, &Why::new("the sentinels name another master"));
                }
            }
        }
    }
}

/// A write whose reply is not taken in yet.
pub(crate) struct Writing<'a> {
    keeper: &'a Keeper,
    number: u64,
    drops: bool,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        lock(&self.keeper.writes).remove(&self.number);
        if self.drops {
            self.keeper.drops.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// What the thread remembers from one line to the next.
#[derive(Default)]
struct Memory {
    session: u64,
    identity: Option<String>,
}

/// What is written under the key that everything depends on: a token, and who
/// the servers were that it was made at.
pub(crate) fn write_everything(token: Token, link: &Link) -> Vec<u8> {
    let mut value = token.as_bytes().to_vec();
    value.extend(mark_of(link));
    value
}

/// Reads what [`write_everything`] wrote; `None` if the servers were others.
pub(crate) fn read_everything(value: &[u8], link: &Link) -> Option<Token> {
    let (token, mark) = value.split_at_checked(Token::LEN)?;
    Token::read(token).filter(|_| mark == mark_of(link))
}

/// A short mark of who the servers are.
fn mark_of(link: &Link) -> [u8; 8] {
    use sha1::{Digest, Sha1};
    let digest: [u8; 20] = Sha1::digest(identity_of(link).as_bytes()).into();
    std::array::from_fn(|n| digest[n])
}
