//! Lookups, leases, fills and invalidations over the shared store, with process
//! memory in front of it.

use std::collections::HashSet;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::codec::{HEAD, Head, Lineage, encode, head_of};
use super::deliver::deliver;
use super::keeper::{Keeper, SharedStatus, read_everything, write_everything};
use super::link::Link;
use super::options::{Consistency, Redis};
use super::search::{Search, Wanted};
use super::{Unfit, Why};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::events::Due;
use crate::fragment::Fragment;
use crate::invalidate::{Event, Scheme, registry_key};
use crate::key::FragmentKey;
use crate::observe::Outcome;
use crate::page::{Page, Spot};
use crate::prefix::Prefix;
use crate::protocol::{Command, EPOCH, LeasePlan, Reply, TablePlan, Token, is_leased};
use crate::record;
use crate::shared::Missed;
use crate::store::{Dropped, MemoryStore, Place, Scope, Stamp};

/// The shared tier: Redis, and the thread that keeps the line to it.
pub(crate) struct Tier {
    pub(super) keeper: Arc<Keeper>,
    thread: Option<JoinHandle<()>>,
    runtime: tokio::runtime::Handle,
    /// What followed what on the pages that were rendered.
    followers: quick_cache::sync::Cache<FragmentKey, Arc<[Spot]>>,
}

/// Pages whose followers are remembered, by their fragments that led trips.
const MOST_LEADERS: usize = 4_096;

/// The stamps of a fill, and the lock that it holds.
pub(crate) struct Leased {
    pub(crate) stamps: Vec<Arc<Stamp>>,
    /// Whether another process fills the same fragment.
    pub(crate) is_taken: bool,
    /// What lies in the store by now, if the lock is held.
    pub(crate) lying: Option<Head>,
    pub(crate) lock: Option<HeldLock>,
}

/// A lock on the filling of a fragment; given back when it is dropped.
pub(crate) struct HeldLock {
    key: Vec<u8>,
    until: Instant,
    keeper: Arc<Keeper>,
    runtime: tokio::runtime::Handle,
    done: bool,
}

impl Tier {
    /// Connects, and starts the thread that keeps the line.
    pub(crate) fn start(
        options: Redis,
        near: Arc<MemoryStore>,
        prefix: &Prefix,
        clock: Option<Arc<dyn Clock>>,
    ) -> Result<Self, Error> {
        options.check()?;
        let failed = |error: std::io::Error| Unfit::away(format!("no thread for it: {error}"));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let fixed = prefix.fixed().to_owned();
        let keeper = Arc::new(Keeper::new(near, options, fixed, handle.clone(), clock));
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let kept = keeper.clone();
        let life = move || {
            let first = move |outcome| {
                // Nobody listens any more only if the caller is gone.
                let _ = tell.send(outcome);
            };
            runtime.block_on(kept.run(first));
        };
        let thread = std::thread::Builder::new().name("cacheops-redis".into()).spawn(life);
        let thread = thread.map_err(failed)?;
        let followers = quick_cache::sync::Cache::new(MOST_LEADERS);
        let tier = Tier { keeper, thread: Some(thread), runtime: handle, followers };
        match told.recv() {
            Ok(Ok(())) => Ok(tier),
            Ok(Err(unfit)) => Err(unfit.into()),
            Err(_) => Err(Unfit::away("its thread has ended").into()),
        }
    }

    pub(crate) fn status(&self) -> SharedStatus {
        self.keeper.status()
    }

    /// The time by the server's clock, in microseconds since 1970.
    pub(crate) fn time(&self) -> u64 {
        self.keeper.time()
    }

    pub(crate) fn is_strict(&self) -> bool {
        self.keeper.options.consistency == Consistency::Strict
    }

    /// Whether a fragment whose stamps are current may be served from memory.
    pub(crate) fn is_trusted(&self) -> bool {
        !self.is_strict() && self.keeper.is_trusted()
    }

    /// Whether all news of changes older than the bound have been heard.
    pub(crate) fn is_informed(&self) -> bool {
        self.keeper.is_trusted()
    }

