//! Whether a fragment in memory holds, asked again and again.
//!
//! In strict mode each hit asks for the same tokens as the one before. What is
//! sent is put together once, as long as the fragment stands under the same
//! stamps; the answers count as those of any other lookup.

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

/// The questions that were asked last.
pub(crate) struct PreparedRevalidations(BoundedMap<FragmentKey, Arc<PreparedRevalidation>>);

/// A question that is ready to be sent.
pub(crate) struct PreparedRevalidation {
    /// What it is about. Kept by its address only; that is nobody else's, as
    /// long as this is there.
    fragment: Weak<Fragment>,
    /// What it was made under, in the order of the answers.
    stamps: Box<[(Arc<Stamp>, Token)]>,
    commands: Box<[Command]>,
    pipeline: Pipeline,
}

impl PreparedRevalidations {
    /// Room for what goes with `limit` bytes of fragments.
    pub(crate) fn beside(limit: u64) -> Self {
        PreparedRevalidations(BoundedMap::beside(limit))
    }

    /// What they take, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    /// The question for a fragment whose stamps are current; put together if
    /// it is another than the one before. `None` if a token is not known.
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

/// The stamps count in full: when the fragment has gone, it is the question that
/// keeps them.
impl Weight for Arc<PreparedRevalidation> {
    fn weight(&self) -> usize {
        const EACH: usize = size_of::<(Arc<Stamp>, Token)>() + size_of::<Command>();
        // A stamp with its place in the store, a command of its own as written.
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
        // Keys in a row are read by one command.
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

    /// Whether what it is about holds now. What does not is dropped in memory.
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
