//! Blocks, which other templates may replace.

use super::super::lexer::{Piece, PieceKind};
use super::super::tokens::{Token, TokenKind, is_variable};
use super::Parser;

impl<'s> Parser<'s, '_> {
    /// Records for all open tags that their bodies use blocks.
    pub(super) fn note_blocks(&mut self, piece: &Piece<'s>) {
        let begins = piece.kind != PieceKind::Expression
            && piece.tokens.first().is_some_and(|first| first.text == "block");
        let calls_super = self.calls(piece, "super");
        // If there are components, `self` is an ordinary variable.
        let calls_self = !self.rules.components && self.calls(piece, "self");
        if calls_super {
            self.note_super(piece.start);
        }
        if begins || calls_super || calls_self {
            self.parsed.macros_use_blocks |= self.stands_in("macro");
            for tag in self.stack.iter().filter_map(|open| open.tag) {
                self.parsed.tags[tag].has_blocks = true;
            }
        }
    }

    fn calls(&self, piece: &Piece<'s>, name: &str) -> bool {
        let tokens = &piece.tokens;
        (0..tokens.len()).any(|at| tokens[at].is_word(name) && is_variable(tokens, at))
    }

    /// Records that `super` is called here, which runs the block of another
    /// template.
    fn note_super(&mut self, at: usize) {
        for index in self.stack.iter().filter_map(|open| open.repeats) {
            if let Some(one) = self.parsed.loops.at(index) {
                one.call_super(at);
            }
        }
        if let Some(block) = self.innermost_block() {
            self.note_in_tags(block);
        }
    }

    /// Records the name of a block that has just begun.
    pub(super) fn begin_block(&mut self, tokens: &[Token<'s>]) {
        let Some(name) = tokens.first().filter(|name| name.kind == TokenKind::Word) else { return };
        let name = name.text;
        self.parsed.blocks.entry(name).or_default();
        if let Some(around) = self.innermost_block() {
            self.parsed.blocks.entry(around).or_default().holds.insert(name);
        }
        self.note_in_tags(name);
        if let Some(open) = self.stack.last_mut() {
            open.block = Some(name);
        }
    }

    fn note_in_tags(&mut self, block: &'s str) {
        for tag in self.stack.iter().filter_map(|open| open.tag) {
            self.parsed.tags[tag].blocks.insert(block);
        }
    }

    pub(super) fn innermost_block(&self) -> Option<&'s str> {
        self.stack.iter().rev().find_map(|open| open.block)
    }
}
