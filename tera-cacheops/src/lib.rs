//! Cache tags for [Tera](tera): a piece of template is rendered once and
//! served from cache until a row that can change it changes.

mod begin;
mod custom;
mod dialect;
mod engine;
mod errors;
mod frames;
mod library;
mod querysets;
mod rendering;
mod tags;

pub use cacheops;
pub use custom::{Caching, TagCall};
pub use engine::TeraEngine;
pub use querysets::{Lazy, lazy, queryset};
pub use tags::Tags;
