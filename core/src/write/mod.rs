//! Writing: what an invalidation is about, which keys it drops, and its
//! delivery.

pub(crate) mod delivery;
pub(crate) mod invalidation;
pub(crate) mod keys;

pub use invalidation::WriteEvent;
