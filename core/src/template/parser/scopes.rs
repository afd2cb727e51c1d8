//! What statements set, and which loops are scopes for it.

use super::super::tokens::{Token, TokenKind};
use super::{Around, Parser, Sets};

impl<'s> Parser<'s, '_> {
    /// The `else` of a loop is outside of its scope.
    pub(super) fn end_repetition(&mut self) {
        if let Some(open) = self.stack.last_mut() {
            open.repeats = false;
        }
    }

    /// `set x = …` makes a variable, `set x.y = …` changes one, and `set x`
    /// alone begins a block.
    pub(super) fn set(&mut self, tokens: &[Token<'s>], how: Sets) {
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
        if how.global {
            self.note_global(name);
        } else if let Some(open) = self.stack.iter_mut().rev().find(|open| open.repeats) {
            open.locals.insert(name);
        }
        for open in self.stack.iter().rev() {
            if (open.repeats && !how.global) || open.name == "component" {
                return;
            }
            if open.name == "block" {
                self.parsed.block_sets.entry(name).or_default().add(how);
            }
            // Also those around: what a tag puts back is set by it.
            if let Some(tag) = open.tag {
                self.parsed.tags[tag].sets.entry(name).or_default().add(how);
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

    /// Notes the variables of a loop that has just begun.
    pub(super) fn note_targets(&mut self, tokens: &[Token<'s>]) {
        let Some(open) = self.stack.last_mut() else { return };
        let targets = tokens.iter().take_while(|token| !token.is_word("in"));
        let names = targets.filter(|token| token.kind == TokenKind::Word).map(|token| token.text);
        open.locals.extend(names);
    }

    /// What the loops around this place do with names, as far as it is known.
    pub(super) fn around(&self) -> Around {
        let mut around = Around::default();
        for open in self.stack.iter().rev().take_while(|open| open.name != "component") {
            if open.repeats {
                around.own.extend(open.locals.iter().map(|name| (*name).to_owned()));
            }
        }
        around
    }

    /// Notes a name that is set past the loops around, for the tags that have
    /// ended in them.
    fn note_global(&mut self, name: &'s str) {
        for open in self.stack.iter().filter(|open| open.repeats) {
            for tag in &open.ended {
                self.parsed.tags[*tag].around.global_behind.insert(name.to_owned());
            }
            if open.calls_super {
                self.parsed.shown.around_super.global_behind.insert(name.to_owned());
            }
        }
    }

    /// Notes that `super` is called here, which runs blocks of other templates.
    pub(super) fn note_super(&mut self) {
        let around = self.around();
        self.parsed.shown.around_super.add(&around);
        self.stack.iter_mut().filter(|open| open.repeats).for_each(|open| open.calls_super = true);
    }
}