    /// Hears all news up to now, if the line holds.
    pub(crate) async fn reassure(&self) {
        if let Some(link) = self.keeper.link_now() {
            // What comes of it is seen in `is_trusted`.
            let _ = self.keeper.beat(&link).await;
        }
    }

    /// Asks the shared store for a fragment, given what is in memory of it.
    pub(crate) async fn find(
        &self,
        prefix: &str,
        key: FragmentKey,
        near: Option<Arc<Fragment>>,
        page: Option<&Page>,
    ) -> Result<Arc<Fragment>, Missed> {
        let link = match self.keeper.link().await {
            Ok(link) => link,
            Err(_) if near.is_some() => return Err(Outcome::Distrusted.into()),
            Err(_) => return Err(Outcome::BreakerOpen.into()),
        };
        let mut wanted = vec![Wanted::new(prefix, key, near)];
        let ahead = page.map(Page::begin_trip).unwrap_or_default();
        for spot in &ahead {
            // What is out for other reasons is seen when it is asked for.
            let near = self.keeper.near.get(&spot.key);
            wanted.push(Wanted::new(spot.prefix.as_deref().unwrap_or(prefix), spot.key, near));
        }
        if let Err(why) = Search::new(self, &link).find(&mut wanted).await {
            self.keeper.lost(link.session, &why);
            return Err(Outcome::Distrusted.into());
        }
        let mut found = wanted.into_iter().map(|wanted| (wanted.key, wanted.answer()));
        let first = found.next().map_or(Err(Outcome::NoValue.into()), |(_, answer)| answer);
        if let Some(page) = page {
            found.for_each(|(key, answer)| page.bring(key, answer));
        }
        first
    }

    /// What followed a fragment on the last page that asked for it.
    pub(crate) fn followers(&self, key: &FragmentKey) -> Arc<[Spot]> {
        self.followers.get(key).unwrap_or_default()
    }

    pub(crate) fn remember_followers(&self, key: FragmentKey, followers: Vec<Spot>) {
        if self.followers.get(&key).is_none_or(|known| *known != *followers) {
            self.followers.insert(key, followers.into());
        }
    }

    /// What lies in the shared store, and whether it holds; for inspection.
    pub(crate) async fn peek(
        &self,
        prefix: &str,
        key: FragmentKey,
    ) -> Result<Option<(Arc<Fragment>, usize, bool)>, Error> {
        let link = self.keeper.link().await.map_err(unavailable)?;
        let wanted = Wanted::new(prefix, key, None);
        Search::new(self, &link).peek(wanted).await.map_err(unavailable)
    }

    /// Takes the stamps of a fill, and its lock if `lock` names one.
    pub(crate) async fn lease(
        &self,
        scope: &Scope<'_>,
        lock: Option<FragmentKey>,
    ) -> Option<Leased> {
        let link = self.keeper.link().await.ok()?;
        let stamps = self.keeper.near.lease(scope);
        let line = Lineage::of(&stamps).stamps;
        let now = self.time();
        let (plan, owners) = self.plan(&link, &line, scope, now)?;
        let begins = owners.stamps.iter().any(|stamp| stamp.parent().is_none());
        let mut commands = Vec::new();
        commands.extend(begins.then(|| self.keeper.times.begin(&self.keeper, now)));
        let plan_at = commands.len();
        commands.extend(plan.commands());
        let lock_at = commands.len();
        let limit = Some(self.keeper.options.lock_limit);
        if let Some(key) = lock {
            let name = lock_key(&scope.prefixes.whole, key);
            commands.push(Command::SetNx(name, Vec::new(), limit));
            commands.push(Command::Head(fragment_key(&scope.prefixes.whole, key), HEAD));
        }
        let around_at = commands.len();
        let around = if link.may_lose_news() { read_around() } else { Vec::new() };
        commands.extend(around.iter().filter_map(read_command));
        let began = Instant::now();
        let writing = self.keeper.under_way.write(&self.keeper.near);
        let replies = self.run(&link, &commands).await.ok()?;
        self.settle(&link, &plan, &owners, replies.get(plan_at..lock_at)?);
        self.check(&link, &around, replies.get(around_at..)?);
        writing.end();
        if !link.is_causal || self.keeper.under_way.is_dropping() {
            // The stamps around are looked at when this returns: as they are
            // now, and not as the last news left them. Of what this process
            // drops there are no news.
            let around = read_around();
            let reads: Vec<Command> = around.iter().filter_map(read_command).collect();
            self.check(&link, &around, &self.run(&link, &reads).await.ok()?);
        }
        let answer = lock.and_then(|_| replies.get(lock_at));
        let is_taken = answer == Some(&Reply::Done(false));
        let lock = lock.filter(|_| answer == Some(&Reply::Done(true)));
        let lying = lock.and_then(|_| head_of(replies.get(lock_at + 1)?.value()?));
        let lock = lock.map(|key| self.hold(lock_key(&scope.prefixes.whole, key), began));
        Some(Leased { stamps, is_taken, lying, lock })
    }

