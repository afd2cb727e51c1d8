//! What the rewriting of a template hangs on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cacheops::template::{Sets, Syntax, source_digest};
use cacheops::{FragmentKey, KeyWriter};

use crate::author::Author;
use crate::families::{Families, resolve};
use crate::library::Names;

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
}

/// What Tera is asked for while templates are looked at.
pub(crate) struct Asks<'a> {
    /// The templates that it has.
    pub(crate) templates: &'a [String],
    /// Those of them whose files are gone, and that it cannot forget.
    pub(crate) gone: &'a BTreeSet<String>,
    pub(crate) has_component: &'a dyn Fn(&str) -> bool,
}

/// What the rewriting of a template hangs on.
pub(crate) struct Plan<'a> {
    /// Stands for its source and for all that it uses.
    pub(crate) closure: FragmentKey,
    /// What tells a body with blocks which page is rendered.
    pub(crate) page: Option<String>,
    pub(crate) block_sets: &'a BTreeMap<String, Sets>,
}

pub(crate) static NO_SETS: BTreeMap<String, Sets> = BTreeMap::new();

impl<'a> Plan<'a> {
    pub(crate) fn of(
        name: &str,
        author: &Author,
        authors: &Names<Author>,
        families: &'a Families<'_>,
        asks: &Asks<'_>,
    ) -> Result<Self, Wrong> {
        let family = families.get(name).filter(|family| family.has_block_tags);
        if author.tags.is_empty() && family.is_none() {
            return Ok(Plan { closure: author.digest, page: None, block_sets: &NO_SETS });
        }
        let closure = closure(name, authors, asks)?;
        Ok(Plan {
            closure,
            page: family.map(|_| closure.to_string()),
            block_sets: family.map_or(&NO_SETS, |family| &family.block_sets),
        })
    }

    pub(crate) fn signature(&self, syntax: &Syntax, custom: &[String]) -> FragmentKey {
        let mut key = KeyWriter::new();
        key.key(&self.closure);
        // What is a tag, and what is only text.
        key.str(&format!("{syntax:?}"));
        key.list(custom.len());
        custom.iter().for_each(|name| key.str(name));
        key.bool(self.page.is_some());
        key.list(self.block_sets.len());
        for (name, how) in self.block_sets {
            key.str(name);
            key.bool(how.local);
            key.bool(how.global);
        }
        key.finish()
    }
}

/// Stands for a template and all that it uses: what it includes and extends,
/// and where its components are defined.
fn closure(name: &str, authors: &Names<Author>, asks: &Asks<'_>) -> Result<FragmentKey, Wrong> {
    let mut seen: BTreeMap<&str, &Author> = BTreeMap::new();
    let mut next = resolve(authors, name);
    while let Some((at, author)) = next.pop() {
        if seen.insert(at, author).is_some() {
            continue;
        }
        let foreign = |used: &str| foreign(name, authors, used);
        for reference in &author.references {
            if let Some(past) = foreign_template(reference, authors, asks) {
                return Err(foreign(past));
            }
            next.extend(resolve(authors, reference));
        }
        for component in &author.components {
            let defines =
                |(_, author): &(&String, &Arc<Author>)| author.defines.contains(component);
            let found: Vec<_> = authors.iter().filter(defines).collect();
            if found.is_empty() && (asks.has_component)(component) {
                return Err(foreign(component));
            }
            next.extend(found.into_iter().map(|(name, author)| (name.as_str(), author.as_ref())));
        }
    }
    let mut key = KeyWriter::new();
    // The same sources are other templates to another engine.
    key.str("tera");
    key.key(&authors.get(name).map_or_else(|| source_digest(name, ""), |author| author.digest));
    seen.values().for_each(|author| key.key(&author.digest));
    Ok(key.finish())
}

/// A template that did not come through the plugin, and that Tera may take for
/// a name: one of just that name goes before all that a prefix could make it.
fn foreign_template<'a>(name: &str, authors: &Names<Author>, asks: &Asks<'a>) -> Option<&'a str> {
    if authors.contains_key(name) {
        return None;
    }
    let known = |other: &str| authors.contains_key(other) || asks.gone.contains(other);
    asks.templates.iter().map(String::as_str).find(|other| other.ends_with(name) && !known(other))
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
