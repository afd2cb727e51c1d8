//! The cache as an application holds it: its handle, its settings, values
//! around closures.

mod builder;
mod cached;
pub(crate) mod handle;

pub use builder::Builder;
pub(crate) use builder::Settings;
pub use cached::Cached;
pub use handle::Cacheops;
