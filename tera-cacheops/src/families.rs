//! The templates that extend each other.

use std::collections::{BTreeMap, BTreeSet};

use cacheops::template::{Around, Sets};

use crate::author::Author;
use crate::library::Names;

/// The templates that a name may mean: that of just the name, or else all that
/// a prefix could make it. Tera does not tell its prefixes, so which of them
/// it takes is not known.
pub(crate) fn resolve<'a>(authors: &'a Names<Author>, name: &str) -> Vec<(&'a str, &'a Author)> {
    if let Some((name, author)) = authors.get_key_value(name) {
        return vec![(name, author)];
    }
    let ends = authors.iter().filter(|(other, _)| other.ends_with(name));
    ends.map(|(name, author)| (name.as_str(), author.as_ref())).collect()
}

/// What the templates of one inheritance have in common.
#[derive(Default)]
pub(crate) struct Family {
    pub(crate) has_block_tags: bool,
    pub(crate) block_sets: BTreeMap<String, Sets>,
    /// What the loops around any `super()` do with names.
    pub(crate) around_super: Around,
    /// Its templates.
    pub(crate) members: Vec<String>,
}

impl Family {
    /// Where a block is called by `super()` in a loop, what it sets is set in
    /// that loop.
    fn call_blocks_in_loops(&mut self) {
        if self.around_super.own.is_empty() {
            return;
        }
        for (name, how) in &self.block_sets {
            if how.local {
                self.around_super.own.insert(name.clone());
            }
            if how.global {
                self.around_super.global_behind.insert(name.clone());
            }
        }
    }
}

/// The families, each under the name of one of its templates. A template is of
/// one family with all that it may extend: so a page and the layout that Tera
/// takes for it are never in two.
pub(crate) struct Families<'a> {
    heads: BTreeMap<&'a str, &'a str>,
    by_head: BTreeMap<&'a str, Family>,
}

impl<'a> Families<'a> {
    pub(crate) fn of(authors: &'a Names<Author>) -> Self {
        let heads = heads(authors);
        let mut by_head: BTreeMap<&str, Family> = BTreeMap::new();
        for (name, author) in authors {
            let family = by_head.entry(heads[name.as_str()]).or_default();
            family.members.push(name.clone());
            family.has_block_tags |= author.has_block_tags;
            family.around_super.add(&author.shown.around_super);
            for (name, how) in &author.block_sets {
                family.block_sets.entry(name.clone()).or_default().add(*how);
            }
        }
        for family in by_head.values_mut() {
            family.call_blocks_in_loops();
        }
        Families { heads, by_head }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Family> {
        self.by_head.get(self.heads.get(name)?)
    }

    /// The families with tags around blocks that a template may be of, by
    /// their heads.
    pub(crate) fn with_block_tags(&self, authors: &'a Names<Author>, name: &str) -> BTreeSet<&str> {
        let heads = resolve(authors, name).into_iter().filter_map(|(name, _)| self.heads.get(name));
        heads.copied().filter(|head| self.by_head[head].has_block_tags).collect()
    }

    pub(crate) fn head(&self, name: &str) -> Option<&str> {
        self.heads.get(name).copied()
    }
}

/// The head of each template's family.
fn heads(authors: &Names<Author>) -> BTreeMap<&str, &str> {
    let mut heads: BTreeMap<&str, &str> =
        authors.keys().map(|name| (name.as_str(), name.as_str())).collect();
    for (name, author) in authors {
        let parents = author.extends.iter().flat_map(|parent| resolve(authors, parent));
        for (parent, _) in parents {
            let (one, other) = (head(&heads, name), head(&heads, parent));
            heads.insert(one, other);
        }
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
