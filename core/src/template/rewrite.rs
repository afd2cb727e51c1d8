//! Puts an engine's own statements in place of the tags.

use std::collections::BTreeSet;

use super::lexer::Syntax;
use super::parser::{CallSite, Edges, OpenTag, With, parse};
use crate::error::Error;

/// What an engine understands instead of the tags.
///
/// What is written must hold as many line ends as what it replaces: those
/// inside the expressions of the arguments, and [`Edges::line_end`].
pub trait Dialect {
    /// Writes what begins a tag.
    fn open(&self, tag: &OpenTag<'_>, out: &mut String);

    /// Writes what ends a tag; `edges` are those of its end.
    fn close(&self, tag: &OpenTag<'_>, edges: Edges<'_>, out: &mut String);

    /// Writes an expression that names a template: of any `extends`, and of an
    /// `include`, `import` or `from` whose template is known only in rendering.
    fn reference(&self, statement: &str, expression: &str, out: &mut String);
}

/// A source without tags, and what is known of them.
#[derive(Debug)]
pub struct Rewritten<'s> {
    /// What the engine gets.
    pub source: String,
    /// The tags, in the order of their beginnings.
    pub tags: Vec<OpenTag<'s>>,
    /// All templates that the source names plainly.
    pub references: BTreeSet<&'s str>,
    /// Of these, the ones it imports macros from.
    pub imports: BTreeSet<&'s str>,
    /// Whether it imports macros from templates that only rendering tells.
    pub dynamic_imports: bool,
    /// The places where `call` hands a body to `cached_as` or `cached`.
    pub calls: Vec<CallSite<'s>>,
}

/// Rewrites a source; `custom` are the names of the application's own tags.
///
/// # Errors
///
/// A tag with wrong arguments, that is not closed, closes nothing, crosses
/// another statement or nests too deep; the error has the line.
pub fn rewrite<'s>(
    source: &'s str,
    syntax: &Syntax,
    custom: &[String],
    dialect: &dyn Dialect,
) -> Result<Rewritten<'s>, Error> {
    let parsed = parse(source, syntax, custom)?;
    let mut out = String::with_capacity(source.len() + parsed.edits.len() * 128);
    let mut copied = 0;
    for edit in &parsed.edits {
        out.push_str(&source[copied..edit.start]);
        copied = edit.end;
        match edit.with {
            With::Open(tag) => dialect.open(&parsed.tags[tag], &mut out),
            With::Close(tag, edges) => dialect.close(&parsed.tags[tag], edges, &mut out),
            With::Reference(statement, expression) => {
                dialect.reference(statement, expression, &mut out);
            }
        }
    }
    out.push_str(&source[copied..]);
    Ok(Rewritten {
        source: out,
        tags: parsed.tags,
        references: parsed.references,
        imports: parsed.imports,
        dynamic_imports: parsed.dynamic_imports,
        calls: parsed.calls,
    })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
