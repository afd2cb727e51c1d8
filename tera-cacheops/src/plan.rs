//! What the rewriting of a template depends on.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use cacheops::template::{Assignments, EnvironmentId, Syntax, source_digest};
use cacheops::{FragmentKey, KeyWriter};
use tera::Tera;

use crate::inheritance::resolve;
use crate::load_error::LoadError;
use crate::loaded::LoadedTemplate;
use crate::name_resolver::NameResolver;
use crate::names::ENGINE;
use crate::restore::RestorePlan;
use crate::source::{ByName, Language, Source};

/// The Tera whose templates are checked.
pub(crate) struct LoadContext<'a> {
    pub(crate) tera: &'a Tera,
    /// The templates whose files are gone, and that it cannot forget.
    pub(crate) removed: &'a ByName<LoadedTemplate>,
    /// The templates that it has so far.
    pub(crate) before: &'a ByName<LoadedTemplate>,
    /// The installation that it belongs to.
    pub(crate) environment: &'a EnvironmentId,
    pub(crate) syntax: &'a Syntax,
    /// Which of several templates it uses, once this is needed.
    pub(crate) resolver: OnceCell<NameResolver>,
}

impl LoadContext<'_> {
    fn resolver(&self, sources: &ByName<Source>) -> &NameResolver {
        self.resolver.get_or_init(|| NameResolver::of(self.tera, sources, self.syntax))
    }
}

/// What the rewriting of a template depends on.
pub(crate) struct RewritePlan<'a> {
    /// Represents its source and everything that it uses.
    pub(crate) closure: FragmentKey,
    /// What tells a body with blocks which page is rendered.
    pub(crate) page: Option<String>,
    /// What its tags restore, by their numbers.
    pub(crate) assignments: &'a [Assignments<'a>],
}

impl<'a> RewritePlan<'a> {
    /// `has_page` tells whether it is rendered with a tag around blocks.
    pub(crate) fn of(
        name: &str,
        source: &Source,
        sources: &ByName<Source>,
        has_page: bool,
        restore_plan: &'a RestorePlan<'a>,
        context: &LoadContext<'_>,
    ) -> Result<Self, LoadError> {
        let assignments = &restore_plan.assignments[..];
        if source.tags.is_empty() && !has_page {
            return Ok(RewritePlan { closure: source.digest, page: None, assignments });
        }
        let closure = closure(name, sources, context)?;
        Ok(RewritePlan { closure, page: has_page.then(|| closure.to_string()), assignments })
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

/// Represents a template and everything that it uses: what it includes and
/// extends, and where its components are defined.
fn closure(
    name: &str,
    sources: &ByName<Source>,
    context: &LoadContext<'_>,
) -> Result<FragmentKey, LoadError> {
    let mut seen: BTreeMap<&str, &Source> = BTreeMap::new();
    let mut next = resolve(sources, name);
    // Where Tera has a choice, which it makes by prefixes that clones may have
    // others of. Where it has none for a name, it will refuse the template.
    let mut chosen: BTreeMap<(&str, bool), Option<&str>> = BTreeMap::new();
    while let Some((at, source)) = next.pop() {
        if seen.insert(at, source).is_some() {
            continue;
        }
        let foreign = |used: &str| foreign(name, sources, used);
        for reference in &source.references {
            if let Some(past) = foreign_template(reference, sources, context) {
                return Err(foreign(past));
            }
            let found = resolve(sources, reference);
            if found.len() > 1 {
                chosen.insert((reference, false), context.resolver(sources).template(reference));
            }
            next.extend(found);
        }
        for component in &source.components {
            let defines =
                |(_, source): &(&String, &Arc<Source>)| source.defines.contains(component);
            let found: Vec<_> = sources.iter().filter(defines).collect();
            // One that a template defined until now is Tera's to miss.
            let was_own = |loaded: &Arc<LoadedTemplate>| loaded.source.defines.contains(component);
            let is_foreign = || {
                context.tera.contains_component(component) && !context.before.values().any(was_own)
            };
            if found.is_empty() && is_foreign() {
                return Err(foreign(component));
            }
            if found.len() > 1 {
                chosen.insert((component, true), context.resolver(sources).definer(component));
            }
            next.extend(found.into_iter().map(|(name, source)| (name.as_str(), source.as_ref())));
        }
    }
    let mut key = KeyWriter::new();
    context.environment.write_key(ENGINE, &mut key);
    key.key(&sources.get(name).map_or_else(|| source_digest(name, ""), |source| source.digest));
    seen.values().for_each(|source| key.key(&source.digest));
    for ((name, is_component), taken) in chosen {
        key.bool(is_component);
        key.str(name);
        key.str(taken.unwrap_or_default());
    }
    Ok(key.finish())
}

/// A template that was not loaded through the plugin, and that Tera may use for a
/// name. A template with exactly this name precedes all that a prefix could make
/// it.
fn foreign_template<'a>(
    name: &str,
    sources: &ByName<Source>,
    context: &LoadContext<'a>,
) -> Option<&'a str> {
    if sources.contains_key(name) {
        return None;
    }
    let known = |other: &str| sources.contains_key(other) || context.removed.contains_key(other);
    context.tera.get_template_names().find(|other| other.ends_with(name) && !known(other))
}

/// A template or component that was not loaded through the plugin, and that a
/// template with tags uses.
fn foreign(name: &str, sources: &ByName<Source>, used: &str) -> LoadError {
    let tag = sources.get(name).and_then(|source| source.tags.first());
    let text = tag.map_or_else(|| name.to_owned(), |tag| tag.text.clone());
    LoadError {
        template: name.to_owned(),
        line: tag.map_or(1, |tag| tag.line),
        detail: format!(
            "`{text}`: this template uses `{used}`, which was not loaded through `Tags`, so the key would not cover it: add it with `Tags::add_template` or another method of `Tags`"
        ),
    }
}
