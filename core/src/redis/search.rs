//! A lookup in the shared store.
//!
//! What is in memory of the fragment needs only its stamps compared; else the
//! fragment itself is read, with the stamps taken that it would be filled with,
//! and then those of its stamps that are not known by that.

use std::sync::Arc;
use std::vec;

use super::codec::{Written, decode};
use super::error::LinkError;
use super::keys::fragment_key;
use super::lease::LeaseInProgress;
use super::link::Link;
use super::stamp_map::{Lineage, StampMap};
use super::stamps::{is_epoch, read_command, session_of, settle, token_in};
use super::state::SharedState;
use crate::fragment::{Dependencies, Fragment};
use crate::key::FragmentKey;
use crate::observe::Outcome;
use crate::protocol::{Command, Reply, Token, Verdict, current, has_to_be_read, verdict};
use crate::store::{MemoryStore, Stamp, StampKind};
use crate::write::keys::everything_key;

/// A lookup under way, of one fragment or of several at once.
pub(crate) struct Search<'a> {
    state: &'a SharedState,
    pub(super) link: &'a Arc<Link>,
    /// Whether only what is read from now on counts.
    afresh: bool,
    /// What has been read of which stamps, or is being read.
    read: StampMap<Read>,
}

/// The order in which stamps are read: keys in a row go in one command.
const EPOCHS_LAST: [bool; 2] = [false, true];

/// What has been read of a stamp. It is kept, lest another takes its place.
struct Read {
    stamp: Arc<Stamp>,
    found: Option<Token>,
}

/// A fragment that is looked for.
pub(crate) struct Entry<'p> {
    pub(crate) key: FragmentKey,
    prefix: &'p str,
    near: Option<Arc<Fragment>>,
    held: Vec<HeldStamp>,
    /// What is known of it so far.
    state: EntryState,
}

enum EntryState {
    /// It has to be read, for want of what is said.
    Pending(Outcome),
    Known(Result<Arc<Fragment>, Outcome>),
}

/// A stamp that a fragment was made under, and the one in its place.
struct HeldStamp {
    made_under: Option<Token>,
    stamp: Arc<Stamp>,
    /// Whether the fragment names it, and not only something below it.
    named: bool,
}

/// The token of a stamp, as far as it is known in memory.
fn known(stamp: &Stamp) -> Option<Token> {
    stamp.shared().and_then(|shared| shared.token())
}

impl<'p> Entry<'p> {
    /// A fragment, and what is in memory of it.
    pub(crate) fn new(prefix: &'p str, key: FragmentKey, near: Option<Arc<Fragment>>) -> Self {
        let state = EntryState::Pending(Outcome::NoValue);
        Entry { key, prefix, near, held: Vec::new(), state }
    }

    /// The command that reads it.
    fn read(&self) -> Command {
        // Its stamps tell whether it holds: no news of itself are needed.
        Command::Peek(fragment_key(self.prefix, self.key).into())
    }

    pub(crate) fn result(self) -> Result<Arc<Fragment>, Outcome> {
        match self.state {
            EntryState::Known(result) => result,
            EntryState::Pending(outcome) => Err(outcome),
        }
    }

    fn is_pending(&self) -> bool {
        matches!(self.state, EntryState::Pending(_))
    }
}

impl<'a> Search<'a> {
    pub(crate) fn new(state: &'a SharedState, link: &'a Arc<Link>) -> Self {
        Search { state, link, afresh: !state.lookups_trust_memory(), read: StampMap::default() }
    }

    fn near(&self) -> &MemoryStore {
        &self.state.near
    }

