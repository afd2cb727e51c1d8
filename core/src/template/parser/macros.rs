//! Macros: which names are macros, and which may be macros of a template around.

use super::super::lexer::{Piece, PieceKind};
use super::super::tokens::{Token, TokenKind, variables};
use super::Parser;

impl<'s> Parser<'s, '_> {
    /// Records the names in a piece. If a name becomes a macro outside of any
    /// other statement, it is one from there on.
    pub(super) fn note_names(&mut self, piece: &Piece<'s>) {
        let tokens = &piece.tokens;
        let statement = match tokens.first() {
            Some(first) if piece.kind != PieceKind::Expression => first.text,
            _ => "",
        };
        let made = match statement {
            "macro" => tokens.get(1).map(|name| name.text).into_iter().collect(),
            "import" | "from" => imported(tokens),
            _ => Vec::new(),
        };
        self.parsed.macros.has_some |= matches!(statement, "macro" | "import" | "from");
        let of_others = |name: &&str| !made.contains(name) && !self.made.contains(name);
        self.parsed.macros.uses.extend(variables(tokens).filter(of_others));
        if self.stack.is_empty() {
            self.made.extend(made);
        }
    }
}

/// The names that an import defines: the one after `as`, or else the imported
/// one.
fn imported<'s>(tokens: &[Token<'s>]) -> Vec<&'s str> {
    let Some(start) = tokens.iter().rposition(|token| token.is_word("import")) else {
        return Vec::new();
    };
    let is_context = |pair: &[Token<'_>]| {
        (pair[0].is_word("with") || pair[0].is_word("without")) && pair[1].is_word("context")
    };
    let end = match tokens.len().checked_sub(2) {
        Some(at) if is_context(&tokens[at..]) => at,
        _ => tokens.len(),
    };
    let parts =
        tokens.get(start + 1..end).unwrap_or_default().split(|t| t.kind == TokenKind::Comma);
    let last = parts.filter_map(|part| part.iter().rev().find(|t| t.kind == TokenKind::Word));
    last.map(|name| name.text).collect()
}
