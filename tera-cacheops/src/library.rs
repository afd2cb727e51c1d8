//! The known templates: their tags, and the sources that they are made of.
//!
//! In Tera all names of templates are literal, and templates do not change while
//! they are rendered. So when a template is loaded, everything that the body of a
//! tag can be made of is known, and the number of the tag represents it. If a
//! template changes, the templates that use it are rewritten again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use cacheops::FragmentKey;
use cacheops::template::{AppendOnlyVec, EnvironmentId, Tag, rewrite};

use crate::checks::Checks;
use crate::dialect;
use crate::groups::Groups;
use crate::inheritance::Inheritance;
use crate::load_error::LoadError;
use crate::loaded::{LoadedTemplate, sources_of};
use crate::plan::{LoadContext, RewritePlan};
use crate::restore::RestorePlan;
use crate::source::{ByName, Language, Source};

/// The sources for a Tera, and what is known about all templates that it has
/// then.
pub(crate) struct Changes {
    pub(crate) templates: ByName<LoadedTemplate>,
    pub(crate) groups: Groups,
}

/// All loaded templates. Numbers of tags are never reused: a page that is being
/// rendered keeps the version of a template that it began with.
pub(crate) struct Library {
    base: Base,
    environment: EnvironmentId,
    tags: AppendOnlyVec<Tag>,
    has_block_tags: AtomicBool,
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    /// The number of tags.
    count: usize,
    /// The first tag of each version loaded so far, by its signature. If the
    /// same version is loaded again, it gets the same numbers.
    numbered: BTreeMap<[u8; 20], usize>,
    /// The latest by name, in any Tera.
    latest: ByName<LoadedTemplate>,
}

/// The first number of a library. No two libraries use the same number for a tag,
/// so a template that was rewritten for another library is refused.
#[derive(Debug)]
struct Base(usize);

impl Default for Base {
    fn default() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        Base(COUNT.fetch_add(1, Ordering::Relaxed) << (usize::BITS / 2))
    }
}

impl Library {
    pub(crate) fn of(environment: EnvironmentId) -> Self {
        Library {
            base: Base::default(),
            environment,
            tags: AppendOnlyVec::default(),
            has_block_tags: AtomicBool::default(),
            inner: RwLock::default(),
        }
    }

    /// The installation whose templates these are.
    pub(crate) fn environment(&self) -> &EnvironmentId {
        &self.environment
    }

    pub(crate) fn tag(&self, number: usize) -> Option<&Tag> {
        self.tags.get(number.checked_sub(self.base.0)?)
    }

    /// Whether any Tera has a tag whose body contains blocks.
    pub(crate) fn has_block_tags(&self) -> bool {
        self.has_block_tags.load(Ordering::Acquire)
    }

    /// The latest templates, in any Tera.
    pub(crate) fn latest(&self) -> ByName<LoadedTemplate> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).latest.clone()
    }

    /// Records the templates that a Tera has accepted.
    pub(crate) fn commit(&self, changed: ByName<LoadedTemplate>) {
        if changed.values().any(|loaded| loaded.source.has_block_tags) {
            self.has_block_tags.store(true, Ordering::Release);
        }
        self.inner.write().unwrap_or_else(PoisonError::into_inner).latest.extend(changed);
    }

    /// Parses templates, and rewrites them and all others whose rewriting
    /// depends on them; `before` are the templates that the Tera has.
    pub(crate) fn rewrite(
        &self,
        before: &ByName<LoadedTemplate>,
        batch: &[(String, String)],
        removed: &[String],
        language: &Language<'_>,
        context: &LoadContext<'_>,
    ) -> Result<Changes, LoadError> {
        let mut sources = sources_of(before);
        removed.iter().for_each(|name| drop(sources.remove(name)));
        for (name, text) in batch {
            sources.insert(name.clone(), Arc::new(Source::read(name, text, language)?));
        }
        let inheritance = Inheritance::of(&sources);
        let groups = Groups::of(&sources, &inheritance);
        let checks = Checks::of(&sources);
        let mut restore_plans = Vec::with_capacity(sources.len());
        for (name, source) in &sources {
            let restore_plan = RestorePlan::of(name, source, &inheritance);
            checks.of_template(name, source, &restore_plan)?;
            restore_plans.push(restore_plan);
        }
        let mut templates = ByName::new();
        for ((name, source), restore_plan) in sources.iter().zip(&restore_plans) {
            let plan = RewritePlan::of(
                name,
                source,
                &sources,
                groups.contains(name),
                restore_plan,
                context,
            )?;
            let signature = plan.signature(language);
            let known = before.get(name).is_some_and(|loaded| loaded.signature == signature);
            if !known || batch.iter().any(|(other, _)| other == name) {
                let loaded = self.number(name, source, &plan, signature, language)?;
                templates.insert(name.clone(), Arc::new(loaded));
            }
        }
        Ok(Changes { templates, groups })
    }

    /// Parses a template that is not added, and rewrites it. No other
    /// template is checked beyond those that it uses.
    pub(crate) fn one_off(
        &self,
        templates: &ByName<LoadedTemplate>,
        (name, text): (&str, &str),
        language: &Language<'_>,
        context: &LoadContext<'_>,
    ) -> Result<LoadedTemplate, LoadError> {
        let source = Arc::new(Source::read(name, text, language)?);
        if source.tags.is_empty() && source.defines.is_empty() {
            return Ok(LoadedTemplate::unchanged(source));
        }
        let mut sources = sources_of(templates);
        sources.insert(name.to_owned(), source.clone());
        let restore_plan = RestorePlan::alone(&source);
        let checks = Checks::of(&sources);
        checks.of_template(name, &source, &restore_plan)?;
        if !source.defines.is_empty() {
            // Its components may hand a `body` to what they include.
            checks.bodies()?;
        }
        let plan = RewritePlan::of(name, &source, &sources, false, &restore_plan, context)?;
        self.number(name, &source, &plan, plan.signature(language), language)
    }

    /// Rewrites a template, and numbers its tags unless that has been done.
    fn number(
        &self,
        name: &str,
        source: &Arc<Source>,
        plan: &RewritePlan<'_>,
        signature: FragmentKey,
        language: &Language<'_>,
    ) -> Result<LoadedTemplate, LoadError> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let known = inner.numbered.get(signature.as_bytes()).copied();
        let first_tag = known.unwrap_or(self.base.0 + inner.count);
        let write = |page, drops_block_tags| {
            let dialect = dialect::Tera {
                syntax: language.syntax,
                first_tag,
                page,
                assignments: plan.assignments,
                drops_block_tags,
                escaped: RefCell::default(),
            };
            rewrite(&source.text, language.syntax, language.custom, &dialect)
                .map_err(|error| LoadError::tag(name, &error))
        };
        let done = write(plan.page.as_deref(), false)?;
        let plain = if source.has_block_tags { Some(write(Some("plain"), true)?) } else { None };
        if known.is_none() {
            for tag in &done.tags {
                let place = first_tag - self.base.0 + tag.index;
                self.tags.set(place, Tag::new(name, &plan.closure, tag, &done));
            }
            inner.count = first_tag - self.base.0 + done.tags.len();
            inner.numbered.insert(*signature.as_bytes(), first_tag);
        }
        let plain = plain.map(|done| Arc::new(LoadedTemplate::of(source, signature, done)));
        Ok(LoadedTemplate { plain, ..LoadedTemplate::of(source, signature, done) })
    }
}
