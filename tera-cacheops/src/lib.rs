//! Cache tags for [Tera](tera): a piece of template is rendered once and
//! served from cache until a row that can change it changes.
//!
//! ```jinja
//! {% cached_as articles, extra=user.lang %}
//!   {% for a in articles | rows %}<li>{{ a.title }}</li>{% endfor %}
//! {% endcached_as %}
//! ```
//!
//! [`Tags`] adds the tags to a Tera, [`lazy`] makes querysets whose queries run
//! only where the template asks for their rows, and [`cacheops`] is the cache
//! itself.
//!
//! ```
//! use tera::{Context, Tera};
//! use tera_cacheops::cacheops::{Cacheops, QuerySet, eq};
//! use tera_cacheops::{Tags, lazy};
//!
//! let cache = Cacheops::in_memory();
//! let mut tera = Tera::default();
//! let tags = Tags::install(&mut tera, &cache);
//! tags.add_template(
//!     &mut tera,
//!     "list.html",
//!     "{% cached_as articles %}{% for a in articles | rows %}<li>{{ a }}</li>{% endfor %}{% endcached_as %}",
//! )?;
//! let page = || {
//!     let german = QuerySet::table("articles").filter(eq("lang", "de"));
//!     let articles = lazy(&cache, german, || {
//!         Ok::<_, std::io::Error>(vec!["Eins", "Zwei"]) // here the database is asked
//!     });
//!     let mut context = Context::new();
//!     context.insert("articles", &articles);
//!     tags.render(&tera, "list.html", &context)
//! };
//! assert_eq!(page()?, "<li>Eins</li><li>Zwei</li>");
//! assert_eq!(page()?, "<li>Eins</li><li>Zwei</li>"); // no query ran
//!
//! // A row has changed, and only what stands on rows like it is made anew.
//! # use std::collections::BTreeMap;
//! let row = BTreeMap::from([("id", "7"), ("lang", "de")]);
//! cache.invalidate_obj("articles", &row).unwrap();
//! # page()?;
//! # assert_eq!((cache.stats().hits, cache.stats().misses), (1, 2));
//! # Ok::<_, tera::Error>(())
//! ```
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
//! A hit and a miss give the same page: what a body sets, by `set` or by
//! `set_global`, has its old value behind the tag. Inside the body everything
//! of the engine works, blocks, `super()`, includes and components included;
//! only `break` and `continue` may not leave it. Inside a component, `body` is
//! what its caller hands it, so a tag around `body` needs `extra=body`.
//!
//! What cannot be done right is refused in loading, with the place and with
//! what to write instead: `body` that the tag does not name, by way of an
//! include too; `__tera_context` in a tag; `set_global` in a tag in a loop
//! that has the same name.
//!
//! # Functions and filters
//!
//! | in a template | what it gives |
//! |---|---|
//! | `articles \| rows`, `rows(of=articles)` | the rows of a [`lazy`] queryset |
//! | `"articles" \| queryset(category=3)`, `queryset(table="articles", category=3)` | a queryset; a list means `IN`, `none` means `IS NULL` |
//! | `get_last_invalidation(of="articles")` | when the table last changed, in seconds since 1970, or none; takes a list, too |
//!
//! # Rendering
//!
//! Tera's own methods render templates with tags. Those of [`Tags`] do a little
//! more: [`Tags::render`] and its kin
//!
//! - show what the author wrote in errors. Tera quotes the source that it was
//!   given, so an error on the line of a tag would show the rewritten line;
//!   [`Tags::author_error`] mends one that has come from Tera itself;
//! - have as `source()` what made the error, to be looked into by its type: the
//!   error of a query, that of a [`decorator_tag`](Tags::decorator_tag) if it
//!   has a source itself, or the [`cacheops::Error`] of a tag with its kind.
//!   Tera keeps no more than the words of an error in a function, filter or
//!   test. So by Tera's own methods all these become messages, and an error of
//!   a function of your own becomes one in any case;
//! - count what a page has read until it ends: a value that was got outside of a
//!   tag, and is shown in one, keeps that from being stored if it has changed;
//! - cache what stands in a tag around blocks, since they know which page it is;
//! - fetch the fragments of a page together, over Redis in strict mode;
//! - render a block that stands inside of a tag ([`Tags::render_block`]), for
//!   which Tera's own method gives nothing, as inside of a filter section.
//!
//! The rewriting is seen in four places: `__tera_context` lists variables that
//! begin with `_cacheops`, and names that a body has set;
//! `get_template_variables` lists them, too; templates of an inheritance with
//! such a tag have a block of that name; and tags nest 19 deep, since Tera takes
//! 39 statements inside each other and a tag becomes two.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod checks;
mod custom;
mod dialect;
mod engine;
mod errors;
mod frames;
mod groups;
mod inheritance;
mod library;
mod loading;
mod name_resolver;
mod plan;
mod querysets;
mod removed;
mod render;
mod rendering;
mod restore;
mod runtime;
mod source;
mod tags;
mod template_set;

pub use cacheops;
pub use custom::{Caching, TagCall};
pub use engine::TeraEngine;
pub use querysets::{Lazy, lazy, queryset};
pub use tags::Tags;
