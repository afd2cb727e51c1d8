//! The arguments of a tag, in both call forms.

use std::collections::BTreeSet;

use super::tokens::{Token, TokenKind};

/// An argument as the author wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument<'s> {
    /// The keyword, if it has one.
    pub name: Option<&'s str>,
    /// The expression.
    pub expression: &'s str,
}

/// The arguments of a tag, in one form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments<'s> {
    /// The arguments without a keyword; for `cached_as`, its querysets.
    pub positional: Vec<&'s str>,
    /// `timeout`, if given.
    pub timeout: Option<&'s str>,
    /// `name`, if given.
    pub name: Option<&'s str>,
    /// `extra`: one expression, or several in Django's form.
    pub extra: Vec<&'s str>,
    /// `lock`, if given.
    pub lock: Option<&'s str>,
    /// `if`, if given: where it is false, the body is not cached.
    pub when: Option<&'s str>,
    /// `unless`, if given: where it is true, the body is not cached.
    pub unless: Option<&'s str>,
}

/// Words that join expressions and do not begin one.
const INFIX: [&str; 6] = ["and", "or", "in", "is", "if", "else"];

/// Splits at commas, or at spaces if there is no comma (Django's form). Returns
/// whether it split at spaces.
pub(super) fn split<'s>(
    source: &'s str,
    tokens: &[Token<'s>],
) -> Result<(Vec<Argument<'s>>, bool), String> {
    if tokens.is_empty() {
        return Ok((Vec::new(), false));
    }
    let commas = top_level(tokens, |_, token| token.kind == TokenKind::Comma);
    // Adjacent strings are one, except in Django's form.
    let has_keyword = matches!(tokens, [_, equals, ..] if equals.is_operator("="));
    let are_one = !commas.is_empty() || has_keyword;
    let goes_on = |at: usize| {
        are_one && at > 0 && [at - 1, at].iter().all(|at| tokens[*at].kind == TokenKind::Text)
    };
    let blanks = top_level(tokens, |at, _| begins_expression(tokens, at, false) && !goes_on(at));
    if blanks.is_empty() || !commas.is_empty() {
        if let Some(at) = blanks.first() {
            return Err(format!(
                "`{}` follows another expression without a comma, although other arguments have one",
                tokens[*at].text
            ));
        }
        let mut arguments = Vec::with_capacity(commas.len() + 1);
        let mut from = 0;
        for comma in commas.into_iter().chain([tokens.len()]) {
            // A trailing comma ends the list.
            if from < comma {
                arguments.push(argument(source, &tokens[from..comma]));
            } else if comma < tokens.len() || tokens.len() == 1 {
                return Err("there is nothing between two commas".to_owned());
            }
            from = comma + 1;
        }
        return Ok((arguments, false));
    }
    let mut ends = top_level(tokens, |at, _| begins_expression(tokens, at, true));
    ends.push(tokens.len());
    let mut from = 0;
    let arguments = ends.into_iter().map(|end| {
        let argument = argument(source, &tokens[from..end]);
        from = end;
        argument
    });
    Ok((arguments.collect(), true))
}

/// The positions of matching tokens outside of parentheses.
fn top_level<'s>(tokens: &[Token<'s>], matches: impl Fn(usize, &Token<'s>) -> bool) -> Vec<usize> {
    let mut depth = 0;
    let mut places = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if depth == 0 && matches(at, token) {
            places.push(at);
        }
        depth += token.depth();
    }
    places
}

