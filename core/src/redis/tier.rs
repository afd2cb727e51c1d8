//! Lookups, leases, fills and invalidations over the shared store, with process
//! memory in front of it.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::abandoned::AbandonedBatch;
use super::bounded_map::{BoundedMap, Weight};
use super::bulk::LARGE;
use super::codec::encode;
use super::error::{LinkError, SetupError};
use super::fill_lock::FillLock;
use super::keys::{fragment_key, lock_key};
use super::lease::{LeaseInProgress, Leased};
use super::lengths::MOST_AHEAD;
use super::link::Link;
use super::master_check::MasterCheck;
use super::options::Redis;
use super::revalidation::PreparedRevalidations;
use super::rights::Rights;
use super::search::{Entry, Search};
use super::state::{Parts, SharedState};
use super::status::SharedStatus;
use super::supervisor::supervise;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::fragment::Fragment;
use crate::key::FragmentKey;
use crate::observe::Outcome;
use crate::observe::observers::Delivered;
use crate::prefix::Prefix;
use crate::protocol::{Command, Reply};
use crate::queryset::LeaseScope;
use crate::read::page::{FragmentRef, Page};
use crate::store::MemoryStore;
use crate::write::keys::Event;

/// The shared tier: Redis, and the supervisor that keeps the connection to it.
pub(crate) struct Tier {
    pub(super) state: Arc<SharedState>,
    thread: Option<JoinHandle<()>>,
    /// For the fragment that led a round trip: the fragments that followed it on the
    /// page.
    prefetch_lists: BoundedMap<FragmentKey, Arc<[FragmentRef]>>,
    revalidations: PreparedRevalidations,
}

/// What came of looking for a fragment, and of taking the stamps to fill it
/// with.
pub(crate) enum LookupResult {
    Found(Arc<Fragment>),
    /// It is to be made, for want of what is said.
    Leased(Leased, Outcome),
}

impl Weight for Arc<[FragmentRef]> {
    fn weight(&self) -> usize {
        let prefix =
            |fragment: &FragmentRef| fragment.prefix.as_ref().map_or(0, |prefix| prefix.len());
        self.iter().map(|fragment| size_of::<FragmentRef>() + prefix(fragment)).sum()
    }
}

