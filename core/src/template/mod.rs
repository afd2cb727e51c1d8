//! Cache tags in the source of templates: what the plugins of all engines
//! share. **Exempt from semantic versioning**: this module may change in any
//! release, so a plugin depends on exactly one version of the core.
//!
//! No engine lets an application add tags, so a plugin rewrites each source as
//! it is loaded. This module finds the tags, checks that each is closed, and
//! puts in its place what a [`Dialect`] writes. All other text stays byte for
//! byte, and every line keeps its number.
//!
//! ```
//! use cacheops::template::{Dialect, OpenTag, Reference, Syntax, Trim, rewrite};
//!
//! struct Shout;
//! impl Dialect for Shout {
//!     fn open(&self, tag: &OpenTag<'_>, out: &mut String) {
//!         out.push_str(&format!("<{} {}>", tag.name, tag.line));
//!     }
//!     fn close(&self, tag: &OpenTag<'_>, _trim: Trim<'_>, out: &mut String) {
//!         out.push_str(&format!("</{}>", tag.name));
//!     }
//!     fn reference(&self, _reference: Reference, expression: &str, out: &mut String) {
//!         out.push_str(expression);
//!     }
//! }
//! let source = "a\n{% cached timeout=60 %}b{% endcached %}";
//! let done = rewrite(source, &Syntax::default(), &[], &Shout).unwrap();
//! assert_eq!(done.source, "a\n<cached 2>b</cached>");
//! ```

mod append_only_vec;
mod args;
mod caching;
mod custom_tags;
mod encode;
mod engine;
mod environment;
mod lexer;
mod lookup;
mod loops;
mod macros;
mod marks;
mod open_tag;
mod options;
mod parsed;
mod parser;
mod querysets;
mod rewrite;
mod rows;
mod tag;
mod tokens;

pub use append_only_vec::AppendOnlyVec;
pub use args::{Argument, Arguments};
pub use caching::Caching;
pub use custom_tags::CustomTags;
pub use encode::{Distinctions, write_name, write_plain, write_value};
pub use engine::{Datum, Engine};
pub use environment::EnvironmentId;
pub use lexer::{Rules, Syntax};
pub use lookup::{TagLookup, last_invalidation};
pub use loops::{Loop, Loops, Position};
pub use macros::Macros;
pub use marks::Mark;
pub use open_tag::{Assignment, Assignments, Block, Exposure, OpenTag, Reference, TagKind, Trim};
pub use options::{TagArguments, TagOptions};
pub use parsed::{CallSite, DefinedMacro};
pub use querysets::{Querysets, build_queryset, collect_querysets, queryset_digest};
pub use rewrite::{Dialect, Rewritten, SourceMapEntry, rewrite};
pub use rows::{Rows, RowsError};
pub use tag::{ArgumentLayout, Tag, source_digest};
