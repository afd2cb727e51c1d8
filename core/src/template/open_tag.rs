//! A tag that was found in a source, with what is known of its body.

use std::collections::{BTreeMap, BTreeSet};

use super::args::{Argument, Arguments};
use super::loops::Position;

/// What a tag is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagKind<'s> {
    /// `cached_as`, with its arguments.
    CachedAs(Arguments<'s>),
    /// `cached`, with its arguments.
    Cached(Arguments<'s>),
    /// A tag of the application's own, with its arguments as they are.
    Custom(Vec<Argument<'s>>),
}

/// What stands at the edges of the beginning or the end of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trim<'s> {
    /// `-`, `+` or nothing behind the first delimiter.
    pub left: &'s str,
    /// The same before the last one.
    pub right: &'s str,
    /// Whether it is a line statement: it begins its line, and has taken the
    /// end of that with it. What is put in its place is to end as a line
    /// statement of this end, so that the next line is still the beginning of
    /// one. Line statements have `+` at both edges.
    pub is_line: bool,
    /// What ended its line, if it is a line statement and not the last line.
    pub line_end: &'s str,
}

/// A tag that was opened, with what its body was found to hold.
#[derive(Clone, Debug)]
pub struct OpenTag<'s> {
    /// Its place among the tags of the source, from 0.
    pub index: usize,
    /// `cached_as`, `cached`, or a name of the application's own.
    pub name: &'s str,
    /// What it is, with its arguments.
    pub kind: TagKind<'s>,
    /// Its line, from 1.
    pub line: usize,
    /// The tag as the author wrote it.
    pub text: &'s str,
    /// What stands at its edges.
    pub trim: Trim<'s>,
    /// The templates that the body includes by a plain name.
    pub includes: BTreeSet<&'s str>,
    /// Whether the body holds a block, or calls `super` or `self`: then it is
    /// made of more templates than its own.
    pub has_blocks: bool,
    /// The blocks that the body holds, and those around a `super` in it.
    pub blocks: BTreeSet<&'s str>,
    /// Names to whose attributes the body assigns, although it has not made
    /// them: it is to work on copies, or a hit would lack the assignment.
    pub mutates: BTreeSet<&'s str>,
    /// Names that the body sets, and that would be set behind it where the
    /// engine gives it no scope of its own.
    pub assignments: Assignments<'s>,
    /// Where it stands among the loops.
    pub position: Position,
    /// The innermost block that it stands in.
    pub in_block: Option<&'s str>,
    /// Whether it stands in the definition of a component.
    pub in_component: bool,
    /// Whether its arguments hold `body`, which is what a component is handed.
    pub names_body: bool,
    /// Whether its body shows `body`, outside of any component.
    pub shows_body: bool,
    /// Whether a `caller` may reach its body, which no key knows.
    pub may_see_caller: bool,
}

/// The statements whose expressions name templates that a dialect may have to
/// see while they are rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// `extends`, in any case.
    Extends,
    /// `include` of what only rendering tells.
    Include,
    /// `import` or `from` of what only rendering tells.
    Import,
    /// `import` or `from` of a plain name.
    PlainImport,
}

/// Names, each with how it is set.
pub type Assignments<'s> = BTreeMap<&'s str, Assignment>;

/// A block of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block<'s> {
    /// Names that it sets, and that would be set behind it; without those of
    /// the blocks in it.
    pub assignments: Assignments<'s>,
    /// The blocks in it, without those in them.
    pub holds: BTreeSet<&'s str>,
}

/// What a source shows, and where, that a tag around cannot know by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposure {
    /// Whether it shows `body` outside of its components: a component that
    /// includes it hands it one.
    pub body: bool,
    /// Whether it shows all variables, by `__tera_context`.
    pub context: bool,
    /// Whether it does so in a block.
    pub context_in_block: bool,
    /// What its blocks include by a plain name.
    pub block_includes: BTreeSet<String>,
    /// What its components include by a plain name.
    pub component_includes: BTreeSet<String>,
}

/// How a name is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// By `set`, in no loop inside.
    pub local: bool,
    /// By `set_global`, in a loop or not.
    pub global: bool,
}

impl Assignment {
    /// Takes over how the name is set elsewhere.
    pub fn add(&mut self, other: Assignment) {
        self.local |= other.local;
        self.global |= other.global;
    }
}

impl OpenTag<'_> {
    /// The line ends of the tag that are missing in `written`, so that every
    /// line stays the line it was.
    #[must_use]
    pub fn lines_beyond(&self, written: &str) -> String {
        let lines = |text: &str| text.matches('\n').count();
        "\n".repeat(lines(self.text).saturating_sub(lines(written)))
    }
}
