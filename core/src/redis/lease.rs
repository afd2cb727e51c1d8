//! Taking the stamps of a fill, and its lock.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::LinkError;
use super::codec::Lineage;
use super::link::Link;
use super::state::{SharedState, write_everything};
use super::tier::{Tier, is_epoch, read_command, token_at, token_in};
use crate::key::FragmentKey;
use crate::protocol::{Command, LeasePlan, Reply, TablePlan, Token, is_leased};
use crate::read::page::Page;
use crate::read::recorder;
use crate::store::{LeaseScope, SharedStamp, Stamp, StampKind, StoreLease};
use crate::write::keys::{Scheme, registry_key};

/// The stamps of a fill, and the lock that it holds.
pub(crate) struct Leased {
    pub(crate) stamps: Vec<Arc<Stamp>>,
    /// Whether another process fills the same fragment.
    pub(crate) is_taken: bool,
    pub(crate) lock: Option<FillLock>,
    /// Whether what was read around is unchanged, whatever news have said of
    /// it: they also come of what this process writes itself.
    pub(crate) around_holds: bool,
}

/// A lease under way: its commands go with others, or by themselves, and what
/// they find is settled before anything else is made of the replies. Dropped,
/// it gives its lock back.
pub(crate) struct LeaseInProgress<'a> {
    tier: &'a Tier,
    link: &'a Arc<Link>,
    stamps: Vec<Arc<Stamp>>,
    /// Those of them and above them that are leased already.
    leased: Vec<Arc<Stamp>>,
    plan: LeasePlan,
    owners: Owners,
    /// What is begun is noted to begin now, by the server's clock.
    now: u64,
    /// The lock that is asked for.
    lock: Option<FillLock>,
    is_taken: bool,
    /// Whether all stamps were found, and all schemes registered.
    is_granted: bool,
    /// The page that asks.
    page: Option<&'a Page>,
    /// Where among the commands the plan is.
    planned: Range<usize>,
}

/// Whose tokens a plan asks for, in its order.
#[derive(Default)]
struct Owners {
    epochs: Vec<Arc<Stamp>>,
    stamps: Vec<Arc<Stamp>>,
}

impl<'a> LeaseInProgress<'a> {
    /// Puts the stamps in their places, before anything is asked; `lock` names
    /// the fragment whose lock is asked for. `None` where the system has no
    /// randomness for tokens.
    pub(crate) fn begin(
        tier: &'a Tier,
        link: &'a Arc<Link>,
        scope: &LeaseScope<'a>,
        lock: Option<FragmentKey>,
    ) -> Option<Self> {
        let state = &*tier.state;
        let StoreLease { stamps, tables } = state.near.lease(scope);
        let page = scope.page;
        let scope = &LeaseScope { tables: &tables, ..*scope };
        let line = Lineage::of(&stamps);
        let (leased, new) = line.stamps().cloned().partition(has_lease);
        let mut leasing = LeaseInProgress {
            tier,
            link,
            stamps,
            leased,
            plan: LeasePlan::default(),
            owners: Owners::default(),
            now: tier.time(),
            lock: None,
            is_taken: false,
            is_granted: true,
            page,
            planned: 0..0,
        };
        leasing.plan_stamps(&new)?;
        leasing.plan_epochs(&new, scope)?;
        if let Some(key) = lock {
            leasing.lock = Some(FillLock::ask(tier, lock_key(&scope.prefixes.combined, key))?);
        }
        Some(leasing)
    }

