//! Cache tags in the source of templates: what the plugins of all engines
//! share.
//!
//! No engine has tags of one's own, so a plugin rewrites the source as it is
//! loaded. This module finds the tags, checks that they are whole, and puts in
//! their place what a [`Dialect`] says; all other text passes byte for byte,
//! and every line stays the line it was.
//!
//! ```
//! use cacheops::template::{Dialect, Edges, OpenTag, Syntax, rewrite};
//!
//! struct Shout;
//! impl Dialect for Shout {
//!     fn open(&self, tag: &OpenTag<'_>, out: &mut String) {
//!         out.push_str(&format!("<{} {}>", tag.name, tag.line));
//!     }
//!     fn close(&self, tag: &OpenTag<'_>, _edges: Edges<'_>, out: &mut String) {
//!         out.push_str(&format!("</{}>", tag.name));
//!     }
//!     fn reference(&self, _statement: &str, expression: &str, out: &mut String) {
//!         out.push_str(expression);
//!     }
//! }
//! let source = "a\n{% cached timeout=60 %}b{% endcached %}";
//! let done = rewrite(source, &Syntax::default(), &[], &Shout).unwrap();
//! assert_eq!(done.source, "a\n<cached 2>b</cached>");
//! ```

mod args;
mod caching;
mod environment;
mod lexer;
mod loops;
mod macros;
mod marks;
mod numbered;
mod open_tag;
mod parser;
mod rewrite;
mod rows;
mod sets;
mod tag;
mod tokens;
mod values;
mod written;

pub use args::{Argument, Arguments};
pub use caching::{Caching, check_tag_name};
pub use environment::Environment;
pub use lexer::{Rules, Syntax};
pub use loops::{Loop, Loops, Spot};
pub use macros::Macros;
pub use marks::Mark;
pub use numbered::Numbered;
pub use open_tag::{Block, Edges, OpenTag, Sets, Shown, TagKind};
pub use parser::CallSite;
pub use rewrite::{Dialect, Moved, PLAIN_IMPORT, Rewritten, rewrite};
pub use rows::{NoRows, Rows};
pub use sets::{build_queryset, collect_querysets};
pub use tag::{Slots, Tag, source_digest};
pub use values::{Datum, Engine, Given, Options};
pub use written::{Marks, write_name, write_plain, write_value};
