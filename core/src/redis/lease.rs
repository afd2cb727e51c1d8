//! Taking the stamps of a fill, and its lock.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::error::LinkError;
use super::fill_lock::FillLock;
use super::keys::lock_key;
use super::link::Link;
use super::stamp_map::Lineage;
use super::stamps::{
    is_epoch, read_command, settle, settle_all, token_at, token_in, write_everything,
};
use super::state::SharedState;
use super::times;
use crate::key::FragmentKey;
use crate::protocol::{Command, LeasePlan, Reply, TablePlan, Token, is_leased};
use crate::queryset::LeaseScope;
use crate::read::page::Page;
use crate::read::recorder;
use crate::store::{SharedStamp, Stamp, StampKind, StoreLease};
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
    state: &'a Arc<SharedState>,
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
        state: &'a Arc<SharedState>,
        link: &'a Arc<Link>,
        scope: &LeaseScope<'a>,
        lock: Option<FragmentKey>,
    ) -> Option<Self> {
        let StoreLease { stamps, tables } = state.near.lease(scope);
        let page = scope.page;
        let scope = &LeaseScope { tables: &tables, ..*scope };
        let line = Lineage::of(&stamps);
        let (leased, new) = line.stamps().cloned().partition(has_lease);
        let mut leasing = LeaseInProgress {
            state,
            link,
            stamps,
            leased,
            plan: LeasePlan::default(),
            owners: Owners::default(),
            now: state.clock.now(),
            lock: None,
            is_taken: false,
            is_granted: true,
            page,
            planned: 0..0,
        };
        leasing.plan_stamps(&new)?;
        leasing.plan_epochs(&new, scope)?;
        if let Some(key) = lock {
            leasing.lock = Some(FillLock::ask(state, lock_key(&scope.prefixes.combined, key))?);
        }
        Some(leasing)
    }

    /// What has to be written and read for plain keys.
    fn plan_stamps(&mut self, new: &[Arc<Stamp>]) -> Option<()> {
        let retention = Some(self.state.options.retention);
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
        let options = &self.state.options;
        let until = lifetime_of_registries(self.state.clock.server_now(), options.retention);
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
        let state = &self.state;
        let mut commands = Vec::new();
        if self.owners.stamps.iter().any(|stamp| stamp.parent().is_none()) {
            commands.push(times::begin(&state.prefix, self.now));
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
            settle(&self.state.near, self.link, stamp, found);
            tell(stamp, found);
        }
        for (stamp, found) in self.owners.stamps.iter().zip(leased.stamps) {
            let token = token_in(stamp, found.as_deref(), self.link)?;
            self.is_granted &= token.is_some();
            if settle(&self.state.near, self.link, stamp, token)
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
            let replies = self.state.run(self.link, &reads).await.ok()?;
            let holds = |(stamp, reply): (&Arc<Stamp>, &Reply)| {
                let found = reply.value().and_then(|value| token_at(stamp, value, self.link));
                found.is_some() && found == stamp.shared().and_then(SharedStamp::token)
            };
            around_holds = recorder::can_revalidate_surroundings(self.page)
                && replies.len() == around.len()
                && around.iter().zip(&replies).all(holds);
            settle_all(&self.state.near, self.link, &around, &replies);
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
    let line = Lineage::of(&recorder::surrounding_stamps(page));
    line.stamps().filter(|stamp| stamp.shared().is_some()).cloned().collect()
}
