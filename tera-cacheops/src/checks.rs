//! What no rewriting can do right is refused: things that hang on more than
//! one template.

use std::collections::{BTreeMap, BTreeSet};

use crate::author::{Author, TagFacts};
use crate::families::{Families, Family, resolve};
use crate::library::Names;
use crate::plan::Wrong;

/// The templates to be looked at.
pub(crate) struct Checks<'a> {
    authors: &'a Names<Author>,
    families: &'a Families<'a>,
    /// The templates that components include: what these call `body` is what
    /// the component was handed.
    in_components: BTreeSet<&'a str>,
    /// Whether any shows `body`, or all variables.
    is_any_shown: bool,
}

impl<'a> Checks<'a> {
    pub(crate) fn of(authors: &'a Names<Author>, families: &'a Families<'a>) -> Self {
        let mut checks = Checks {
            authors,
            families,
            in_components: BTreeSet::new(),
            is_any_shown: authors.values().any(|author| author.shown.body || author.shown.context),
        };
        if checks.is_any_shown {
            let included = authors.values().flat_map(|author| {
                let includes = &author.shown.component_includes;
                // Names with escapes are not told apart by where they stand.
                let escaped = author.escaped.iter().filter(|_| !author.defines.is_empty());
                checks.reached(includes.iter().chain(escaped)).into_keys()
            });
            checks.in_components = included.collect();
        }
        checks
    }

    /// Looks at all tags.
    pub(crate) fn all(&self) -> Result<(), Wrong> {
        for (name, author) in self.authors {
            let family = self.families.get(name);
            for tag in &author.tags {
                let fault = scope_fault(tag, family)
                    .or_else(|| self.body_fault(name, author, tag))
                    .or_else(|| self.context_fault(author, tag, family));
                if let Some(why) = fault {
                    return Err(Wrong {
                        template: name.clone(),
                        line: tag.line,
                        detail: format!("`{}`: {why}", tag.text),
                    });
                }
            }
        }
        Ok(())
    }

    /// The templates that are included by names, and by these in turn.
    fn reached<'n>(
        &self,
        names: impl Iterator<Item = &'n String>,
    ) -> BTreeMap<&'a str, &'a Author> {
        let mut reached = BTreeMap::new();
        let mut next: Vec<(&str, &Author)> =
            names.flat_map(|name| resolve(self.authors, name)).collect();
        while let Some((name, author)) = next.pop() {
            if reached.insert(name, author).is_none() {
                let names = author.references.iter();
                next.extend(names.flat_map(|name| resolve(self.authors, name)));
            }
        }
        reached
    }

    /// `body` is what a component is handed, and the key knows nothing of it
    /// unless the tag says so.
    fn body_fault(&self, name: &str, author: &Author, tag: &TagFacts) -> Option<String> {
        let is_handed = self.in_components.contains(name);
        if !self.is_any_shown || tag.names_body || !(tag.in_component || is_handed) {
            return None;
        }
        const MEND: &str = "every caller would get the body of the first; add `extra=body`, or put the tag around the use of the component instead";
        if is_handed && tag.shows_body {
            return Some(format!(
                "the component that includes this template hands it `body`, so {MEND}"
            ));
        }
        let reached = self.reached(tag.includes.iter().chain(&author.escaped));
        let (shows, _) = reached.into_iter().find(|(_, author)| author.shown.body)?;
        Some(format!(
            "it includes `{shows}`, which shows the `body` of the component around it: {MEND}"
        ))
    }

    /// `__tera_context` is a map of all variables.
    fn context_fault(
        &self,
        author: &Author,
        tag: &TagFacts,
        family: Option<&Family>,
    ) -> Option<String> {
        if !self.is_any_shown {
            return None;
        }
        const WHY: &str = "shows `__tera_context`: that holds all variables, and no key can; show it outside of the tag";
        let reached = self.reached(tag.includes.iter().chain(&author.escaped));
        if let Some((shows, _)) = reached.into_iter().find(|(_, author)| author.shown.context) {
            return Some(format!("it includes `{shows}`, which {WHY}"));
        }
        let members = family.filter(|_| tag.has_blocks).into_iter().flat_map(|f| &f.members);
        let shows =
            members.filter_map(|name| self.authors.get_key_value(name)).find(|(_, member)| {
                let included =
                    self.reached(member.shown.block_includes.iter().chain(&member.escaped));
                member.shown.context_in_block
                    || included.values().any(|author| author.shown.context)
            });
        shows.map(|(name, _)| format!("a block inside it in `{name}` {WHY}"))
    }
}

/// A loop is a scope: what is to be put back in it must not hide, or be hidden
/// by, what is outside.
fn scope_fault(tag: &TagFacts, family: Option<&Family>) -> Option<String> {
    let mut around = tag.around.clone();
    let mut sets = tag.sets.clone();
    if let Some(family) = family {
        if tag.in_block {
            around.add(&family.around_super);
        }
        let of_blocks = family.block_sets.iter().filter(|_| tag.has_blocks);
        of_blocks.for_each(|(name, how)| sets.entry(name.clone()).or_default().add(*how));
    }
    const MEND: &str = "call one of them by another name";
    sets.into_iter().find_map(|(name, how)| {
        if how.global && around.own.contains(&name) {
            return Some(format!(
                "its body sets `{name}` by `set_global`, and a loop around it has an `{name}` of its own: what `{name}` was outside of the loop could not be put back; {MEND}"
            ));
        }
        (how.local && around.global_behind.contains(&name)).then(|| {
            format!(
                "its body sets `{name}`, and behind it in the same loop `{name}` is set by `set_global`, which what is put back here would hide; {MEND}"
            )
        })
    })
}
