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
mod lexer;
mod parser;
mod rewrite;
mod tokens;

pub use args::{Argument, Arguments};
pub use lexer::Syntax;
pub use parser::{CallSite, Edges, OpenTag, TagKind};
pub use rewrite::{Dialect, Rewritten, rewrite};
