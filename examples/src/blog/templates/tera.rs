//! The pages by Tera.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tera::{Context, Error, Kwargs, State, Tera as Engine, Value};
use tera_cacheops::cacheops::Cacheops;
use tera_cacheops::{Caching, TagCall, Tags, lazy};

use super::{Functions, Values};
use crate::blog::db::Db;
use crate::blog::listing::Listing;
use crate::blog::queries::{self, Query};
use crate::blog::{markdown, words};

const TEMPLATES: [(&str, &str); 18] = sources!("templates-tera");

/// Tera with its plugin.
pub(super) struct Tera {
    tera: Engine,
    tags: Tags,
}

impl Tera {
    /// A Tera with all templates, tags, functions and filters.
    pub(super) fn new(cache: &Cacheops, db: &Db) -> Result<Self, Error> {
        let mut tera = Engine::default();
        let tags = Tags::install(&mut tera, cache);
        tags.decorator_tag("article_list", article_list)?;
        tags.mark_fragments(|state| {
            state.get::<Value>("outline").ok().flatten().is_some_and(|on| on.is_truthy())
        });
        queries::add_functions(&mut Adder { tera: &mut tera, cache, db });
        add_filters(&mut tera);
        // All at once, since they use each other.
        tags.add_templates(&mut tera, TEMPLATES)?;
        Ok(Tera { tera, tags })
    }

    pub(super) fn render(&self, name: &str, values: &Values) -> Result<String, Error> {
        self.tags.render(&self.tera, name, &Context::from_serialize(values)?)
    }

    pub(super) fn explain(&self, error: &Error) -> String {
        self.tags.explain(error)
    }
}

fn add_filters(tera: &mut Engine) {
    tera.register_filter("markdown", |text: &str, _: Kwargs, _: &State| {
        Value::safe_string(&markdown::to_html(text))
    });
    tera.register_filter("date", |text: &str, _: Kwargs, _: &State| words::date(text));
    tera.register_filter("month", |text: &str, _: Kwargs, _: &State| words::month(text));
    tera.register_filter("plural", |count: usize, kwargs: Kwargs, _: &State| {
        Ok::<_, Error>(words::plural(count, kwargs.must_get::<&str>("noun")?))
    });
}

/// How every list of articles is cached, `{% article_list listing %}`, as in
/// the pages by MiniJinja.
fn article_list(call: &TagCall<'_>) -> Result<Caching, Error> {
    let Some(listing) = call.arguments().first() else {
        return Err(Error::message("article_list: which list?"));
    };
    let listing: Listing = read(listing)?;
    if listing.selection.is_search() {
        return Ok(Caching::skip());
    }
    Ok(Caching::cached_as(listing.queryset()).extra(&call.lookup("view"))?.name("article-list"))
}

/// Adds functions to a Tera.
struct Adder<'a> {
    tera: &'a mut Engine,
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
        self.tera.register_function(name, move |_: Kwargs, _: &State| rows(&cache, &db, query()));
    }

    fn by<A: DeserializeOwned + 'static, T: Serialize + 'static>(
        &mut self,
        name: &'static str,
        parameter: &'static str,
        query: impl Fn(A) -> Query<T> + Send + Sync + 'static,
    ) {
        let (cache, db) = (self.cache.clone(), self.db.clone());
        self.tera.register_function(name, move |kwargs: Kwargs, _: &State| {
            let argument = read(&kwargs.must_get::<Value>(parameter)?)?;
            Ok::<_, Error>(rows(&cache, &db, query(argument)))
        });
    }

    fn plain<T: Serialize + 'static>(
        &mut self,
        name: &'static str,
        run: impl Fn(&Db) -> rusqlite::Result<T> + Send + Sync + 'static,
    ) {
        let db = self.db.clone();
        self.tera.register_function(name, move |_: Kwargs, _: &State| match run(&db) {
            Ok(value) => Value::try_from_serializable(&value),
            Err(error) => Err(Error::chain(name, error)),
        });
    }
}

/// Tera's values are plain data: the rows live as long as the rendering.
fn rows<T: Serialize + 'static>(cache: &Cacheops, db: &Db, query: Query<T>) -> Value {
    let db = db.clone();
    lazy(cache, query.queryset, move || (query.run)(&db)).keep()
}

fn read<A: DeserializeOwned>(value: &Value) -> Result<A, Error> {
    A::deserialize(value).map_err(|error| Error::message(error.to_string()))
}
