//! What the parser finds in a source.

use std::collections::{BTreeMap, BTreeSet};

use super::loops::Loops;
use super::macros::Macros;
use super::open_tag::{Block, Exposure, OpenTag, Reference, Trim};

/// A replacement for a range of the source.
#[derive(Debug)]
pub(super) struct Edit<'s> {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) with: Replacement<'s>,
}

#[derive(Debug)]
pub(super) enum Replacement<'s> {
    Open(usize),
    Close(usize, Trim<'s>),
    /// `caller`, where its value is given to something else.
    Caller,
    /// The end of a macro, or what follows it.
    MacroEnd(DefinedMacro<'s>),
    /// The name of a template that is known only when it is rendered.
    Reference(Reference, &'s str),
    /// What the dialect writes at the beginning of the source.
    Prelude,
    /// What it writes before the first piece, which has these trim markers.
    First(Trim<'s>),
    /// The same inside a block.
    InBlock(Trim<'s>),
    /// What it writes after the last piece of a source that extends another.
    Last(Trim<'s>),
}

/// What was found in a source.
#[derive(Debug, Default)]
pub(super) struct Parsed<'s> {
    pub(super) tags: Vec<OpenTag<'s>>,
    pub(super) edits: Vec<Edit<'s>>,
    /// Templates that `include`, `import`, `from` and `extends` name
    /// literally.
    pub(super) references: BTreeSet<&'s str>,
    /// Those whose macros are used here.
    pub(super) imports: BTreeSet<&'s str>,
    pub(super) dynamic_imports: bool,
    pub(super) calls: Vec<CallSite<'s>>,
    /// The template that it extends, if the name is literal.
    pub(super) extends: Option<&'s str>,
    /// Components that it may use.
    pub(super) components: BTreeSet<String>,
    /// Components that it defines.
    pub(super) defines: BTreeSet<String>,
    pub(super) blocks: BTreeMap<&'s str, Block<'s>>,
    pub(super) loops: Loops,
    pub(super) exposure: Exposure,
    /// Whether its macros use blocks, through `self` or `super`.
    pub(super) macros_use_blocks: bool,
    pub(super) macros: Macros<'s>,
}

/// A macro that has just been defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefinedMacro<'s> {
    /// Its name.
    pub name: &'s str,
    /// Its place among the macros of the source.
    pub index: usize,
    /// The trim markers of its end, which the dialect writes too if that is a
    /// line statement.
    pub trim: Trim<'s>,
}

/// A `{% call cached_as(…) %}`, for templates that are not rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallSite<'s> {
    /// Its line, from 1.
    pub line: usize,
    /// The argument `name="…"`, if it is a literal string.
    pub name: Option<&'s str>,
}
