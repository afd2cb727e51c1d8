//! The lease of a fill: its stamps and its lock.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::error::LinkError;
use super::fill_lock::FillLock;
use super::keys::lock_key;
use super::link::Link;
use super::stamp_map::Lineage;
use super::stamps::{is_epoch, settle, token_in, write_everything};
use super::state::SharedState;
use super::times;
use crate::key::FragmentKey;
use crate::protocol::{Command, LeasePlan, Reply, SchemeState, TablePlan, Token, is_leased};
use crate::queryset::LeaseScope;
use crate::read::page::Page;
use crate::shared::Around;
use crate::store::{SharedStamp, Stamp, StampKind, StoreLease};
use crate::write::keys::{Scheme, registry_key};

/// The stamps of a fill, and its lock.
pub(crate) struct Leased {
    pub(crate) stamps: Vec<Arc<Stamp>>,
    /// Whether another process is filling the fragment.
    pub(crate) is_taken: bool,
    pub(crate) lock: Option<FillLock>,
    pub(crate) around: Around,
}

/// A lease in progress. Its commands are sent by themselves or with others, and
/// `settle` comes before any other use of the replies. Dropping it releases its lock.
pub(crate) struct LeaseInProgress<'a> {
    pub(super) state: &'a Arc<SharedState>,
    pub(super) link: &'a Arc<Link>,
    stamps: Vec<Arc<Stamp>>,
    /// Those of the stamps, and of the stamps above them, that are leased already.
    leased: Vec<Arc<Stamp>>,
    plan: LeasePlan,
    owners: Owners,
    /// The time by the server's clock.
    now: u64,
    /// The lock that is requested.
    lock: Option<FillLock>,
    is_taken: bool,
    /// Whether all stamps were found and all schemes registered.
    is_granted: bool,
    /// The page of the request.
    pub(super) page: Option<&'a Page>,
    /// The position of the plan among the commands.
    planned: Range<usize>,
}

/// The stamps whose tokens a plan reads, in its order.
#[derive(Default)]
struct Owners {
    epochs: Vec<Arc<Stamp>>,
    stamps: Vec<Arc<Stamp>>,
}

impl<'a> LeaseInProgress<'a> {
    /// Puts the stamps into memory before anything is sent. `lock` names the fragment
    /// whose lock is requested. `None` if the system has no randomness for tokens.
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

    /// Plans what to write and read for plain keys.
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

    /// Plans what to register: the schemes of each table with a new stamp, be it the
    /// epoch or the stamp of a conjunction.
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

    /// The stamps that were leased before.
    pub(crate) fn leased(&self) -> &[Arc<Stamp>] {
        &self.leased
    }

    /// The stamps that the commands read.
    pub(crate) fn new_stamps(&self) -> impl Iterator<Item = &Arc<Stamp>> {
        self.owners.epochs.iter().chain(&self.owners.stamps)
    }

    /// The commands to send.
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

    /// Takes the replies to [`commands`](Self::commands), and passes on the token that
    /// was found for each stamp.
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

    /// Gives the stamps the tokens that were found, and drops those without one.
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
            // Invalidations would not find what is filled now.
            self.stamps.push(Stamp::dropped());
        }
        Ok(())
    }

    /// Whether a stamp is gone although the server granted everything: it seemed leased
    /// and was not, or a push has dropped it meanwhile.
    pub(crate) fn has_lost(&self) -> bool {
        self.is_granted
            && self.leased.iter().chain(self.new_stamps()).any(|stamp| !stamp.is_current())
    }

    /// Takes over the lock of an earlier lease.
    pub(crate) fn take_over(&mut self, before: &mut LeaseInProgress<'_>) {
        self.is_taken = before.is_taken;
        self.lock = before.lock.take();
    }

    /// Ends the lease; the fill begins now.
    pub(crate) async fn finish(mut self) -> Option<Leased> {
        let around = self.check_around().await?;
        let stamps = std::mem::take(&mut self.stamps);
        Some(Leased { stamps, is_taken: self.is_taken, lock: self.lock.take(), around })
    }
}

/// When a registry that is used now expires, in milliseconds since 1970: later than any
/// stamp that is registered in it. The time moves in large steps, because each write is
/// pushed to all processes that have read the registry.
fn lifetime_of_registries(now: u64, retention: Duration) -> u64 {
    const SHORTEST: Duration = Duration::from_secs(60);
    const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    let step = retention.clamp(SHORTEST, LONGEST).as_millis() as u64;
    (now / 1_000 / step + 2) * step
}

/// Whether this process has leased the stamp already.
fn has_lease(stamp: &Arc<Stamp>) -> bool {
    let Some(shared) = stamp.shared() else { return true };
    let scheme = match stamp.parent().is_some_and(is_epoch) {
        true if shared.is_registered() => SchemeState::Registered,
        true => SchemeState::Unknown,
        false => SchemeState::NotNeeded,
    };
    is_leased(shared.token(), scheme)
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
