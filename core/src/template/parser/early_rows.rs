//! Rows that are read outside of a tag, and shown inside of it.
//!
//! Where values are plain data, rows in a variable cannot tell a fragment what
//! it depends on.

use std::collections::{BTreeMap, BTreeSet};

use super::super::lexer::Piece;
use super::super::tokens::{Token, TokenKind, is_variable, variables};
use super::Parser;
use crate::error::Error;

/// The variables that hold rows.
#[derive(Debug, Default)]
pub(super) struct EarlyRows<'s> {
    held: BTreeMap<&'s str, Held<'s>>,
    /// Those around the component that is being defined.
    outside: BTreeMap<&'s str, Held<'s>>,
    /// The tags that are open.
    open: Vec<usize>,
    /// What each tag names in its arguments.
    named: Vec<BTreeSet<&'s str>>,
}

/// What a variable holds.
#[derive(Clone, Debug)]
struct Held<'s> {
    /// The names that it was made from, and its own.
    sources: BTreeSet<&'s str>,
    /// The tags inside which it was set.
    inside: Vec<usize>,
}

impl<'s> EarlyRows<'s> {
    pub(super) fn begin_tag(&mut self, arguments: &[Token<'s>]) {
        let texts = arguments.iter().filter_map(Token::plain_text);
        self.open.push(self.named.len());
        self.named.push(variables(arguments).chain(texts).collect());
    }

    /// What was set inside has its old value behind.
    pub(super) fn end_tag(&mut self, tag: usize) {
        self.open.retain(|open| *open != tag);
        self.held.retain(|_, held| !held.inside.contains(&tag));
    }

    /// A component has variables of its own.
    pub(super) fn begin_component(&mut self) {
        self.outside = std::mem::take(&mut self.held);
    }

    pub(super) fn end_component(&mut self) {
        self.held = std::mem::take(&mut self.outside);
    }

    /// What an expression makes rows from, if it does.
    fn sources(&self, tokens: &[Token<'s>]) -> Option<BTreeSet<&'s str>> {
        let mut sources: BTreeSet<&str> = BTreeSet::new();
        let places = 0..tokens.len();
        if places.clone().any(|at| reads_rows(tokens, at)) {
            let names = places.filter(|at| is_variable(tokens, *at) && !reads_rows(tokens, *at));
            sources.extend(names.map(|at| tokens[at].text));
        }
        for name in variables(tokens) {
            sources.extend(self.held.get(name).into_iter().flat_map(|held| &held.sources));
        }
        (!sources.is_empty()).then_some(sources)
    }

    /// A variable was set to an expression.
    pub(super) fn set(&mut self, name: &'s str, value: &[Token<'s>]) {
        let Some(mut sources) = self.sources(value) else { return };
        sources.insert(name);
        self.held.insert(name, Held { sources, inside: self.open.clone() });
    }

    /// A variable that is shown, and a tag around which was not open when the
    /// variable got its rows, and does not name what they came from.
    fn shown_outside(&self, tokens: &[Token<'s>]) -> Option<(&'s str, usize)> {
        variables(tokens).find_map(|name| {
            let held = self.held.get(name)?;
            let is_deaf = |tag: &&usize| {
                !held.inside.contains(tag) && self.named[**tag].is_disjoint(&held.sources)
            };
            self.open.iter().find(is_deaf).map(|tag| (name, *tag))
        })
    }
}

/// `… | rows` or `rows(…)`.
fn reads_rows(tokens: &[Token<'_>], at: usize) -> bool {
    let filters = at > 0 && tokens[at - 1].is_operator("|");
    let calls =
        tokens.get(at + 1).is_some_and(|next| next.kind == TokenKind::Open && next.text == "(");
    tokens[at].is_word("rows") && (filters || calls) && is_variable(tokens, at)
}

/// `set x` without a value, which shows nothing.
fn is_captured_by(tokens: &[Token<'_>]) -> bool {
    let sets = |token: &Token<'_>| token.is_word("set") || token.is_word("set_global");
    tokens.first().is_some_and(sets) && !tokens.iter().any(|token| token.is_operator("="))
}

impl<'s> Parser<'s, '_> {
    /// Notes what a block that a variable captures shows, and refuses rows
    /// that were read outside of a tag around.
    pub(super) fn refuse_early_rows(&mut self, piece: &Piece<'s>) -> Result<(), Error> {
        let captures: Vec<&str> = self.stack.iter().filter_map(|open| open.captures).collect();
        captures.into_iter().for_each(|name| self.early.set(name, &piece.tokens));
        if is_captured_by(&piece.tokens) {
            return Ok(());
        }
        let Some((name, tag)) = self.early.shown_outside(&piece.tokens) else { return Ok(()) };
        let text = self.source[piece.start..piece.end].trim();
        let tag = &self.parsed.tags[tag];
        let why = format!(
            "`{text}`: `{name}` holds rows that were read outside of `{}` of line {}, which would not hear of their changes; read them inside, as `articles | rows`, or name their queryset in the tag",
            tag.text, tag.line
        );
        Err(Error::template(self.line, why))
    }
}
