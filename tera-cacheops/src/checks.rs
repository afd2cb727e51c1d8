//! Checks that refuse what no rewriting can make exact, as far as it depends on
//! more than one template.

use std::collections::{BTreeMap, BTreeSet};

use crate::inheritance::{follow, resolve};
use crate::load_error::LoadError;
use crate::restore::RestorePlan;
use crate::source::{ByName, Source, TagFacts};

/// The templates to check.
pub(crate) struct Checks<'a> {
    sources: &'a ByName<Source>,
    /// The templates that components include. What these call `body` is what
    /// the component received.
    in_components: BTreeSet<&'a str>,
    /// The templates that show `body`, themselves or through an include.
    show_body: BTreeSet<&'a str>,
    /// The same for all variables.
    show_context: BTreeSet<&'a str>,
    /// The templates whose blocks do so.
    show_context_in_blocks: BTreeSet<&'a str>,
}

impl<'a> Checks<'a> {
    pub(crate) fn of(sources: &'a ByName<Source>) -> Self {
        let mut checks = Checks {
            sources,
            in_components: BTreeSet::new(),
            show_body: showing(sources, |source| source.exposure.body),
            show_context: showing(sources, |source| source.exposure.context),
            show_context_in_blocks: BTreeSet::new(),
        };
        if !checks.show_body.is_empty() {
            let included = sources.values().flat_map(|source| {
                let includes = &source.exposure.component_includes;
                // Names with escapes are not told apart by where they stand.
                let escaped = source.escaped.iter().filter(|_| !source.defines.is_empty());
                includes.iter().chain(escaped)
            });
            checks.in_components = reached(sources, included).into_keys().collect();
        }
        if !checks.show_context.is_empty() {
            let in_blocks = sources.iter().filter(|(_, source)| checks.is_context_in_block(source));
            checks.show_context_in_blocks = in_blocks.map(|(name, _)| name.as_str()).collect();
        }
        checks
    }

    fn is_context_in_block(&self, source: &Source) -> bool {
        let includes = source.exposure.block_includes.iter().chain(&source.escaped);
        source.exposure.context_in_block || self.is_any_in(includes, &self.show_context)
    }

    /// Checks the tags of a template.
    pub(crate) fn of_template(
        &self,
        name: &str,
        source: &Source,
        restore_plan: &RestorePlan<'_>,
    ) -> Result<(), LoadError> {
        if let Some((tag, why)) = restore_plan.fault(source) {
            return Err(tag.error(name, &why));
        }
        self.bodies_of(name, source)?;
        for tag in &source.tags {
            if let Some(why) = self.context_fault(source, tag, restore_plan) {
                return Err(tag.error(name, &why));
            }
        }
        Ok(())
    }

    /// Checks what the tags of all templates see of the `body` of components.
    pub(crate) fn bodies(&self) -> Result<(), LoadError> {
        self.sources.iter().try_for_each(|(name, source)| self.bodies_of(name, source))
    }

    fn bodies_of(&self, name: &str, source: &Source) -> Result<(), LoadError> {
        let mut faults = source
            .tags
            .iter()
            .filter_map(|tag| self.body_fault(name, source, tag).map(|why| tag.error(name, &why)));
        faults.next().map_or(Ok(()), Err)
    }

    /// `body` is what a component receives. The key does not cover it unless
    /// the tag names it.
    fn body_fault(&self, name: &str, source: &Source, tag: &TagFacts) -> Option<String> {
        let is_handed = self.in_components.contains(name);
        if self.show_body.is_empty() || tag.names_body || !(tag.in_component || is_handed) {
            return None;
        }
        const MEND: &str = "every caller would get the body of the first; add `extra=body`, or put the tag around the use of the component instead";
        if is_handed && tag.shows_body {
            return Some(format!(
                "the component that includes this template passes `body` to it, so {MEND}"
            ));
        }
        let is_shown = |source: &Source| source.exposure.body;
        let shows = self.included(source, tag, &self.show_body, is_shown)?;
        Some(format!(
            "it includes `{shows}`, which shows the `body` of the component around it: {MEND}"
        ))
    }

    /// `__tera_context` is a map of all variables.
    fn context_fault(
        &self,
        source: &Source,
        tag: &TagFacts,
        restore_plan: &RestorePlan<'_>,
    ) -> Option<String> {
        if self.show_context.is_empty() {
            return None;
        }
        const WHY: &str = "shows `__tera_context`: that holds all variables, and no key can; show it outside of the tag";
        let is_shown = |source: &Source| source.exposure.context;
        if let Some(shows) = self.included(source, tag, &self.show_context, is_shown) {
            return Some(format!("it includes `{shows}`, which {WHY}"));
        }
        let mut members = restore_plan.members(tag).map(|(name, _)| name);
        let shows = members.find(|name| self.show_context_in_blocks.contains(name));
        shows.map(|name| format!("a block inside it in `{name}` {WHY}"))
    }

    /// The template that a tag includes and that shows something; `showing`
    /// are all that do, also through their includes.
    fn included(
        &self,
        source: &Source,
        tag: &TagFacts,
        showing: &BTreeSet<&str>,
        is_shown: impl Fn(&Source) -> bool,
    ) -> Option<&'a str> {
        let includes = || tag.includes.iter().chain(&source.escaped);
        if !self.is_any_in(includes(), showing) {
            return None;
        }
        let reached = reached(self.sources, includes());
        reached.into_iter().find(|(_, source)| is_shown(source)).map(|(name, _)| name)
    }

    fn is_any_in<'n>(
        &self,
        mut names: impl Iterator<Item = &'n String>,
        set: &BTreeSet<&str>,
    ) -> bool {
        let is_in = |name| resolve(self.sources, name).iter().any(|(name, _)| set.contains(name));
        names.any(|name| is_in(name))
    }
}

/// The templates that are included by names, and those that these include.
fn reached<'a, 'n>(
    sources: &'a ByName<Source>,
    names: impl Iterator<Item = &'n String>,
) -> BTreeMap<&'a str, &'a Source> {
    let mut reached = BTreeMap::new();
    let mut next: Vec<(&str, &Source)> = names.flat_map(|name| resolve(sources, name)).collect();
    while let Some((name, source)) = next.pop() {
        if reached.insert(name, source).is_none() {
            let names = source.references.iter();
            next.extend(names.flat_map(|name| resolve(sources, name)));
        }
    }
    reached
}

/// The templates that show something, and those that use one of these.
fn showing(sources: &ByName<Source>, is_shown: impl Fn(&Source) -> bool) -> BTreeSet<&str> {
    let exposure = sources.iter().filter(|(_, source)| is_shown(source));
    let next: Vec<&str> = exposure.map(|(name, _)| name.as_str()).collect();
    if next.is_empty() {
        return BTreeSet::new();
    }
    let mut users: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, source) in sources {
        for (used, _) in source.references.iter().flat_map(|used| resolve(sources, used)) {
            users.entry(used).or_default().push(name);
        }
    }
    follow(&users, next)
}
