//! Splits a source into text, expressions and statements, as the engines do.

use super::tokens::{self, Token};

/// The delimiters of a template language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syntax {
    /// Around statements: `{%` and `%}`.
    pub block: (String, String),
    /// Around expressions: `{{` and `}}`.
    pub variable: (String, String),
    /// Around comments: `{#` and `#}`.
    pub comment: (String, String),
    /// The prefix of a statement that ends with its line, if there is one.
    pub line_statement: Option<String>,
    /// The prefix of a comment that ends with its line, if there is one.
    pub line_comment: Option<String>,
    /// What the engine does with whitespace around statements: trim behind one,
    /// strip before one, keep the last line end. The scanner does not need it,
    /// but by it one source gives different text.
    pub whitespace: [bool; 3],
    /// What else distinguishes the language from others.
    pub rules: Rules,
}

/// The properties of a template language besides its delimiters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Statements that have an end.
    pub blocks: &'static [&'static str],
    /// How deep cache tags may nest.
    pub max_depth: usize,
    /// Whether a delimiter inside open parentheses is ignored.
    pub balanced: bool,
    /// Whether `+` at an edge keeps the white space there.
    pub plus_trim: bool,
    /// Whether backticks are quotes, too.
    pub backticks: bool,
    /// Whether there are components, `<card />`, whose callers pass `body`.
    pub components: bool,
    /// A name that the dialect uses and authors may not. This includes the
    /// name with a number or `_page` appended.
    pub reserved: Option<&'static str>,
}

impl Default for Rules {
    /// The rules of Jinja, as in MiniJinja: its parser accepts 150 nested
    /// statements, and a tag becomes three.
    fn default() -> Self {
        Rules {
            blocks: &["for", "if", "with", "autoescape", "filter", "block", "macro", "call"],
            max_depth: 40,
            balanced: true,
            plus_trim: true,
            backticks: false,
            components: false,
            reserved: None,
        }
    }
}

impl Default for Syntax {
    fn default() -> Self {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        Syntax {
            block: pair("{%", "%}"),
            variable: pair("{{", "}}"),
            comment: pair("{#", "#}"),
            line_statement: None,
            line_comment: None,
            whitespace: [false; 3],
            rules: Rules::default(),
        }
    }
}

