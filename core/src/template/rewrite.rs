//! Replaces the tags with statements of the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::lexer::Syntax;
use super::loops::Loops;
use super::macros::Macros;
use super::open_tag::{Block, Exposure, OpenTag, Reference, Trim};
use super::parsed::{CallSite, DefinedMacro, Replacement};
use super::parser::parse;
use crate::error::Error;

/// How the tags are written in the language of an engine.
///
/// The replacement must have as many line ends as the original: those inside the
/// expressions of the arguments, and [`Trim::line_end`].
pub trait Dialect {
    /// Writes the replacement for the beginning of a tag.
    fn open(&self, tag: &OpenTag<'_>, out: &mut String);

    /// Writes the replacement for the end of a tag; `edges` are its trim
    /// markers.
    fn close(&self, tag: &OpenTag<'_>, trim: Trim<'_>, out: &mut String);

    /// Writes an expression that names a template.
    fn reference(&self, reference: Reference, expression: &str, out: &mut String);

    /// Writes what follows the end of a macro; `is_plain` is that of
    /// [`Macros`].
    fn macro_end(&self, _defined: &DefinedMacro<'_>, _is_plain: bool, _out: &mut String) {}

    /// Writes `caller`, where its value is given to something else: a variable,
    /// an argument, a list.
    fn caller(&self, out: &mut String) {
        out.push_str("caller");
    }

    /// Writes the beginning of the source, after `extends` if there is one.
    fn prelude(&self, _out: &mut String) {}

    /// Writes what must run before the first statement or expression of a
    /// source, which follows; `edges` are its trim markers. `has_macros`
    /// tells whether the source defines or imports macros.
    fn first(&self, _trim: Trim<'_>, _has_macros: bool, _out: &mut String) {}

    /// The same for a block, because an application can render a block alone.
    fn first_in_block(&self, _trim: Trim<'_>, _has_macros: bool, _out: &mut String) {}

    /// Writes what must run after the last statement or expression of a source
    /// that extends another; `edges` are its trim markers. Only text follows.
    fn last(&self, _trim: Trim<'_>, _out: &mut String) {}
}

/// A range of the source, and the range of its replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceMapEntry {
    /// In the source of the author.
    pub original: Range<usize>,
    /// In the source for the engine.
    pub rewritten: Range<usize>,
}

/// A source whose tags are replaced, and what is known about them.
#[derive(Debug)]
pub struct Rewritten<'s> {
    /// The source for the engine.
    pub source: String,
    /// The tags, in the order of their beginnings.
    pub tags: Vec<OpenTag<'s>>,
    /// All templates that the source names literally.
    pub references: BTreeSet<&'s str>,
    /// Those from which it imports macros.
    pub imports: BTreeSet<&'s str>,
    /// Whether it imports macros from templates that are known only in
    /// rendering.
    pub dynamic_imports: bool,
    /// The places where `call` passes a body to `cached_as` or `cached`.
    pub calls: Vec<CallSite<'s>>,
    /// The template that it extends, if the name is literal.
    pub extends: Option<&'s str>,
    /// Components that it may use; there may be other names among them.
    pub components: BTreeSet<String>,
    /// Components that it defines.
    pub defines: BTreeSet<String>,
    /// Its blocks, by name.
    pub blocks: BTreeMap<&'s str, Block<'s>>,
    /// What its loops do with names.
    pub loops: Loops,
    /// What it shows that a tag elsewhere may have to know.
    pub exposure: Exposure,
    /// Whether its macros use blocks, through `self` or `super`.
    pub macros_use_blocks: bool,
    /// The macros that it offers to included templates, and those from around
    /// that it may use.
    pub macros: Macros<'s>,
    /// The replacements, in order.
    pub source_map: Vec<SourceMapEntry>,
}

/// Rewrites a source; `custom` are the names of custom tags.
///
/// # Errors
///
/// A tag that has wrong arguments, is not closed, closes nothing, crosses another
/// statement, or nests too deep. The error has the line.
pub fn rewrite<'s>(
    source: &'s str,
    syntax: &Syntax,
    custom: &[String],
    dialect: &dyn Dialect,
) -> Result<Rewritten<'s>, Error> {
    let parsed = parse(source, syntax, custom)?;
    let mut out = String::with_capacity(source.len() + parsed.edits.len() * 128);
    let mut copied = 0;
    let mut source_map = Vec::with_capacity(parsed.edits.len());
    if !parsed.edits.iter().any(|edit| matches!(edit.with, Replacement::Prelude)) {
        dialect.prelude(&mut out);
        source_map.push(SourceMapEntry { original: 0..0, rewritten: 0..out.len() });
    }
    for edit in &parsed.edits {
        out.push_str(&source[copied..edit.start]);
        copied = edit.end;
        let start = out.len();
        match edit.with {
            Replacement::Open(tag) => dialect.open(&parsed.tags[tag], &mut out),
            Replacement::Close(tag, trim) => dialect.close(&parsed.tags[tag], trim, &mut out),
            Replacement::Reference(reference, expression) => {
                dialect.reference(reference, expression, &mut out);
            }
            Replacement::MacroEnd(defined) => {
                dialect.macro_end(&defined, parsed.macros.is_plain, &mut out);
            }
            Replacement::Caller => dialect.caller(&mut out),
            Replacement::Prelude => dialect.prelude(&mut out),
            Replacement::InBlock(trim) => {
                dialect.first_in_block(trim, parsed.macros.has_some, &mut out);
            }
            Replacement::Last(trim) => dialect.last(trim, &mut out),
            Replacement::First(trim) => dialect.first(trim, parsed.macros.has_some, &mut out),
        }
        if edit.start == edit.end && start == out.len() {
            continue;
        }
        source_map
            .push(SourceMapEntry { original: edit.start..edit.end, rewritten: start..out.len() });
    }
    out.push_str(&source[copied..]);
    Ok(Rewritten {
        source: out,
        tags: parsed.tags,
        references: parsed.references,
        imports: parsed.imports,
        dynamic_imports: parsed.dynamic_imports,
        calls: parsed.calls,
        extends: parsed.extends,
        components: parsed.components,
        defines: parsed.defines,
        blocks: parsed.blocks,
        loops: parsed.loops,
        exposure: parsed.exposure,
        macros_use_blocks: parsed.macros_use_blocks,
        macros: parsed.macros,
        source_map,
    })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
