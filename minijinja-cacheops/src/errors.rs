//! Errors at the place where the author made them.

use std::fmt::Write;

use minijinja::{Environment, Error, ErrorKind, Value, context};

/// An error at a line of a template. Only the engine can set the place of an
/// error, so this makes the engine raise the error there.
pub(crate) fn at(name: &str, line: usize, error: Error) -> Error {
    let mut env = Environment::empty();
    env.set_debug(false);
    let source = format!("{}{{{{ error }}}}", "\n".repeat(line.saturating_sub(1)));
    let kind = error.kind();
    let detail = error.detail().unwrap_or_default().to_owned();
    let raised = env
        .template_from_named_str(name, &source)
        .and_then(|template| template.render(context!(error => Value::from(error))));
    match raised {
        Err(error) => error,
        Ok(_) => Error::new(kind, detail),
    }
}

/// An error in a tag, found in loading.
pub(crate) fn in_tag(name: &str, error: &cacheops::Error) -> Error {
    let detail = error.detail().to_owned();
    at(name, error.line().unwrap_or(1), Error::new(ErrorKind::SyntaxError, detail))
}

/// An error that the engine found in a rewritten source, with the text of the
/// author.
pub(crate) fn in_source(name: &str, author: &str, error: &Error) -> Error {
    let line = error.line().unwrap_or(1);
    let mut detail = error.detail().unwrap_or_default().to_owned();
    if let Some(text) = author.lines().nth(line - 1) {
        let _ = write!(detail, ", in the line `{}`", text.trim());
    }
    at(name, line, Error::new(error.kind(), detail))
}

/// An error of a tag in rendering. The engine adds the place.
pub(crate) fn in_rendering(tag: &str, detail: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("`{tag}`: {detail}"))
}

/// The whole chain of an error, each with the line of the author and its
/// neighbours.
pub(crate) fn explain(
    error: &Error,
    author: impl Fn(&str) -> Option<std::sync::Arc<str>>,
) -> String {
    let mut out = String::new();
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = next {
        if !out.is_empty() {
            out.push_str("caused by: ");
        }
        let _ = writeln!(out, "{error}");
        if let Some(place) = error.downcast_ref::<Error>()
            && let (Some(name), Some(line)) = (place.name(), place.line())
        {
            excerpt(&mut out, author(name).as_deref().unwrap_or_default(), line);
        }
        next = error.source();
    }
    out
}

fn excerpt(out: &mut String, source: &str, line: usize) {
    let first = line.saturating_sub(3).max(1);
    let lines = source.lines().enumerate().skip(first - 1).take(line + 2 - (first - 1));
    for (at, text) in lines {
        let mark = if at + 1 == line { '>' } else { ' ' };
        let _ = writeln!(out, "{:>5} {mark} {text}", at + 1);
    }
}