impl Tier {
    /// Connects, and starts the supervisor.
    pub(crate) fn start(
        options: Redis,
        near: Arc<MemoryStore>,
        prefix: &Prefix,
        clock: Option<Arc<dyn Clock>>,
    ) -> Result<Self, Error> {
        options.check()?;
        let failed = |error: std::io::Error| {
            SetupError::unavailable(format!("its thread cannot be started: {error}"))
        };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let prefetch_lists = BoundedMap::beside(near.limit());
        let revalidations = PreparedRevalidations::beside(near.limit());
        let parts = Parts { near, options, runtime: runtime.handle().clone(), clock };
        let state = Arc::new(SharedState::new(parts, prefix));
        let rights = Rights::new(prefix.fixed(), prefix.is_computed());
        let (sender, first_outcome) = std::sync::mpsc::sync_channel(1);
        let of_supervisor = state.clone();
        let life = move || {
            let first = move |outcome| {
                // This fails only if the caller is gone.
                let _ = sender.send(outcome);
            };
            runtime.block_on(supervise(of_supervisor, rights, first));
            // A call that still blocks, such as the lookup of a host name, delays nobody.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("cacheops-redis".into()).spawn(life);
        let thread = Some(thread.map_err(failed)?);
        let tier = Tier { state, thread, prefetch_lists, revalidations };
        match first_outcome.recv() {
            Ok(Ok(())) => Ok(tier),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(SetupError::unavailable("its thread has ended").into()),
        }
    }

    pub(crate) fn status(&self) -> SharedStatus {
        self.state.status()
    }

    /// What is remembered beside the fragments, in bytes, roughly.
    pub(crate) fn bookkeeping(&self) -> u64 {
        self.prefetch_lists.bytes() + self.revalidations.bytes() + self.state.registries.bytes()
    }

    /// The time by the server's clock, in microseconds since 1970.
    pub(crate) fn time(&self) -> u64 {
        self.state.clock.now()
    }

    pub(crate) fn is_strict(&self) -> bool {
        self.state.options.is_strict()
    }

    /// How long what was asked counts.
    pub(crate) fn bound(&self) -> Duration {
        self.state.options.bound()
    }

    /// Whether a fragment whose stamps are current may be served from memory.
    pub(crate) fn is_trusted(&self) -> bool {
        !self.is_strict() && self.state.is_trusted()
    }

    /// Whether all news of changes older than the bound have been heard.
    pub(crate) fn is_informed(&self) -> bool {
        self.state.is_trusted()
    }

    /// Hears all news up to now, if the line holds.
    pub(crate) async fn renew_trust(&self) {
        if let Some(link) = self.state.link_now() {
            // What comes of it is seen in `is_trusted`.
            let _ = self.state.heartbeat(&link).await;
        }
    }

    /// Asks the shared store whether a fragment in memory holds.
    pub(crate) async fn revalidate(
        &self,
        prefix: &str,
        key: FragmentKey,
        near: Arc<Fragment>,
        page: Option<&Page>,
    ) -> Result<Arc<Fragment>, Outcome> {
        let link = self.state.link().await.map_err(|_| Outcome::Unverified)?;
        let check = self.state.begin_lookup_check();
        let mut search = Search::new(&self.state, &link);
        if search.was_invalidated(&near) {
            return Err(Outcome::StampChanged);
        }
        let (since, fragments) = (Instant::now(), page.map(Page::begin_trip).unwrap_or_default());
        if fragments.is_empty()
            && near.has_current_stamps()
            && let Some(revalidation) = self.revalidations.of(&key, &near)
        {
            let verdict = revalidation
                .run(&self.state.near, &link)
                .await
                .map_err(|error| self.disconnect(&link, &error))?;
            self.confirm_master(&link, &check).await?;
            return verdict.outcome().map_or(Ok(near), Err);
        }
        let leader = Entry::new(prefix, key, Some(near));
        let mut wanted = self.with_followers(leader, prefix, &fragments);
        search.find(&mut wanted, None).await.map_err(|error| self.disconnect(&link, &error))?;
        self.confirm_master(&link, &check).await?;
        bring(page, since, wanted)
    }

    /// What has just been made, under stamps that are current, if it still holds.
    /// Pushes drop stamps for less than a change, as when a fill inside registers
    /// a scheme of the same table; the tokens tell.
    pub(crate) async fn restamp_if_current(&self, made: &Fragment) -> Option<Fragment> {
        let link = self.state.link_now()?;
        let check = self.state.begin_lookup_check();
        let remade = Search::new(&self.state, &link).restamp_if_current(made).await;
        let remade = remade.map_err(|error| self.disconnect(&link, &error)).ok()?;
        self.confirm_master(&link, &check).await.ok()?;
        remade
    }

    /// Asks the shared store for a fragment, and takes the stamps to fill it
    /// with in the same trip. `was` is what does not hold any more: what it was
    /// made from is likely what it is made from. What `holds` refuses is not
    /// found.
    pub(crate) async fn find_or_lease(
        &self,
        scope: &LeaseScope<'_>,
        key: FragmentKey,
        lock: bool,
        was: Option<&Fragment>,
        page: Option<&Page>,
        holds: impl Fn(&Fragment) -> Result<(), Outcome>,
    ) -> Result<LookupResult, Outcome> {
        let prefix = &*scope.prefixes.combined;
        let link = self.state.link().await.map_err(|_| Outcome::BreakerOpen)?;
        let check = self.state.begin_lookup_check();
        let mut search = Search::new(&self.state, &link);
        let leasing = LeaseInProgress::begin(&self.state, &link, scope, lock.then_some(key));
        let mut leasing = leasing.ok_or(Outcome::BreakerOpen)?;
        let (since, fragments) = (Instant::now(), page.map(Page::begin_trip).unwrap_or_default());
        let leader = search.anew(prefix, key, was);
        let mut wanted = self.with_followers(leader, prefix, &fragments);
        let found = search.find(&mut wanted, Some(&mut leasing)).await;
        found.map_err(|error| self.disconnect(&link, &error))?;
        self.confirm_master(&link, &check).await?;
        let found = bring(page, since, wanted);
        let outcome = match found.and_then(|fragment| holds(&fragment).map(|()| fragment)) {
            Ok(fragment) => return Ok(LookupResult::Found(fragment)),
            Err(outcome) => outcome,
        };
        if leasing.has_lost() {
            leasing = self.lease_again(&link, scope, leasing).await.ok_or(Outcome::BreakerOpen)?;
        }
        let leased = leasing.finish().await.ok_or(Outcome::BreakerOpen)?;
        Ok(LookupResult::Leased(leased, outcome))
    }

    /// Leases once more what was thought to be leased, and has been found not
    /// to be there: else the fill would be in vain.
    async fn lease_again<'a>(
        &'a self,
        link: &'a Arc<Link>,
        scope: &LeaseScope<'a>,
        mut before: LeaseInProgress<'a>,
    ) -> Option<LeaseInProgress<'a>> {
        let mut leasing = LeaseInProgress::begin(&self.state, link, scope, None)?;
        self.send_lease(link, &mut leasing).await?;
        leasing.take_over(&mut before);
        Some(leasing)
    }

    async fn send_lease(&self, link: &Link, leasing: &mut LeaseInProgress<'_>) -> Option<()> {
        let replies = self.state.run(link, &leasing.commands()).await.ok()?;
        let settled = leasing.settle(&replies, |_, _| {});
        settled.map_err(|error| self.disconnect(link, &error)).ok()
    }

    /// A fragment that leads a trip, and what it brings along.
    fn with_followers<'p>(
        &self,
        leader: Entry<'p>,
        prefix: &'p str,
        fragments: &'p [FragmentRef],
    ) -> Vec<Entry<'p>> {
        let mut wanted = Vec::with_capacity(1 + fragments.len());
        wanted.push(leader);
        let mut room = MOST_AHEAD;
        wanted.extend(fragments.iter().filter_map(|fragment| {
            // What is out for other reasons is seen when it is asked for.
            let near = self.state.near.get(&fragment.key);
            // Of what is in memory and holds, only the stamps are read.
            if !near.as_ref().is_some_and(|near| near.has_current_stamps()) {
                room = room.checked_sub(self.state.lengths.of(&fragment.key))?;
            }
            Some(Entry::new(fragment.prefix.as_deref().unwrap_or(prefix), fragment.key, near))
        }));
        wanted
    }

    /// Gives the link up unless it leads to the check: what was found there
    /// counts for nothing.
    async fn confirm_master(&self, link: &Link, check: &MasterCheck) -> Result<(), Outcome> {
        let confirmed = self.state.confirm_master(link, check).await;
        confirmed.map_err(|error| self.disconnect(link, &error.into()))
    }

    /// Gives the line up; what is in memory cannot be trusted then.
    fn disconnect(&self, link: &Link, error: &LinkError) -> Outcome {
        self.state.disconnect(link.session, error);
        Outcome::Unverified
    }

    /// What followed a fragment on the last page that asked for it.
    pub(crate) fn prefetch_list(&self, key: &FragmentKey) -> Arc<[FragmentRef]> {
        self.prefetch_lists.get(key).unwrap_or_default()
    }

    pub(crate) fn remember_prefetch_list(&self, key: FragmentKey, prefetch_list: Vec<FragmentRef>) {
        if self.prefetch_lists.get(&key).is_none_or(|known| *known != *prefetch_list) {
            self.prefetch_lists.insert(key, prefetch_list.into());
        }
    }

    /// What lies in the shared store, and whether it holds; for inspection.
    pub(crate) async fn peek(
        &self,
        prefix: &str,
        key: FragmentKey,
    ) -> Result<Option<(Arc<Fragment>, usize, bool)>, Error> {
        let link = self.state.link().await.map_err(unavailable)?;
        let check = self.state.begin_lookup_check();
        let wanted = Entry::new(prefix, key, None);
        let found = Search::new(&self.state, &link).peek(wanted).await.map_err(unavailable)?;
        let confirmed = self.state.confirm_master(&link, &check).await;
        confirmed.map_err(|error| unavailable(error.into()))?;
        Ok(found)
    }

    /// Takes the stamps of a fill, and its lock if `lock` names one.
    pub(crate) async fn lease(
        &self,
        scope: &LeaseScope<'_>,
        lock: Option<FragmentKey>,
    ) -> Option<Leased> {
        let link = self.state.link().await.ok()?;
        let mut leasing = LeaseInProgress::begin(&self.state, &link, scope, lock)?;
        self.send_lease(&link, &mut leasing).await?;
        if leasing.has_lost() {
            leasing = self.lease_again(&link, scope, leasing).await?;
        }
        leasing.finish().await
    }

    /// Waits until the process that fills a fragment has done so, or for as
    /// long as it may take.
    pub(crate) async fn wait_for_holder(&self, prefix: &str, key: FragmentKey, limit: Duration) {
        let until = Instant::now() + limit.min(self.state.options.lock_limit);
        let key = lock_key(prefix, key);
        let waiter = self.state.waiters.wait_for(&key);
        loop {
            let released = waiter.next();
            let Ok(link) = self.state.link().await else { break };
            // Read, so that the server tells when it goes.
            match self.state.run(&link, &[Command::Get(key.as_slice().into())]).await {
                Ok(replies) if replies.first().and_then(Reply::value).is_some() => {}
                _ => break,
            }
            if !self.state.happens_before(until, released).await {
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
        lock: Option<FillLock>,
    ) {
        let options = &self.state.options;
        self.state.lengths.note(key, fragment.len());
        let now = self.time();
        let left = fragment.expires_at().map(|at| Duration::from_micros(at.saturating_sub(now)));
        let limit = left.map_or(options.retention, |left| left.min(options.retention));
        let mut commands = Vec::with_capacity(2);
        let bytes = encode(key, fragment, options.compress_above);
        match bytes.filter(|bytes| bytes.len() <= options.value_limit) {
            Some(bytes) if bytes.len() >= LARGE => {
                if let Some(link) = self.state.link_now() {
                    link.store(fragment_key(prefix, key), bytes, Some(limit)).await;
                }
            }
            Some(bytes) => {
                commands.push(Command::Set(fragment_key(prefix, key), bytes, Some(limit)))
            }
            None => {}
        }
        self.send_off(commands, lock).await;
    }

    /// Gives the lock of a fill back that has come to nothing.
    pub(crate) async fn release(&self, lock: Option<FillLock>) {
        self.send_off(Vec::new(), lock).await;
    }

    async fn send_off(&self, mut commands: Vec<Command>, lock: Option<FillLock>) {
        let key = lock.as_ref().map(|lock| lock.key.clone());
        commands.extend(lock.and_then(FillLock::release));
        if let Some(link) = self.state.link_now() {
            let _ = self.state.run(&link, &commands).await;
        }
        // The server does not tell a process what it does itself.
        key.iter().for_each(|key| self.state.waiters.wake(key));
    }

    /// Drops what an event meets, in the shared store and in memory.
    pub(crate) async fn invalidate(
        &self,
        prefix: &str,
        event: &Event<'_>,
    ) -> Result<Delivered, Error> {
        self.state.invalidate(prefix, event).await
    }

    /// Leaves invalidations to the thread that keeps the connection.
    pub(crate) fn abandon(&self, batch: AbandonedBatch) {
        self.state.abandoned.push(batch);
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
        self.state.last_invalidation(&tables).await
    }
}

impl Drop for Tier {
    fn drop(&mut self) {
        let thread = self.thread.take();
        if self.state.owner.is_other_process() {
            // It is not there to be waited for.
            std::mem::forget(thread);
            return;
        }
        self.state.stop();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic of its own has been reported by then.
            let _ = thread.join();
        }
    }
}

/// What was found of the fragment that led a trip; the page gets the rest.
fn bring(
    page: Option<&Page>,
    since: Instant,
    wanted: Vec<Entry<'_>>,
) -> Result<Arc<Fragment>, Outcome> {
    let mut found = wanted.into_iter().map(|wanted| (wanted.key, wanted.result()));
    let first = found.next().map_or(Err(Outcome::NoValue), |(_, answer)| answer);
    if let Some(page) = page {
        found.for_each(|(key, answer)| page.add_prefetched(key, since, answer));
    }
    first
}

fn unavailable(error: LinkError) -> Error {
    Error::new(ErrorKind::Unavailable, format!("redis: {error}"))
}