/// A piece of the source that is not plain text.
#[derive(Debug)]
pub(super) struct Piece<'s> {
    /// Its range in the source. A line statement includes its indentation and
    /// the end of its line.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) kind: PieceKind,
    /// The text between the delimiters.
    pub(super) tokens: Vec<Token<'s>>,
    /// `-`, `+` or nothing, inside the two delimiters.
    pub(super) trim: (&'s str, &'s str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PieceKind {
    Statement,
    LineStatement,
    Expression,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marker {
    Variable,
    Block,
    Comment,
    LineStatement,
    LineComment,
}

/// Iterates over the pieces. It ends at the first thing that no engine can read,
/// which the engine then reports.
pub(super) struct Lexer<'s, 'x> {
    source: &'s str,
    syntax: &'x Syntax,
    at: usize,
    /// The number of open parentheses of all kinds. The engines count through
    /// the whole source, and end a block only if the count is zero.
    balance: isize,
    /// False while the end of something has not been found.
    whole: bool,
    /// The opening delimiters, the longest first.
    markers: Vec<(&'x str, Marker)>,
}

impl<'s, 'x> Lexer<'s, 'x> {
    pub(super) fn new(source: &'s str, syntax: &'x Syntax) -> Self {
        let mut markers = vec![
            (syntax.variable.0.as_str(), Marker::Variable),
            (syntax.block.0.as_str(), Marker::Block),
            (syntax.comment.0.as_str(), Marker::Comment),
        ];
        markers.extend(syntax.line_statement.as_deref().map(|m| (m, Marker::LineStatement)));
        markers.extend(syntax.line_comment.as_deref().map(|m| (m, Marker::LineComment)));
        markers.retain(|(marker, _)| !marker.is_empty());
        markers.sort_by_key(|(marker, _)| std::cmp::Reverse(marker.len()));
        Lexer { source, syntax, at: 0, balance: 0, whole: true, markers }
    }

    /// Whether the source could be read up to here.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// The next marker at or after the current position.
    fn find_marker(&self) -> Option<(usize, Marker, usize)> {
        let bytes = self.source.as_bytes();
        let is_first = |byte: u8| self.markers.iter().any(|(m, _)| m.as_bytes()[0] == byte);
        let mut at = self.at;
        loop {
            at += bytes[at..].iter().position(|byte| is_first(*byte))?;
            let rest = &bytes[at..];
            let found = self.markers.iter().find(|(marker, kind)| {
                rest.starts_with(marker.as_bytes())
                    && (*kind != Marker::LineStatement || self.is_line_start(at))
            });
            if let Some((marker, kind)) = found {
                return Some((at, *kind, marker.len()));
            }
            at += 1;
        }
    }

    fn is_line_start(&self, at: usize) -> bool {
        let before = self.source.as_bytes()[..at].iter().rev();
        matches!(before.copied().find(|b| !matches!(b, b' ' | b'\t')), None | Some(b'\r' | b'\n'))
    }

    /// The length of `ws name ws [-+]? block_end` at `at`, if that is there.
    fn basic_tag(&self, at: usize, name: &str, edge: bool) -> Option<usize> {
        let rest = &self.source[at..];
        let mut it = rest;
        let trim: &[char] = if self.syntax.rules.plus_trim { &['-', '+'] } else { &['-'] };
        if edge {
            it = it.strip_prefix(trim).unwrap_or(it);
        }
        it = it.trim_ascii_start().strip_prefix(name)?.trim_ascii_start();
        it = it.strip_prefix(trim).unwrap_or(it);
        it = it.strip_prefix(self.syntax.block.1.as_str())?;
        Some(rest.len() - it.len())
    }

    /// Continues after the end of a raw block that has begun.
    fn skip_raw(&mut self) -> Option<()> {
        loop {
            self.skip_past(&self.syntax.block.0)?;
            if let Some(length) = self.basic_tag(self.at, "endraw", true) {
                self.at += length;
                return Some(());
            }
        }
    }

    fn skip_past(&mut self, end: &str) -> Option<()> {
        self.at += self.source[self.at..].find(end)? + end.len();
        Some(())
    }

    fn skip_line(&mut self) {
        let rest = &self.source[self.at..];
        self.at += rest.find(['\r', '\n']).unwrap_or(rest.len());
        self.skip_newline();
    }

    /// MiniJinja accepts `\n`, `\r`, or both in this order. Of `\r\n` it
    /// leaves the second character, which is then text.
    fn skip_newline(&mut self) {
        for end in ["\n", "\r"] {
            if self.source[self.at..].starts_with(end) {
                self.at += 1;
            }
        }
    }

    fn edge(&self) -> &'s str {
        match self.source.as_bytes().get(self.at) {
            Some(b'-') => &self.source[self.at..=self.at],
            Some(b'+') if self.syntax.rules.plus_trim => &self.source[self.at..=self.at],
            _ => "",
        }
    }

    /// A piece between delimiters.
    fn delimited(&mut self, start: usize, kind: PieceKind, end: &str) -> Option<Piece<'s>> {
        let left = self.edge();
        self.at += left.len();
        let mut tokens = Vec::new();
        loop {
            let blank = self.skip_blanks();
            if self.balance == 0 || !self.syntax.rules.balanced {
                let right = self.edge();
                if self.source[self.at + right.len()..].starts_with(end) {
                    self.at += right.len() + end.len();
                    return Some(Piece { start, end: self.at, kind, tokens, trim: (left, right) });
                }
                if self.source[self.at..].starts_with(end) {
                    self.at += end.len();
                    return Some(Piece { start, end: self.at, kind, tokens, trim: (left, "") });
                }
            }
            tokens.push(self.token(blank)?);
        }
    }

    /// A statement that ends with its line, if no parenthesis is open there.
    fn line_statement(&mut self, marker: usize) -> Option<Piece<'s>> {
        let indent = self.source[..marker].trim_end_matches([' ', '\t']).len();
        let mut tokens = Vec::new();
        loop {
            if self.balance == 0 {
                let rest = &self.source[self.at..];
                let line =
                    rest.trim_start_matches(|c: char| c.is_whitespace() && !"\r\n".contains(c));
                if line.is_empty() || line.starts_with(['\r', '\n']) {
                    self.at += rest.len() - line.len();
                    self.skip_newline();
                    let kind = PieceKind::LineStatement;
                    return Some(Piece {
                        start: indent,
                        end: self.at,
                        kind,
                        tokens,
                        trim: ("", ""),
                    });
                }
            }
            let blank = self.skip_blanks();
            tokens.push(self.token(blank)?);
        }
    }

    fn skip_blanks(&mut self) -> bool {
        let rest = &self.source[self.at..];
        let blanks = rest.len() - rest.trim_ascii_start().len();
        self.at += blanks;
        blanks > 0
    }

    fn token(&mut self, blank: bool) -> Option<Token<'s>> {
        let backticks = self.syntax.rules.backticks;
        let token = tokens::next(&self.source[self.at..], self.at, blank, backticks)?;
        self.balance += token.depth();
        self.at = token.end();
        Some(token)
    }
}

impl<'s> Iterator for Lexer<'s, '_> {
    type Item = Piece<'s>;

    fn next(&mut self) -> Option<Piece<'s>> {
        while let (Some((start, marker, length)), true) = (self.find_marker(), self.whole) {
            self.at = start + length;
            self.whole = false;
            let piece = self.begun(start, marker)?;
            self.whole = true;
            if piece.is_some() {
                return piece;
            }
        }
        None
    }
}

impl<'s> Lexer<'s, '_> {
    /// What begins with a marker: a piece, or something without tokens.
    /// `None` if its end is missing.
    fn begun(&mut self, start: usize, marker: Marker) -> Option<Option<Piece<'s>>> {
        let syntax = self.syntax;
        match marker {
            Marker::Comment => {
                self.at += self.edge().len();
                self.skip_past(&syntax.comment.1)?;
            }
            Marker::LineComment => self.skip_line(),
            Marker::Variable => {
                return self.delimited(start, PieceKind::Expression, &syntax.variable.1).map(Some);
            }
            Marker::LineStatement => return self.line_statement(start).map(Some),
            Marker::Block => {
                let inside = self.at + self.edge().len();
                let Some(length) = self.basic_tag(inside, "raw", false) else {
                    return self.delimited(start, PieceKind::Statement, &syntax.block.1).map(Some);
                };
                self.at = inside + length;
                self.skip_raw()?;
            }
        }
        Some(None)
    }
}
