//! Macros: which names are macros, and which may be macros of a template around.

use super::super::lexer::{Piece, PieceKind};
use super::super::parsed::DefinedMacro;
use super::super::tokens::{Token, TokenKind, is_attribute, variables};
use super::{Parser, Replacement};

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
        self.note_bindings(tokens, statement, &made);
        let of_others = |name: &&str| !made.contains(name) && !self.made.contains(name);
        self.parsed.macros.uses.extend(variables(tokens).filter(of_others));
        if self.stack.is_empty() {
            self.made.extend(made);
        }
    }
}

impl<'s> Parser<'s, '_> {
    /// Records which names become macros and modules, and which names are used
    /// for more than a call.
    fn note_bindings(&mut self, tokens: &[Token<'s>], statement: &str, made: &[&'s str]) {
        // What a macro binds inside of it is bound anew at each call.
        if !self.stands_in("macro") {
            for name in made {
                let is_first = self.bound.insert(name);
                self.is_ambiguous |= !is_first || !self.stack.is_empty();
            }
        }
        let end = match statement {
            "import" | "from" => tokens.iter().rposition(|token| token.is_word("import")),
            _ => None,
        };
        let end = end.unwrap_or(tokens.len());
        for at in usize::from(!statement.is_empty())..end {
            let token = &tokens[at];
            if token.kind != TokenKind::Word || is_attribute(tokens, at) {
                continue;
            }
            let is = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token.text == text);
            let is_call = is(at + 1, "(") || (is(at + 1, ".") && is(at + 3, "("));
            if !is_call {
                self.values.insert(token.text);
            }
            self.names.insert(token.text);
        }
    }

    /// Lets the dialect follow the end of a macro.
    pub(super) fn note_macro_end(&mut self, name: Option<&'s str>, piece: &Piece<'s>) {
        // The engine lets a macro have a name that nothing else can have.
        let Some(name) = name.filter(|name| !RESERVED.contains(name)) else { return };
        let trim = self.trim(piece);
        let index = self.parsed.macros.count;
        self.parsed.macros.count += 1;
        let start = if trim.is_line { piece.start } else { piece.end };
        self.edit(start, piece.end, Replacement::MacroEnd(DefinedMacro { name, index, trim }));
    }

    /// Decides what can be told of the macros of the whole source.
    pub(super) fn settle_macros(&mut self) {
        let has_others = self.bound.iter().any(|name| self.values.contains(name));
        let macros = &mut self.parsed.macros;
        macros.is_plain = !self.is_ambiguous && !has_others;
        if !macros.is_plain {
            macros.uses.append(&mut self.names);
        }
    }
}

const RESERVED: [&str; 8] = ["true", "True", "false", "False", "none", "None", "loop", "self"];

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
