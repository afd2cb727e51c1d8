//! The cache tags themselves.

use std::collections::{BTreeMap, BTreeSet};

use super::super::args::{self, Arguments};
use super::super::lexer::{Piece, PieceKind};
use super::super::loops::Position;
use super::super::open_tag::{OpenTag, TagKind, Trim};
use super::super::parsed::Replacement;
use super::Parser;
use crate::error::Error;

impl<'s> Parser<'s, '_> {
    pub(super) fn is_tag(&self, name: &str) -> bool {
        matches!(name, "cached_as" | "cached") || self.custom.iter().any(|tag| tag == name)
    }

    pub(super) fn open_tag(&mut self, name: &'s str, piece: &Piece<'s>) -> Result<(), Error> {
        let text = self.source[piece.start..piece.end].trim();
        let fail = |line, why: String| Error::template(line, format!("`{text}`: {why}"));
        if self.stack.iter().filter(|open| open.tag.is_some()).count() >= self.rules.max_depth {
            return Err(fail(
                self.line,
                format!(
                    "it is inside {} other cache tags, which is the maximum",
                    self.rules.max_depth
                ),
            ));
        }
        let (arguments, django) =
            args::split(self.source, &piece.tokens[1..]).map_err(|why| fail(self.line, why))?;
        if let Some(splat) = arguments.iter().find(|a| a.expression.starts_with('*')) {
            let why = format!(
                "`{}` cannot be unpacked here: pass its parts one by one",
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
            _ => args::of_custom(arguments).map(TagKind::Custom),
        };
        let kind = kind.map_err(|why| fail(self.line, why))?;
        let names_body = self.names_body(&kind, &piece.tokens);
        let index = self.parsed.tags.len();
        let trim = self.trim(piece);
        self.parsed.tags.push(OpenTag {
            index,
            name,
            kind,
            line: self.line,
            text,
            trim,
            includes: BTreeSet::new(),
            has_blocks: false,
            blocks: BTreeSet::new(),
            mutates: BTreeSet::new(),
            assignments: BTreeMap::new(),
            position: Position {
                in_loop: self.innermost_loop(),
                start: piece.start,
                end: piece.end,
            },
            in_block: self.innermost_block(),
            in_component: self.stands_in("component"),
            is_in_macro: self.stands_in("macro") || self.stands_in("call"),
            names_body,
            shows_body: false,
            may_see_caller: false,
        });
        self.note_tag(index);
        self.edit(piece.start, piece.end, Replacement::Open(index));
        self.push(name, Some(index));
        Ok(())
    }

    pub(super) fn trim(&self, piece: &Piece<'s>) -> Trim<'s> {
        if piece.kind != PieceKind::LineStatement {
            let (left, right) = piece.trim;
            return Trim { left, right, is_line: false, line_end: "" };
        }
        let text = &self.source[piece.start..piece.end];
        let line_end = &text[text.trim_end_matches(['\r', '\n']).len()..];
        Trim { left: "+", right: "+", is_line: true, line_end }
    }

    pub(super) fn close_tag(&mut self, name: &'s str, piece: &Piece<'s>) -> Result<(), Error> {
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
        let trim = self.trim(piece);
        self.edit(piece.start, piece.end, Replacement::Close(tag, trim));
        self.parsed.tags[tag].position.end = piece.end;
        Ok(())
    }
}
