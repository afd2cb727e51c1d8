//! Tera with its plugin.

use std::error::Error as _;

use cacheops::{Cacheops, QuerySet};
use tera::{Context as Values, Delimiters as TeraDelimiters, Error, Kwargs, State};
use tera_cacheops::{Caching, Tags, lazy, queryset};

use crate::{Context, Delimiters, Engine, Layout};

/// Tera with its plugin.
pub struct Tera {
    tera: tera::Tera,
    tags: Tags,
    cache: Cacheops,
    escaped: Vec<String>,
}

impl Engine for Tera {
    const NAME: &'static str = "tera";
    const MAX_DEPTH: usize = 19;

    fn new(cache: &Cacheops, delimiters: Delimiters, _layout: Layout) -> Self {
        let mut tera = tera::Tera::default();
        tera.autoescape_on(Vec::<&str>::new());
        tera.register_function("fail", |kwargs: Kwargs, _: &State| {
            Err::<bool, _>(Error::message(kwargs.must_get::<&str>("why")?))
        });
        let tags = Tags::install(&mut tera, cache);
        if delimiters == Delimiters::Angle {
            let angle = TeraDelimiters {
                block_start: "<%".into(),
                block_end: "%>".into(),
                variable_start: "<<".into(),
                variable_end: ">>".into(),
                comment_start: "<#".into(),
                comment_end: "#>".into(),
            };
            tags.set_delimiters(&mut tera, angle).expect("valid delimiters");
        }
        tags.decorator_tag("cache_menu", |call| {
            if call.lookup("is_staff").is_truthy() {
                return Ok(Caching::skip());
            }
            let items = QuerySet::table("menu_items");
            Ok(Caching::cached_as(items).extra(&call.lookup("lang"))?.name("menu"))
        })
        .expect("a name that a tag can have");
        Tera { tera, tags, cache: cache.clone(), escaped: Vec::new() }
    }

    fn on_change(&mut self, change: impl Fn() + Send + Sync + 'static) {
        self.tera.register_function("change", move |_: Kwargs, _: &State| {
            change();
            ""
        });
    }

    fn add(&mut self, name: &str, source: &str) -> Result<(), String> {
        let added = self.tags.add_template(&mut self.tera, name, source);
        if !name.ends_with(".txt") {
            self.escaped.push(name.to_owned());
            self.tera.autoescape_on(self.escaped.clone());
        }
        added.map_err(|error| chain("syntax error", &error))
    }

    fn render(&self, name: &str, context: &Context) -> Result<String, String> {
        self.try_render(name, context).map_err(|error| chain("invalid operation", &error))
    }

    fn explain(&self, name: &str, context: &Context) -> String {
        match self.try_render(name, context) {
            Ok(text) => text,
            Err(error) => self.tags.explain(&error),
        }
    }
}

impl Tera {
    fn try_render(&self, name: &str, context: &Context) -> Result<String, Error> {
        let mut values = Values::new();
        for (name, value) in &context.values {
            values.insert(name.clone(), value);
        }
        for (name, set) in &context.querysets {
            values.insert_value(name.clone(), queryset(set));
        }
        let mut lazies = Vec::new();
        for (name, set, query) in &context.lazies {
            let query = query.clone();
            let rows = lazy(&self.cache, set, move || query());
            values.insert(name.clone(), &rows);
            lazies.push(rows);
        }
        self.tags.render(&self.tera, name, &values)
    }
}

/// An error in one line, as the fixtures have it: what, and where.
fn chain(kind: &str, error: &Error) -> String {
    let mut text = one_line(kind, &error.to_string());
    let mut next = error.source();
    while let Some(error) = next {
        // Tera got its words before.
        if !text.contains(&error.to_string()) {
            text.push_str(&format!("\ncaused by: {error}"));
        }
        next = error.source();
    }
    text
}

fn one_line(kind: &str, told: &str) -> String {
    let report = told.strip_prefix("error: ").and_then(|rest| rest.split_once("--> "));
    let Some((message, place)) = report else { return told.to_owned() };
    let place = place.lines().next().unwrap_or_default();
    let place = place.rsplit_once(':').map_or(place, |(place, _column)| place);
    format!("{kind}: {} (in {place})", message.trim_end())
}
