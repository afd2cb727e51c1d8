//! The templates, and what they are given, for the engine that was chosen.
//!
//! The pages are the same by either engine. Each has a folder of templates as
//! its authors would write them, and a module that sets the engine up; the
//! rest of the site knows only what is here.

/// The sources of the templates in a folder, built into the program.
macro_rules! sources {
    ($folder:literal) => {
        sources!(
            $folder: "base.html", "fields.html", "listing.html", "card.html", "title_line.html",
            "byline.html", "tag_links.html", "comment_count.html", "sidebar.html", "front.html",
            "list.html", "search.html", "article.html", "article_form.html", "comment_form.html",
            "message.html", "live.html", "bar.html"
        )
    };
    ($folder:literal: $($name:literal),*) => {
        [$(($name, include_str!(concat!("../../../blog/", $folder, "/", $name)))),*]
    };
}

mod minijinja;
mod tera;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use minijinja_cacheops::cacheops::Cacheops;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::db::Db;
use super::error::Error;
use super::queries::Query;

/// The template engine that makes the pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// MiniJinja.
    #[default]
    MiniJinja,
    /// Tera.
    Tera,
}

impl Engine {
    /// All of them.
    pub const ALL: [Engine; 2] = [Engine::MiniJinja, Engine::Tera];
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Engine::MiniJinja => "minijinja",
            Engine::Tera => "tera",
        })
    }
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Engine::ALL.into_iter().find(|engine| engine.to_string() == name);
        found.ok_or_else(|| format!("{name:?} is no engine here: choose minijinja or tera"))
    }
}

/// The templates in their engine.
pub(crate) struct Templates(Loaded);

enum Loaded {
    MiniJinja(Box<minijinja::MiniJinja>),
    Tera(Box<tera::Tera>),
}

impl Templates {
    /// Loads them, with all tags, functions and filters.
    pub(crate) fn load(engine: Engine, cache: &Cacheops, db: &Db) -> Result<Self, Error> {
        Ok(Templates(match engine {
            Engine::MiniJinja => Loaded::MiniJinja(Box::new(minijinja::MiniJinja::new(cache, db)?)),
            Engine::Tera => Loaded::Tera(Box::new(tera::Tera::new(cache, db)?)),
        }))
    }

    pub(crate) fn render(&self, name: &str, values: &Values) -> Result<String, Error> {
        Ok(match &self.0 {
            Loaded::MiniJinja(engine) => engine.render(name, values)?,
            Loaded::Tera(engine) => engine.render(name, values)?,
        })
    }

    /// An error with its causes, each at the place where the author made it.
    pub(crate) fn explain(&self, error: &Error) -> String {
        match (&self.0, error) {
            (Loaded::MiniJinja(engine), Error::MiniJinja(error)) => engine.explain(error),
            (Loaded::Tera(engine), Error::Tera(error)) => engine.explain(error),
            (_, error) => error.to_string(),
        }
    }
}

/// Where the functions of templates go: what an engine is asked to offer.
pub(crate) trait Functions {
    /// A lazy query without an argument.
    fn all<T: Serialize + 'static>(
        &mut self,
        name: &'static str,
        query: impl Fn() -> Query<T> + Send + Sync + 'static,
    );

    /// A lazy query with one argument, which Tera's templates pass by the name
    /// of its parameter.
    fn by<A: DeserializeOwned + 'static, T: Serialize + 'static>(
        &mut self,
        name: &'static str,
        parameter: &'static str,
        query: impl Fn(A) -> Query<T> + Send + Sync + 'static,
    );

    /// What runs when it is called.
    fn plain<T: Serialize + 'static>(
        &mut self,
        name: &'static str,
        run: impl Fn(&Db) -> rusqlite::Result<T> + Send + Sync + 'static,
    );
}

/// What a template is given: plain data by name.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Values(BTreeMap<&'static str, serde_json::Value>);

impl Values {
    pub(crate) fn new() -> Self {
        Values::default()
    }

    /// One more; none for what cannot be data, such as a map whose keys are
    /// maps.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Serialize) -> Self {
        self.0.insert(name, serde_json::to_value(value).unwrap_or_default());
        self
    }
}
