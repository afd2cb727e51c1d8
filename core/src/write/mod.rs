//! Writing: what an invalidation is about, which keys it drops, and its
//! delivery.

pub(crate) mod commit;
pub(crate) mod delivery;
pub(crate) mod invalidation;
pub(crate) mod keys;

pub use commit::PendingCommit;
pub use invalidation::WriteEvent;
