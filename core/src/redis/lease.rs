//! Taking the stamps of a fill, and its lock.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Why;
use super::codec::Lineage;
use super::keeper::{Keeper, write_everything};
use super::link::Link;
use super::tier::{Tier, is_epoch, read_command, token_at};
use super::under_way::Writing;
use crate::invalidate::{Scheme, registry_key};
use crate::key::FragmentKey;
use crate::protocol::{Command, LeasePlan, Reply, TablePlan, Token, is_leased};
use crate::record;
use crate::store::{Place, Scope, SharedStamp, Stamp};

/// The stamps of a fill, and the lock that it holds.
pub(crate) struct Leased {
    pub(crate) stamps: Vec<Arc<Stamp>>,
    /// Whether another process fills the same fragment.
    pub(crate) is_taken: bool,
    pub(crate) lock: Option<HeldLock>,
}

/// A lease under way: its commands go with others, or by themselves, and what
/// they find is settled before anything else is made of the replies. Dropped,
/// it gives its lock back.
pub(crate) struct Leasing<'a> {
    tier: &'a Tier,
    link: &'a Arc<Link>,
    stamps: Vec<Arc<Stamp>>,
    /// Those of them and above them that are leased already.
    leased: Vec<Arc<Stamp>>,
    plan: LeasePlan,
    owners: Owners,
    /// What is begun is noted to begin now, by the server's clock.
    now: u64,
    /// The key of the lock that is asked for.
    lock: Option<Vec<u8>>,
    /// The lock, if it was got.
    held: Option<HeldLock>,
    is_taken: bool,
    /// Stamps of what was read around, of which there may be no news.
    around: Vec<Arc<Stamp>>,
    /// Where among the commands the plan is.
    planned: Range<usize>,
    began: Instant,
    writing: Option<Writing<'a>>,
}

/// Whose tokens a plan asks for, in its order.
#[derive(Default)]
struct Owners {
    epochs: Vec<Arc<Stamp>>,
    stamps: Vec<Arc<Stamp>>,
}

impl<'a> Leasing<'a> {
    /// Puts the stamps in their places, before anything is asked; `lock` names
    /// the fragment whose lock is asked for. `None` where the system has no
    /// randomness for tokens.
    pub(crate) fn begin(
        tier: &'a Tier,
        link: &'a Arc<Link>,
        scope: &Scope<'_>,
        lock: Option<FragmentKey>,
    ) -> Option<Self> {
        let keeper = &*tier.keeper;
        let stamps = keeper.near.lease(scope);
        let line = Lineage::of(&stamps);
        let (leased, new) = line.stamps().cloned().partition(has_lease);
        let mut leasing = Leasing {
            tier,
            link,
            stamps,
            leased,
            plan: LeasePlan::default(),
            owners: Owners::default(),
            now: tier.time(),
            lock: lock.map(|key| lock_key(&scope.prefixes.whole, key)),
            held: None,
            is_taken: false,
            around: if link.may_lose_news() { read_around() } else { Vec::new() },
            planned: 0..0,
            began: Instant::now(),
            writing: Some(keeper.under_way.write(&keeper.near)),
        };
        leasing.plan_stamps(&new)?;
        leasing.plan_epochs(&new, scope)?;
        Some(leasing)
    }

    /// What has to be written and read for plain keys.
    fn plan_stamps(&mut self, new: &[Arc<Stamp>]) -> Option<()> {
        let retention = Some(self.tier.keeper.options.retention);
        for stamp in new {
            let Some(shared) = stamp.shared() else { continue };
            let (value, limit) = match shared.place() {
                Place::Epoch => continue,
                Place::Plain => (Token::random()?.as_bytes().to_vec(), retention),
                Place::Everything => {
                    (write_everything(Token::random()?, self.link, self.now), None)
                }
            };
            self.plan.stamps.push((shared.key().clone(), value, limit));
            self.owners.stamps.push(stamp.clone());
        }
        Some(())
    }

    /// What has to be registered: the schemes of all tables of which a stamp is
    /// new, be it of the table or of a conjunction.
    fn plan_epochs(&mut self, new: &[Arc<Stamp>], scope: &Scope<'_>) -> Option<()> {
        let mut seen = HashSet::new();
        for stamp in new {
            let epoch = if is_epoch(stamp) { Some(stamp) } else { stamp.parent() };
            let Some(epoch) = epoch.filter(|epoch| is_epoch(epoch)) else { continue };
            let Some(shared) = epoch.shared() else { continue };
            if seen.insert(Arc::as_ptr(epoch)) {
                self.plan.tables.push(TablePlan {
                    registry: shared.key().clone(),
                    epoch: Token::random()?,
                    schemes: schemes_of(shared, scope),
                });
                self.owners.epochs.push(epoch.clone());
            }
        }
        Some(())
    }

    /// The stamps that no command of this lease reads.
    pub(crate) fn leased(&self) -> &[Arc<Stamp>] {
        &self.leased
    }

    /// The stamps that its commands read.
    pub(crate) fn new_stamps(&self) -> impl Iterator<Item = &Arc<Stamp>> {
        self.owners.epochs.iter().chain(&self.owners.stamps)
    }

