//! `caller`, in engines that pass a body to a macro. It renders text that the key
//! of a tag does not cover.

use super::super::lexer::{Piece, PieceKind};
use super::super::tokens::{Token, is_variable};

use super::{Parser, Replacement};
use crate::error::Error;

/// What is known about `caller` in a macro.
#[derive(Debug, Default)]
pub(super) struct Caller<'s> {
    /// The name of the macro.
    pub(super) of: Option<&'s str>,
    /// The tags in it, except those in an inner macro.
    tags: Vec<usize>,
    is_mentioned: bool,
    /// The line where it is passed on under another name.
    handed_on: Option<usize>,
}

const WAY_OUT: &str = "every caller would get the body of the first; put the tag around the `call` instead, or take the text before the tag, `set text = caller()`, and give the tag `extra=text`";

impl<'s> Parser<'s, '_> {
    /// Records where `caller` is used, and refuses it inside a tag. If it
    /// gets there in another way, through an include, rendering fails.
    pub(super) fn note_caller(&mut self, piece: &Piece<'s>) -> Result<(), Error> {
        let tokens = &piece.tokens;
        let is_caller = |at: &usize| tokens[*at].is_word("caller") && is_variable(tokens, *at);
        let Some(first) = (0..tokens.len()).find(is_caller) else { return Ok(()) };
        let inner = self.stack.iter().rposition(|open| open.name == "macro" || open.tag.is_some());
        if let Some(tag) = inner.and_then(|at| self.stack[at].tag)
            && self.stands_in("macro")
        {
            let tag = &self.parsed.tags[tag];
            let why = format!("`caller` inside `{}` of line {}: {WAY_OUT}", tag.text, tag.line);
            return Err(Error::template(self.line, why));
        }
        self.hand_on(piece);
        let handed_on = (first..tokens.len()).filter(is_caller).any(|at| is_handed_on(tokens, at));
        if let Some(at) = inner {
            let line = self.line;
            let caller = &mut self.stack[at].caller;
            caller.is_mentioned = true;
            caller.handed_on = caller.handed_on.or(handed_on.then_some(line));
        }
        Ok(())
    }

    /// Lets the dialect see each value that `caller` gives to something else:
    /// under another name, it can reach the body of a tag in any template.
    fn hand_on(&mut self, piece: &Piece<'s>) {
        let tokens = &piece.tokens;
        let first = if piece.kind == PieceKind::Expression { "" } else { tokens[0].text };
        let replaced = ["include", "import", "from", "extends"];
        if replaced.contains(&first) || self.is_tag(first) {
            return;
        }
        for at in values_begin(first, tokens)..tokens.len() {
            let is_value = tokens[at].is_word("caller") && is_variable(tokens, at);
            let is_default = first != "macro" || tokens[at - 1].is_operator("=");
            let is_used =
                tokens.get(at + 1).is_some_and(|next| next.text == "(" || next.is_word("is"));
            if is_value && is_default && !is_used {
                self.edit(tokens[at].start, tokens[at].end(), Replacement::Caller);
            }
        }
    }

    /// Records a tag that has just been found. If the source has no macro
    /// around it, one may be around an include of the source.
    pub(super) fn note_tag(&mut self, tag: usize) {
        let around = self.stack.iter_mut().rev().find(|open| matches!(open.name, "macro" | "call"));
        match around {
            Some(open) if open.name == "macro" => open.caller.tags.push(tag),
            // The body of a call block does not see the caller around
            // it.
            Some(_) => {}
            None => self.parsed.tags[tag].may_see_caller = !self.rules.components,
        }
    }

    /// Evaluates the records of a macro that ends.
    pub(super) fn end_macro(&mut self, caller: Caller<'s>) -> Result<(), Error> {
        let Some(first) = caller.tags.first().filter(|_| caller.is_mentioned) else {
            return Ok(());
        };
        if let Some(line) = caller.handed_on {
            let tag = &self.parsed.tags[*first];
            let why = format!(
                "`caller` by another name, which `{}` of line {} could show: {WAY_OUT}",
                tag.text, tag.line
            );
            return Err(Error::template(line, why));
        }
        for tag in caller.tags {
            self.parsed.tags[tag].may_see_caller = true;
        }
        Ok(())
    }

    /// `loop.changed` remembers the values of its last call, which a hit
    /// would skip.
    pub(super) fn refuse_changed(&self, piece: &Piece<'s>) -> Result<(), Error> {
        let asks = |three: &[Token<'_>]| {
            three[0].is_word("loop") && three[1].is_operator(".") && three[2].is_word("changed")
        };
        let inner = self.stack.iter().rev().find(|open| open.name == "for" || open.tag.is_some());
        match inner.and_then(|open| open.tag) {
            Some(tag) if piece.tokens.windows(3).any(asks) => {
                let tag = &self.parsed.tags[tag];
                let why = format!(
                    "`loop.changed` inside `{}` of line {}: it remembers what it was asked, which a hit would skip; ask it before the tag, `set changed = loop.changed(…)`, and give the tag `extra=changed`",
                    tag.text, tag.line
                );
                Err(Error::template(self.line, why))
            }
            _ => Ok(()),
        }
    }
}

/// Where the values of a statement begin, behind the names that it sets.
fn values_begin(statement: &str, tokens: &[Token<'_>]) -> usize {
    let after = |find: &dyn Fn(&Token<'_>) -> bool| {
        tokens.iter().position(find).map_or(tokens.len(), |at| at + 1)
    };
    match statement {
        "set" => after(&|token| token.is_operator("=") || token.is_operator("|")),
        "for" => after(&|token| token.is_word("in")),
        "macro" => after(&|token| token.is_operator("=")),
        "call" if tokens.get(1).is_some_and(|token| token.text == "(") => {
            // The names that it hands to its body.
            after(&|token| token.text == ")")
        }
        _ => 0,
    }
}

/// Whether a use of `caller` is neither a call nor a test whether there is one.
fn is_handed_on(tokens: &[Token<'_>], at: usize) -> bool {
    let next = tokens.get(at + 1);
    let before = at.checked_sub(1).map(|before| &tokens[before]);
    let asks = |token: &Token<'_>| {
        ["if", "elif", "and", "or", "not"].iter().any(|word| token.is_word(word))
    };
    !(next.is_some_and(|next| next.text == "(" || next.is_word("is")) || before.is_some_and(asks))
}
