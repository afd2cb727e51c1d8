//! Finds the tags and what is inside them, and sees that they are whole.

use std::collections::{BTreeMap, BTreeSet};

use super::args::{self, Argument, Arguments};
use super::lexer::{Lexer, Piece, PieceKind, Rules, Syntax};
use super::tokens::{Token, TokenKind};
use crate::error::Error;

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
pub struct Edges<'s> {
    /// `-`, `+` or nothing behind the first delimiter.
    pub left: &'s str,
    /// The same before the last one.
    pub right: &'s str,
    /// What ended the line of a line statement. It was swallowed by that, so
    /// it must stay in the source, for the count of lines, but not in the text.
    /// Line statements have `+` at both edges.
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
    pub edges: Edges<'s>,
    /// The templates that the body includes by a plain name.
    pub includes: BTreeSet<&'s str>,
    /// Whether the body holds a block, or calls `super` or `self`: then it is
    /// made of more templates than its own.
    pub has_blocks: bool,
    /// Names to whose attributes the body assigns, although it has not made
    /// them: it is to work on copies, or a hit would lack the assignment.
    pub assigns: BTreeSet<&'s str>,
    /// Names that the body sets, and that would be set behind it where the
    /// engine gives it no scope of its own.
    pub sets: BTreeMap<&'s str, Sets>,
}

/// How a name is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sets {
    /// By `set`, in no loop inside.
    pub local: bool,
    /// By `set_global`, in a loop or not.
    pub global: bool,
}

impl Sets {
    /// Takes over how the name is set elsewhere.
    pub fn add(&mut self, other: Sets) {
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

/// Something to be put in place of a range of the source.
#[derive(Debug)]
pub(super) struct Edit<'s> {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) with: With<'s>,
}

#[derive(Debug)]
pub(super) enum With<'s> {
    Open(usize),
    Close(usize, Edges<'s>),
    /// The name of a template that is known only when it is rendered.
    Reference(&'s str, &'s str),
    /// What the dialect begins the source with.
    Prelude,
}

/// What was found in a source.
#[derive(Debug, Default)]
pub(super) struct Parsed<'s> {
    pub(super) tags: Vec<OpenTag<'s>>,
    pub(super) edits: Vec<Edit<'s>>,
    /// Templates named plainly by `include`, `import`, `from` and `extends`.
    pub(super) references: BTreeSet<&'s str>,
    /// Of these, the ones whose macros are used here.
    pub(super) imports: BTreeSet<&'s str>,
    pub(super) dynamic_imports: bool,
    pub(super) calls: Vec<CallSite<'s>>,
    /// The template that it extends, if its name is plain.
    pub(super) extends: Option<&'s str>,
    /// Components that it may use.
    pub(super) components: BTreeSet<String>,
    /// Components that it defines.
    pub(super) defines: BTreeSet<String>,
    /// Names that are set in blocks, and behind them.
    pub(super) block_sets: BTreeMap<&'s str, Sets>,
}

/// A `{% call cached_as(…) %}`, for templates that are not rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallSite<'s> {
    /// Its line, from 1.
    pub line: usize,
    /// `name="…"`, if that is among its arguments, as a plain string.
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
    /// Up to where lines have been counted.
    counted: usize,
}

/// A statement that has begun and not ended.
struct Open<'s> {
    name: &'s str,
    line: usize,
    /// The tag, if it is one; else it is a statement of the engine's.
    tag: Option<usize>,
    /// The variables set inside so far.
    own: BTreeSet<&'s str>,
    /// Whether this is a loop, and not yet its `else`.
    repeats: bool,
}

