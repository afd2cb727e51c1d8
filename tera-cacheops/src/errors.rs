//! Errors at the place where the author made them.
//!
//! Tera reports an error as text: a message, the place, the line, and a marker
//! under it. The plugin parses this, and replaces places and lines of the
//! rewritten source with those of the author.

use std::ops::Range;

use tera::{Error, ErrorKind};

use crate::loaded::LoadedTemplate;
use crate::names::VARIABLE;
use crate::source::ByName;

/// An error that the plugin found in loading.
pub(crate) fn in_loading(name: &str, source: &str, line: usize, detail: &str) -> Error {
    let text = source.split('\n').nth(line.saturating_sub(1)).unwrap_or_default();
    // The message begins with the tag, or a word, as the author wrote it.
    let quoted = detail.split('`').nth(1).unwrap_or_default();
    let first = quoted.lines().next().unwrap_or_default();
    let found = if first.is_empty() { None } else { find_whole(text, first) };
    let column = found.map_or(0, |at| text[..at].chars().count());
    let width = found.map_or(1, |_| first.chars().count());
    let mut out = format!("error: {detail}\n");
    Place { name, line, column, width }.write(text, "--> ", &mut out);
    Error::message(out)
}

/// The positions at which a text contains another one that is not part of a
/// longer word.
pub(crate) fn find_whole(text: &str, part: &str) -> Option<usize> {
    let is_word = |c: char| c == '_' || c.is_alphanumeric();
    let joins = |inner: Option<char>, outer: Option<char>| {
        inner.is_some_and(is_word) && outer.is_some_and(is_word)
    };
    let mut places = text.match_indices(part).map(|(at, _)| at);
    places.find(|at| {
        !joins(part.chars().next(), text[..*at].chars().next_back())
            && !joins(part.chars().next_back(), text[at + part.len()..].chars().next())
    })
}

/// An error that Tera found in rewritten sources, with the text of the authors.
pub(crate) fn translate(error: Error, templates: &ByName<LoadedTemplate>) -> Error {
    let report = error.to_string();
    if let Some(name) = removed(&report, templates) {
        return Error::new(ErrorKind::TemplateNotFound(name));
    }
    let text = translate_text(&report, templates);
    if text == report {
        return error;
    }
    match std::error::Error::source(&error) {
        Some(source) => Error::chain(text, source.to_string()),
        None => Error::message(text),
    }
}

/// The template that is gone, if a report is about its replacement.
fn removed(report: &str, templates: &ByName<LoadedTemplate>) -> Option<String> {
    let lines: Vec<&str> = report.split('\n').collect();
    let first = (0..lines.len()).find_map(|at| Excerpt::read(&lines[at..], templates))?;
    first.template.is_removed.then(|| first.place.name.to_owned())
}

/// Inserts the places and lines of the authors into a report of Tera.
pub(crate) fn translate_text(report: &str, templates: &ByName<LoadedTemplate>) -> String {
    let lines: Vec<&str> = report.split('\n').collect();
    let mut out: Vec<String> = Vec::with_capacity(lines.len());
    let mut at = 0;
    while at < lines.len() {
        match Excerpt::read(&lines[at..], templates) {
            Some(excerpt) => {
                out.push(excerpt.translated());
                at += Excerpt::LINES;
            }
            None => {
                out.push(without_variables(lines[at]));
                at += 1;
            }
        }
    }
    out.join("\n")
}

/// Tera lists the existing variables. Those of the plugin are removed.
fn without_variables(line: &str) -> String {
    const LIST: &str = " Available variables: ";
    let Some((before, list)) = line.split_once(LIST) else { return line.to_owned() };
    let kept: Vec<&str> = list.split(", ").filter(|name| !name.starts_with(VARIABLE)).collect();
    if kept.is_empty() { before.to_owned() } else { format!("{before}{LIST}{}", kept.join(", ")) }
}

/// A place in a template. Columns count from 0.
struct Place<'a> {
    name: &'a str,
    line: usize,
    column: usize,
    width: usize,
}

