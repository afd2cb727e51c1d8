//! A lookup in the shared store.
//!
//! What is in memory of the fragment needs only its stamps compared; else the
//! fragment itself is read, and then those of its stamps that are not known.

use std::sync::Arc;

use super::Why;
use super::by_address::ByAddress;
use super::codec::{Head, Lineage, Written, decode, head_of};
use super::link::Link;
use super::tier::{Tier, fragment_key, is_epoch, read_command, session_of, token_at};
use crate::fragment::{Dependencies, Fragment};
use crate::invalidate::everything_key;
use crate::key::FragmentKey;
use crate::observe::Outcome;
use crate::protocol::{Command, Reply, Token, Verdict, current, has_to_be_read, verdict};
use crate::shared::Missed;
use crate::store::{MemoryStore, Place, Stamp};

/// A lookup under way, of one fragment or of several at once.
pub(crate) struct Search<'a> {
    tier: &'a Tier,
    link: &'a Arc<Link>,
    /// Whether only what is read from now on counts.
    afresh: bool,
    /// What has been read of which stamps; they are kept, lest another takes
    /// the place of one.
    read: ByAddress<(Arc<Stamp>, Option<Token>)>,
}

/// A fragment that is looked for.
pub(crate) struct Wanted<'p> {
    prefix: &'p str,
    pub(crate) key: FragmentKey,
    near: Option<Arc<Fragment>>,
    held: Vec<Held>,
    /// What lay in the store.
    seen: Option<Head>,
    /// What is known of it so far.
    answer: Answer,
}

enum Answer {
    /// It has to be read, for want of what is said.
    Open(Outcome),
    Is(Result<Arc<Fragment>, Outcome>),
}

/// A stamp that a fragment was made under, and the one in its place.
struct Held {
    made_under: Option<Token>,
    stamp: Arc<Stamp>,
    /// Whether the fragment names it, and not only something below it.
    named: bool,
}

impl Held {
    /// The token of the stamp, as far as it is known in memory.
    fn known(&self) -> Option<Token> {
        self.stamp.shared().and_then(|shared| shared.token())
    }
}

impl<'p> Wanted<'p> {
    /// A fragment, and what is in memory of it.
    pub(crate) fn new(prefix: &'p str, key: FragmentKey, near: Option<Arc<Fragment>>) -> Self {
        let answer = Answer::Open(Outcome::NoValue);
        Wanted { prefix, key, near, held: Vec::new(), seen: None, answer }
    }

    /// The command that reads it.
    fn read(&self) -> Command {
        Command::Get(fragment_key(self.prefix, self.key))
    }

    pub(crate) fn answer(self) -> Result<Arc<Fragment>, Missed> {
        let why = match self.answer {
            Answer::Is(Ok(fragment)) => return Ok(fragment),
            Answer::Is(Err(why)) | Answer::Open(why) => why,
        };
        Err(Missed { why, seen: self.seen })
    }

    fn is_open(&self) -> bool {
        matches!(self.answer, Answer::Open(_))
    }
}

impl<'a> Search<'a> {
    pub(crate) fn new(tier: &'a Tier, link: &'a Arc<Link>) -> Self {
        Search { tier, link, afresh: !tier.is_trusted(), read: ByAddress::new() }
    }

    fn near(&self) -> &MemoryStore {
        &self.tier.keeper.near
    }