    /// What has to be sent.
    pub(crate) fn commands(&mut self) -> Vec<Command> {
        let keeper = &self.tier.keeper;
        let mut commands = Vec::new();
        if self.owners.stamps.iter().any(|stamp| stamp.parent().is_none()) {
            commands.push(keeper.times.begin(keeper, self.now));
        }
        let planned = self.plan.commands();
        self.planned = commands.len()..commands.len() + planned.len();
        commands.extend(planned);
        let limit = Some(keeper.options.lock_limit);
        let lock = self.lock.as_deref();
        commands.extend(lock.map(|key| Command::SetNx(key.into(), Vec::new(), limit)));
        commands.extend(self.around.iter().filter_map(read_command));
        commands
    }

    /// Takes in the replies to [`commands`](Self::commands), and tells the
    /// token that was found for each stamp.
    pub(crate) fn settle(
        &mut self,
        replies: &[Reply],
        mut tell: impl FnMut(&Arc<Stamp>, Option<Token>),
    ) -> Result<(), Why> {
        let (before, rest) = replies
            .split_at_checked(self.planned.end)
            .ok_or_else(|| Why::new("an answer is missing"))?;
        self.settle_plan(&before[self.planned.start..], &mut tell);
        let (lock, around) = rest.split_at(rest.len().min(usize::from(self.lock.is_some())));
        match lock.first() {
            Some(Reply::Done(true)) => self.held = self.hold(),
            Some(Reply::Done(false)) => self.is_taken = true,
            _ => {}
        }
        self.tier.check(self.link, &self.around, around);
        self.writing.take().into_iter().for_each(Writing::end);
        Ok(())
    }

    /// The lock that was asked for.
    fn hold(&self) -> Option<HeldLock> {
        let keeper = self.tier.keeper.clone();
        let until = self.began + keeper.options.lock_limit;
        let (key, runtime) = (self.lock.clone()?, self.tier.runtime.clone());
        Some(HeldLock { key, until, keeper, runtime, done: false })
    }

    /// Gives the stamps the tokens that were found; those that cannot have one
    /// are dropped.
    fn settle_plan(&self, replies: &[Reply], tell: &mut impl FnMut(&Arc<Stamp>, Option<Token>)) {
        let leased = self.plan.read(replies);
        for (stamp, found) in self.owners.epochs.iter().zip(leased.epochs) {
            self.tier.take(self.link, stamp, found);
            tell(stamp, found);
        }
        for (stamp, found) in self.owners.stamps.iter().zip(leased.stamps) {
            let found = found.and_then(|value| token_at(stamp, &value, self.link));
            if self.tier.take(self.link, stamp, found)
                && let Some(shared) = stamp.shared()
            {
                shared.note_registered();
            }
            tell(stamp, found);
        }
    }

    /// What came of it, for a fill that begins now.
    pub(crate) async fn finish(self) -> Option<Leased> {
        if !self.link.is_causal || self.tier.keeper.under_way.is_dropping() {
            // The stamps around are looked at when this returns: as they are
            // now, and not as the last news left them. Of what this process
            // drops there are no news.
            let around = read_around();
            let reads: Vec<Command> = around.iter().filter_map(read_command).collect();
            let replies = self.tier.run(self.link, &reads).await.ok()?;
            self.tier.check(self.link, &around, &replies);
        }
        Some(Leased { stamps: self.stamps, is_taken: self.is_taken, lock: self.held })
    }
}

/// Whether this process has leased a stamp already.
fn has_lease(stamp: &Arc<Stamp>) -> bool {
    let has_scheme = stamp.parent().is_some_and(is_epoch);
    let known = |shared: &SharedStamp| (shared.token(), shared.is_registered());
    let known = stamp.shared().map(known);
    known.is_none_or(|(token, registered)| is_leased(token, has_scheme, registered))
}

/// The schemes of a table, as fields of its registry.
fn schemes_of(registry: &SharedStamp, scope: &Scope<'_>) -> Vec<Vec<u8>> {
    let of = |table: &str| registry_key(scope.prefixes.of(table), table);
    let tables = scope.tables.iter().filter(|dnf| *of(&dnf.table).as_bytes() == **registry.key());
    let conjunctions = tables.flat_map(|dnf| &dnf.conjunctions);
    let mut schemes: Vec<Vec<u8>> =
        conjunctions.map(|conjunction| Scheme::of(conjunction).field()).collect();
    schemes.sort_unstable();
    schemes.dedup();
    schemes
}

/// The stamps that what was read around this point stands on, and those above.
fn read_around() -> Vec<Arc<Stamp>> {
    let line = Lineage::of(&record::stamps_around());
    line.stamps().filter(|stamp| stamp.shared().is_some()).cloned().collect()
}

pub(super) fn lock_key(prefix: &str, key: FragmentKey) -> Vec<u8> {
    [prefix.as_bytes(), b"lock:", &key.digits()].concat()
}

/// A lock on the filling of a fragment; given back when it is dropped.
pub(crate) struct HeldLock {
    pub(super) key: Vec<u8>,
    until: Instant,
    keeper: Arc<Keeper>,
    runtime: tokio::runtime::Handle,
    done: bool,
}

impl HeldLock {
    /// Gives the lock back by the command that is returned, unless it may have
    /// gone to another by now.
    pub(super) fn release(mut self) -> Option<Command> {
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
