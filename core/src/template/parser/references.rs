//! Templates that a source names, and macros that it calls.

use super::super::open_tag::Reference;
use super::super::tokens::{Token, TokenKind};
use super::{CallSite, Open, Parser, Replacement};
use crate::error::Error;

impl<'s> Parser<'s, '_> {
    /// Records a `call` that passes its body to the cache.
    pub(super) fn call(&mut self, tokens: &[Token<'s>]) {
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

    /// Records the templates that a statement names, or lets the engine
    /// report them in rendering.
    pub(super) fn reference(&mut self, statement: &str, tokens: &[Token<'s>]) -> Result<(), Error> {
        if let (Some(tag), "extends") = (self.innermost_tag(), statement) {
            let tag = &self.parsed.tags[tag];
            return Err(Error::template(
                self.line,
                format!("`extends` is inside `{}` of line {}", tag.text, tag.line),
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
        let is_import = matches!(statement, "import" | "from");
        let is_dynamic = names.is_none();
        if (statement == "extends" || is_import || is_dynamic) && is_one(&tokens[..length]) {
            let expression = &self.source[first.start..last.end()];
            self.parsed.dynamic_imports |= is_import && is_dynamic;
            self.parsed.macros.may_use_any |= statement == "include";
            let reference = match statement {
                "extends" => Reference::Extends,
                "include" => Reference::Include,
                _ if is_dynamic => Reference::Import,
                _ => Reference::PlainImport,
            };
            self.edit(first.start, last.end(), Replacement::Reference(reference, expression));
        }
        for name in names.into_iter().flatten() {
            self.parsed.references.insert(name);
            if statement == "include" {
                self.note_include(name);
            }
            // What a macro or a set block uses, any body may show.
            let is_shared = |open: &Open<'_>| matches!(open.name, "macro" | "set" | "call");
            if matches!(statement, "import" | "from") || self.stack.iter().any(is_shared) {
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

    /// Records includes that a tag around them cannot see.
    fn note_include(&mut self, name: &'s str) {
        if self.stands_in("block") {
            self.parsed.exposure.block_includes.insert(name.to_owned());
        }
        if self.stands_in("component") {
            self.parsed.exposure.component_includes.insert(name.to_owned());
        }
    }
}

/// Whether parentheses around the tokens do not change their meaning: no comma is
/// between them, and no token closes a parenthesis from outside.
fn is_one(tokens: &[Token<'_>]) -> bool {
    let mut depth = 0;
    tokens.iter().all(|token| {
        let apart = depth == 0 && token.kind == TokenKind::Comma;
        depth += token.depth();
        !apart && depth >= 0
    })
}

/// The names, if the expression is a string or a list of strings. A filter of a
/// dialect may be around it, so that a rewritten source names the same templates.
fn plain_names<'s>(tokens: &[Token<'s>]) -> Option<Vec<&'s str>> {
    match tokens {
        [name] => name.plain_text().map(|name| vec![name]),
        [open, inner @ .., close] if open.text == "[" && close.text == "]" => inner
            .iter()
            .filter(|token| token.kind != TokenKind::Comma)
            .map(Token::plain_text)
            .collect(),
        [open, inner @ .., close, pipe, filter]
            if open.text == "("
                && close.text == ")"
                && pipe.text == "|"
                && filter.text.starts_with("_cacheops_") =>
        {
            plain_names(inner)
        }
        _ => None,
    }
}
