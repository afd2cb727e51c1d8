//! The templates that extend each other.

use std::collections::{BTreeMap, BTreeSet};

use crate::inheritance::Inheritance;
use crate::source::{ByName, Source};

/// The groups of templates with tags around blocks. A template is in one group
/// with all templates that it may extend. So a page and the layout that Tera uses
/// for it are never in different groups.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    /// The template that gives its group the name, by each other template of
    /// the group.
    representatives: BTreeMap<String, String>,
    /// The templates that extend a template that is not among them, directly
    /// or through others.
    pub(crate) incomplete: BTreeSet<String>,
}

impl Groups {
    pub(crate) fn of(sources: &ByName<Source>, inheritance: &Inheritance<'_>) -> Self {
        let representatives = representatives(sources, inheritance);
        let with_tags = sources.iter().filter(|(_, source)| source.has_block_tags);
        let wanted: BTreeSet<&str> =
            with_tags.map(|(name, _)| representatives[name.as_str()]).collect();
        let representatives = representatives
            .into_iter()
            .filter(|(_, representative)| wanted.contains(representative));
        Groups {
            representatives: representatives
                .map(|(name, representative)| (name.to_owned(), representative.to_owned()))
                .collect(),
            incomplete: inheritance.incomplete().into_iter().map(str::to_owned).collect(),
        }
    }

    /// Whether a template is rendered with a tag around blocks.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.representatives.contains_key(name)
    }

    /// The groups that a template may be in, by their heads: its own, or
    /// those of all templates that a prefix could make it.
    pub(crate) fn representatives_of<T>(&self, all: &ByName<T>, name: &str) -> BTreeSet<&str> {
        let representatives = self.representatives.iter();
        let is_meant = |other: &str| {
            if all.contains_key(name) { other == name } else { other.ends_with(name) }
        };
        representatives
            .filter(|(other, _)| is_meant(other))
            .map(|(_, representative)| representative.as_str())
            .collect()
    }

    pub(crate) fn representative(&self, name: &str) -> Option<&str> {
        self.representatives.get(name).map(String::as_str)
    }
}

/// The head of the group of each template.
fn representatives<'a>(
    sources: &'a ByName<Source>,
    inheritance: &Inheritance<'a>,
) -> BTreeMap<&'a str, &'a str> {
    let mut representatives: BTreeMap<&str, &str> =
        sources.keys().map(|name| (name.as_str(), name.as_str())).collect();
    for (name, parent) in inheritance.parents() {
        let (one, other) =
            (representative(&representatives, name), representative(&representatives, parent));
        representatives.insert(one, other);
    }
    sources.keys().map(|name| (name.as_str(), representative(&representatives, name))).collect()
}

/// Follows the heads to the last one, which is its own head.
fn representative<'a>(representatives: &BTreeMap<&'a str, &'a str>, name: &'a str) -> &'a str {
    let mut at = name;
    while let Some(next) = representatives.get(at).filter(|next| **next != at) {
        at = next;
    }
    at
}