impl Place<'_> {
    /// Writes a place and its line, as Tera does.
    fn write(&self, text: &str, head: &str, out: &mut String) {
        let padding = " ".repeat(self.line.to_string().len());
        let head = if head == "--> " { format!("{padding}{head}") } else { head.to_owned() };
        let under: String =
            text.chars().take(self.column).map(|c| if c == '\t' { c } else { ' ' }).collect();
        out.push_str(&format!(
            "{head}{}:{}:{}\n{padding} |\n{} | {text}\n{padding} | {under}{}",
            self.name,
            self.line,
            self.column + 1,
            self.line,
            "^".repeat(self.width.max(1)),
        ));
    }
}

/// A place in a report of Tera.
struct Excerpt<'a> {
    template: &'a LoadedTemplate,
    head: &'a str,
    place: Place<'a>,
}

impl<'a> Excerpt<'a> {
    const LINES: usize = 4;

    /// Parses the lines of a place, if they are one of a known template.
    fn read(lines: &[&'a str], templates: &'a ByName<LoadedTemplate>) -> Option<Self> {
        let [head, bar, quote, under, ..] = lines else { return None };
        let mut parts = head.rsplitn(3, ':');
        let column: usize = parts.next()?.parse().ok()?;
        // Words of a message may look like a place, and count lines from 0.
        let line: usize = parts.next()?.parse().ok()?;
        let index = line.checked_sub(1)?;
        let before = parts.next()?;
        // The name may hold blanks: it is the longest that is known.
        let (name, template) = templates
            .iter()
            .filter(|(name, _)| {
                before.strip_suffix(name.as_str()).is_some_and(|head| head.ends_with(' '))
            })
            .max_by_key(|(name, _)| name.len())?;
        let head = &before[..before.len() - name.len()];
        let is_quote = quote
            .strip_prefix(&format!("{line} | "))
            .is_some_and(|text| template.rewritten.split('\n').nth(index) == Some(text));
        let is_place = bar.trim() == "|" && is_quote && under.ends_with('^');
        let width = under.chars().rev().take_while(|c| *c == '^').count();
        let place = Place { name, line, column: column.checked_sub(1)?, width };
        is_place.then_some(Excerpt { template, head, place })
    }

    /// The same place in the text of the author.
    fn translated(&self) -> String {
        let template = self.template;
        let start = offset(&template.rewritten, self.place.line, self.place.column);
        let end = skip(&template.rewritten, start, self.place.width);
        let source = self.original_range(start..end);
        let text = &template.source.text;
        let line_start = text[..source.start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[source.start..].find('\n').map_or(text.len(), |at| source.start + at);
        let place = Place {
            name: self.place.name,
            line: text[..source.start].matches('\n').count() + 1,
            column: text[line_start..source.start].chars().count(),
            width: text[source.start..source.end.min(line_end).max(source.start)].chars().count(),
        };
        let mut out = String::new();
        let head = self.head.trim_start();
        let head = if head == "--> " { head } else { self.head };
        place.write(&text[line_start..line_end], head, &mut out);
        out
    }

    /// The text of the author for a range of the rewritten source: the same
    /// text, or the whole tag that was there.
    fn original_range(&self, range: Range<usize>) -> Range<usize> {
        for entry in &self.template.source_map {
            if entry.rewritten.contains(&range.start) {
                let tag = &self.template.source.text[entry.original.clone()];
                let piece = &self.template.rewritten[range.clone()];
                return match tag.find(piece).filter(|_| !piece.is_empty()) {
                    Some(at) => entry.original.start + at..entry.original.start + at + piece.len(),
                    None => entry.original.clone(),
                };
            }
        }
        let start = self.back(range.start);
        start..self.back(range.end).max(start)
    }

    /// The place in the text of the author for a place in the rewritten
    /// source; the end of a tag for a place inside its replacement.
    fn back(&self, at: usize) -> usize {
        let text = &self.template.source.text;
        let before = self.template.source_map.iter().rfind(|entry| entry.rewritten.start < at);
        let place =
            before.map_or(at, |entry| entry.original.end + at.saturating_sub(entry.rewritten.end));
        let place = place.min(text.len());
        // Zero is a boundary of any text.
        (0..=place).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
    }
}

/// The byte offset of a line and a column.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let start = match line {
        1 => 0,
        _ => text.match_indices('\n').nth(line - 2).map_or(text.len(), |(at, _)| at + 1),
    };
    skip(text, start, column)
}

/// The byte offset some characters later.
fn skip(text: &str, start: usize, count: usize) -> usize {
    text[start..].char_indices().nth(count).map_or(text.len(), |(at, _)| start + at)
}
