//! What the tags of a Tera share: the cache, the templates, and what the
//! application has set.

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

/// What the tags of a Tera share.
pub(crate) struct Shared {
    pub(crate) cache: Cacheops,
    pub(crate) library: Library,
    syntax: RwLock<Syntax>,
    pub(crate) custom: CustomTags<Decorator>,
    /// Where fragments get comments around them.
    pub(crate) marks: OnceLock<Box<MarkFilter>>,
    /// Whether the application says that all templates came through the plugin.
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

    /// Whether fragments get comments around them here.
    pub(crate) fn has_marks(&self, state: &State<'_>) -> bool {
        self.marks.get().is_some_and(|is_on| state.autoescaping_enabled() && is_on(state))
    }

    /// What tells the renderings of these tags from those of others.
    pub(crate) fn owner(&self) -> Owner {
        Owner::at(self)
    }

    /// The page that is being rendered, where these tags have begun it.
    pub(crate) fn page(&self) -> Option<Page> {
        rendering::page(self.owner())
    }

    /// Whether it is known who fills the blocks of the templates here. In a
    /// rendering that these tags have not begun, only the application can say.
    pub(crate) fn knows_blocks(&self) -> bool {
        rendering::knows_blocks(self.owner())
            .unwrap_or_else(|| self.all_are_loaded.load(Ordering::Relaxed))
    }
}

/// How a Tera with these delimiters reads its templates.
pub(crate) fn syntax_of(delimiters: &Delimiters) -> Syntax {
    let pair = |start: &str, end: &str| (start.to_owned(), end.to_owned());
    Syntax {
        block: pair(&delimiters.block_start, &delimiters.block_end),
        variable: pair(&delimiters.variable_start, &delimiters.variable_end),
        comment: pair(&delimiters.comment_start, &delimiters.comment_end),
        line_statement: None,
        line_comment: None,
        rules: RULES,
    }
}
