//! Cache tags for [MiniJinja](minijinja): a piece of template is rendered once
//! and served from cache until a row that can change it changes.
//!
//! ```jinja
//! {% cached_as articles, extra=user.lang %}
//!   {% for a in articles %}<li>{{ a.title }}</li>{% endfor %}
//! {% endcached_as %}
//! ```
//!
//! [`Tags`] adds the tags to an environment, [`lazy`] makes querysets whose
//! queries run only where the template looks into them, and [`cacheops`] is
//! the cache itself.
//!
//! # Tags
//!
//! ```jinja
//! {% cached_as qs [, qs2 …] [, timeout=…] [, extra=…] [, name=…] [, lock=…] %} … {% endcached_as %}
//! {% cached [timeout=…] [, extra=…] [, name=…] [, lock=…] %} … {% endcached %}
//! ```
//!
//! and in the form that Django's templates have:
//!
//! ```jinja
//! {% cached_as <queryset> <timeout> <fragment_name> [<extra1> …] %}
//! {% cached <timeout> <fragment_name> [<extra1> …] %}
//! ```
//!
//! - `timeout` is in seconds, above zero; `none` means the default.
//! - `extra` is what the fragment varies by besides its querysets.
//! - `name` is what `invalidate_fragment` reaches it by.
//! - `lock=false` lets renders that miss together each do the work.
//!
//! A hit and a miss give the same page: what a body sets ends with the tag,
//! and a namespace from outside to which it assigns is a copy. Inside the body
//! everything of the engine works, blocks and `super()` included; only
//! `break` and `continue` may not leave it.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod add_loaded;
mod call;
mod custom;
mod dialect;
mod engine;
mod errors;
mod fragment;
mod guards;
mod keys;
mod outer_macros;
mod querysets;
mod rendering;
mod runtime;
mod source;
mod tags;
mod templates;

pub use cacheops;
pub use custom::{Caching, TagCall};
pub use engine::MiniJinjaEngine;
pub use querysets::{lazy, queryset};
pub use source::TemplateSource;
pub use tags::Tags;

/// The README's and the handbook's programs, run as tests.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../README.md")]
    mod readme {}
    #[doc = include_str!("../../docs/handbook/first-ten-minutes.md")]
    mod first_ten_minutes {}
}