    /// The lock that was asked for then.
    fn hold(&self, key: Vec<u8>, asked: Instant) -> HeldLock {
        let until = asked + self.keeper.options.lock_limit;
        let (keeper, runtime) = (self.keeper.clone(), self.runtime.clone());
        HeldLock { key, until, keeper, runtime, done: false }
    }

    pub(super) async fn run(&self, link: &Link, commands: &[Command]) -> Result<Vec<Reply>, Why> {
        let replies = link.run(commands).await;
        if let Err(why) = &replies {
            self.keeper.lost(link.session, why);
        }
        replies
    }

    /// What has to be registered and read for those stamps of a lineage that
    /// this process has not leased yet; and whose they are, in the order of the
    /// plan.
    fn plan(
        &self,
        link: &Link,
        line: &[Arc<Stamp>],
        scope: &Scope<'_>,
        now: u64,
    ) -> Option<(LeasePlan, Owners)> {
        let mut plan = LeasePlan::default();
        let mut owners = Owners::default();
        let is_leased = |stamp: &Arc<Stamp>| {
            let has_scheme = stamp.parent().is_some_and(is_epoch);
            stamp.shared().is_none_or(|s| is_leased(s.token(), has_scheme, s.is_registered()))
        };
        let mut epochs: Vec<Arc<Stamp>> = Vec::new();
        for stamp in line.iter().filter(|stamp| !is_leased(stamp)) {
            let Some(shared) = stamp.shared() else { continue };
            let epoch = match shared.place() {
                Place::Epoch => Some(stamp),
                Place::Plain => stamp.parent().filter(|parent| is_epoch(parent)),
                Place::Everything => None,
            };
            epochs.extend(epoch.cloned());
            let token = Token::random()?;
            let retention = Some(self.keeper.options.retention);
            match shared.place() {
                Place::Epoch => continue,
                Place::Plain => {
                    let token = token.as_bytes().to_vec();
                    plan.stamps.push((shared.key().to_vec(), token, retention));
                }
                Place::Everything => {
                    plan.stamps.push((
                        shared.key().to_vec(),
                        write_everything(token, link, now),
                        None,
                    ));
                }
            }
            owners.stamps.push(stamp.clone());
        }
        let mut seen = HashSet::new();
        epochs.retain(|epoch| seen.insert(Arc::as_ptr(epoch)));
        for epoch in epochs {
            let Some(shared) = epoch.shared() else { continue };
            let of = |dnf: &&crate::queryset::TableDnf| {
                registry_key(scope.prefixes.of(&dnf.table), &dnf.table).as_bytes() == shared.key()
            };
            let conjunctions = scope.tables.iter().filter(of).flat_map(|dnf| &dnf.conjunctions);
            let mut schemes: Vec<Vec<u8>> =
                conjunctions.map(|conjunction| Scheme::of(conjunction).field()).collect();
            schemes.sort_unstable();
            schemes.dedup();
            let token = Token::random()?;
            plan.tables.push(TablePlan { registry: shared.key().to_vec(), epoch: token, schemes });
            owners.epochs.push(epoch);
        }
        Some((plan, owners))
    }

    /// Gives the stamps the tokens that were found; those that cannot have one
    /// are dropped.
    fn settle(&self, link: &Link, plan: &LeasePlan, owners: &Owners, replies: &[Reply]) {
        let leased = plan.read(replies);
        for (stamp, found) in owners.epochs.iter().zip(leased.epochs) {
            self.take(link, stamp, found);
        }
        for (stamp, found) in owners.stamps.iter().zip(leased.stamps) {
            let found = found.and_then(|value| token_at(stamp, &value, link));
            if self.take(link, stamp, found)
                && let Some(shared) = stamp.shared()
            {
                shared.note_registered();
            }
        }
    }