    /// A fragment whose value has to be read. `was` does not hold any more, and
    /// is of use for its stamps only: what it was made from the last time is
    /// likely what it is made from.
    pub(crate) fn anew<'p>(
        &self,
        prefix: &'p str,
        key: FragmentKey,
        was: Option<&Fragment>,
    ) -> Entry<'p> {
        let mut entry = Entry::new(prefix, key, None);
        if let Some(was) = was {
            entry.held = renew(self.near(), was.stamps());
            entry.state = EntryState::Pending(Outcome::StampChanged);
        }
        entry
    }

    /// Answers for all that is wanted, with a lease in the same trip; an error
    /// if the line failed. The first is not read again if what is in memory of
    /// it does not hold: a lease goes with that.
    pub(crate) async fn find(
        &mut self,
        entries: &mut [Entry<'_>],
        leasing: Option<&mut LeaseInProgress<'_>>,
    ) -> Result<(), LinkError> {
        entries.iter_mut().for_each(|entry| self.hold_near(entry));
        let values = self.read_values(entries, leasing, |entry| entry.near.is_none()).await?;
        entries.iter_mut().for_each(|entry| self.judge_near(entry));
        if !entries.iter().any(Entry::is_pending) {
            return Ok(());
        }
        self.judge_values(entries, values).await?;
        let Some((_, prefetched)) = entries.split_first_mut() else { return Ok(()) };
        // What was in memory and does not hold may have been made anew.
        let is_requested = |entry: &Entry<'_>| entry.near.is_some() && entry.is_pending();
        let values = self.read_values(prefetched, None, is_requested).await?;
        self.judge_values(prefetched, values).await
    }

    /// Puts the stamps in their places that a fragment in memory was made
    /// under.
    fn hold_near(&self, entry: &mut Entry<'_>) {
        let Some(near) = &entry.near else { return };
        entry.held = renew(self.near(), near.stamps());
        if self.was_invalidated(near) {
            entry.near = None;
            entry.state = EntryState::Pending(Outcome::StampChanged);
        }
    }

    fn judge_near(&self, entry: &mut Entry<'_>) {
        let Some(near) = &entry.near else { return };
        let held = std::mem::take(&mut entry.held);
        entry.state = match self.verdict(&held).outcome() {
            None => EntryState::Known(Ok(self.keep_near(entry.key, near, held))),
            Some(outcome) => EntryState::Pending(outcome),
        };
    }

    /// Takes a lease, and reads the values of those that are asked for, and the
    /// stamps that are held; the values, and whose they are.
    async fn read_values(
        &mut self,
        entries: &[Entry<'_>],
        mut leasing: Option<&mut LeaseInProgress<'_>>,
        is_requested: impl Fn(&Entry<'_>) -> bool,
    ) -> Result<Vec<(usize, Option<Vec<u8>>)>, LinkError> {
        let requested: Vec<usize> =
            (0..entries.len()).filter(|n| is_requested(&entries[*n])).collect();
        let mut commands = Vec::new();
        if let Some(leasing) = &mut leasing {
            commands = leasing.commands();
            // Read by the lease itself.
            leasing.new_stamps().for_each(|stamp| self.note(stamp, None));
        }
        let taken = commands.len();
        commands.extend(requested.iter().map(|n| entries[*n].read()));
        let leased = leasing.iter().flat_map(|leasing| leasing.leased());
        let held = entries.iter().flat_map(|entry| &entry.held).map(|held| &held.stamp);
        let mut replies = self.read_stamps(commands, held.chain(leased)).await?;
        if let Some(leasing) = leasing {
            let (of_lease, _) = replies.split_at(taken.min(replies.len()));
            leasing.settle(of_lease, |stamp, found| self.note(stamp, found))?;
        }
        let values = replies.drain(taken.min(replies.len())..).map(Reply::into_value);
        Ok(requested.into_iter().zip(values).collect())
    }

    /// Notes what has been read of a stamp.
    fn note(&mut self, stamp: &Arc<Stamp>, found: Option<Token>) {
        self.read.insert(stamp, Read { stamp: stamp.clone(), found });
    }

    /// Judges what was read by its stamps, after reading those.
    async fn judge_values(
        &mut self,
        entries: &mut [Entry<'_>],
        values: Vec<(usize, Option<Vec<u8>>)>,
    ) -> Result<(), LinkError> {
        let mut written = Vec::with_capacity(values.len());
        for (n, value) in values {
            let Some(value) = value.as_deref().and_then(|value| self.decode(entries[n].key, value))
            else {
                let EntryState::Pending(outcome) = entries[n].state else { continue };
                entries[n].state = EntryState::Known(Err(outcome));
                continue;
            };
            let held = place(self.near(), &value);
            written.push((n, value, held));
        }
        let held = written.iter().flat_map(|(_, _, held)| held).map(|held| &held.stamp);
        self.read_stamps(Vec::new(), held).await?;
        for (n, value, held) in written {
            let knew = matches!(entries[n].state, EntryState::Pending(Outcome::StampChanged));
            entries[n].state = EntryState::Known(match self.verdict(&held) {
                Verdict::Holds => Ok(self.keep_written(entries[n].key, value, held)),
                Verdict::StampLost if !knew => Err(Outcome::StampLost),
                Verdict::StampLost | Verdict::StampChanged => Err(Outcome::StampChanged),
            });
        }
        Ok(())
    }

    /// What lies in the store, its length there, and whether it holds.
    pub(crate) async fn peek(
        &mut self,
        entry: Entry<'_>,
    ) -> Result<Option<(Arc<Fragment>, usize, bool)>, LinkError> {
        let replies = self.link.run(&[entry.read()]).await?;
        let Some(value) = replies.first().and_then(Reply::value) else { return Ok(None) };
        let Some(written) = self.decode(entry.key, value) else { return Ok(None) };
        let held = place(self.near(), &written);
        self.read_stamps(Vec::new(), held.iter().map(|held| &held.stamp)).await?;
        let holds = self.verdict(&held) == Verdict::Holds;
        let stamps = held.into_iter().filter(|held| held.named).map(|held| held.stamp);
        let fragment = restored(written, stamps.collect());
        Ok(Some((Arc::new(fragment), value.len(), holds)))
    }

    fn decode(&self, key: FragmentKey, value: &[u8]) -> Option<Written> {
        decode(key, value, &everything_key(&self.state.prefix))
    }

    /// Whether news have come that the fragment does not hold any more. Where
    /// only the stamp of everything is gone, memory is unverified as a whole.
    pub(crate) fn was_invalidated(&self, fragment: &Fragment) -> bool {
        let is_of_now = |stamp: &&Arc<Stamp>| session_of(stamp) == self.link.session;
        fragment.stamps().iter().filter(is_of_now).any(|stamp| stamp.was_dropped())
    }

    /// Sends `commands`, and with them reads of those of `stamps` that have to
    /// be read; the replies to the former.
    async fn read_stamps<'s>(
        &mut self,
        mut commands: Vec<Command>,
        stamps: impl Iterator<Item = &'s Arc<Stamp>>,
    ) -> Result<Vec<Reply>, LinkError> {
        let first = self.read.len();
        for stamp in stamps {
            if has_to_be_read(self.afresh, known(stamp)) {
                // What is asked for is not there until the answer says so.
                self.read.insert_new(stamp, || Read { stamp: stamp.clone(), found: None });
            }
        }
        let others = commands.len();
        commands.reserve(self.read.len() - first);
        for epochs in EPOCHS_LAST {
            let pending = self.read.values_from(first).map(|read| &read.stamp);
            commands.extend(pending.filter(|it| is_epoch(it) == epochs).filter_map(read_command));
        }
        let mut replies = self.link.run(&commands).await?;
        self.take_in(first, replies.drain(others.min(replies.len())..))?;
        Ok(replies)
    }

    /// Takes in the replies to the reads of all stamps but the first so many.
    fn take_in(
        &mut self,
        first: usize,
        mut replies: vec::Drain<'_, Reply>,
    ) -> Result<(), LinkError> {
        for epochs in EPOCHS_LAST {
            let pending = self.read.values_mut_from(first);
            let pending = pending.filter(|read| is_epoch(&read.stamp) == epochs);
            for (read, reply) in pending.zip(replies.by_ref()) {
                read.found = token_in(&read.stamp, reply.value(), self.link)?;
                settle(&self.state.near, self.link, &read.stamp, read.found);
            }
        }
        Ok(())
    }

    /// The token that counts for a stamp now.
    fn counts(&self, held: &HeldStamp) -> Option<Token> {
        let read = self.read.get(&held.stamp).map(|read| read.found);
        current(self.afresh, read, known(&held.stamp))
    }

    fn verdict(&self, held: &[HeldStamp]) -> Verdict {
        let verdict = verdict(held.iter().map(|held| (held.made_under, self.counts(held))));
        if verdict == Verdict::Holds && !held.iter().all(|held| held.stamp.is_current()) {
            return Verdict::StampChanged;
        }
        verdict
    }

    /// What has just been made, under the stamps that are in their places now,
    /// if the tokens that it was made under still count: pushes have dropped
    /// stamps of it. Tokens that were read by another link say nothing, and a
    /// stamp that has no place in the store was dropped for good by its lease.
    pub(crate) async fn restamp_if_current(
        &mut self,
        made: &Fragment,
    ) -> Result<Option<Fragment>, LinkError> {
        let is_of_now =
            |stamp: &Arc<Stamp>| stamp.shared().is_some() && session_of(stamp) == self.link.session;
        if !made.stamps().iter().all(is_of_now) {
            return Ok(None);
        }
        let held = renew(self.near(), made.stamps());
        self.read_stamps(Vec::new(), held.iter().map(|held| &held.stamp)).await?;
        if self.verdict(&held) != Verdict::Holds {
            return Ok(None);
        }
        let stamps = held.into_iter().filter(|held| held.named).map(|held| held.stamp);
        Ok(Some(made.restamped(stamps.collect())))
    }

    /// Keeps what was in memory under the stamps that it was found to hold by.
    fn keep_near(
        &self,
        key: FragmentKey,
        near: &Arc<Fragment>,
        held: Vec<HeldStamp>,
    ) -> Arc<Fragment> {
        if near.has_current_stamps() {
            return near.clone();
        }
        let stamps = held.into_iter().filter(|held| held.named).map(|held| held.stamp);
        let fragment = Arc::new(near.restamped(stamps.collect()));
        self.near().put(key, fragment.clone());
        fragment
    }

    fn keep_written(
        &self,
        key: FragmentKey,
        written: Written,
        held: Vec<HeldStamp>,
    ) -> Arc<Fragment> {
        let stamps = held.into_iter().filter(|held| held.named).map(|held| held.stamp);
        let fragment = Arc::new(restored(written, stamps.collect()));
        self.state.lengths.note(key, fragment.len());
        self.near().put(key, fragment.clone());
        fragment
    }
}

fn restored(written: Written, stamps: Vec<Arc<Stamp>>) -> Fragment {
    let dependencies = Dependencies {
        stamps,
        templates: written.templates,
        expires_at: written.expires_at,
        ..Dependencies::default()
    };
    Fragment::new(written.body, dependencies, written.stored_at, written.label.as_deref())
}

/// The stamps in the places of those that a fragment in memory was made under.
fn renew(near: &MemoryStore, stamps: &[Arc<Stamp>]) -> Vec<HeldStamp> {
    let line = Lineage::of(stamps);
    let mut held: Vec<HeldStamp> = Vec::with_capacity(line.len());
    for old in line.stamps() {
        let Some(shared) = old.shared() else { continue };
        let parent = held.get(line.position_of(old.parent())).map(|held| held.stamp.clone());
        let stamp = match parent {
            _ if old.is_current() => old.clone(),
            Some(parent) if old.parent().is_some() => {
                near.stamp_at(shared.kind(), shared.key(), &parent)
            }
            _ => near.everything(),
        };
        let named = stamps.iter().any(|stamp| Arc::ptr_eq(stamp, old));
        held.push(HeldStamp { made_under: shared.token(), stamp, named });
    }
    held
}

/// The stamps in the places of those that a fragment was written down with.
fn place(near: &MemoryStore, written: &Written) -> Vec<HeldStamp> {
    let mut held: Vec<HeldStamp> = Vec::with_capacity(written.nodes.len());
    for node in &written.nodes {
        let stamp = match held.get(node.parent) {
            Some(parent) if node.kind != StampKind::Everything => {
                near.stamp_at(node.kind, &node.key, &parent.stamp)
            }
            _ => near.everything(),
        };
        held.push(HeldStamp { made_under: Some(node.token), stamp, named: node.named });
    }
    held
}
