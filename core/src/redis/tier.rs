//! Lookups, leases, fills and invalidations over the shared store, with process
//! memory in front of it.

use std::collections::HashSet;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::codec::{Lineage, encode};
use super::deliver::deliver;
use super::keeper::{Keeper, SharedStatus, read_everything, write_everything};
use super::link::Link;
use super::options::{Consistency, Redis};
use super::pending::Kept;
use super::search::{Search, Wanted};
use super::{Unfit, Why};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::fragment::Fragment;
use crate::invalidate::{Event, Scheme, registry_key};
use crate::key::FragmentKey;
use crate::observe::Outcome;
use crate::page::{Page, Spot};
use crate::prefix::Prefix;
use crate::protocol::{Command, EPOCH, LeasePlan, Reply, TablePlan, Token};
use crate::record;
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
    ) -> Result<Arc<Fragment>, Outcome> {
        let link = match self.keeper.link().await {
            Ok(link) => link,
            Err(_) if near.is_some() => return Err(Outcome::Distrusted),
            Err(_) => return Err(Outcome::BreakerOpen),
        };
        let mut wanted = vec![Wanted::new(prefix, key, near)];
        for spot in page.map(Page::begin_trip).unwrap_or_default() {
            // What is out for other reasons is seen when it is asked for.
            let near = self.keeper.near.get(&spot.key);
            wanted.push(Wanted::new(spot.prefix.as_deref().unwrap_or(prefix), spot.key, near));
        }
        if let Err(why) = Search::new(self, &link).find(&mut wanted).await {
            self.keeper.lost(link.session, &why);
            return Err(Outcome::Distrusted);
        }
        let mut found = wanted.into_iter().map(|wanted| (wanted.key, wanted.answer()));
        let first = found.next().map_or(Err(Outcome::NoValue), |(_, answer)| answer);
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
        lock: Option<(&str, FragmentKey)>,
        prefix: &Prefix,
    ) -> Option<Leased> {
        let link = self.keeper.link().await.ok()?;
        let stamps = self.keeper.near.lease(scope);
        let line = Lineage::of(&stamps).stamps;
        let (plan, owners) = self.plan(&link, &line, scope, prefix)?;
        let mut commands = plan.commands();
        let locking = lock.map(|(prefix, key)| lock_key(prefix, key));
        if let Some(key) = &locking {
            let limit = self.keeper.options.lock_limit;
            commands.push(Command::SetNx(key.clone(), Vec::new(), Some(limit)));
        }
        let began = Instant::now();
        let writing = self.keeper.begin_write();
        let replies = self.run(&link, &commands).await.ok()?;
        self.settle(&link, &plan, &owners, &replies);
        drop(writing);
        if !link.is_causal || self.keeper.is_dropping() {
            // The stamps around are looked at when this returns: as they are
            // now, and not as the last news left them. Of what this process
            // drops there are no news.
            self.verify(&link, &record::stamps_around()).await.ok()?;
        }
        let is_taken = locking.is_some() && replies.last() == Some(&Reply::Done(false));
        let lock = locking.filter(|_| replies.last() == Some(&Reply::Done(true))).map(|key| {
            let until = began + self.keeper.options.lock_limit;
            let (keeper, runtime) = (self.keeper.clone(), self.runtime.clone());
            HeldLock { key, until, keeper, runtime, done: false }
        });
        Some(Leased { stamps, is_taken, lock })
    }

    pub(super) async fn run(&self, link: &Link, commands: &[Command]) -> Result<Vec<Reply>, Why> {
        let replies = link.run(commands).await;
        if let Err(why) = &replies {
            self.keeper.lost(link.session, why);
        }
        replies
    }

    /// What has to be registered and read for those stamps of a lineage whose
    /// tokens are not known; and whose they are, in the order of the plan.
    fn plan(
        &self,
        link: &Link,
        line: &[Arc<Stamp>],
        scope: &Scope<'_>,
        prefix: &Prefix,
    ) -> Option<(LeasePlan, Owners)> {
        let mut plan = LeasePlan::default();
        let mut owners = Owners::default();
        let unknown = |stamp: &Arc<Stamp>| stamp.shared().is_some_and(|s| s.token().is_none());
        let mut epochs: Vec<Arc<Stamp>> = Vec::new();
        for stamp in line.iter().filter(|stamp| unknown(stamp)) {
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
                    plan.stamps.push((shared.key().to_vec(), write_everything(token, link), None));
                }
            }
            owners.stamps.push(stamp.clone());
        }
        let mut seen = HashSet::new();
        epochs.retain(|epoch| seen.insert(Arc::as_ptr(epoch)));
        for epoch in epochs {
            let Some(shared) = epoch.shared() else { continue };
            let of = |dnf: &&crate::queryset::TableDnf| {
                registry_key(&prefix.of(&[&dnf.table]), &dnf.table).as_bytes() == shared.key()
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
            self.take(link, stamp, found.and_then(|value| token_at(stamp, &value, link)));
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

    /// Reads the tokens of stamps again, and drops those that have changed.
    async fn verify(&self, link: &Arc<Link>, stamps: &[Arc<Stamp>]) -> Result<(), Why> {
        let line = Lineage::of(stamps).stamps;
        let reads: Vec<Command> = line.iter().filter_map(read_command).collect();
        let replies = self.run(link, &reads).await?;
        for (stamp, reply) in line.iter().zip(&replies) {
            let found = reply.value().and_then(|value| token_at(stamp, value, link));
            self.take(link, stamp, found);
        }
        Ok(())
    }

    /// Waits until the process that fills a fragment has done so, or for as
    /// long as it may take.
    pub(crate) async fn wait_for_holder(&self, prefix: &str, key: FragmentKey, limit: Duration) {
        let until = Instant::now() + limit.min(self.keeper.options.lock_limit);
        let key = lock_key(prefix, key);
        let waiter = self.keeper.wait_for(&key);
        loop {
            let released = waiter.notified();
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
        self.keeper.stop_waiting(&key, waiter);
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
        key.iter().for_each(|key| self.keeper.wake(key));
    }

    /// Drops what an event meets, in the shared store and in memory.
    pub(crate) async fn invalidate(
        &self,
        prefix: &Prefix,
        event: &Event<'_>,
    ) -> Result<Dropped, Error> {
        let place = match event {
            Event::Rows { table, .. } | Event::Table(table) => prefix.of(&[table]),
            Event::Name(_) | Event::Variant(..) => prefix.of(&[]),
            Event::Everything => prefix.fixed().into(),
        };
        loop {
            let why = match self.keeper.link().await {
                Ok(link) => match deliver(&self.keeper, &link, &place, event).await {
                    Ok(dropped) => return Ok(dropped),
                    Err(why) => {
                        self.keeper.lost(link.session, &why);
                        why
                    }
                },
                Err(why) => why,
            };
            // Whatever becomes of it elsewhere: nothing old is served here.
            self.keeper.near.all_changed();
            if self.keeper.options.degraded.is_none() {
                return Err(undelivered(&why));
            }
            if self.keeper.keep(&Kept::of(&place, event)) {
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
            keeper.wake(&key);
        });
    }
}

/// Whose tokens a plan asks for, in its order.
#[derive(Default)]
struct Owners {
    epochs: Vec<Arc<Stamp>>,
    stamps: Vec<Arc<Stamp>>,
}

fn is_epoch(stamp: &Arc<Stamp>) -> bool {
    stamp.shared().is_some_and(|shared| shared.place() == Place::Epoch)
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
        Place::Everything => read_everything(value, link),
        Place::Epoch | Place::Plain => Token::read(value),
    }
}

pub(super) fn fragment_key(prefix: &str, key: FragmentKey) -> Vec<u8> {
    format!("{prefix}frag:{key}").into_bytes()
}

fn lock_key(prefix: &str, key: FragmentKey) -> Vec<u8> {
    format!("{prefix}lock:{key}").into_bytes()
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
