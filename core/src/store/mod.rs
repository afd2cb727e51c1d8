//! Where a process keeps things: fragments, and the stamps that they hold by.

mod container;
mod memory;
#[cfg(all(test, feature = "redis", not(shuttle)))]
mod near_tests;
mod stamp;
mod tables;
#[cfg(feature = "redis")]
mod token;

pub(crate) use memory::{MemoryStore, StampMetaOptions};
pub(crate) use stamp::{Stamp, invalidations};
#[cfg(feature = "redis")]
pub(crate) use token::{SharedStamp, StampKind, StoreId, Stores};

use std::borrow::Cow;

use crate::queryset::TableDnf;
use crate::sync::Arc;

/// What a lease has taken.
pub(crate) struct StoreLease<'s> {
    pub(crate) stamps: Vec<Arc<Stamp>>,
    /// The tables as the stamps are of them: what there was no room for in a
    /// registry stands for any row. Whoever registers schemes elsewhere
    /// registers these, and no others.
    #[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "a shared store wants to know"))]
    pub(crate) tables: Cow<'s, [TableDnf]>,
}

/// What an invalidation did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// How many schemes were looked at.
    pub(crate) schemes: usize,
    /// How many stamps were there and are not any more.
    pub(crate) stamps: usize,
    /// Whether a table was dropped as a whole.
    pub(crate) whole_table: bool,
}

impl Dropped {
    /// Both of two that did one thing in turns.
    pub(crate) fn and(self, other: Self) -> Self {
        Dropped {
            schemes: self.schemes.max(other.schemes),
            stamps: self.stamps + other.stamps,
            whole_table: self.whole_table || other.whole_table,
        }
    }
}

/// How much a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Fragments, the invalidated ones that nobody asked for since included.
    pub fragments: usize,
    /// What they weigh, in bytes, with their place in the store.
    pub bytes: u64,
    /// Stamps under conjunctions and names, those that nothing depends on any
    /// more included: at most about as many as the others.
    pub stamps: usize,
    /// Tables that are known, those that nothing depends on any more included:
    /// at most about as many as the others, or a thousand. With a computed
    /// prefix each tenant has tables of its own.
    pub tables: usize,
    /// What tables, their schemes and the places of stamps take beside `bytes`,
    /// in bytes, roughly. The size limit does not cover it, but for what nothing
    /// depends on it grows and shrinks with the fragments. Over a shared store
    /// also what is remembered of it: at most three eighths of the size limit.
    pub bookkeeping: u64,
}
