//! What statements set, and which loops are scopes for it.

use super::super::lexer::Piece;
use super::super::tokens::{Token, TokenKind};
use super::{Assignment, Parser};

impl<'s> Parser<'s, '_> {
    /// `set x = …` creates a variable, `set x.y = …` changes one, and `set x`
    /// alone begins a block.
    pub(super) fn set(&mut self, piece: &Piece<'s>, how: Assignment) {
        let tokens = &piece.tokens[1..];
        let mut depth = 0;
        let equals = tokens.iter().position(|token| {
            depth += token.depth();
            depth == 0 && token.is_operator("=")
        });
        let filter = tokens.iter().position(|token| token.is_operator("|"));
        let targets = &tokens[..equals.or(filter).unwrap_or(tokens.len())];
        for (at, target) in targets.iter().enumerate() {
            let behind_dot = at > 0 && targets[at - 1].is_operator(".");
            if target.kind != TokenKind::Word || behind_dot {
                continue;
            }
            if targets.get(at + 1).is_some_and(|next| next.is_operator(".")) {
                self.parsed.macros.assigns_attributes = true;
                self.assign_attribute(target.text);
            } else if let Some(open) = self.stack.last_mut() {
                open.own.insert(target.text);
            }
            self.note_set(target.text, how, piece.start);
        }
        if equals.is_none() {
            self.push("set", None);
        }
    }

    /// Records what a body or a block sets without a scope around it.
    fn note_set(&mut self, name: &'s str, how: Assignment, at: usize) {
        self.note_in_loops(name, how, at);
        let mut block = None;
        for open in self.stack.iter().rev() {
            if (open.repeats.is_some() && !how.global) || open.name == "component" {
                break;
            }
            block = block.or(open.block);
            // Also for the tags around: restoring a variable sets it.
            if let Some(tag) = open.tag {
                self.parsed.tags[tag].assignments.entry(name).or_default().add(how);
            }
        }
        if let Some(block) = block {
            let block = self.parsed.blocks.entry(block).or_default();
            block.assignments.entry(name).or_default().add(how);
        }
    }

    /// A name belongs to the innermost loop, or is outside of all loops.
    fn note_in_loops(&mut self, name: &str, how: Assignment, at: usize) {
        let around = self.stack.iter().rev().filter_map(|open| open.repeats);
        for index in around.take(if how.global { usize::MAX } else { 1 }) {
            match self.parsed.loops.at(index) {
                Some(one) if how.global => one.set_global(name, at),
                Some(one) => one.set(name, at),
                None => {}
            }
        }
    }

    fn assign_attribute(&mut self, name: &'s str) {
        for open in self.stack.iter().rev() {
            if open.own.contains(name) {
                return;
            }
            if let Some(tag) = open.tag {
                self.parsed.tags[tag].mutates.insert(name);
            }
        }
    }

    /// Records a loop that has just begun, and its variables.
    pub(super) fn begin_loop(&mut self, piece: &Piece<'s>) {
        let index = self.parsed.loops.begin(self.innermost_loop(), self.innermost_block());
        let targets = piece.tokens[1..].iter().take_while(|token| !token.is_word("in"));
        let is_name = |token: &&Token<'_>| token.kind == TokenKind::Word;
        if let Some(one) = self.parsed.loops.at(index) {
            targets.filter(is_name).for_each(|name| one.set(name.text, piece.start));
        }
        if let Some(open) = self.stack.last_mut() {
            open.repeats = Some(index);
        }
    }

    /// The innermost loop that is a scope here.
    pub(super) fn innermost_loop(&self) -> Option<usize> {
        let inside = self.stack.iter().rev().take_while(|open| open.name != "component");
        inside.into_iter().find_map(|open| open.repeats)
    }
}
