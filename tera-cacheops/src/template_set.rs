//! The templates that a Tera has.
//!
//! A Tera reveals neither its sources nor anything else that distinguishes it
//! from its clones, and clones may get other templates. So a function of the Tera
//! carries its set of templates. When called, the function stores the set here
//! for the caller. `register_from` copies the function to another Tera, but no
//! templates. So a template tells whether the set belongs to this Tera.

use std::cell::RefCell;
#[cfg(feature = "glob_fs")]
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cacheops::template::Syntax;
use tera::{Context, Kwargs, State, Tera};

use crate::groups::Groups;
use crate::library::Changes;
use crate::loaded::LoadedTemplate;
use crate::names::{MARKER, TEMPLATE_SET};
use crate::source::ByName;

/// The templates that the plugin has added to a Tera.
#[derive(Clone, Debug, Default)]
pub(crate) struct TemplateSet {
    /// Its number; zero if nothing was added.
    pub(crate) id: u64,
    pub(crate) templates: ByName<LoadedTemplate>,
    /// The templates whose files are gone, and that it cannot forget.
    pub(crate) removed: ByName<LoadedTemplate>,
    pub(crate) groups: Groups,
    #[cfg(feature = "glob_fs")]
    pub(crate) glob: Glob,
}

/// The templates that a glob loaded.
#[cfg(feature = "glob_fs")]
#[derive(Clone, Debug, Default)]
pub(crate) struct Glob {
    pub(crate) pattern: Option<String>,
    pub(crate) names: BTreeSet<String>,
}

thread_local! {
    static REPORTED: RefCell<Option<Arc<TemplateSet>>> = const { RefCell::new(None) };
}

impl TemplateSet {
    /// The set of a Tera.
    pub(crate) fn of(tera: &Tera, syntax: &Syntax) -> Arc<Self> {
        let (start, end) = &syntax.variable;
        // Nothing is left where it does not have the function.
        let _ = tera.render_str(&format!("{start} {TEMPLATE_SET}() {end}"), &Context::new(), false);
        let template_set = REPORTED.try_with(RefCell::take).ok().flatten();
        let is_its = |template_set: &Arc<TemplateSet>| {
            let marker = || tera.render(MARKER, &Context::new());
            template_set.id == 0 || marker().is_ok_and(|id| id == template_set.id.to_string())
        };
        template_set.filter(is_its).unwrap_or_default()
    }

    /// All sources that the Tera has from the plugin.
    pub(crate) fn all(&self) -> ByName<LoadedTemplate> {
        self.templates.clone().into_iter().chain(self.removed.clone()).collect()
    }

    /// The set of a Tera after it has accepted templates.
    pub(crate) fn after(&self, changed: Changes, removed: ByName<LoadedTemplate>) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let id = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut template_set = TemplateSet { id, groups: changed.groups, ..self.clone() };
        for (name, tombstone) in removed {
            template_set.templates.remove(&name);
            template_set.removed.insert(name, tombstone);
        }
        for (name, loaded) in changed.templates {
            template_set.removed.remove(&name);
            template_set.templates.insert(name, loaded);
        }
        template_set
    }

    /// The template that identifies a Tera with this set.
    pub(crate) fn marker(&self) -> (String, String) {
        (MARKER.to_owned(), self.id.to_string())
    }

    /// Whether everything that a template extends was loaded through the
    /// plugin.
    pub(crate) fn knows_parents(&self, name: &str) -> bool {
        !self.groups.incomplete.contains(name)
    }

    /// The templates that are rendered with tags around blocks if `name` is
    /// rendered, without these tags; `None` if there is no such tag.
    pub(crate) fn without_block_tags(&self, name: &str) -> ByName<LoadedTemplate> {
        let representatives = self.groups.representatives_of(&self.templates, name);
        if representatives.is_empty() {
            return ByName::new();
        }
        let is_one = |name: &str| {
            self.groups
                .representative(name)
                .is_some_and(|representative| representatives.contains(representative))
        };
        let plain = self.templates.iter().filter_map(|(name, loaded)| {
            let plain = loaded.plain.as_ref().filter(|_| is_one(name))?;
            Some((name.clone(), plain.clone()))
        });
        plain.collect()
    }

    /// Gives this set to a Tera, and to its clones from now on.
    pub(crate) fn attach_to(self, tera: &mut Tera) {
        let template_set = Arc::new(self);
        tera.register_function(TEMPLATE_SET, move |_: Kwargs, _: &State| {
            let _ = REPORTED.try_with(|asked| asked.replace(Some(template_set.clone())));
            ""
        });
    }
}
