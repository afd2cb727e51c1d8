//! A tag in a source, with what is known about its body.

use std::collections::{BTreeMap, BTreeSet};

use super::args::{Argument, Arguments};
use super::loops::Position;

/// The kind of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagKind<'s> {
    /// `cached_as`, with its arguments.
    CachedAs(Arguments<'s>),
    /// `cached`, with its arguments.
    Cached(Arguments<'s>),
    /// A custom tag, with its arguments unchanged.
    Custom(Vec<Argument<'s>>),
}

/// The trim markers of the beginning or the end of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trim<'s> {
    /// `-`, `+` or nothing after the first delimiter.
    pub left: &'s str,
    /// The same before the last delimiter.
    pub right: &'s str,
    /// Whether it is a line statement. A line statement begins its line, and
    /// includes the end of the line. Its replacement must end as a line
    /// statement with the same line end, so that the next line can begin
    /// another one. Line statements have `+` at both edges.
    pub is_line: bool,
    /// The end of its line, if it is a line statement and not the last line.
    pub line_end: &'s str,
}

/// A tag, with what was found in its body.
#[derive(Clone, Debug)]
pub struct OpenTag<'s> {
    /// Its position among the tags of the source, from 0.
    pub index: usize,
    /// `cached_as`, `cached`, or the name of a custom tag.
    pub name: &'s str,
    /// Its kind, with its arguments.
    pub kind: TagKind<'s>,
    /// Its line, from 1.
    pub line: usize,
    /// The tag as the author wrote it.
    pub text: &'s str,
    /// Its trim markers.
    pub trim: Trim<'s>,
    /// The templates that the body includes by a literal name.
    pub includes: BTreeSet<&'s str>,
    /// Whether the body contains a block, or calls `super` or `self`. Then it
    /// consists of other templates too.
    pub has_blocks: bool,
    /// The blocks in the body, and those around a `super` in it.
    pub blocks: BTreeSet<&'s str>,
    /// Names to whose attributes the body assigns although it has not created
    /// them. The body must work on copies, because a hit would not assign.
    pub mutates: BTreeSet<&'s str>,
    /// Names that the body sets, and that would keep their values after it if
    /// the engine gives the body no scope.
    pub assignments: Assignments<'s>,
    /// Its place among the loops.
    pub position: Position,
    /// The innermost block around it.
    pub in_block: Option<&'s str>,
    /// Whether it is in the definition of a component.
    pub in_component: bool,
    /// Whether it is in a macro or in the body of a `call`.
    pub is_in_macro: bool,
    /// Whether its arguments contain `body`, which a component receives.
    pub names_body: bool,
    /// Whether its body shows `body` outside of any component.
    pub shows_body: bool,
    /// Whether a `caller`, which no key covers, may reach its body.
    pub may_see_caller: bool,
}

/// The statements whose expressions name templates that a dialect may have to
/// observe during rendering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// `extends`, in any case.
    Extends,
    /// `include` of a template that is known only in rendering.
    Include,
    /// `import` or `from` of a template that is known only in rendering.
    Import,
    /// `import` or `from` of a literal name.
    PlainImport,
}

/// Names, each with the way in which it is set.
pub type Assignments<'s> = BTreeMap<&'s str, Assignment>;

/// A block of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block<'s> {
    /// Names that it sets, and that keep their values after it; without those
    /// of inner blocks.
    pub assignments: Assignments<'s>,
    /// The blocks directly in it.
    pub holds: BTreeSet<&'s str>,
}

/// What a source shows that a tag around an include of it cannot know by itself,
/// and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposure {
    /// Whether it shows `body` outside of its components. A component that
    /// includes the source then provides the body.
    pub body: bool,
    /// Whether it shows all variables, through `__tera_context`.
    pub context: bool,
    /// Whether it does so in a block.
    pub context_in_block: bool,
    /// The templates that its blocks include by a literal name.
    pub block_includes: BTreeSet<String>,
    /// The templates that its components include by a literal name.
    pub component_includes: BTreeSet<String>,
}

/// How a name is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// With `set`, outside of inner loops.
    pub local: bool,
    /// With `set_global`, in a loop or not.
    pub global: bool,
}

impl Assignment {
    /// Merges the way in which the name is set elsewhere.
    pub fn add(&mut self, other: Assignment) {
        self.local |= other.local;
        self.global |= other.global;
    }
}

impl OpenTag<'_> {
    /// The line ends of the tag that `written` lacks, so that line numbers
    /// stay the same.
    #[must_use]
    pub fn lines_beyond(&self, written: &str) -> String {
        let lines = |text: &str| text.matches('\n').count();
        "\n".repeat(lines(self.text).saturating_sub(lines(written)))
    }
}
