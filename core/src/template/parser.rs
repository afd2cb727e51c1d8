//! Finds the tags and the contents of their bodies, and checks that they are
//! complete.

use std::collections::{BTreeMap, BTreeSet};

use super::args::{self, Arguments};
use super::lexer::{Lexer, Piece, PieceKind, Rules, Syntax};
use super::loops::{Loops, Position};
use super::macros::Macros;
use super::open_tag::{Assignment, Block, Exposure, OpenTag, Reference, TagKind, Trim};
use super::tokens::{TokenKind, is_attribute};
use crate::error::Error;
use callers::Caller;

mod blocks;
mod callers;
mod components;
mod macros;
mod references;
mod scopes;

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
    /// The name of a template that is known only when it is rendered.
    Reference(Reference, &'s str),
    /// What the dialect writes at the beginning of the source.
    Prelude,
    /// What it writes before the first piece, which has these trim markers.
    First(Trim<'s>),
    /// The same inside a block.
    InBlock(Trim<'s>),
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

/// A `{% call cached_as(…) %}`, for templates that are not rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallSite<'s> {
    /// Its line, from 1.
    pub line: usize,
    /// The argument `name="…"`, if it is a literal string.
    pub name: Option<&'s str>,
}

pub(super) fn parse<'s>(
    source: &'s str,
    syntax: &Syntax,
    custom: &[String],
) -> Result<Parsed<'s>, Error> {
    let mut parser = Parser {
        source,
        custom,
        rules: syntax.rules,
        parsed: Parsed::default(),
        stack: Vec::new(),
        line: 1,
        counted: 0,
        begins: Some(Begins::Source),
        made: BTreeSet::new(),
    };
    let mut lexer = Lexer::new(source, syntax);
    for piece in &mut lexer {
        parser.piece(piece)?;
    }
    parser.finish(lexer.is_whole())
}

struct Parser<'s, 'c> {
    source: &'s str,
    custom: &'c [String],
    rules: Rules,
    parsed: Parsed<'s>,
    stack: Vec<Open<'s>>,
    line: usize,
    /// The position up to which lines have been counted.
    counted: usize,
    /// What the next piece is the first of: the source, or a block.
    begins: Option<Begins>,
    /// Names of macros so far.
    made: BTreeSet<&'s str>,
}

#[derive(Clone, Copy)]
enum Begins {
    Source,
    Block,
}

/// A statement that has begun and not ended.
struct Open<'s> {
    name: &'s str,
    line: usize,
    /// The tag, if it is one; otherwise it is a statement of the engine.
    tag: Option<usize>,
    /// The variables set inside so far.
    own: BTreeSet<&'s str>,
    /// The loop that this is, until its `else`.
    repeats: Option<usize>,
    /// The block that this is.
    block: Option<&'s str>,
    /// If it is a macro: what is known about its caller.
    caller: Caller,
}

/// The engines refuse statements that are nested too deep. The parser follows
/// them up to a small multiple of their limit, and no further, because most work
/// for a piece takes time in proportion to the nesting depth.
const DEEP: usize = 8;

