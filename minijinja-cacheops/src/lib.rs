//! Cache tags for [MiniJinja](minijinja). A fragment of a template is rendered
//! once, then served from the cache until a row changes that it depends on.
//!
//! ```jinja
//! {% cached_as articles, extra=user.lang %}
//!   {% for a in articles %}<li>{{ a.title }}</li>{% endfor %}
//! {% endcached_as %}
//! ```
//!
//! [`Tags`] adds the tags to an environment. [`lazy`] creates querysets whose
//! queries run only when the template reads them. [`cacheops`] is the cache
//! itself.
//!
//! # Tags
//!
//! ```jinja
//! {% cached_as qs [, qs2 …] [, timeout=…] [, extra=…] [, name=…] [, lock=…] %} … {% endcached_as %}
//! {% cached [timeout=…] [, extra=…] [, name=…] [, lock=…] %} … {% endcached %}
//! ```
//!
//! The second form is that of Django's templates:
//!
//! ```jinja
//! {% cached_as <queryset> <timeout> <fragment_name> [<extra1> …] %}
//! {% cached <timeout> <fragment_name> [<extra1> …] %}
//! ```
//!
//! - `timeout` is in seconds, above zero; `none` means the default.
//! - `extra` is what the fragment varies by besides its querysets.
//! - `name` is the name for `invalidate_fragment`.
//! - `lock=false` lets requests that miss at the same time each render the body.
//!
//! A hit and a miss give the same page. What a body sets ends with the tag. If
//! the body assigns to a namespace from outside, it works on a copy. Everything
//! of the engine works inside the body, including blocks and `super()`. Only
//! `break` and `continue` cannot leave it.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `tracing` | yes | events with the target `cacheops`: reads and invalidations at debug level, failures and changes of the connection as warnings |
//! | `redis` | no | a shared tier for several processes: Redis, Valkey or Dragonfly |
//! | `redis-tls` | no | TLS for its connections |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod add_loaded;
mod call;
mod custom;
mod dependencies;
mod dialect;
mod engine;
mod errors;
mod escaping;
mod fragment;
mod guards;
mod outer_macros;
mod queryset_values;
mod querysets;
mod registration;
mod rendering;
mod runtime;
mod shared;
mod source;
mod tags;
mod templates;
mod traced_macro;
mod uses;

pub use cacheops;
pub use custom::{Caching, TagCall};
pub use engine::MiniJinjaEngine;
pub use queryset_values::{lazy, queryset};
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
