//! The templates that extend each other.

use std::collections::{BTreeMap, BTreeSet};

use crate::author::Author;
use crate::chains::Chains;
use crate::library::Names;

/// The families of templates with tags around blocks. A template is of one
/// family with all that it may extend: so a page and the layout that Tera
/// takes for it are never in two.
#[derive(Clone, Debug, Default)]
pub(crate) struct Families {
    /// The template after which its family is called, by each of the others.
    heads: BTreeMap<String, String>,
    /// The templates that extend, by others perhaps, what is not among them.
    pub(crate) loose: BTreeSet<String>,
}

impl Families {
    pub(crate) fn of(authors: &Names<Author>, chains: &Chains<'_>) -> Self {
        let heads = heads(authors, chains);
        let with_tags = authors.iter().filter(|(_, author)| author.has_block_tags);
        let wanted: BTreeSet<&str> = with_tags.map(|(name, _)| heads[name.as_str()]).collect();
        let heads = heads.into_iter().filter(|(_, head)| wanted.contains(head));
        Families {
            heads: heads.map(|(name, head)| (name.to_owned(), head.to_owned())).collect(),
            loose: chains.loose().into_iter().map(str::to_owned).collect(),
        }
    }

    /// Whether a template is rendered with a tag around blocks.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.heads.contains_key(name)
    }

    /// The families that a template may be of, by their heads: its own, or
    /// those of all that a prefix could make it.
    pub(crate) fn heads_of<T>(&self, all: &Names<T>, name: &str) -> BTreeSet<&str> {
        let heads = self.heads.iter();
        let is_meant = |other: &str| {
            if all.contains_key(name) { other == name } else { other.ends_with(name) }
        };
        heads.filter(|(other, _)| is_meant(other)).map(|(_, head)| head.as_str()).collect()
    }

    pub(crate) fn head(&self, name: &str) -> Option<&str> {
        self.heads.get(name).map(String::as_str)
    }
}

/// The head of each template's family.
fn heads<'a>(authors: &'a Names<Author>, chains: &Chains<'a>) -> BTreeMap<&'a str, &'a str> {
    let mut heads: BTreeMap<&str, &str> =
        authors.keys().map(|name| (name.as_str(), name.as_str())).collect();
    for (name, parent) in chains.parents() {
        let (one, other) = (head(&heads, name), head(&heads, parent));
        heads.insert(one, other);
    }
    authors.keys().map(|name| (name.as_str(), head(&heads, name))).collect()
}

/// Follows the heads to the last one, which is its own.
fn head<'a>(heads: &BTreeMap<&'a str, &'a str>, name: &'a str) -> &'a str {
    let mut at = name;
    while let Some(next) = heads.get(at).filter(|next| **next != at) {
        at = next;
    }
    at
}