    /// Gives a stamp the token that was read over `link`. False if it cannot
    /// be relied on; it is dropped then.
    pub(super) fn take(&self, link: &Link, stamp: &Arc<Stamp>, found: Option<Token>) -> bool {
        let settled = session_of(stamp) == link.session
            && stamp.shared().is_some_and(|shared| shared.settle(found));
        if !settled {
            self.keeper.near.drop_stamp(stamp);
        }
        settled
    }

    /// Drops those stamps whose tokens, read again, have changed.
    fn check(&self, link: &Link, stamps: &[Arc<Stamp>], replies: &[Reply]) {
        for (stamp, reply) in stamps.iter().zip(replies) {
            let found = reply.value().and_then(|value| token_at(stamp, value, link));
            self.take(link, stamp, found);
        }
    }

    /// Waits until the process that fills a fragment has done so, or for as
    /// long as it may take.
    pub(crate) async fn wait_for_holder(&self, prefix: &str, key: FragmentKey, limit: Duration) {
        let until = Instant::now() + limit.min(self.keeper.options.lock_limit);
        let key = lock_key(prefix, key);
        let waiter = self.keeper.waiters.wait_for(&key);
        loop {
            let released = waiter.next();
            let Ok(link) = self.keeper.link().await else { break };
            // Read, so that the server tells when it goes.
            match self.run(&link, &[Command::Get(key.clone())]).await {
                Ok(replies) if replies.first().and_then(Reply::value).is_some() => {}
                _ => break,
            }
            if !self.keeper.happens_before(until, released).await {
                break;
            }
        }
    }

    /// Stores a fragment for all processes, and gives its lock back. Where it
    /// cannot be, it is made again elsewhere: nothing is lost.
    pub(crate) async fn put(
        &self,
        prefix: &str,
        key: FragmentKey,
        fragment: &Fragment,
        lock: Option<HeldLock>,
    ) {
        let options = &self.keeper.options;
        let now = self.time();
        let left = fragment.expires_at().map(|at| Duration::from_micros(at.saturating_sub(now)));
        let limit = left.map_or(options.retention, |left| left.min(options.retention));
        let mut commands = Vec::with_capacity(2);
        if let Some(bytes) = encode(fragment, options.compress_above) {
            commands.push(Command::Set(fragment_key(prefix, key), bytes, Some(limit)));
        }
        self.send_off(commands, lock).await;
    }

    /// Gives the lock of a fill back that has come to nothing.
    pub(crate) async fn release(&self, lock: Option<HeldLock>) {
        self.send_off(Vec::new(), lock).await;
    }

    async fn send_off(&self, mut commands: Vec<Command>, lock: Option<HeldLock>) {
        let key = lock.as_ref().map(|lock| lock.key.clone());
        commands.extend(lock.and_then(HeldLock::release));
        if let Some(link) = self.keeper.link_now() {
            let _ = self.run(&link, &commands).await;
        }
        // The server does not tell a process what it does itself.
        key.iter().for_each(|key| self.keeper.waiters.wake(key));
    }

    /// Drops what an event meets, in the shared store and in memory.
    pub(crate) async fn invalidate(
        &self,
        prefix: &str,
        event: &Event<'_>,
    ) -> Result<Dropped, Error> {
        let under_way = self.keeper.under_way.drop_in(&self.keeper.near);
        loop {
            let why = match self.keeper.link().await {
                Ok(link) => match deliver(&self.keeper, &link, prefix, event).await {
                    Ok(dropped) => {
                        under_way.end();
                        return Ok(dropped);
                    }
                    Err(why) => {
                        self.keeper.lost(link.session, &why);
                        why
                    }
                },
                Err(why) => why,
            };
            // Whatever becomes of it elsewhere: nothing old is served here,
            // since all that memory knows is distrusted now.
            if self.keeper.options.degraded.is_none() {
                return Err(undelivered(&why));
            }
            self.keeper.near.all_changed();
            if self.keeper.keep(&Due::of(prefix, event)) {
                return Ok(Dropped::default());
            }
        }
    }

