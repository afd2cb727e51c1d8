//! What no rewriting can do right is refused: things that hang on more than
//! one template.

use std::collections::{BTreeMap, BTreeSet};

use crate::author::{Author, TagFacts};
use crate::chains::{follow, resolve};
use crate::library::Names;
use crate::plan::Wrong;
use crate::scope::Scope;

/// The templates to be looked at.
pub(crate) struct Checks<'a> {
    authors: &'a Names<Author>,
    /// The templates that components include: what these call `body` is what
    /// the component was handed.
    in_components: BTreeSet<&'a str>,
    /// Those that show `body`, by themselves or by what they include.
    show_body: BTreeSet<&'a str>,
    /// The same for all variables.
    show_context: BTreeSet<&'a str>,
    /// Those whose blocks do.
    show_context_in_blocks: BTreeSet<&'a str>,
}

impl<'a> Checks<'a> {
    pub(crate) fn of(authors: &'a Names<Author>) -> Self {
        let mut checks = Checks {
            authors,
            in_components: BTreeSet::new(),
            show_body: showing(authors, |author| author.exposure.body),
            show_context: showing(authors, |author| author.exposure.context),
            show_context_in_blocks: BTreeSet::new(),
        };
        if !checks.show_body.is_empty() {
            let included = authors.values().flat_map(|author| {
                let includes = &author.exposure.component_includes;
                // Names with escapes are not told apart by where they stand.
                let escaped = author.escaped.iter().filter(|_| !author.defines.is_empty());
                includes.iter().chain(escaped)
            });
            checks.in_components = reached(authors, included).into_keys().collect();
        }
        if !checks.show_context.is_empty() {
            let in_blocks = authors.iter().filter(|(_, author)| checks.is_context_in_block(author));
            checks.show_context_in_blocks = in_blocks.map(|(name, _)| name.as_str()).collect();
        }
        checks
    }

    fn is_context_in_block(&self, author: &Author) -> bool {
        let includes = author.exposure.block_includes.iter().chain(&author.escaped);
        author.exposure.context_in_block || self.is_any_in(includes, &self.show_context)
    }

    /// Looks at the tags of a template.
    pub(crate) fn of_template(
        &self,
        name: &str,
        author: &Author,
        scope: &Scope<'_>,
    ) -> Result<(), Wrong> {
        if let Some((tag, why)) = scope.fault(author) {
            return Err(Wrong::check(name, tag, &why));
        }
        self.bodies_of(name, author)?;
        for tag in &author.tags {
            if let Some(why) = self.context_fault(author, tag, scope) {
                return Err(Wrong::check(name, tag, &why));
            }
        }
        Ok(())
    }

    /// Looks at what the tags of all templates see of the `body` of components.
    pub(crate) fn bodies(&self) -> Result<(), Wrong> {
        self.authors.iter().try_for_each(|(name, author)| self.bodies_of(name, author))
    }

    fn bodies_of(&self, name: &str, author: &Author) -> Result<(), Wrong> {
        let mut faults = author.tags.iter().filter_map(|tag| {
            self.body_fault(name, author, tag).map(|why| Wrong::check(name, tag, &why))
        });
        faults.next().map_or(Ok(()), Err)
    }

    /// `body` is what a component is handed, and the key knows nothing of it
    /// unless the tag says so.
    fn body_fault(&self, name: &str, author: &Author, tag: &TagFacts) -> Option<String> {
        let is_handed = self.in_components.contains(name);
        if self.show_body.is_empty() || tag.names_body || !(tag.in_component || is_handed) {
            return None;
        }
        const MEND: &str = "every caller would get the body of the first; add `extra=body`, or put the tag around the use of the component instead";
        if is_handed && tag.shows_body {
            return Some(format!(
                "the component that includes this template hands it `body`, so {MEND}"
            ));
        }
        let is_shown = |author: &Author| author.exposure.body;
        let shows = self.included(author, tag, &self.show_body, is_shown)?;
        Some(format!(
            "it includes `{shows}`, which shows the `body` of the component around it: {MEND}"
        ))
    }

    /// `__tera_context` is a map of all variables.
    fn context_fault(&self, author: &Author, tag: &TagFacts, scope: &Scope<'_>) -> Option<String> {
        if self.show_context.is_empty() {
            return None;
        }
        const WHY: &str = "shows `__tera_context`: that holds all variables, and no key can; show it outside of the tag";
        let is_shown = |author: &Author| author.exposure.context;
        if let Some(shows) = self.included(author, tag, &self.show_context, is_shown) {
            return Some(format!("it includes `{shows}`, which {WHY}"));
        }
        let mut members = scope.members(tag).map(|(name, _)| name);
        let shows = members.find(|name| self.show_context_in_blocks.contains(name));
        shows.map(|name| format!("a block inside it in `{name}` {WHY}"))
    }

    /// The template included by a tag that shows something; `showing` are all
    /// that do, by what they include too.
    fn included(
        &self,
        author: &Author,
        tag: &TagFacts,
        showing: &BTreeSet<&str>,
        is_shown: impl Fn(&Author) -> bool,
    ) -> Option<&'a str> {
        let includes = || tag.includes.iter().chain(&author.escaped);
        if !self.is_any_in(includes(), showing) {
            return None;
        }
        let reached = reached(self.authors, includes());
        reached.into_iter().find(|(_, author)| is_shown(author)).map(|(name, _)| name)
    }

    fn is_any_in<'n>(
        &self,
        mut names: impl Iterator<Item = &'n String>,
        set: &BTreeSet<&str>,
    ) -> bool {
        let is_in = |name| resolve(self.authors, name).iter().any(|(name, _)| set.contains(name));
        names.any(|name| is_in(name))
    }
}

/// The templates that are included by names, and by these in turn.
fn reached<'a, 'n>(
    authors: &'a Names<Author>,
    names: impl Iterator<Item = &'n String>,
) -> BTreeMap<&'a str, &'a Author> {
    let mut reached = BTreeMap::new();
    let mut next: Vec<(&str, &Author)> = names.flat_map(|name| resolve(authors, name)).collect();
    while let Some((name, author)) = next.pop() {
        if reached.insert(name, author).is_none() {
            let names = author.references.iter();
            next.extend(names.flat_map(|name| resolve(authors, name)));
        }
    }
    reached
}

/// The templates that show something, and those that use one of these.
fn showing(authors: &Names<Author>, is_shown: impl Fn(&Author) -> bool) -> BTreeSet<&str> {
    let exposure = authors.iter().filter(|(_, author)| is_shown(author));
    let next: Vec<&str> = exposure.map(|(name, _)| name.as_str()).collect();
    if next.is_empty() {
        return BTreeSet::new();
    }
    let mut users: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, author) in authors {
        for (used, _) in author.references.iter().flat_map(|used| resolve(authors, used)) {
            users.entry(used).or_default().push(name);
        }
    }
    follow(&users, next)
}
