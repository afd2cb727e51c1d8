//! The stamps that a fragment was made under, and the current ones.

use std::sync::Arc;

use super::codec::Written;
use super::stamp_map::Lineage;
use crate::fragment::{Dependencies, Fragment};
use crate::protocol::Token;
use crate::store::{MemoryStore, Stamp, StampKind};

/// A stamp that a fragment was made under, and the stamp in memory that stands for the
/// same key now.
pub(super) struct HeldStamp {
    pub(super) made_under: Option<Token>,
    pub(super) stamp: Arc<Stamp>,
    /// Whether the fragment itself depends on it, and not only a stamp below it.
    pub(super) named: bool,
}

/// The token of a stamp, if memory knows it.
pub(super) fn known(stamp: &Stamp) -> Option<Token> {
    stamp.shared().and_then(|shared| shared.token())
}

/// A fragment that was read, under the stamps in memory.
pub(super) fn restored(written: Written, stamps: Vec<Arc<Stamp>>) -> Fragment {
    let dependencies = Dependencies {
        stamps,
        templates: written.templates,
        expires_at: written.expires_at,
        ..Dependencies::default()
    };
    Fragment::new(written.body, dependencies, written.stored_at, written.label.as_deref())
}

/// The current stamps for those that a fragment in memory was made under.
pub(super) fn renew(near: &MemoryStore, stamps: &[Arc<Stamp>]) -> Vec<HeldStamp> {
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

/// The current stamps for those that a fragment was encoded with.
pub(super) fn find_stamps(near: &MemoryStore, written: &Written) -> Vec<HeldStamp> {
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
