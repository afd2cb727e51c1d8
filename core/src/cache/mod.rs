//! The cache as an application sees it: its handle and settings, values of
//! closures, and inspection.

mod builder;
mod cached;
pub(crate) mod handle;
pub(crate) mod inner;
mod inspect;
mod last_invalidation;

pub use builder::Builder;
pub use cached::Cached;
pub use handle::Cacheops;
