//! A lookup in the shared store.
//!
//! What is in memory of the fragment needs only its stamps compared; else the
//! fragment itself is read, and then those of its stamps that are not known.

use std::collections::HashMap;
use std::sync::Arc;

use super::Why;
use super::codec::{Lineage, Written, decode};
use super::link::Link;
use super::tier::{Tier, fragment_key, read_command, session_of, token_at};
use crate::fragment::{Dependencies, Fragment};
use crate::invalidate::everything_key;
use crate::key::FragmentKey;
use crate::observe::Outcome;
use crate::protocol::{Command, Reply, Token, Verdict, verdict};
use crate::store::{MemoryStore, Place, Stamp};

/// A lookup under way.
pub(crate) struct Search<'a> {
    tier: &'a Tier,
    link: &'a Arc<Link>,
    fragment: Vec<u8>,
    key: FragmentKey,
    /// Whether only what is read from now on counts.
    afresh: bool,
    /// What has been read.
    read: HashMap<usize, Option<Token>>,
}

/// A stamp that a fragment was made under, and the one in its place.
struct Held {
    made_under: Option<Token>,
    stamp: Arc<Stamp>,
    /// Whether the fragment names it, and not only something below it.
    named: bool,
}

impl<'a> Search<'a> {
    pub(crate) fn new(
        tier: &'a Tier,
        link: &'a Arc<Link>,
        prefix: &str,
        key: FragmentKey,
    ) -> Self {
        Search {
            tier,
            link,
            fragment: fragment_key(prefix, key),
            key,
            afresh: !tier.is_trusted(),
            read: HashMap::new(),
        }
    }

    fn near(&self) -> &MemoryStore {
        &self.tier.keeper.near
    }

    /// The fragment, or why it is a miss; an error if the line failed.
    pub(crate) async fn find(
        &mut self,
        near: Option<Arc<Fragment>>,
    ) -> Result<Result<Arc<Fragment>, Outcome>, Why> {
        let mut why = Outcome::NoValue;
        let mut ask = vec![Command::Get(self.fragment.clone())];
        let mut held = Vec::new();
        if let Some(near) = &near {
            held = renew(self.near(), near.stamps());
            if !self.was_invalidated(near) {
                self.read_stamps(Vec::new(), &held).await?;
                match self.verdict(&held) {
                    Verdict::Holds => return Ok(Ok(self.keep_near(near, held))),
                    Verdict::StampLost => why = Outcome::StampLost,
                    Verdict::StampChanged => why = Outcome::StampChanged,
                }
                held.clear();
            } else {
                why = Outcome::StampChanged;
            }
        }
        // What it was made from the last time is likely what it is made from.
        let replies = self.read_stamps(std::mem::take(&mut ask), &held).await?;
        let value = replies.first().and_then(Reply::value);
        let Some(value) = value else { return Ok(Err(why)) };
        let Some(written) = self.decode(value) else { return Ok(Err(Outcome::NoValue)) };
        let held = place(self.near(), &written);
        self.read_stamps(Vec::new(), &held).await?;
        Ok(match self.verdict(&held) {
            Verdict::Holds => Ok(self.keep_written(written, held)),
            Verdict::StampLost => Err(Outcome::StampLost),
            Verdict::StampChanged => Err(Outcome::StampChanged),
        })
    }

    /// What lies in the store, its length there, and whether it holds.
    pub(crate) async fn peek(&mut self) -> Result<Option<(Arc<Fragment>, usize, bool)>, Why> {
        let replies = self.link.run(&[Command::Get(self.fragment.clone())]).await?;
        let Some(value) = replies.first().and_then(Reply::value) else { return Ok(None) };
        let Some(written) = self.decode(value) else { return Ok(None) };
        let held = place(self.near(), &written);
        self.read_stamps(Vec::new(), &held).await?;
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
        fragment.stamps().iter().any(|stamp| {
            session_of(stamp) == self.link.session && !stamp.is_current()
        })
    }

    /// Sends `commands`, and with them reads of the stamps that have to be
    /// read; the replies to the former.
    async fn read_stamps(
        &mut self,
        mut commands: Vec<Command>,
        held: &[Held],
    ) -> Result<Vec<Reply>, Why> {
        let has_to_be_read = |held: &&Held| {
            let known = held.stamp.shared().is_some_and(|shared| shared.token().is_some());
            !self.read.contains_key(&address(&held.stamp)) && (self.afresh || !known)
        };
        let stamps: Vec<Arc<Stamp>> =
            held.iter().filter(has_to_be_read).map(|held| held.stamp.clone()).collect();
        let first = commands.len();
        commands.extend(stamps.iter().filter_map(read_command));
        let mut replies = self.link.run(&commands).await?;
        for (stamp, reply) in stamps.iter().zip(replies.split_off(first.min(replies.len()))) {
            let found = reply.value().and_then(|value| token_at(stamp, value, self.link));
            if found.is_none() && reply.value().is_some() && stamp.parent().is_none() {
                return Err(Why::new("the servers have changed"));
            }
            self.tier.take(self.link, stamp, found);
            self.read.insert(address(stamp), found);
        }
        Ok(replies)
    }

    fn verdict(&self, held: &[Held]) -> Verdict {
        let current = |held: &Held| match self.read.get(&address(&held.stamp)) {
            Some(found) => *found,
            None if self.afresh => None,
            None => held.stamp.shared().and_then(|shared| shared.token()),
        };
        let verdict = verdict(held.iter().map(|held| (held.made_under, current(held))));
        if verdict == Verdict::Holds && !held.iter().all(|held| held.stamp.is_current()) {
            return Verdict::StampChanged;
        }
        verdict
    }

    /// Keeps what was in memory under the stamps that it was found to hold by.
    fn keep_near(&self, near: &Arc<Fragment>, held: Vec<Held>) -> Arc<Fragment> {
        if near.has_current_stamps() {
            return near.clone();
        }
        let stamps = held.into_iter().filter(|held| held.named).map(|held| held.stamp);
        let fragment = Arc::new(near.restamped(stamps.collect()));
        self.near().put(self.key, fragment.clone());
        fragment
    }

    fn keep_written(&self, written: Written, held: Vec<Held>) -> Arc<Fragment> {
        let stamps = held.into_iter().filter(|held| held.named).map(|held| held.stamp);
        let fragment = Arc::new(restored(written, stamps.collect()));
        self.near().put(self.key, fragment.clone());
        fragment
    }
}

fn address(stamp: &Arc<Stamp>) -> usize {
    Arc::as_ptr(stamp) as usize
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
