//! The words of expressions, as far as tags need them: to find where one argument
//! ends and the next begins.

/// A word of an expression.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'s> {
    pub(super) text: &'s str,
    pub(super) kind: TokenKind,
    /// Where it begins in the source.
    pub(super) start: usize,
    /// Whether there is white space before it.
    pub(super) blank: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    Word,
    Number,
    Text,
    Open,
    Close,
    Comma,
    Operator,
}

impl<'s> Token<'s> {
    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// Its effect on the number of open parentheses.
    pub(super) fn depth(&self) -> isize {
        match self.kind {
            TokenKind::Open => 1,
            TokenKind::Close => -1,
            _ => 0,
        }
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        self.kind == TokenKind::Word && self.text == word
    }

    pub(super) fn is_operator(&self, operator: &str) -> bool {
        self.kind == TokenKind::Operator && self.text == operator
    }

    /// The content of a literal string without escapes.
    pub(super) fn plain_text(&self) -> Option<&'s str> {
        let inner = self.text.get(1..self.text.len().checked_sub(1)?)?;
        (self.kind == TokenKind::Text && !inner.contains('\\')).then_some(inner)
    }
}

/// Whether a word is an attribute of something.
pub(super) fn is_attribute(tokens: &[Token<'_>], at: usize) -> bool {
    let is_dot = |back: usize| at >= back && tokens[at - back].is_operator(".");
    is_dot(1) && !is_dot(2)
}

/// Whether a word may be a variable: it is neither an attribute nor a keyword.
pub(super) fn is_variable(tokens: &[Token<'_>], at: usize) -> bool {
    let is_attribute = is_attribute(tokens, at);
    let is_keyword = tokens.get(at + 1).is_some_and(|next| next.is_operator("="));
    tokens[at].kind == TokenKind::Word && !is_attribute && !is_keyword
}

/// The words that may be variables, in order.
pub(super) fn variables<'s>(tokens: &[Token<'s>]) -> impl Iterator<Item = &'s str> {
    (0..tokens.len()).filter(|at| is_variable(tokens, *at)).map(|at| tokens[at].text)
}

/// The first word of `rest`, which begins at `start`. `None` if a string has no
/// end, or nothing is left.
pub(super) fn next(rest: &str, start: usize, blank: bool, backticks: bool) -> Option<Token<'_>> {
    let first = rest.chars().next()?;
    let (kind, length) = match first {
        '"' | '\'' => (TokenKind::Text, string_length(rest, first)?),
        '`' if backticks => (TokenKind::Text, string_length(rest, first)?),
        '(' | '[' | '{' => (TokenKind::Open, 1),
        ')' | ']' | '}' => (TokenKind::Close, 1),
        ',' => (TokenKind::Comma, 1),
        '0'..='9' => (TokenKind::Number, number_length(rest)),
        _ if is_word(first) => (TokenKind::Word, rest.find(|c| !is_word(c)).unwrap_or(rest.len())),
        _ => (TokenKind::Operator, operator_length(rest, first)),
    };
    Some(Token { text: &rest[..length], kind, start, blank })
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn string_length(rest: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Digits, and a dot if a digit follows; also letters of a radix or an exponent.
fn number_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut length = 1;
    while let Some(byte) = bytes.get(length) {
        let digit_follows = bytes.get(length + 1).is_some_and(u8::is_ascii_digit);
        let exponent = matches!(bytes[length - 1], b'e' | b'E') && !rest.starts_with("0x");
        match byte {
            b'.' if digit_follows => {}
            b'+' | b'-' if exponent && digit_follows => {}
            b'_' => {}
            _ if byte.is_ascii_alphanumeric() => {}
            _ => break,
        }
        length += 1;
    }
    length
}

fn operator_length(rest: &str, first: char) -> usize {
    let double = ["==", "!=", "<=", ">=", "//", "**"];
    if double.iter().any(|operator| rest.starts_with(operator)) { 2 } else { first.len_utf8() }
}
