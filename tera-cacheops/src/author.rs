//! Templates as their authors wrote them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cacheops::FragmentKey;
use cacheops::template::{Rewritten, Sets, Syntax, rewrite, source_digest};

use crate::dialect;
use crate::plan::Wrong;

/// A template as the author wrote it.
#[derive(Debug)]
pub(crate) struct Author {
    pub(crate) text: Arc<str>,
    pub(crate) digest: FragmentKey,
    pub(crate) extends: Option<String>,
    /// The templates that it includes or extends.
    pub(crate) references: Vec<String>,
    /// The components that it may use.
    pub(crate) components: Vec<String>,
    /// The components that it defines.
    pub(crate) defines: Vec<String>,
    /// What its blocks set.
    pub(crate) block_sets: BTreeMap<String, Sets>,
    pub(crate) has_tags: bool,
    /// Whether a body of its tags holds blocks.
    pub(crate) has_block_tags: bool,
}

impl Author {
    pub(crate) fn read(
        name: &str,
        text: &str,
        syntax: &Syntax,
        custom: &[String],
    ) -> Result<Self, Wrong> {
        let none = BTreeMap::new();
        let reader = dialect::Tera::reader(syntax, &none);
        let found = rewrite(text, syntax, custom, &reader)
            .map_err(|error| Wrong::Tag(name.to_owned(), error))?;
        let mut author = Author::of(name, text, &found);
        for (statement, name) in reader.escaped.take() {
            if statement == "extends" {
                author.extends = Some(name.clone());
            }
            author.references.push(name);
        }
        Ok(author)
    }

    fn of(name: &str, text: &str, found: &Rewritten<'_>) -> Self {
        let owned = |names: &BTreeSet<&str>| names.iter().map(|name| (*name).to_owned()).collect();
        Author {
            text: text.into(),
            digest: source_digest(name, text),
            extends: found.extends.map(str::to_owned),
            references: owned(&found.references),
            components: found.components.iter().cloned().collect(),
            defines: found.defines.iter().cloned().collect(),
            block_sets: found.block_sets.iter().map(|(n, s)| ((*n).to_owned(), *s)).collect(),
            has_tags: !found.tags.is_empty(),
            has_block_tags: found.tags.iter().any(|tag| tag.has_blocks),
        }
    }
}
