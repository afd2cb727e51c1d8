//! Components, and variables that no key can cover.

use super::super::lexer::Piece;
use super::super::open_tag::TagKind;
use super::super::tokens::{Token, TokenKind, variables};
use super::{Open, Parser};
use crate::error::Error;

impl<'s> Parser<'s, '_> {
    /// `<card …>` begins a component with a body, `</card>` ends it.
    pub(super) fn component_call(&mut self, tokens: &[Token<'s>]) -> Result<(), Error> {
        let Some(second) = tokens.get(1) else { return Ok(()) };
        if second.kind == TokenKind::Word {
            // Its name is not a statement, even if a component has
            // the name of one.
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

    /// Records a possible use of a component. A comparison is harmless here.
    pub(super) fn note_components(&mut self, tokens: &[Token<'s>]) {
        for (at, token) in tokens.iter().enumerate() {
            let next = tokens.get(at + 1);
            if let (true, Some(first)) = (token.text == "<", next)
                && first.kind == TokenKind::Word
            {
                self.parsed.components.insert(component_name(tokens, at + 1));
            }
        }
    }

    pub(super) fn note_definition(&mut self, tokens: &[Token<'s>]) {
        if !tokens.is_empty() {
            self.parsed.defines.insert(component_name(tokens, 0));
        }
    }

    /// `body` inside a component is what the caller passes. The key does not
    /// cover it unless the tag names it.
    pub(super) fn refuse_body(&mut self, piece: &Piece<'s>) -> Result<(), Error> {
        if !variables(&piece.tokens).any(|name| name == "body") {
            return Ok(());
        }
        let Some(component) = self.stack.iter().position(|open| open.name == "component") else {
            self.parsed.exposure.body = true;
            for tag in self.stack.iter().filter_map(|open| open.tag) {
                let tag = &mut self.parsed.tags[tag];
                tag.shows_body |= !tag.names_body;
            }
            return Ok(());
        };
        let tags = self.stack[component..].iter().filter_map(|open| open.tag);
        match tags.map(|tag| &self.parsed.tags[tag]).find(|tag| !tag.names_body) {
            Some(tag) => {
                let why = format!(
                    "`body` inside `{}` of line {}: every caller would get the body of the first; add `extra=body`, or put the tag around the use of the component instead",
                    tag.text, tag.line
                );
                Err(Error::template(self.line, why))
            }
            None => Ok(()),
        }
    }

    /// Whether the key of a tag covers `body`, through an argument that is
    /// part of the key. In a custom tag, only plain arguments are.
    pub(super) fn names_body(&self, kind: &TagKind<'s>, tokens: &[Token<'s>]) -> bool {
        let arguments = match kind {
            TagKind::Custom(arguments) => {
                return arguments.iter().any(|argument| argument.expression == "body");
            }
            TagKind::CachedAs(arguments) | TagKind::Cached(arguments) => arguments,
        };
        let of_key = arguments.extra.iter().chain(&arguments.positional).chain(&arguments.name);
        of_key.into_iter().any(|expression| {
            let source = self.source.as_ptr().addr();
            let start = expression.as_ptr().addr().saturating_sub(source);
            let inside = |token: &&Token<'s>| {
                token.start >= start && token.end() <= start + expression.len()
            };
            let tokens: Vec<Token<'s>> = tokens.iter().filter(inside).copied().collect();
            variables(&tokens).any(|name| name == "body")
        })
    }

    /// `__tera_context` is a map of all variables.
    pub(super) fn refuse_context(&mut self, piece: &Piece<'s>) -> Result<(), Error> {
        if !variables(&piece.tokens).any(|name| name == "__tera_context") {
            return Ok(());
        }
        let is_tag = piece.tokens[0].kind == TokenKind::Word && self.is_tag(piece.tokens[0].text);
        let (text, line) = match self.innermost_tag() {
            Some(tag) => (self.parsed.tags[tag].text, self.parsed.tags[tag].line),
            None if is_tag => (self.source[piece.start..piece.end].trim(), self.line),
            None => {
                self.note_context();
                return Ok(());
            }
        };
        let why = format!(
            "`__tera_context` inside `{text}` of line {line}: it holds all variables, and no key can; show it outside of the tag"
        );
        Err(Error::template(self.line, why))
    }

    fn note_context(&mut self) {
        // A component has its own context.
        if !self.stands_in("component") {
            self.parsed.exposure.context = true;
            self.parsed.exposure.context_in_block |= self.stands_in("block");
        }
    }
}

/// The dotted name that begins at `first`, without spaces around its dots.
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