    /// Answers for all that is wanted; an error if the line failed.
    pub(crate) async fn find(&mut self, wanted: &mut [Wanted<'_>]) -> Result<(), Why> {
        for one in wanted.iter_mut() {
            self.hold_near(one);
        }
        let values = self.read_values(wanted, |one| one.near.is_none()).await?;
        for one in wanted.iter_mut() {
            self.judge_near(one);
        }
        if !wanted.iter().any(Wanted::is_open) {
            return Ok(());
        }
        self.judge_values(wanted, values).await?;
        // What was in memory and does not hold may have been made anew.
        let values = self.read_values(wanted, |one| one.near.is_some() && one.is_open()).await?;
        self.judge_values(wanted, values).await
    }

    /// Puts the stamps in their places that a fragment in memory was made
    /// under. One that is known not to hold is of use for them only: what it
    /// was made from the last time is likely what it is made from.
    fn hold_near(&self, one: &mut Wanted<'_>) {
        let Some(near) = &one.near else { return };
        one.held = renew(self.near(), near.stamps());
        if self.was_invalidated(near) {
            one.near = None;
            one.answer = Answer::Open(Outcome::StampChanged);
        }
    }

    fn judge_near(&self, one: &mut Wanted<'_>) {
        let Some(near) = &one.near else { return };
        let held = std::mem::take(&mut one.held);
        one.answer = match self.verdict(&held) {
            Verdict::Holds => Answer::Is(Ok(self.keep_near(one.key, near, held))),
            Verdict::StampLost => Answer::Open(Outcome::StampLost),
            Verdict::StampChanged => Answer::Open(Outcome::StampChanged),
        };
    }

    /// Reads the values of those that are asked for, and the stamps that are
    /// held; the values, and whose they are.
    async fn read_values(
        &mut self,
        wanted: &[Wanted<'_>],
        is_asked: impl Fn(&Wanted<'_>) -> bool,
    ) -> Result<Vec<(usize, Option<Vec<u8>>)>, Why> {
        let asked: Vec<usize> = (0..wanted.len()).filter(|n| is_asked(&wanted[*n])).collect();
        let reads = asked.iter().map(|n| wanted[*n].read()).collect();
        let held = wanted.iter().flat_map(|one| &one.held);
        let replies = self.read_stamps(reads, held).await?;
        Ok(asked.into_iter().zip(replies.into_iter().map(Reply::into_value)).collect())
    }

    /// Judges what was read by its stamps, after reading those.
    async fn judge_values(
        &mut self,
        wanted: &mut [Wanted<'_>],
        values: Vec<(usize, Option<Vec<u8>>)>,
    ) -> Result<(), Why> {
        let mut written = Vec::with_capacity(values.len());
        for (n, value) in values {
            wanted[n].seen = value.as_deref().and_then(head_of);
            let Some(value) = value.as_deref().and_then(|value| self.decode(value)) else {
                let Answer::Open(why) = wanted[n].answer else { continue };
                wanted[n].answer = Answer::Is(Err(why));
                continue;
            };
            let held = place(self.near(), &value);
            written.push((n, value, held));
        }
        let held = written.iter().flat_map(|(_, _, held)| held);
        self.read_stamps(Vec::new(), held).await?;
        for (n, value, held) in written {
            let knew = matches!(wanted[n].answer, Answer::Open(Outcome::StampChanged));
            wanted[n].answer = Answer::Is(match self.verdict(&held) {
                Verdict::Holds => Ok(self.keep_written(wanted[n].key, value, held)),
                Verdict::StampLost if !knew => Err(Outcome::StampLost),
                Verdict::StampLost | Verdict::StampChanged => Err(Outcome::StampChanged),
            });
        }
        Ok(())
    }

    /// What lies in the store, its length there, and whether it holds.
    pub(crate) async fn peek(
        &mut self,
        wanted: Wanted<'_>,
    ) -> Result<Option<(Arc<Fragment>, usize, bool)>, Why> {
        let replies = self.link.run(&[wanted.read()]).await?;
        let Some(value) = replies.first().and_then(Reply::value) else { return Ok(None) };
        let Some(written) = self.decode(value) else { return Ok(None) };
        let held = place(self.near(), &written);
        self.read_stamps(Vec::new(), held.iter()).await?;
        let holds = self.verdict(&held) == Verdict::Holds;
        let stamps = held.into_iter().filter(|held| held.named).map(|held| held.stamp);
        let fragment = restored(written, stamps.collect());
        Ok(Some((Arc::new(fragment), value.len(), holds)))
    }

    fn decode(&self, value: &[u8]) -> Option<Written> {
        decode(value, &everything_key(&self.tier.keeper.prefix))
    }

    /// Whether news have come that the fragment does not hold any more.
    fn was_invalidated(&self, fragment: &Fragment) -> bool {
        fragment
            .stamps()
            .iter()
            .any(|stamp| session_of(stamp) == self.link.session && !stamp.is_current())
    }

    /// Sends `commands`, and with them reads of the stamps that have to be
    /// read; the replies to the former.
    async fn read_stamps(
        &mut self,
        mut commands: Vec<Command>,
        held: impl Iterator<Item = &Held>,
    ) -> Result<Vec<Reply>, Why> {
        let mut stamps: Vec<Arc<Stamp>> = Vec::new();
        for held in held {
            let stamp = &held.stamp;
            // What is asked for is not there until the answer says so.
            if has_to_be_read(self.afresh, held.known())
                && self.read.insert_new(stamp, || (stamp.clone(), None))
            {
                stamps.push(stamp.clone());
            }
        }
        // Keys in a row are read by one command.
        stamps.sort_by_key(is_epoch);
        let first = commands.len();
        commands.extend(stamps.iter().filter_map(read_command));
        let mut replies = self.link.run(&commands).await?;
        for (stamp, reply) in stamps.iter().zip(replies.split_off(first.min(replies.len()))) {
            let found = reply.value().and_then(|value| token_at(stamp, value, self.link));
            if found.is_none() && reply.value().is_some() && stamp.parent().is_none() {
                return Err(Why::new("the servers have changed"));
            }
            self.tier.take(self.link, stamp, found);
            self.read.insert(stamp, (stamp.clone(), found));
        }
        Ok(replies)
    }

    /// The token that counts for a stamp now.
    fn counts(&self, held: &Held) -> Option<Token> {
        let read = self.read.get(&held.stamp).map(|(_, found)| *found);
        current(self.afresh, read, held.known())
    }

    fn verdict(&self, held: &[Held]) -> Verdict {
        let verdict = verdict(held.iter().map(|held| (held.made_under, self.counts(held))));
        if verdict == Verdict::Holds && !held.iter().all(|held| held.stamp.is_current()) {
            return Verdict::StampChanged;
        }
        verdict
    }

    /// Keeps what was in memory under the stamps that it was found to hold by.
    fn keep_near(&self, key: FragmentKey, near: &Arc<Fragment>, held: Vec<Held>) -> Arc<Fragment> {
        if near.has_current_stamps() {
            return near.clone();
        }
        let stamps = held.into_iter().filter(|held| held.named).map(|held| held.stamp);
        let fragment = Arc::new(near.restamped(stamps.collect()));
        self.near().put(key, fragment.clone());
        fragment
    }

    fn keep_written(&self, key: FragmentKey, written: Written, held: Vec<Held>) -> Arc<Fragment> {
        let stamps = held.into_iter().filter(|held| held.named).map(|held| held.stamp);
        let fragment = Arc::new(restored(written, stamps.collect()));
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
fn renew(near: &MemoryStore, stamps: &[Arc<Stamp>]) -> Vec<Held> {
    let line = Lineage::of(stamps);
    let mut held: Vec<Held> = Vec::with_capacity(line.stamps.len());
    for old in &line.stamps {
        let Some(shared) = old.shared() else { continue };
        let parent = held.get(line.place_of(old.parent())).map(|held| held.stamp.clone());
        let stamp = match parent {
            _ if old.is_current() => old.clone(),
            Some(parent) if old.parent().is_some() => {
                near.stamp_at(shared.place(), shared.key(), &parent)
            }
            _ => near.everything(),
        };
        let named = stamps.iter().any(|stamp| Arc::ptr_eq(stamp, old));
        held.push(Held { made_under: shared.token(), stamp, named });
    }
    held
}

/// The stamps in the places of those that a fragment was written down with.
fn place(near: &MemoryStore, written: &Written) -> Vec<Held> {
    let mut held: Vec<Held> = Vec::with_capacity(written.nodes.len());
    for node in &written.nodes {
        let stamp = match held.get(node.parent) {
            Some(parent) if node.place != Place::Everything => {
                near.stamp_at(node.place, &node.key, &parent.stamp)
            }
            _ => near.everything(),
        };
        held.push(Held { made_under: Some(node.token), stamp, named: node.named });
    }
    held
}
