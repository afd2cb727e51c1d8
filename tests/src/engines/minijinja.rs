//! MiniJinja with its plugin.

use std::error::Error as _;

use cacheops::{Cacheops, QuerySet};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, Value};
use minijinja_cacheops::{Caching, Tags, lazy, queryset};

use crate::{Context, Delimiters, Engine, Layout};

/// MiniJinja with its plugin.
pub struct MiniJinja {
    env: Environment<'static>,
    tags: Tags,
    cache: Cacheops,
}

fn syntax(delimiters: Delimiters, layout: Layout) -> SyntaxConfig {
    let mut builder = SyntaxConfig::builder();
    builder.trim_blocks(layout.trim_blocks).lstrip_blocks(layout.lstrip_blocks);
    if layout.line_statements {
        builder.line_statement_prefix("%%").line_comment_prefix("##");
    }
    if delimiters == Delimiters::Angle {
        builder.block_delimiters("<%", "%>");
        builder.variable_delimiters("<<", ">>");
        builder.comment_delimiters("<#", "#>");
    }
    builder.build().expect("valid delimiters")
}

impl Engine for MiniJinja {
    const NAME: &'static str = "minijinja";
    const MAX_DEPTH: usize = 40;

    fn new(cache: &Cacheops, delimiters: Delimiters, layout: Layout) -> Self {
        let mut env = Environment::new();
        env.set_debug(false);
        env.set_syntax(syntax(delimiters, layout));
        env.set_auto_escape_callback(|name| {
            if name.ends_with(".txt") { AutoEscape::None } else { AutoEscape::Html }
        });
        env.add_function("fail", |why: String| -> Result<Value, Error> {
            Err(Error::new(minijinja::ErrorKind::InvalidOperation, why))
        });
        let tags = Tags::install(&mut env, cache);
        tags.decorator_tag("cache_menu", |call| {
            if call.lookup("is_staff").is_true() {
                return Ok(Caching::skip());
            }
            let items = QuerySet::table("menu_items");
            Ok(Caching::cached_as(items).extra(&call.lookup("lang"))?.name("menu"))
        })
        .expect("a name that a tag can have");
        MiniJinja { env, tags, cache: cache.clone() }
    }

    fn on_change(&mut self, change: impl Fn() + Send + Sync + 'static) {
        self.env.add_function("change", move || {
            change();
            ""
        });
    }

    fn add(&mut self, name: &str, source: &str) -> Result<(), String> {
        self.tags.add_template(&mut self.env, name, source).map_err(|error| chain(&error))
    }

    fn render(&self, name: &str, context: &Context) -> Result<String, String> {
        self.try_render(name, context).map_err(|error| chain(&error))
    }

    fn explain(&self, name: &str, context: &Context) -> String {
        match self.try_render(name, context) {
            Ok(text) => text,
            Err(error) => self.tags.explain(&error),
        }
    }
}

impl MiniJinja {
    fn try_render(&self, name: &str, context: &Context) -> Result<String, Error> {
        let mut values: Vec<(String, Value)> =
            context.values.iter().map(|(k, v)| (k.clone(), Value::from(Serde(v)))).collect();
        for (name, set) in &context.querysets {
            values.push((name.clone(), queryset(set)));
        }
        for (name, set, query) in &context.lazies {
            let query = query.clone();
            values.push((name.clone(), lazy(&self.cache, set, move || query())));
        }
        self.env.get_template(name)?.render(Value::from_pairs(values))
    }
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(&format!("\ncaused by: {error}"));
        next = error.source();
    }
    text
}
