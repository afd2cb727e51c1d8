//! Finds the tags and the contents of their bodies, and checks that they are
//! complete.

use std::collections::BTreeSet;

use super::lexer::{Lexer, Piece, PieceKind, Rules, Syntax};
use super::open_tag::{Assignment, Trim};
use super::parsed::{CallSite, Edit, Parsed, Replacement};
use super::tokens::{TokenKind, is_attribute};
use crate::error::Error;
use callers::Caller;

mod blocks;
mod callers;
mod components;
mod macros;
mod references;
mod scopes;
mod tags;

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
        last: None,
        extends: false,
        made: BTreeSet::new(),
        bound: BTreeSet::new(),
        values: BTreeSet::new(),
        names: BTreeSet::new(),
        is_ambiguous: false,
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
    /// The end of the last piece so far, and its trim markers.
    last: Option<(usize, Trim<'s>)>,
    /// Whether the source extends another.
    extends: bool,
    /// Names of macros so far.
    made: BTreeSet<&'s str>,
    /// Names that macros and modules get outside of macros.
    bound: BTreeSet<&'s str>,
    /// Names that are used for more than a call.
    values: BTreeSet<&'s str>,
    /// All names.
    names: BTreeSet<&'s str>,
    /// Whether a macro or module gets a name twice, or perhaps.
    is_ambiguous: bool,
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
    caller: Caller<'s>,
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
        self.last = Some((piece.end, self.last_trim(&piece)));
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
            Some(opener) => self.close_statement(opener, &piece),
            None if self.is_tag(name) => self.open_tag(name, &piece),
            None => self.statement(name, &piece),
        }
    }

    /// Reserves a place for the dialect before the first piece of the source,
    /// and of each block.
    fn first(&mut self, piece: &Piece<'s>) {
        if let Some(begins) = self.begins.take() {
            // Nothing runs in a block without pieces, and a `required` block
            // must stay empty.
            let ends = piece.kind != PieceKind::Expression
                && piece.tokens.first().is_some_and(|first| first.text == "endblock");
            if ends && matches!(begins, Begins::Block) {
                return;
            }
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

    /// The trim markers for a statement after a piece, so that the text that
    /// follows stays as it is.
    fn last_trim(&self, piece: &Piece<'s>) -> Trim<'s> {
        let trim = self.trim(piece);
        let keeps = piece.kind == PieceKind::Expression && trim.right.is_empty();
        Trim { right: if keeps { "+" } else { trim.right }, ..trim }
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
                    "`{}` is a name that this library reserves: choose another one",
                    tokens[at].text
                );
                Err(Error::template(self.line, why))
            }
            None => Ok(()),
        }
    }

    fn close_statement(&mut self, opener: &str, piece: &Piece<'s>) -> Result<(), Error> {
        let Some(open) = self.stack.last() else {
            return Ok(());
        };
        if open.name == opener {
            let ended = self.stack.pop();
            let Some(ended) = ended else { return Ok(()) };
            if opener == "macro" && !self.rules.components {
                self.note_macro_end(ended.caller.of, piece);
            }
            return self.end_macro(ended.caller);
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
            "macro" => {
                if let Some(open) = self.stack.last_mut() {
                    open.caller.of = tokens.first().map(|name| name.text);
                }
            }
            "block" => {
                self.begin_block(tokens);
                self.begins = Some(Begins::Block);
            }
            "extends" => {
                self.extends = true;
                self.edit(piece.end, piece.end, Replacement::Prelude);
            }
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
    fn finish(mut self, whole: bool) -> Result<Parsed<'s>, Error> {
        if let Some((end, trim)) = self.last.filter(|_| self.extends) {
            self.edit(end, end, Replacement::Last(trim));
        }
        match self.innermost_tag() {
            Some(tag) if whole => {
                let tag = &self.parsed.tags[tag];
                Err(Error::template(
                    tag.line,
                    format!("`{}` is never closed: `end{}` is missing", tag.text, tag.name),
                ))
            }
            _ => {
                self.settle_macros();
                Ok(self.parsed)
            }
        }
    }
}
