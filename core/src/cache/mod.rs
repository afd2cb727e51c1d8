//! The cache as an application holds it: its handle and settings, values around
//! closures, and what can be seen of it.

mod builder;
mod cached;
pub(crate) mod handle;
pub(crate) mod inner;
mod inspect;

pub use builder::Builder;
pub use cached::Cached;
pub use handle::Cacheops;
