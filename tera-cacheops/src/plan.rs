//! What the rewriting of a template hangs on.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use cacheops::template::{EnvironmentId, Syntax, source_digest};
use cacheops::{FragmentKey, KeyWriter};
use tera::Tera;

use crate::author::{Author, Language, TagFacts};
use crate::chains::resolve;
use crate::choices::Choices;
use crate::engine::ENGINE;
use crate::library::{Loaded, Names};
use crate::scope::{Assignments, Scope};

/// What goes wrong with a template, and in which one.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) template: String,
    pub(crate) line: usize,
    pub(crate) detail: String,
}

impl Wrong {
    /// A tag that is wrong by itself.
    pub(crate) fn tag(template: &str, error: &cacheops::Error) -> Self {
        Wrong {
            template: template.to_owned(),
            line: error.line().unwrap_or(1),
            detail: error.detail().to_owned(),
        }
    }

    /// A tag that cannot be done right where it stands.
    pub(crate) fn check(template: &str, tag: &TagFacts, why: &str) -> Self {
        Wrong {
            template: template.to_owned(),
            line: tag.line,
            detail: format!("`{}`: {why}", tag.text),
        }
    }
}

/// The Tera that is asked while templates are looked at.
pub(crate) struct Asks<'a> {
    pub(crate) tera: &'a Tera,
    /// The templates whose files are gone, and that it cannot forget.
    pub(crate) gone: &'a Names<Loaded>,
    /// The templates that it holds so far.
    pub(crate) before: &'a Names<Loaded>,
    /// The installation that it is of.
    pub(crate) environment: &'a EnvironmentId,
    pub(crate) syntax: &'a Syntax,
    /// Which of several templates it takes, once that is asked.
    pub(crate) choices: OnceCell<Choices>,
}

impl Asks<'_> {
    fn choices(&self, authors: &Names<Author>) -> &Choices {
        self.choices.get_or_init(|| Choices::of(self.tera, authors, self.syntax))
    }
}

/// What the rewriting of a template hangs on.
pub(crate) struct Plan<'a> {
    /// Stands for its source and for all that it uses.
    pub(crate) closure: FragmentKey,
    /// What tells a body with blocks which page is rendered.
    pub(crate) page: Option<String>,
    /// What its tags put back, by their numbers.
    pub(crate) assignments: &'a [Assignments<'a>],
}

impl<'a> Plan<'a> {
    /// `has_page` is whether it is rendered with a tag around blocks.
    pub(crate) fn of(
        name: &str,
        author: &Author,
        authors: &Names<Author>,
        has_page: bool,
        scope: &'a Scope<'a>,
        asks: &Asks<'_>,
    ) -> Result<Self, Wrong> {
        let assignments = &scope.assignments[..];
        if author.tags.is_empty() && !has_page {
            return Ok(Plan { closure: author.digest, page: None, assignments });
        }
        let closure = closure(name, authors, asks)?;
        Ok(Plan { closure, page: has_page.then(|| closure.to_string()), assignments })
    }

    pub(crate) fn signature(&self, language: &Language<'_>) -> FragmentKey {
        let mut key = KeyWriter::new();
        key.key(&self.closure);
        // What is a tag, and what is only text.
        key.str(&format!("{:?}", language.syntax));
        key.list(language.custom.len());
        language.custom.iter().for_each(|name| key.str(name));
        key.bool(self.page.is_some());
        key.list(self.assignments.len());
        for assignments in self.assignments {
            key.list(assignments.len());
            for (name, how) in assignments {
                key.str(name);
                key.bool(how.local);
                key.bool(how.global);
            }
        }
        key.finish()
    }
}

/// Stands for a template and all that it uses: what it includes and extends,
/// and where its components are defined.
fn closure(name: &str, authors: &Names<Author>, asks: &Asks<'_>) -> Result<FragmentKey, Wrong> {
    let mut seen: BTreeMap<&str, &Author> = BTreeMap::new();
    let mut next = resolve(authors, name);
    // Where Tera has a choice, which it makes by prefixes that clones may have
    // others of. Where it has none for a name, it will refuse the template.
    let mut chosen: BTreeMap<(&str, bool), Option<&str>> = BTreeMap::new();
    while let Some((at, author)) = next.pop() {
        if seen.insert(at, author).is_some() {
            continue;
        }
        let foreign = |used: &str| foreign(name, authors, used);
        for reference in &author.references {
            if let Some(past) = foreign_template(reference, authors, asks) {
                return Err(foreign(past));
            }
            let found = resolve(authors, reference);
            if found.len() > 1 {
                chosen.insert((reference, false), asks.choices(authors).template(reference));
            }
            next.extend(found);
        }
        for component in &author.components {
            let defines =
                |(_, author): &(&String, &Arc<Author>)| author.defines.contains(component);
            let found: Vec<_> = authors.iter().filter(defines).collect();
            // One that a template defined until now is Tera's to miss.
            let was_own = |loaded: &Arc<Loaded>| loaded.author.defines.contains(component);
            let is_foreign =
                || asks.tera.contains_component(component) && !asks.before.values().any(was_own);
            if found.is_empty() && is_foreign() {
                return Err(foreign(component));
            }
            if found.len() > 1 {
                chosen.insert((component, true), asks.choices(authors).definer(component));
            }
            next.extend(found.into_iter().map(|(name, author)| (name.as_str(), author.as_ref())));
        }
    }
    let mut key = KeyWriter::new();
    asks.environment.write_key(ENGINE, &mut key);
    key.key(&authors.get(name).map_or_else(|| source_digest(name, ""), |author| author.digest));
    seen.values().for_each(|author| key.key(&author.digest));
    for ((name, is_component), taken) in chosen {
        key.bool(is_component);
        key.str(name);
        key.str(taken.unwrap_or_default());
    }
    Ok(key.finish())
}

/// A template that did not come through the plugin, and that Tera may take for
/// a name: one of just that name goes before all that a prefix could make it.
fn foreign_template<'a>(name: &str, authors: &Names<Author>, asks: &Asks<'a>) -> Option<&'a str> {
    if authors.contains_key(name) {
        return None;
    }
    let known = |other: &str| authors.contains_key(other) || asks.gone.contains_key(other);
    asks.tera.get_template_names().find(|other| other.ends_with(name) && !known(other))
}

/// A template or component that did not come through the plugin, and that one
/// with tags uses.
fn foreign(name: &str, authors: &Names<Author>, used: &str) -> Wrong {
    let tag = authors.get(name).and_then(|author| author.tags.first());
    let text = tag.map_or_else(|| name.to_owned(), |tag| tag.text.clone());
    Wrong {
        template: name.to_owned(),
        line: tag.map_or(1, |tag| tag.line),
        detail: format!(
            "`{text}`: this template uses `{used}`, which was not loaded through `Tags`, so what it holds would not be part of the key: add it by `Tags::add_template` or its kin"
        ),
    }
}