    /// When one of `tables`, or any at all, was last invalidated, by the
    /// server's clock, in microseconds. Now, if that cannot be known.
    pub(crate) async fn last_invalidation(
        &self,
        prefix: &Prefix,
        tables: &[String],
    ) -> Option<u64> {
        let of = |table: &'_ String| prefix.of(&[table]).into_owned();
        let tables: Vec<(String, &str)> =
            tables.iter().map(|table| (of(table), table.as_str())).collect();
        self.keeper.last_invalidation(&tables).await
    }
}

impl Drop for Tier {
    fn drop(&mut self) {
        self.keeper.stop();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic of its own has been reported by then.
            let _ = thread.join();
        }
    }
}

impl HeldLock {
    /// Gives the lock back by the command that is returned, unless it may have
    /// gone to another by now.
    fn release(mut self) -> Option<Command> {
        self.take_command()
    }

    fn take_command(&mut self) -> Option<Command> {
        let in_time = Instant::now() + Duration::from_millis(50) < self.until;
        let first = !std::mem::replace(&mut self.done, true);
        (first && in_time).then(|| Command::Unlink(vec![self.key.clone()]))
    }
}

impl Drop for HeldLock {
    /// A fill that came to nothing lets the others go on.
    fn drop(&mut self) {
        let Some(command) = self.take_command() else { return };
        let Some(link) = self.keeper.link_now() else { return };
        let (keeper, key) = (self.keeper.clone(), std::mem::take(&mut self.key));
        self.runtime.spawn(async move {
            // If it fails, the lock runs out by itself.
            let _ = link.run(&[command]).await;
            keeper.waiters.wake(&key);
        });
    }
}

/// Whose tokens a plan asks for, in its order.
#[derive(Default)]
struct Owners {
    epochs: Vec<Arc<Stamp>>,
    stamps: Vec<Arc<Stamp>>,
}

pub(super) fn is_epoch(stamp: &Arc<Stamp>) -> bool {
    stamp.shared().is_some_and(|shared| shared.place() == Place::Epoch)
}

/// The stamps that what was read around this point stands on, and those above.
fn read_around() -> Vec<Arc<Stamp>> {
    let mut line = Lineage::of(&record::stamps_around()).stamps;
    line.retain(|stamp| stamp.shared().is_some());
    line
}

/// The session that a stamp belongs to, by the one above all.
pub(super) fn session_of(stamp: &Arc<Stamp>) -> u64 {
    let mut top = stamp.clone();
    while let Some(parent) = top.parent() {
        top = parent.clone();
    }
    top.shared().map_or(0, |shared| shared.session())
}

/// The command that reads a stamp.
pub(super) fn read_command(stamp: &Arc<Stamp>) -> Option<Command> {
    let shared = stamp.shared()?;
    Some(match shared.place() {
        Place::Epoch => Command::HGet(shared.key().to_vec(), EPOCH),
        Place::Everything | Place::Plain => Command::Get(shared.key().to_vec()),
    })
}

/// The token of a stamp in what was read for it.
pub(super) fn token_at(stamp: &Arc<Stamp>, value: &[u8], link: &Link) -> Option<Token> {
    match stamp.shared()?.place() {
        Place::Everything => read_everything(value, link).map(|(token, _)| token),
        Place::Epoch | Place::Plain => Token::read(value),
    }
}

pub(super) fn fragment_key(prefix: &str, key: FragmentKey) -> Vec<u8> {
    [prefix.as_bytes(), b"frag:", &key.digits()].concat()
}

fn lock_key(prefix: &str, key: FragmentKey) -> Vec<u8> {
    [prefix.as_bytes(), b"lock:", &key.digits()].concat()
}

fn undelivered(why: &Why) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!(
            "the invalidation did not reach Redis ({why}), and other processes may serve what it was about: try again, or undo the change; `Redis::degraded` keeps such invalidations instead"
        ),
    )
}

fn unavailable(why: Why) -> Error {
    Error::new(ErrorKind::Unavailable, format!("redis: {why}"))
}
