//! Cache tags for [Tera](tera). A fragment of a template is rendered once, then
//! served from the cache until a row changes that it depends on.
//!
//! ```jinja
//! {% cached_as articles, extra=user.lang %}
//!   {% for a in articles | rows %}<li>{{ a.title }}</li>{% endfor %}
//! {% endcached_as %}
//! ```
//!
//! [`Tags`] adds the tags to a Tera. [`lazy`] creates querysets whose queries run
//! only when the template gets their rows. [`cacheops`] is the cache itself.
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
//! // A row has changed. Only fragments whose conditions it meets are dropped.
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
//! A hit and a miss give the same page. Variables that a body sets with `set` or
//! `set_global` have their old values again after the tag. Everything of the
//! engine works inside the body, including blocks, `super()`, includes and
//! components. Only `break` and `continue` cannot leave it. Inside a component,
//! `body` is what the caller passes, so a tag around `body` needs `extra=body`.
//!
//! What cannot be exact is an error in loading. The error names the place and says
//! what to write instead. This applies to a `body` that the tag does not name, also
//! through an include; to `__tera_context` in a tag; and to `set_global` in a tag
//! in a loop that has the same name.
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
//! Tera's own methods render templates with tags. [`Tags::render`] and the other
//! methods of [`Tags`] do more:
//!
//! - Errors show the text that the author wrote. Tera quotes the source that it
//!   was given, so an error on the line of a tag would show the rewritten line.
//!   [`Tags::author_error`] corrects an error that came from Tera itself.
//! - `source()` returns the cause of an error with its type: the error of a
//!   query, that of a [`decorator_tag`](Tags::decorator_tag) if it has a source
//!   itself, or the [`cacheops::Error`] of a tag with its kind. Tera keeps only
//!   the message of an error in a function, filter or test. So with Tera's own
//!   methods, all these become messages. An error of a function of your own
//!   always becomes one.
//! - What a page has read counts until the page ends. If a value was read
//!   outside of a tag and has changed, a tag that shows it is not stored.
//! - Tags around blocks are cached, because these methods know which page is
//!   rendered.
//! - Over Redis in strict mode, the fragments of a page are fetched together.
//! - [`Tags::render_block`] renders a block inside a tag. Tera's own method
//!   returns nothing for it, as for any block inside a filter section.
//!
//! The rewriting is visible in four places: `__tera_context` lists variables that
//! begin with `_cacheops`, and names that a body has set.
//! `get_template_variables` lists them too. Templates of an inheritance with
//! such a tag have a block of that name. Tags nest 19 deep, because Tera nests
//! statements 39 deep and a tag becomes two.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `tracing` | yes | events with the target `cacheops`: reads and invalidations at debug level, failures and changes of the connection as warnings |
//! | `redis` | no | a shared tier for several processes: Redis, Valkey or Dragonfly |
//! | `redis-tls` | no | TLS for its connections |
//! | `glob_fs` | no | `Tags::load_from_glob` and `Tags::full_reload`, as in `tera` |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod checks;
mod custom;
mod dialect;
mod engine;
mod errors;
mod escaping;
mod frames;
mod groups;
mod inheritance;
mod library;
mod live_rows;
mod load_error;
mod loaded;
mod loading;
mod name_resolver;
mod names;
mod plan;
mod querysets;
mod registration;
mod removed;
mod render;
mod rendering;
mod restore;
mod runtime;
mod seal;
mod shared;
mod source;
mod tags;
mod template_set;

pub use cacheops;
pub use custom::{Caching, TagCall};
pub use engine::TeraEngine;
pub use querysets::{Lazy, lazy, queryset};
pub use tags::Tags;
