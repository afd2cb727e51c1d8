//! The harness of the suite: fixtures, and what they run on.
//!
//! A behaviour is written once. A second engine implements [`Engine`], a
//! second store implements [`Backend`], and both run all of it.

pub mod engines;
pub mod fixture;

use std::sync::Arc;

use cacheops::{Builder, Cacheops, ManualClock, QuerySet};
use serde_json::{Map, Value as Json};

/// A store to run the suite on.
pub trait Backend {
    /// A cache of its own on this store.
    fn cache(settings: Builder) -> Cacheops;
}

/// The store of one process.
#[derive(Debug)]
pub struct InMemory;

impl Backend for InMemory {
    fn cache(settings: Builder) -> Cacheops {
        settings.build().expect("the settings of the suite are right")
    }
}

/// Rows of a table, which a lazy queryset reads when it runs.
pub type Query = Arc<dyn Fn() -> Result<Vec<Json>, String> + Send + Sync>;

/// What a template is rendered with.
#[derive(Clone, Default)]
pub struct Context {
    /// Plain values.
    pub values: Map<String, Json>,
    /// Querysets without rows.
    pub querysets: Vec<(String, QuerySet)>,
    /// Lazy querysets.
    pub lazies: Vec<(String, QuerySet, Query)>,
}

/// Delimiters that a fixture is run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delimiters {
    /// `{% %}`, `{{ }}` and `{# #}`.
    Default,
    /// `<% %>`, `<< >>` and `<# #>`.
    Angle,
}

impl Delimiters {
    /// A text of a fixture in these delimiters.
    pub fn apply(self, text: &str) -> String {
        match self {
            Delimiters::Default => text.to_owned(),
            Delimiters::Angle => text
                .replace("{%", "<%")
                .replace("%}", "%>")
                .replace("{{", "<<")
                .replace("}}", ">>")
                .replace("{#", "<#")
                .replace("#}", "#>"),
        }
    }
}

/// How an engine treats white space and lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Layout {
    /// The first line end behind a statement is dropped.
    pub trim_blocks: bool,
    /// Blanks before a statement are dropped.
    pub lstrip_blocks: bool,
    /// A line that begins with `%%` is a statement, one with `##` a comment.
    pub line_statements: bool,
}

/// An engine with its plugin.
pub trait Engine {
    /// An engine whose tags use `cache`; it has a tag `cache_menu` of its own,
    /// which varies by its argument and by `lang`, is named `menu`, depends on
    /// `menu_items`, and is skipped where `is_staff` is true.
    fn new(cache: &Cacheops, delimiters: Delimiters, layout: Layout) -> Self;

    /// Has a function `change()` of the templates call this; it prints nothing.
    fn on_change(&mut self, change: impl Fn() + Send + Sync + 'static);

    /// Adds a template, or replaces it; the error as a person reads it.
    fn add(&mut self, name: &str, source: &str) -> Result<(), String>;

    /// Renders a template; the whole chain of an error as a person reads it.
    fn render(&self, name: &str, context: &Context) -> Result<String, String>;

    /// An error as the plugin explains it.
    fn explain(&self, name: &str, context: &Context) -> String;
}

/// A cache on a clock that the test sets.
pub fn cache_on_clock<B: Backend>() -> (Cacheops, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    (B::cache(Cacheops::builder().clock(clock.clone())), clock)
}
