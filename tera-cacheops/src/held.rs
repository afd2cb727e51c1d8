//! Which templates a Tera holds.
//!
//! A Tera tells neither its sources nor anything else by which one could be
//! told from its clones, and clones may be given other templates. So what each
//! holds travels with it, in a function that it has: asked for, that leaves it
//! here for whoever asked.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use cacheops::template::Syntax;
use tera::{Context, Kwargs, State, Tera};

use crate::dialect::HELD;
use crate::library::{Loaded, Names};

/// What came into a Tera through the plugin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    pub(crate) templates: Names<Loaded>,
    /// The templates whose files are gone, and that it cannot forget.
    pub(crate) gone: BTreeSet<String>,
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
        ASKED.try_with(RefCell::take).ok().flatten().unwrap_or_default()
    }

    /// Notes what a Tera has taken.
    pub(crate) fn after(&self, changed: Names<Loaded>, gone: &[String]) -> Self {
        let mut held = self.clone();
        for name in gone {
            held.templates.remove(name);
            held.gone.insert(name.clone());
        }
        for (name, loaded) in changed {
            held.gone.remove(&name);
            held.templates.insert(name, loaded);
        }
        held
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
