//! Writing: what an invalidation is about, which keys it drops, and its
//! delivery.

pub(crate) mod commit;
pub(crate) mod delivery;
pub(crate) mod invalidation;
pub(crate) mod keys;
pub(crate) mod suppression;

pub(crate) mod transaction;

pub use commit::PendingCommit;
pub use invalidation::WriteEvent;
pub use suppression::{no_invalidation, no_invalidation_async};
pub use transaction::{Savepoint, Transaction};
