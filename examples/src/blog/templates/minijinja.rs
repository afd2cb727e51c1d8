//! The pages by MiniJinja.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value};
use minijinja_cacheops::cacheops::Cacheops;
use minijinja_cacheops::{Caching, TagCall, Tags, lazy};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Functions, Values};
use crate::blog::db::Db;
use crate::blog::listing::Listing;
use crate::blog::queries::{self, Query};
use crate::blog::{markdown, words};

const TEMPLATES: [(&str, &str); 18] = sources!("templates");

/// MiniJinja with its plugin.
pub(super) struct MiniJinja {
    env: Environment<'static>,
    tags: Tags,
}

impl MiniJinja {
    /// An environment with all templates, tags, functions and filters.
    pub(super) fn new(cache: &Cacheops, db: &Db) -> Result<Self, Error> {
        let mut env = Environment::new();
        env.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        env.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        let tags = Tags::install(&mut env, cache);
        tags.decorator_tag("article_list", article_list)?;
        tags.mark_fragments(|state| state.lookup("outline").is_some_and(|on| on.is_true()));
        queries::add_functions(&mut Adder { env: &mut env, cache, db });
        env.add_filter("markdown", |text: &str| Value::from_safe_string(markdown::to_html(text)));
        env.add_filter("date", words::date);
        env.add_filter("month", words::month);
        env.add_filter("plural", words::plural);
        for (name, source) in TEMPLATES {
            tags.add_template(&mut env, name, source)?;
        }
        Ok(MiniJinja { env, tags })
    }

    pub(super) fn render(&self, name: &str, values: &Values) -> Result<String, Error> {
        self.env.get_template(name)?.render(Value::from(Serde(values)))
    }

    pub(super) fn explain(&self, error: &Error) -> String {
        self.tags.explain(error)
    }
}

/// How every list of articles is cached, `{% article_list listing %}`: said
/// once, here, and not in each template that shows one.
///
/// A list varies by how the reader wants to see it. What somebody searched for
/// is hardly asked for twice, so it is not kept, nor anything around it; the
/// cards inside are, as everywhere.
fn article_list(call: &TagCall<'_>) -> Result<Caching, Error> {
    let Some(listing) = call.arguments().first() else {
        return Err(Error::new(ErrorKind::MissingArgument, "article_list: which list?"));
    };
    let listing = Listing::deserialize(listing.clone())?;
    if listing.selection.is_search() {
        return Ok(Caching::skip());
    }
    Ok(Caching::cached_as(listing.queryset()).extra(&call.lookup("view"))?.name("article-list"))
}

/// Adds functions to an environment.
struct Adder<'a> {
    env: &'a mut Environment<'static>,
    cache: &'a Cacheops,
    db: &'a Db,
}

impl Functions for Adder<'_> {
    fn all<T: Serialize + 'static>(
        &mut self,
        name: &'static str,
        query: impl Fn() -> Query<T> + Send + Sync + 'static,
    ) {
        let (cache, db) = (self.cache.clone(), self.db.clone());
        self.env.add_function(name, move || rows(&cache, &db, query()));
    }

    fn by<A: DeserializeOwned + 'static, T: Serialize + 'static>(
        &mut self,
        name: &'static str,
        _parameter: &'static str,
        query: impl Fn(A) -> Query<T> + Send + Sync + 'static,
    ) {
        let (cache, db) = (self.cache.clone(), self.db.clone());
        self.env.add_function(name, move |argument: Value| {
            Ok::<_, Error>(rows(&cache, &db, query(A::deserialize(argument)?)))
        });
    }

    fn plain<T: Serialize + 'static>(
        &mut self,
        name: &'static str,
        run: impl Fn(&Db) -> rusqlite::Result<T> + Send + Sync + 'static,
    ) {
        let db = self.db.clone();
        self.env.add_function(name, move || match run(&db) {
            Ok(value) => Ok(Value::from(Serde(value))),
            Err(error) => Err(Error::new(ErrorKind::InvalidOperation, name).with_source(error)),
        });
    }
}

fn rows<T: Serialize + 'static>(cache: &Cacheops, db: &Db, query: Query<T>) -> Value {
    let db = db.clone();
    lazy(cache, query.queryset, move || (query.run)(&db))
}