impl<'s> Parser<'s, '_> {
    fn piece(&mut self, piece: Piece<'s>) -> Result<(), Error> {
        self.line += self.source[self.counted..piece.start].matches('\n').count();
        self.counted = piece.start;
        self.refuse_reserved(&piece)?;
        self.first(&piece);
        self.note_blocks(&piece);
        if self.rules.components {
            self.note_components(&piece.tokens);
            self.refuse_body(&piece)?;
            self.refuse_context(&piece)?;
        } else {
            self.note_names(&piece);
            self.note_caller(&piece)?;
            self.refuse_changed(&piece)?;
        }
        if piece.kind == PieceKind::Expression {
            return Ok(());
        }
        let name = match piece.tokens.first() {
            Some(first) if first.kind == TokenKind::Word => first.text,
            Some(first) if self.rules.components && first.text == "<" => {
                return self.component_call(&piece.tokens);
            }
            _ => return Ok(()),
        };
        match name.strip_prefix("end") {
            Some(opener) if self.is_tag(opener) => self.close_tag(opener, &piece),
            Some(opener) => self.close_statement(opener),
            None if self.is_tag(name) => self.open_tag(name, &piece),
            None => self.statement(name, &piece),
        }
    }

    /// Reserves a place for the dialect before the first piece of the source,
    /// and of each block.
    fn first(&mut self, piece: &Piece<'s>) {
        if let Some(begins) = self.begins.take() {
            let keep = if piece.kind == PieceKind::Expression { "+" } else { "" };
            let trim = self.trim(piece);
            let left = if trim.left.is_empty() { keep } else { trim.left };
            let trim = Trim { left, ..trim };
            let with = match begins {
                Begins::Source => Replacement::First(trim),
                Begins::Block => Replacement::InBlock(trim),
            };
            self.edit(piece.start, piece.start, with);
        }
    }

    /// Authors cannot use a variable that a dialect puts into the source.
    fn refuse_reserved(&self, piece: &Piece<'s>) -> Result<(), Error> {
        let Some(reserved) = self.rules.reserved else { return Ok(()) };
        let tokens = &piece.tokens;
        let is_reserved = |at: &usize| {
            let Some(rest) = tokens[*at].text.strip_prefix(reserved) else { return false };
            let number = rest.strip_prefix('_').and_then(|rest| rest.bytes().next());
            let is_own = rest.is_empty()
                || rest == "_page"
                || number.is_some_and(|first| first.is_ascii_digit());
            is_own && tokens[*at].kind == TokenKind::Word && !is_attribute(tokens, *at)
        };
        match (0..tokens.len()).find(is_reserved) {
            Some(at) => {
                let why = format!(
                    "`{}` is a name of this library's own: call yours otherwise",
                    tokens[at].text
                );
                Err(Error::template(self.line, why))
            }
            None => Ok(()),
        }
    }

    fn is_tag(&self, name: &str) -> bool {
        matches!(name, "cached_as" | "cached") || self.custom.iter().any(|tag| tag == name)
    }

    fn open_tag(&mut self, name: &'s str, piece: &Piece<'s>) -> Result<(), Error> {
        let text = self.source[piece.start..piece.end].trim();
        let fail = |line, why: String| Error::template(line, format!("`{text}`: {why}"));
        if self.stack.iter().filter(|open| open.tag.is_some()).count() >= self.rules.max_depth {
            return Err(fail(
                self.line,
                format!(
                    "it is inside {} other cache tags, and that is as deep as they can nest",
                    self.rules.max_depth
                ),
            ));
        }
        let (arguments, django) =
            args::split(self.source, &piece.tokens[1..]).map_err(|why| fail(self.line, why))?;
        if let Some(splat) = arguments.iter().find(|a| a.expression.starts_with('*')) {
            let why = format!(
                "`{}` cannot be unfolded here: pass its parts one by one",
                splat.expression
            );
            return Err(fail(self.line, why));
        }
        let kind = match name {
            "cached_as" => Arguments::of_cached_as(arguments, django).and_then(|arguments| {
                if arguments.positional.is_empty() {
                    return Err("it needs a queryset: `cached_as articles`".to_owned());
                }
                Ok(TagKind::CachedAs(arguments))
            }),
            "cached" => Arguments::of_cached(arguments, django).map(TagKind::Cached),
            _ => args::of_custom(arguments).map(TagKind::Custom),
        };
        let kind = kind.map_err(|why| fail(self.line, why))?;
        let names_body = self.names_body(&kind, &piece.tokens);
        let index = self.parsed.tags.len();
        let trim = self.trim(piece);
        self.parsed.tags.push(OpenTag {
            index,
            name,
            kind,
            line: self.line,
            text,
            trim,
            includes: BTreeSet::new(),
            has_blocks: false,
            blocks: BTreeSet::new(),
            mutates: BTreeSet::new(),
            assignments: BTreeMap::new(),
            position: Position {
                in_loop: self.innermost_loop(),
                start: piece.start,
                end: piece.end,
            },
            in_block: self.innermost_block(),
            in_component: self.stands_in("component"),
            names_body,
            shows_body: false,
            may_see_caller: false,
        });
        self.note_tag(index);
        self.edit(piece.start, piece.end, Replacement::Open(index));
        self.push(name, Some(index));
        Ok(())
    }

    fn trim(&self, piece: &Piece<'s>) -> Trim<'s> {
        if piece.kind != PieceKind::LineStatement {
            let (left, right) = piece.trim;
            return Trim { left, right, is_line: false, line_end: "" };
        }
        let text = &self.source[piece.start..piece.end];
        let line_end = &text[text.trim_end_matches(['\r', '\n']).len()..];
        Trim { left: "+", right: "+", is_line: true, line_end }
    }

    fn close_tag(&mut self, name: &'s str, piece: &Piece<'s>) -> Result<(), Error> {
        let end = self.source[piece.start..piece.end].trim();
        let Some(open) = self.stack.pop() else {
            return Err(Error::template(
                self.line,
                format!("`{end}` closes nothing: there is no `{name}` open here"),
            ));
        };
        let Some(tag) = open.tag.filter(|_| open.name == name) else {
            return Err(Error::template(
                self.line,
                format!(
                    "`{end}` comes while `{}` of line {} is still open: close that first",
                    open.name.trim_start_matches(|c: char| c == '<' || c.is_whitespace()),
                    open.line
                ),
            ));
        };
        if let Some(extra) = piece.tokens.get(1) {
            return Err(Error::template(
                self.line,
                format!("`{end}`: an end takes no arguments, and there is `{}`", extra.text),
            ));
        }
        let trim = self.trim(piece);
        self.edit(piece.start, piece.end, Replacement::Close(tag, trim));
        self.parsed.tags[tag].position.end = piece.end;
        Ok(())
    }

    fn close_statement(&mut self, opener: &str) -> Result<(), Error> {
        let Some(open) = self.stack.last() else {
            return Ok(());
        };
        if open.name == opener {
            let ended = self.stack.pop();
            return ended.map_or(Ok(()), |ended| self.end_macro(ended.caller));
        }
        if let (Some(tag), true) = (open.tag, self.stack.iter().any(|open| open.name == opener)) {
            let tag = &self.parsed.tags[tag];
            return Err(Error::template(
                self.line,
                format!(
                    "`end{opener}` comes while `{}` of line {} is still open: close that first by `end{}`",
                    tag.text, tag.line, tag.name
                ),
            ));
        }
        // Anything else is the engine's to report.
        Ok(())
    }

    fn statement(&mut self, name: &'s str, piece: &Piece<'s>) -> Result<(), Error> {
        let tokens = &piece.tokens[1..];
        match name {
            "set" => self.set(piece, Assignment { local: true, global: false }),
            "set_global" => self.set(piece, Assignment { local: false, global: true }),
            "include" | "import" | "from" | "extends" => self.reference(name, tokens)?,
            "else" | "elif" => self.branch(name)?,
            "component" => self.note_definition(tokens),
            "break" | "continue" => self.leave_loop(name)?,
            "call" => self.call(tokens),
            _ => {}
        }
        if self.rules.blocks.contains(&name) {
            self.push(name, None);
        }
        match name {
            "for" => self.begin_loop(piece),
            "block" => {
                self.begin_block(tokens);
                self.begins = Some(Begins::Block);
            }
            "extends" => self.edit(piece.end, piece.end, Replacement::Prelude),
            _ => {}
        }
        Ok(())
    }

    fn push(&mut self, name: &'s str, tag: Option<usize>) {
        if tag.is_none() && self.stack.len() >= self.rules.max_depth * DEEP {
            return;
        }
        let own = BTreeSet::new();
        self.stack.push(Open {
            name,
            line: self.line,
            tag,
            own,
            repeats: None,
            block: None,
            caller: Caller::default(),
        });
    }

    fn stands_in(&self, name: &str) -> bool {
        self.stack.iter().any(|open| open.name == name)
    }

    /// `else` and `elif` belong to the statement that was opened last.
    fn branch(&mut self, name: &str) -> Result<(), Error> {
        let Some(open) = self.stack.last_mut() else { return Ok(()) };
        if let Some(tag) = open.tag {
            let tag = &self.parsed.tags[tag];
            let why = format!(
                "`{name}` comes while `{}` of line {} is still open: close that first by `end{}`",
                tag.text, tag.line, tag.name
            );
            return Err(Error::template(self.line, why));
        }
        if name == "else" {
            // The `else` of a loop is outside of its scope.
            open.repeats = None;
        }
        Ok(())
    }

    fn leave_loop(&self, name: &str) -> Result<(), Error> {
        let inner = self.stack.iter().rev().find(|open| open.name == "for" || open.tag.is_some());
        match inner.and_then(|open| open.tag) {
            Some(tag) => {
                let tag = &self.parsed.tags[tag];
                Err(Error::template(
                    self.line,
                    format!(
                        "`{name}` would leave `{}` of line {}: what is cached cannot end a loop around it",
                        tag.text, tag.line
                    ),
                ))
            }
            None => Ok(()),
        }
    }

    fn innermost_tag(&self) -> Option<usize> {
        self.stack.iter().rev().find_map(|open| open.tag)
    }

    fn edit(&mut self, start: usize, end: usize, with: Replacement<'s>) {
        self.parsed.edits.push(Edit { start, end, with });
    }

    /// `whole` tells whether the whole source could be read. If not, the
    /// engine reports what stopped the reading.
    fn finish(self, whole: bool) -> Result<Parsed<'s>, Error> {
        match self.innermost_tag() {
            Some(tag) if whole => {
                let tag = &self.parsed.tags[tag];
                Err(Error::template(
                    tag.line,
                    format!("`{}` is never closed: `end{}` is missing", tag.text, tag.name),
                ))
            }
            _ => Ok(self.parsed),
        }
    }
}