    /// What has to be written and read for plain keys.
    fn plan_stamps(&mut self, new: &[Arc<Stamp>]) -> Option<()> {
        let retention = Some(self.tier.state.options.retention);
        for stamp in new {
            let Some(shared) = stamp.shared() else { continue };
            let (value, limit) = match shared.kind() {
                StampKind::Epoch => continue,
                StampKind::Plain => (Token::random()?.as_bytes().to_vec(), retention),
                StampKind::Everything => {
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
    fn plan_epochs(&mut self, new: &[Arc<Stamp>], scope: &LeaseScope<'_>) -> Option<()> {
        let options = &self.tier.state.options;
        let until = lifetime_of_registries(self.tier.state.server_time(), options.retention);
        let mut seen = HashSet::new();
        for stamp in new {
            let epoch = if is_epoch(stamp) { Some(stamp) } else { stamp.parent() };
            let Some(epoch) = epoch.filter(|epoch| is_epoch(epoch)) else { continue };
            let Some(shared) = epoch.shared() else { continue };
            if seen.insert(Arc::as_ptr(epoch)) {
                self.plan.tables.push(TablePlan {
                    registry: shared.key().clone(),
                    epoch: Token::random()?,
                    until,
                    schemes: schemes_of(shared, scope),
                });
                self.owners.epochs.push(epoch.clone());
            }
        }
        Some(())
    }

    /// The stamps that there was nothing to register for.
    pub(crate) fn leased(&self) -> &[Arc<Stamp>] {
        &self.leased
    }

    /// The stamps that its commands read.
    pub(crate) fn new_stamps(&self) -> impl Iterator<Item = &Arc<Stamp>> {
        self.owners.epochs.iter().chain(&self.owners.stamps)
    }

    /// What has to be sent.
    pub(crate) fn commands(&mut self) -> Vec<Command> {
        let state = &self.tier.state;
        let mut commands = Vec::new();
        if self.owners.stamps.iter().any(|stamp| stamp.parent().is_none()) {
            commands.push(state.times.begin(state, self.now));
        }
        let planned = self.plan.commands();
        self.planned = commands.len()..commands.len() + planned.len();
        commands.extend(planned);
        commands.extend(self.lock.as_ref().map(FillLock::command));
        commands
    }

    /// Takes in the replies to [`commands`](Self::commands), and tells the
    /// token that was found for each stamp.
    pub(crate) fn settle(
        &mut self,
        replies: &[Reply],
        mut tell: impl FnMut(&Arc<Stamp>, Option<Token>),
    ) -> Result<(), LinkError> {
        let (before, rest) = replies
            .split_at_checked(self.planned.end)
            .ok_or_else(|| LinkError::new("an answer is missing"))?;
        self.settle_plan(&before[self.planned.start..], &mut tell)?;
        let lock = rest.first().filter(|_| self.lock.is_some());
        self.is_taken = lock == Some(&Reply::Done(false));
        self.lock = self.lock.take().and_then(|asked| asked.answered(lock));
        Ok(())
    }

    /// Gives the stamps the tokens that were found; those that cannot have one
    /// are dropped.
    fn settle_plan(
        &mut self,
        replies: &[Reply],
        tell: &mut impl FnMut(&Arc<Stamp>, Option<Token>),
    ) -> Result<(), LinkError> {
        let leased = self.plan.read(replies);
        for (stamp, found) in self.owners.epochs.iter().zip(leased.epochs) {
            self.tier.take(self.link, stamp, found);
            tell(stamp, found);
        }
        for (stamp, found) in self.owners.stamps.iter().zip(leased.stamps) {
            let token = token_in(stamp, found.as_deref(), self.link)?;
            self.is_granted &= token.is_some();
            if self.tier.take(self.link, stamp, token)
                && leased.is_registered
                && let Some(shared) = stamp.shared()
            {
                shared.note_registered();
            }
            tell(stamp, token);
        }
        self.is_granted &= leased.is_registered;
        if !leased.is_registered {
            // Changes would not find what is filled now.
            self.stamps.push(Stamp::dropped());
        }
        Ok(())
    }

    /// Whether a stamp is gone already, though the server has given all that
    /// was asked for: one that was thought to be leased, or one that news have
    /// dropped meanwhile.
    pub(crate) fn has_lost(&self) -> bool {
        self.is_granted
            && self.leased.iter().chain(self.new_stamps()).any(|stamp| !stamp.is_current())
    }

    /// Takes the lock over from a lease before this one.
    pub(crate) fn take_over(&mut self, before: &mut LeaseInProgress<'_>) {
        self.is_taken = before.is_taken;
        self.lock = before.lock.take();
    }

    /// What came of it, for a fill that begins now.
    pub(crate) async fn finish(mut self) -> Option<Leased> {
        let around = read_around(self.page);
        let is_doubtful = around.iter().any(|stamp| !stamp.is_current());
        let mut around_holds = false;
        if !self.link.is_causal || is_doubtful {
            // The stamps around are looked at when this returns: as they are
            // now, and not as the last news left them.
            let reads: Vec<Command> = around.iter().filter_map(read_command).collect();
            let replies = self.tier.run(self.link, &reads).await.ok()?;
            let holds = |(stamp, reply): (&Arc<Stamp>, &Reply)| {
                let found = reply.value().and_then(|value| token_at(stamp, value, self.link));
                found.is_some() && found == stamp.shared().and_then(SharedStamp::token)
            };
            around_holds = recorder::can_be_asked(self.page)
                && replies.len() == around.len()
                && around.iter().zip(&replies).all(holds);
            self.tier.check(self.link, &around, &replies);
        }
        let stamps = std::mem::take(&mut self.stamps);
        Some(Leased { stamps, is_taken: self.is_taken, lock: self.lock.take(), around_holds })
    }
}

/// Until when a registry is to live that is used now, in milliseconds since
/// 1970: longer than any stamp that is registered in it now, and the same for
/// some time, so that it is rarely written. Whoever has it in memory is told of
/// every write.
fn lifetime_of_registries(now: u64, retention: Duration) -> u64 {
    const SHORTEST: Duration = Duration::from_secs(60);
    const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    let step = retention.clamp(SHORTEST, LONGEST).as_millis() as u64;
    (now / 1_000 / step + 2) * step
}

/// Whether this process has leased a stamp already.
fn has_lease(stamp: &Arc<Stamp>) -> bool {
    let has_scheme = stamp.parent().is_some_and(is_epoch);
    let known = |shared: &SharedStamp| (shared.token(), shared.is_registered());
    let known = stamp.shared().map(known);
    known.is_none_or(|(token, registered)| is_leased(token, has_scheme, registered))
}

/// The schemes of a table, as fields of its registry.
fn schemes_of(registry: &SharedStamp, scope: &LeaseScope<'_>) -> Vec<Vec<u8>> {
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
fn read_around(page: Option<&Page>) -> Vec<Arc<Stamp>> {
    let line = Lineage::of(&recorder::stamps_around(page));
    line.stamps().filter(|stamp| stamp.shared().is_some()).cloned().collect()
}

pub(super) fn lock_key(prefix: &str, key: FragmentKey) -> Vec<u8> {
    [prefix.as_bytes(), b"lock:", &key.digits()].concat()
}

/// A lock on the filling of a fragment, asked for or held; given back when it
/// is dropped.
pub(crate) struct FillLock {
    pub(super) key: Vec<u8>,
    /// What tells it from that of another.
    token: Token,
    until: Instant,
    state: Arc<SharedState>,
    runtime: tokio::runtime::Handle,
    phase: LockPhase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LockPhase {
    /// It may be had, and may be another's.
    Asked,
    HeldStamp,
    Done,
}

impl FillLock {
    fn ask(tier: &Tier, key: Vec<u8>) -> Option<Self> {
        let state = tier.state.clone();
        let until = Instant::now() + state.options.lock_limit;
        let (token, runtime) = (Token::random()?, tier.runtime.clone());
        Some(FillLock { key, token, until, state, runtime, phase: LockPhase::Asked })
    }

    /// The command that asks for it.
    fn command(&self) -> Command {
        let (key, token) = (self.key.as_slice().into(), self.token.as_bytes().to_vec());
        Command::SetNx(key, token, Some(self.state.options.lock_limit))
    }

    /// The lock, if the reply says that it was got.
    fn answered(mut self, reply: Option<&Reply>) -> Option<Self> {
        let got = reply == Some(&Reply::Done(true));
        self.phase = if got { LockPhase::HeldStamp } else { LockPhase::Done };
        got.then_some(self)
    }

    /// Gives the lock back by the command that is returned, unless it may have
    /// gone to another by now.
    pub(super) fn release(mut self) -> Option<Command> {
        let held = self.end() == LockPhase::HeldStamp;
        held.then(|| Command::Unlink(vec![self.key.clone()]))
    }

    /// What it is, if there is still something to give back; and nothing from
    /// now on.
    fn end(&mut self) -> LockPhase {
        let phase = std::mem::replace(&mut self.phase, LockPhase::Done);
        let in_time = Instant::now() + Duration::from_millis(50) < self.until;
        if in_time { phase } else { LockPhase::Done }
    }
}

impl Drop for FillLock {
    /// A fill that came to nothing lets the others go on.
    fn drop(&mut self) {
        let phase = self.end();
        if phase == LockPhase::Done {
            return;
        }
        let Some(link) = self.state.link_now() else { return };
        let (state, key) = (self.state.clone(), std::mem::take(&mut self.key));
        let (token, releasing) = (self.token, state.release());
        // If it fails, the lock runs out by itself.
        self.runtime.spawn(async move {
            let is_own = match phase {
                LockPhase::HeldStamp => true,
                _ => link.run(&[Command::Get(key.as_slice().into())]).await.is_ok_and(|replies| {
                    replies.first().and_then(Reply::value) == Some(token.as_bytes())
                }),
            };
            if is_own {
                let _ = link.run(&[Command::Unlink(vec![key.clone()])]).await;
                state.waiters.wake(&key);
            }
            drop(releasing);
        });
    }
}