/// Whether the token at `at` begins an expression directly after another one. In
/// Django's form (`by_blanks`), a parenthesis or a sign after a space also does.
fn begins_expression(tokens: &[Token<'_>], at: usize, by_blanks: bool) -> bool {
    let Some(before) = at.checked_sub(1).map(|before| &tokens[before]) else {
        return false;
    };
    let token = &tokens[at];
    let next = tokens.get(at + 1);
    let ended = match before.kind {
        TokenKind::Word => {
            // The name of an attribute is not a keyword, whatever it
            // is.
            let attribute = at > 1 && tokens[at - 2].is_operator(".");
            attribute || (!INFIX.contains(&before.text) && before.text != "not")
        }
        TokenKind::Number | TokenKind::Text | TokenKind::Close => true,
        TokenKind::Open | TokenKind::Comma | TokenKind::Operator => false,
    };
    if !ended || is_test_argument(tokens, at) {
        return false;
    }
    match token.kind {
        TokenKind::Number | TokenKind::Text => true,
        TokenKind::Word if token.text == "not" => next.is_none_or(|next| !next.is_word("in")),
        TokenKind::Word => !INFIX.contains(&token.text),
        TokenKind::Open => by_blanks && token.blank,
        TokenKind::Operator => {
            by_blanks
                && token.blank
                && matches!(token.text, "-" | "+")
                && next.is_some_and(|next| !next.blank)
        }
        TokenKind::Close | TokenKind::Comma => false,
    }
}

/// `x is divisibleby 3`: the token after the name of a test belongs to the test.
fn is_test_argument(tokens: &[Token<'_>], at: usize) -> bool {
    let is = |back: usize, word: &str| {
        at.checked_sub(back).is_some_and(|place| tokens[place].is_word(word))
    };
    is(2, "is") || (is(3, "is") && is(2, "not"))
}

fn argument<'s>(source: &'s str, tokens: &[Token<'s>]) -> Argument<'s> {
    let (name, tokens) = match tokens {
        [name, equals, value @ ..]
            if name.kind == TokenKind::Word && equals.is_operator("=") && !value.is_empty() =>
        {
            (Some(name.text), value)
        }
        _ => (None, tokens),
    };
    let expression = match (tokens.first(), tokens.last()) {
        (Some(first), Some(last)) => &source[first.start..last.end()],
        _ => "",
    };
    Argument { name, expression }
}

impl<'s> Arguments<'s> {
    /// The arguments of `cached_as`: querysets first.
    pub(super) fn of_cached_as(arguments: Vec<Argument<'s>>, django: bool) -> Result<Self, String> {
        if !django {
            return Arguments::by_keyword(arguments);
        }
        let expressions = positional(&arguments)?;
        let [queryset, timeout, name, extra @ ..] = &expressions[..] else {
            return Err(
                "without commas it takes `<queryset> <timeout> <fragment_name> [<extra> …]`"
                    .to_owned(),
            );
        };
        Ok(Arguments {
            positional: vec![*queryset],
            timeout: Some(*timeout),
            name: Some(*name),
            extra: extra.to_vec(),
            ..Arguments::default()
        })
    }

    /// The arguments of `cached`: no queryset.
    pub(super) fn of_cached(arguments: Vec<Argument<'s>>, django: bool) -> Result<Self, String> {
        if django {
            let expressions = positional(&arguments)?;
            let [timeout, name, extra @ ..] = &expressions[..] else {
                return Err(
                    "without commas it takes `<timeout> <fragment_name> [<extra> …]`".to_owned()
                );
            };
            return Ok(Arguments {
                timeout: Some(*timeout),
                name: Some(*name),
                extra: extra.to_vec(),
                ..Arguments::default()
            });
        }
        let mut arguments = Arguments::by_keyword(arguments)?;
        match (&arguments.positional[..], arguments.timeout) {
            ([], _) => {}
            ([timeout], None) if timeout.starts_with("ttl(") => {
                return Err(format!(
                    "the time limit is written `timeout={}`",
                    timeout.trim_start_matches("ttl(").trim_end_matches(')')
                ));
            }
            ([timeout, name], None) if arguments.name.is_none() => {
                return Err(format!(
                    "with a comma, arguments have names: write `timeout={timeout}, name={name}`, or leave the comma out"
                ));
            }
            ([timeout], None) => arguments.timeout = Some(timeout),
            _ => {
                return Err(
                    "it takes `timeout=…`, `extra=…`, `name=…` and `lock=…` only; to cache a queryset use `cached_as`"
                        .to_owned(),
                );
            }
        }
        arguments.positional.clear();
        Ok(arguments)
    }

    fn by_keyword(arguments: Vec<Argument<'s>>) -> Result<Self, String> {
        let mut sorted = Arguments::default();
        let mut extra = None;
        for Argument { name, expression } in arguments {
            let place = match name {
                None if sorted.has_keywords() || extra.is_some() => {
                    return Err(format!("`{expression}` follows a keyword argument"));
                }
                None => {
                    sorted.positional.push(expression);
                    continue;
                }
                Some("timeout") => &mut sorted.timeout,
                Some("name") => &mut sorted.name,
                Some("lock") => &mut sorted.lock,
                Some("if") => &mut sorted.when,
                Some("unless") => &mut sorted.unless,
                Some("extra") => &mut extra,
                Some(other) => {
                    return Err(format!(
                        "it has no argument `{other}`; known are timeout, extra, name, lock, if and unless"
                    ));
                }
            };
            if place.replace(expression).is_some() {
                return Err(format!("`{}` is given twice", name.unwrap_or_default()));
            }
        }
        sorted.extra = extra.into_iter().collect();
        Ok(sorted)
    }

    fn has_keywords(&self) -> bool {
        let keywords = [self.timeout, self.name, self.lock, self.when, self.unless];
        keywords.iter().any(Option::is_some)
    }
}

/// The arguments of a custom tag: keywords last, each once.
pub(super) fn of_custom(arguments: Vec<Argument<'_>>) -> Result<Vec<Argument<'_>>, String> {
    let mut keywords = BTreeSet::new();
    for Argument { name, expression } in &arguments {
        match name {
            Some(name) if !keywords.insert(*name) => {
                return Err(format!("`{name}` is given twice"));
            }
            None if !keywords.is_empty() => {
                return Err(format!(
                    "`{expression}` follows a keyword argument: arguments without one come first"
                ));
            }
            _ => {}
        }
    }
    Ok(arguments)
}

/// All expressions, which must not have keywords.
fn positional<'s>(arguments: &[Argument<'s>]) -> Result<Vec<&'s str>, String> {
    match arguments.iter().find_map(|argument| argument.name) {
        Some(name) => {
            Err(format!("`{name}=…` needs commas: the form without them has no keywords"))
        }
        None => Ok(arguments.iter().map(|argument| argument.expression).collect()),
    }
}
