//! The search for fragments in the store.
//!
//! If the fragment is in memory, only its stamps are compared. Else the fragment is
//! read, in the same round trip as its lease; then those of its stamps that this did
//! not read.

use std::sync::Arc;
use std::vec;

use super::codec::{Written, decode};
use super::error::LinkError;
use super::held_stamps::{HeldStamp, find_stamps, known, renew, restored};
use super::keys::fragment_key;
use super::lease::LeaseInProgress;
use super::link::Link;
use super::stamp_map::StampMap;
use super::stamps::{is_epoch, read_command, session_of, settle, token_in};
use super::state::SharedState;
use crate::fragment::Fragment;
use crate::key::FragmentKey;
use crate::observe::Outcome;
use crate::protocol::{Command, MemoryTrust, Reply, StampRead, Token, Verdict, current, verdict};
use crate::store::{MemoryStore, Stamp};
use crate::write::keys::everything_key;

/// A search in progress, for one fragment or several.
pub(crate) struct Search<'a> {
    state: &'a SharedState,
    pub(super) link: &'a Arc<Link>,
    /// Whether the tokens in memory count.
    memory: MemoryTrust,
    /// The stamps that have been read, or are being read.
    read: StampMap<Read>,
}

/// The order in which stamps are read: consecutive reads of keys become one command.
const EPOCHS_LAST: [bool; 2] = [false, true];

/// What was read of a stamp. The reference keeps its address from being reused.
struct Read {
    stamp: Arc<Stamp>,
    found: Option<Token>,
}

/// A fragment that the search looks for.
pub(crate) struct Entry<'p> {
    pub(crate) key: FragmentKey,
    prefix: &'p str,
    near: Option<Arc<Fragment>>,
    held: Vec<HeldStamp>,
    /// What is known of the fragment so far.
    state: EntryState,
}

enum EntryState {
    /// The fragment has to be read; if it is not found, this is the outcome.
    Pending(Outcome),
    Known(Result<Arc<Fragment>, Outcome>),
}

impl<'p> Entry<'p> {
    /// A fragment to look for. `near` is the one in memory.
    pub(crate) fn new(prefix: &'p str, key: FragmentKey, near: Option<Arc<Fragment>>) -> Self {
        let state = EntryState::Pending(Outcome::NoValue);
        Entry { key, prefix, near, held: Vec::new(), state }
    }

    /// The command that reads the fragment.
    fn read(&self) -> Command {
        // The fragment itself is not tracked: its stamps tell whether it holds.
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
        Search { state, link, memory: state.memory_trust(), read: StampMap::default() }
    }

    fn near(&self) -> &MemoryStore {
        &self.state.near
    }

    /// A fragment that has to be read. `was` does not hold any more; its stamps are
    /// likely those of the next one.
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

    /// Finds the result of all entries, and takes a lease in the same round trip. An
    /// error means that the connection failed. If the first entry is in memory and does
    /// not hold, it is not read again: the caller takes a lease for it.
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
        // Another process may have stored the prefetched fragments anew.
        let is_requested = |entry: &Entry<'_>| entry.near.is_some() && entry.is_pending();
        let values = self.read_values(prefetched, None, is_requested).await?;
        self.judge_values(prefetched, values).await
    }

    /// Finds the current stamps of a fragment in memory.
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

    /// Takes a lease, and reads the entries that are requested and the stamps that are
    /// held. Returns the values with the positions of their entries.
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
            // The lease reads these.
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

    /// Notes what was read of a stamp.
    fn note(&mut self, stamp: &Arc<Stamp>, found: Option<Token>) {
        self.read.insert(stamp, Read { stamp: stamp.clone(), found });
    }

    /// Reads the stamps of the values that were read, and judges these by them.
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
            let held = find_stamps(self.near(), &value);
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

    /// The fragment in the store, its length there, and whether it holds.
    pub(crate) async fn peek(
        &mut self,
        entry: Entry<'_>,
    ) -> Result<Option<(Arc<Fragment>, usize, bool)>, LinkError> {
        let replies = self.link.run(&[entry.read()]).await?;
        let Some(value) = replies.first().and_then(Reply::value) else { return Ok(None) };
        let Some(written) = self.decode(entry.key, value) else { return Ok(None) };
        let held = find_stamps(self.near(), &written);
        self.read_stamps(Vec::new(), held.iter().map(|held| &held.stamp)).await?;
        let holds = self.verdict(&held) == Verdict::Holds;
        let stamps = held.into_iter().filter(|held| held.named).map(|held| held.stamp);
        let fragment = restored(written, stamps.collect());
        Ok(Some((Arc::new(fragment), value.len(), holds)))
    }

    fn decode(&self, key: FragmentKey, value: &[u8]) -> Option<Written> {
        decode(key, value, &everything_key(&self.state.prefix))
    }

    /// Whether a push has dropped a stamp of the fragment in this session. If only the
    /// stamp of everything was replaced, memory as a whole is unverified.
    pub(crate) fn was_invalidated(&self, fragment: &Fragment) -> bool {
        let is_of_now = |stamp: &&Arc<Stamp>| session_of(stamp) == self.link.session;
        fragment.stamps().iter().filter(is_of_now).any(|stamp| stamp.was_dropped())
    }

    /// Sends `commands`, together with reads of those of `stamps` that have to be read.
    /// Returns the replies to the former.
    async fn read_stamps<'s>(
        &mut self,
        mut commands: Vec<Command>,
        stamps: impl Iterator<Item = &'s Arc<Stamp>>,
    ) -> Result<Vec<Reply>, LinkError> {
        let first = self.read.len();
        for stamp in stamps {
            if self.memory.has_to_read(known(stamp)) {
                // Without a reply the stamp counts as missing.
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

    /// Takes the replies to the reads of all stamps from position `first` on.
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
        let read = self.read.get(&held.stamp);
        let read = read.map_or(StampRead::NotRead, |read| StampRead::Read(read.found));
        current(self.memory, read, known(&held.stamp))
    }

    fn verdict(&self, held: &[HeldStamp]) -> Verdict {
        let verdict = verdict(held.iter().map(|held| (held.made_under, self.counts(held))));
        if verdict == Verdict::Holds && !held.iter().all(|held| held.stamp.is_current()) {
            return Verdict::StampChanged;
        }
        verdict
    }

    /// The fragment that was just filled, under the current stamps, if the tokens that
    /// it was made under still count although pushes have dropped stamps of it. Tokens
    /// that another session has read do not count, and a stamp without a key in the
    /// store was dropped for good by its lease.
    pub(crate) async fn restamp_if_current(
        &mut self,
        made: &Fragment,
    ) -> Result<Option<Fragment>, LinkError> {
        let is_of_now = |stamp: &Arc<Stamp>| session_of(stamp) == self.link.session;
        if !self.near().owns(made.stamps()) || !made.stamps().iter().all(is_of_now) {
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

    /// Keeps a fragment in memory under the stamps that it was found to hold by.
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
