//! Which templates a Tera holds.
//!
//! A Tera tells neither its sources nor anything else by which one could be
//! told from its clones, and clones may be given other templates. So what each
//! holds travels with it, in a function that it has: asked for, that leaves it
//! here for whoever asked. `register_from` gives the function to others, but no
//! templates, so a template says that it is this one's.

use std::cell::RefCell;
#[cfg(feature = "glob_fs")]
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cacheops::template::Syntax;
use tera::{Context, Kwargs, State, Tera};

use crate::dialect::{HELD, MARKER};
use crate::families::Families;
use crate::library::{Changed, Loaded, Names};

/// What came into a Tera through the plugin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    /// Which one it is; zero where nothing came.
    pub(crate) id: u64,
    pub(crate) templates: Names<Loaded>,
    /// The templates whose files are gone, and that it cannot forget.
    pub(crate) gone: Names<Loaded>,
    pub(crate) families: Families,
    #[cfg(feature = "glob_fs")]
    pub(crate) glob: Glob,
}

/// What was loaded by a glob.
#[cfg(feature = "glob_fs")]
#[derive(Clone, Debug, Default)]
pub(crate) struct Glob {
    pub(crate) pattern: Option<String>,
    pub(crate) names: BTreeSet<String>,
}

thread_local! {
    static ASKED: RefCell<Option<Arc<Held>>> = const { RefCell::new(None) };
}

impl Held {
    /// What a Tera holds.
    pub(crate) fn by(tera: &Tera, syntax: &Syntax) -> Arc<Self> {
        let (start, end) = &syntax.variable;
        // Nothing is left where it does not have the function.
        let _ = tera.render_str(&format!("{start} {HELD}() {end}"), &Context::new(), false);
        let held = ASKED.try_with(RefCell::take).ok().flatten();
        let is_its = |held: &Arc<Held>| {
            let marker = || tera.render(MARKER, &Context::new());
            held.id == 0 || marker().is_ok_and(|id| id == held.id.to_string())
        };
        held.filter(is_its).unwrap_or_default()
    }

    /// All sources that the Tera has from the plugin.
    pub(crate) fn sources(&self) -> Names<Loaded> {
        self.templates.clone().into_iter().chain(self.gone.clone()).collect()
    }

    /// What a Tera holds that has taken something.
    pub(crate) fn after(&self, changed: Changed, gone: Names<Loaded>) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let id = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut held = Held { id, families: changed.families, ..self.clone() };
        for (name, tombstone) in gone {
            held.templates.remove(&name);
            held.gone.insert(name, tombstone);
        }
        for (name, loaded) in changed.templates {
            held.gone.remove(&name);
            held.templates.insert(name, loaded);
        }
        held
    }

    /// The template that a Tera is to have which holds this.
    pub(crate) fn marker(&self) -> (String, String) {
        (MARKER.to_owned(), self.id.to_string())
    }

    /// Whether all that a template extends came through the plugin.
    pub(crate) fn knows_parents(&self, name: &str) -> bool {
        !self.families.loose.contains(name)
    }

    /// The templates that are rendered with tags around blocks where `name` is,
    /// with nothing in place of those; none where there is no such tag.
    pub(crate) fn without_block_tags(&self, name: &str) -> Names<Loaded> {
        let heads = self.families.heads_of(&self.templates, name);
        if heads.is_empty() {
            return Names::new();
        }
        let is_one = |name: &str| self.families.head(name).is_some_and(|head| heads.contains(head));
        let plain = self.templates.iter().filter_map(|(name, loaded)| {
            let plain = loaded.plain.as_ref().filter(|_| is_one(name))?;
            Some((name.clone(), plain.clone()))
        });
        plain.collect()
    }

    /// Has a Tera hold this, and its clones from now on.
    pub(crate) fn give(self, tera: &mut Tera) {
        let held = Arc::new(self);
        tera.register_function(HELD, move |_: Kwargs, _: &State| {
            let _ = ASKED.try_with(|asked| asked.replace(Some(held.clone())));
            ""
        });
    }
}
