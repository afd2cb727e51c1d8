//! Prepared revalidations: whether a fragment in memory still holds.
//!
//! In strict mode each hit reads the same tokens as the hit before. The commands are
//! encoded once, and reused as long as the fragment has the same stamps. The replies
//! count like those of any other lookup.

use std::sync::{Arc, Weak};

use redis::Pipeline;

use super::bounded_map::{BoundedMap, Weight};
use super::error::LinkError;
use super::link::Link;
use super::stamp_map::Lineage;
use super::stamps::{is_epoch, read_command, settle, token_in};
use super::wire;
use crate::fragment::Fragment;
use crate::key::FragmentKey;
use crate::protocol::{Command, Token, Verdict, verdict};
use crate::store::{MemoryStore, Stamp};

/// The revalidations that were used last, by fragment.
pub(crate) struct PreparedRevalidations(BoundedMap<FragmentKey, Arc<PreparedRevalidation>>);

/// A revalidation that is ready to be sent.
pub(crate) struct PreparedRevalidation {
    /// The fragment, identified by its address. No other fragment can have the address
    /// while this reference exists.
    fragment: Weak<Fragment>,
    /// The stamps that the fragment was made under, in the order of the replies.
    stamps: Box<[(Arc<Stamp>, Token)]>,
    commands: Box<[Command]>,
    pipeline: Pipeline,
}

impl PreparedRevalidations {
    /// Room beside `limit` bytes of fragments.
    pub(crate) fn beside(limit: u64) -> Self {
        PreparedRevalidations(BoundedMap::beside(limit))
    }

    /// What they take, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    /// The revalidation of a fragment whose stamps are current, prepared now unless it
    /// exists. `None` if a token is not known.
    pub(crate) fn of(
        &self,
        key: &FragmentKey,
        near: &Arc<Fragment>,
    ) -> Option<Arc<PreparedRevalidation>> {
        let is_of_it =
            |it: &Arc<PreparedRevalidation>| std::ptr::eq(it.fragment.as_ptr(), Arc::as_ptr(near));
        if let Some(known) = self.0.get(key).filter(is_of_it) {
            return Some(known);
        }
        let revalidation = Arc::new(PreparedRevalidation::new(near)?);
        self.0.insert(*key, revalidation.clone());
        Some(revalidation)
    }
}

/// The stamps count in full: when the fragment is gone, only the revalidation keeps
/// them alive.
impl Weight for Arc<PreparedRevalidation> {
    fn weight(&self) -> usize {
        const EACH: usize = size_of::<(Arc<Stamp>, Token)>() + size_of::<Command>();
        // A stamp, and its command as it is encoded.
        const STAMP: usize = 80;
        const WRITTEN: usize = 120;
        let of_one = |(stamp, _): &(Arc<Stamp>, Token)| {
            let key = stamp.shared().map_or(0, |shared| shared.key().len());
            EACH + STAMP + WRITTEN + stamp.extra_weight() + key
        };
        size_of::<PreparedRevalidation>() + self.stamps.iter().map(of_one).sum::<usize>()
    }
}

impl PreparedRevalidation {
    fn new(near: &Arc<Fragment>) -> Option<Self> {
        let line = Lineage::of(near.stamps());
        // Consecutive reads of keys become one command.
        let (epochs, others): (Vec<_>, Vec<_>) = line.stamps().partition(|stamp| is_epoch(stamp));
        let in_order = others.into_iter().chain(epochs);
        let known = |stamp: &Arc<Stamp>| Some((stamp.clone(), stamp.shared()?.token()?));
        let stamps: Box<[_]> = in_order.map(known).collect::<Option<_>>()?;
        let commands: Option<Box<[Command]>> =
            stamps.iter().map(|(stamp, _)| read_command(stamp)).collect();
        let commands = commands?;
        let pipeline = wire::pipeline(&commands);
        Some(PreparedRevalidation { fragment: Arc::downgrade(near), stamps, commands, pipeline })
    }

    /// Compares the stamps with those in the store. Stamps that have changed are
    /// dropped in memory.
    pub(crate) async fn run(&self, near: &MemoryStore, link: &Link) -> Result<Verdict, LinkError> {
        let replies = link.run_ready(&self.commands, &self.pipeline).await?;
        let mut found = Vec::with_capacity(self.stamps.len());
        for ((stamp, made_under), reply) in self.stamps.iter().zip(&replies) {
            let token = token_in(stamp, reply.value(), link)?;
            settle(near, link, stamp, token);
            found.push((Some(*made_under), token));
        }
        let all_current = || self.stamps.iter().all(|(stamp, _)| stamp.is_current());
        Ok(match verdict(found) {
            Verdict::Holds if replies.len() < self.stamps.len() => Verdict::StampLost,
            Verdict::Holds if !all_current() => Verdict::StampChanged,
            verdict => verdict,
        })
    }
}
