//! The shared data of the tags of a Tera: the cache, the templates, and the
//! settings of the application.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock};

use cacheops::template::{CustomTags, EnvironmentId, Syntax};
use cacheops::{Cacheops, Page};
use tera::{Delimiters, Error, State};

use crate::custom::{Caching, TagCall};
use crate::engine::RULES;
use crate::library::Library;
use crate::rendering::{self, Owner};

pub(crate) type Decorator = dyn Fn(&TagCall<'_>) -> Result<Caching, Error> + Send + Sync;
pub(crate) type MarkFilter = dyn Fn(&State<'_>) -> bool + Send + Sync;

/// The shared data of the tags of a Tera.
pub(crate) struct Shared {
    pub(crate) cache: Cacheops,
    pub(crate) library: Library,
    syntax: RwLock<Syntax>,
    pub(crate) custom: CustomTags<Decorator>,
    /// Where comments surround fragments.
    pub(crate) marks: OnceLock<Box<MarkFilter>>,
    /// Whether the application says that all templates were loaded through
    /// the plugin.
    pub(crate) all_are_loaded: AtomicBool,
}

impl Shared {
    pub(crate) fn new(cache: &Cacheops, environment: EnvironmentId) -> Self {
        Shared {
            cache: cache.clone(),
            library: Library::of(environment),
            syntax: RwLock::new(syntax_of(&Delimiters::default())),
            custom: CustomTags::default(),
            marks: OnceLock::new(),
            all_are_loaded: AtomicBool::new(false),
        }
    }

    pub(crate) fn syntax(&self) -> Syntax {
        self.syntax.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_syntax(&self, syntax: Syntax) {
        *self.syntax.write().unwrap_or_else(PoisonError::into_inner) = syntax;
    }

    /// Whether comments surround fragments here.
    pub(crate) fn has_marks(&self, state: &State<'_>) -> bool {
        self.marks.get().is_some_and(|is_on| state.autoescaping_enabled() && is_on(state))
    }

    /// What distinguishes the renderings of these tags from those of others.
    pub(crate) fn owner(&self) -> Owner {
        Owner::at(self)
    }

    /// The page that is being rendered, if these tags began the rendering.
    pub(crate) fn page(&self) -> Option<Page> {
        rendering::page(self.owner())
    }

    /// Whether it is known which templates fill the blocks here. If these
    /// tags did not begin the rendering, only the application can say.
    pub(crate) fn knows_blocks(&self) -> bool {
        rendering::knows_blocks(self.owner())
            .unwrap_or_else(|| self.all_are_loaded.load(Ordering::Relaxed))
    }
}

/// How a Tera with these delimiters parses its templates.
pub(crate) fn syntax_of(delimiters: &Delimiters) -> Syntax {
    let pair = |start: &str, end: &str| (start.to_owned(), end.to_owned());
    Syntax {
        block: pair(&delimiters.block_start, &delimiters.block_end),
        variable: pair(&delimiters.variable_start, &delimiters.variable_end),
        comment: pair(&delimiters.comment_start, &delimiters.comment_end),
        line_statement: None,
        line_comment: None,
        whitespace: [false; 3],
        rules: RULES,
    }
}