impl<'s> Parser<'s, '_> {
    fn piece(&mut self, piece: Piece<'s>) -> Result<(), Error> {
        self.line += self.source[self.counted..piece.start].matches('\n').count();
        self.counted = piece.start;
        self.note_blocks(&piece);
        if self.rules.components {
            self.note_components(&piece.tokens);
            self.refuse_body(&piece)?;
        } else {
            self.refuse_caller(&piece)?;
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
            _ => Ok(TagKind::Custom(arguments)),
        };
        let index = self.parsed.tags.len();
        let edges = self.edges(piece);
        self.parsed.tags.push(OpenTag {
            index,
            name,
            kind: kind.map_err(|why| fail(self.line, why))?,
            line: self.line,
            text,
            edges,
            includes: BTreeSet::new(),
            has_blocks: false,
            assigns: BTreeSet::new(),
            sets: BTreeMap::new(),
        });
        self.edit(piece.start, piece.end, With::Open(index));
        self.push(name, Some(index));
        Ok(())
    }

    fn edges(&self, piece: &Piece<'s>) -> Edges<'s> {
        if piece.kind != PieceKind::LineStatement {
            return Edges { left: piece.edges.0, right: piece.edges.1, line_end: "" };
        }
        let text = &self.source[piece.start..piece.end];
        let line_end = &text[text.trim_end_matches(['\r', '\n']).len()..];
        Edges { left: "+", right: "+", line_end }
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
        let edges = self.edges(piece);
        self.edit(piece.start, piece.end, With::Close(tag, edges));
        Ok(())
    }

    fn close_statement(&mut self, opener: &str) -> Result<(), Error> {
        let Some(open) = self.stack.last() else {
            return Ok(());
        };
        if open.name == opener {
            self.stack.pop();
        } else if let (Some(tag), true) =
            (open.tag, self.stack.iter().any(|open| open.name == opener))
        {
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
            "set" => self.set(tokens, Sets { local: true, global: false }),
            "set_global" => self.set(tokens, Sets { local: false, global: true }),
            "include" | "import" | "from" | "extends" => self.reference(name, tokens)?,
            "else" => self.end_repetition(),
            "component" => self.note_definition(tokens),
            "break" | "continue" => self.leave_loop(name)?,
            "call" => self.call(tokens),
            _ => {}
        }
        if self.rules.blocks.contains(&name) {
            self.push(name, None);
        }
        if name == "extends" {
            self.edit(piece.end, piece.end, With::Prelude);
        }
        Ok(())
    }

    fn push(&mut self, name: &'s str, tag: Option<usize>) {
        let repeats = name == "for";
        self.stack.push(Open { name, line: self.line, tag, own: BTreeSet::new(), repeats });
    }

    /// The `else` of a loop is outside of its scope.
    fn end_repetition(&mut self) {
        if let Some(open) = self.stack.last_mut() {
            open.repeats = false;
        }
    }

    /// `set x = …` makes a variable, `set x.y = …` changes one, and `set x`
    /// alone begins a block.
    fn set(&mut self, tokens: &[Token<'s>], how: Sets) {
        let mut depth = 0;
        let assigns = tokens.iter().position(|token| {
            depth += token.depth();
            depth == 0 && token.is_operator("=")
        });
        let filter = tokens.iter().position(|token| token.is_operator("|"));
        let targets = &tokens[..assigns.or(filter).unwrap_or(tokens.len())];
        for (at, target) in targets.iter().enumerate() {
            let behind_dot = at > 0 && targets[at - 1].is_operator(".");
            if target.kind != TokenKind::Word || behind_dot {
                continue;
            }
            if targets.get(at + 1).is_some_and(|next| next.is_operator(".")) {
                self.assign_attribute(target.text);
            } else if let Some(open) = self.stack.last_mut() {
                open.own.insert(target.text);
            }
            if !behind_dot {
                self.note_set(target.text, how);
            }
        }
        if assigns.is_none() {
            self.push("set", None);
        }
    }

    /// Notes what a body or a block sets without a scope around it.
    fn note_set(&mut self, name: &'s str, how: Sets) {
        for open in self.stack.iter().rev() {
            if (open.repeats && !how.global) || open.name == "component" {
                return;
            }
            if open.name == "block" {
                self.parsed.block_sets.entry(name).or_default().add(how);
            }
            if let Some(tag) = open.tag {
                self.parsed.tags[tag].sets.entry(name).or_default().add(how);
                return;
            }
        }
    }

    fn assign_attribute(&mut self, name: &'s str) {
        for open in self.stack.iter().rev() {
            if open.own.contains(name) {
                return;
            }
            if let Some(tag) = open.tag {
                self.parsed.tags[tag].assigns.insert(name);
            }
        }
    }

    /// Notes a `call` that hands its body to the cache.
    fn call(&mut self, tokens: &[Token<'s>]) {
        let caches = |pair: &[Token<'_>]| {
            (pair[0].is_word("cached_as") || pair[0].is_word("cached")) && pair[1].text == "("
        };
        if tokens.windows(2).any(caches) {
            let name = tokens.windows(3).find_map(|three| {
                (three[0].is_word("name") && three[1].is_operator("="))
                    .then(|| three[2].plain_text())
                    .flatten()
            });
            self.parsed.calls.push(CallSite { line: self.line, name });
        }
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

    /// Notes the templates that a statement names, or has the engine tell
    /// which they are.
    fn reference(&mut self, statement: &'s str, tokens: &[Token<'s>]) -> Result<(), Error> {
        if let (Some(tag), "extends") = (self.innermost_tag(), statement) {
            let tag = &self.parsed.tags[tag];
            return Err(Error::template(
                self.line,
                format!("`extends` stands inside `{}` of line {}", tag.text, tag.line),
            ));
        }
        let ends = ["ignore", "with", "without", "as", "import"];
        let ended = |at: &usize| {
            *at > 0
                && !tokens[*at - 1].is_operator(".")
                && ends.iter().any(|end| tokens[*at].is_word(end))
        };
        let length = (0..tokens.len()).find(ended).unwrap_or(tokens.len());
        let (Some(first), Some(last)) = (tokens.first(), tokens[..length].last()) else {
            return Ok(());
        };
        let names = plain_names(&tokens[..length]);
        if let ("extends", Some([name])) = (statement, names.as_deref()) {
            self.parsed.extends = Some(name);
        }
        if (statement == "extends" || names.is_none()) && is_one(&tokens[..length]) {
            let expression = &self.source[first.start..last.end()];
            self.parsed.dynamic_imports |= matches!(statement, "import" | "from");
            self.edit(first.start, last.end(), With::Reference(statement, expression));
        }
        for name in names.into_iter().flatten() {
            self.parsed.references.insert(name);
            // What a macro or a set block uses, any body may show.
            let shown = |open: &Open<'_>| matches!(open.name, "macro" | "set" | "call");
            if matches!(statement, "import" | "from") || self.stack.iter().any(shown) {
                self.parsed.imports.insert(name);
            }
            for open in &self.stack {
                if let Some(tag) = open.tag {
                    self.parsed.tags[tag].includes.insert(name);
                }
            }
        }
        Ok(())
    }

    fn innermost_tag(&self) -> Option<usize> {
        self.stack.iter().rev().find_map(|open| open.tag)
    }

    /// `<card …>` begins a component with a body, `</card>` ends it.
    fn component_call(&mut self, tokens: &[Token<'s>]) -> Result<(), Error> {
        let Some(second) = tokens.get(1) else { return Ok(()) };
        if second.kind == TokenKind::Word {
            // Its name is no statement's, even if a component is called like one.
            self.push(&self.source[tokens[0].start..second.end()], None);
            return Ok(());
        }
        match self.stack.last() {
            Some(Open { tag: Some(tag), .. }) if second.text == "/" => {
                let tag = &self.parsed.tags[*tag];
                let name: String = tokens.iter().map(|token| token.text).collect();
                let why = format!(
                    "`{name}` comes while `{}` of line {} is still open: close that first by `end{}`",
                    tag.text, tag.line, tag.name
                );
                Err(Error::template(self.line, why))
            }
            Some(_) if second.text == "/" => {
                self.stack.pop();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Notes what may be a use of a component; a comparison does no harm.
    fn note_components(&mut self, tokens: &[Token<'s>]) {
        for (at, token) in tokens.iter().enumerate() {
            let next = tokens.get(at + 1);
            if let (true, Some(first)) = (token.text == "<", next)
                && first.kind == TokenKind::Word
            {
                self.parsed.components.insert(component_name(tokens, at + 1));
            }
        }
    }

    fn note_definition(&mut self, tokens: &[Token<'s>]) {
        if !tokens.is_empty() {
            self.parsed.defines.insert(component_name(tokens, 0));
        }
    }

    /// `body` inside a component is what its caller hands it, and the key knows
    /// nothing of it unless the tag says so.
    fn refuse_body(&self, piece: &Piece<'s>) -> Result<(), Error> {
        let Some(component) = self.stack.iter().position(|open| open.name == "component") else {
            return Ok(());
        };
        let is_body = |(at, token): (usize, &Token<'_>)| {
            let before = at.checked_sub(1).map(|before| piece.tokens[before].text);
            let after = piece.tokens.get(at + 1).map(|after| after.text);
            token.is_word("body") && before != Some(".") && after != Some("=")
        };
        if !piece.tokens.iter().enumerate().any(is_body) {
            return Ok(());
        }
        let tags = self.stack[component..].iter().filter_map(|open| open.tag);
        for tag in tags.map(|tag| &self.parsed.tags[tag]) {
            let is_word = |c: char| c == '_' || c.is_alphanumeric();
            if !tag.text.split(|c| !is_word(c)).any(|word| word == "body") {
                let why = format!(
                    "`body` inside `{}` of line {}: every caller would get the body of the first; add `extra=body`, or put the tag around the use of the component instead",
                    tag.text, tag.line
                );
                return Err(Error::template(self.line, why));
            }
        }
        Ok(())
    }

    /// `caller()` renders what the key knows nothing of.
    fn refuse_caller(&self, piece: &Piece<'s>) -> Result<(), Error> {
        if !piece.tokens.iter().any(|token| token.is_word("caller")) {
            return Ok(());
        }
        let inner = self.stack.iter().rev().find(|open| open.name == "macro" || open.tag.is_some());
        match inner.and_then(|open| open.tag) {
            Some(tag) if self.stack.iter().any(|open| open.name == "macro") => {
                let tag = &self.parsed.tags[tag];
                let why = format!(
                    "`caller` inside `{}` of line {}: every caller would get the body of the first; put the tag around the `call` instead",
                    tag.text, tag.line
                );
                Err(Error::template(self.line, why))
            }
            _ => Ok(()),
        }
    }

    /// Notes for all open tags that their bodies use blocks.
    fn note_blocks(&mut self, piece: &Piece<'s>) {
        let uses_blocks = |(at, token): (usize, &Token<'_>)| {
            let begins = at == 0 && piece.kind != PieceKind::Expression;
            (begins && token.text == "block") || token.is_word("super") || token.is_word("self")
        };
        if piece.tokens.iter().enumerate().any(uses_blocks) {
            for open in &self.stack {
                if let Some(tag) = open.tag {
                    self.parsed.tags[tag].has_blocks = true;
                }
            }
        }
    }

    fn edit(&mut self, start: usize, end: usize, with: With<'s>) {
        self.parsed.edits.push(Edit { start, end, with });
    }

    /// `whole` is whether all of the source could be read. If not, the engine
    /// is to report what stopped the reading.
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

/// The dotted name that begins at `first`; blanks around its dots are no part
/// of it.
fn component_name(tokens: &[Token<'_>], first: usize) -> String {
    let mut name = tokens[first].text.to_owned();
    let mut last = first;
    while tokens.get(last + 1).is_some_and(|dot| dot.is_operator("."))
        && let Some(part) = tokens.get(last + 2).filter(|part| part.kind == TokenKind::Word)
    {
        name.push('.');
        name.push_str(part.text);
        last += 2;
    }
    name
}

/// Whether parentheses around the tokens leave what they are: there is no
/// comma between them, and none that closes one from outside.
fn is_one(tokens: &[Token<'_>]) -> bool {
    let mut depth = 0;
    tokens.iter().all(|token| {
        let apart = depth == 0 && token.kind == TokenKind::Comma;
        depth += token.depth();
        !apart && depth >= 0
    })
}

/// The names, if the expression is a string or a list of strings.
fn plain_names<'s>(tokens: &[Token<'s>]) -> Option<Vec<&'s str>> {
    match tokens {
        [name] => name.plain_text().map(|name| vec![name]),
        [open, inner @ .., close] if open.text == "[" && close.text == "]" => inner
            .iter()
            .filter(|token| token.kind != TokenKind::Comma)
            .map(Token::plain_text)
            .collect(),
        _ => None,
    }
}
