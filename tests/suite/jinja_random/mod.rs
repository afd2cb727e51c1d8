//! Random pages for MiniJinja: a page with tags is the page without, whatever
//! changes while it is rendered.
//!
//! A set of templates is written twice, with tags and with neutral blocks in
//! their places. In the rendering with tags a row changes at one of the points
//! that it passes; the pages after that must be those of the environment
//! without a cache. All points of all sets are tried, cold and warm.
//! `JINJA_SETS=5000` tries more sets, `JINJA_SEED=…` one of them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use cacheops::{CacheRead, Cacheops, Error, QuerySet, eq};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Output, State, UndefinedBehavior, Value, context};
use minijinja_cacheops::{Tags, lazy};
use serde_json::{Value as Json, json};

use grammar::{Set, Style};

mod grammar;

/// How often each of three rows was written.
type Rows = Arc<Mutex<[u64; 3]>>;

fn row(rows: &[u64; 3], id: usize) -> Json {
    json!({"id": id, "text": format!("<{id}.{}>", rows[id - 1])})
}

fn all(rows: &Rows) -> Vec<Json> {
    let rows = *rows.lock().unwrap();
    (1..=3).map(|id| row(&rows, id)).collect()
}

fn write(cache: &Cacheops, rows: &Rows, id: usize) {
    rows.lock().unwrap()[id - 1] += 1;
    cache.invalidate_obj("rows", &json!({"id": id})).unwrap();
}

/// Where a rendering is, and where it is to be changed.
#[derive(Default)]
struct Point {
    passed: AtomicUsize,
    change_at: AtomicUsize,
    is_armed: AtomicBool,
}

struct Site {
    env: Environment<'static>,
    cache: Cacheops,
    rows: Rows,
    point: Arc<Point>,
}

fn brackets(out: &mut Output, _: &mut State, value: &Value) -> Result<(), minijinja::Error> {
    Ok(write!(out, "[{value}]")?)
}

fn environment(style: &Style) -> Environment<'static> {
    let mut env = Environment::new();
    env.set_debug(style.debug);
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(style.trim).lstrip_blocks(style.lstrip);
    if let Some(prefix) = style.line_prefix {
        syntax.line_statement_prefix(prefix).line_comment_prefix("##");
    }
    if style.angle {
        syntax.block_delimiters("<%", "%>").variable_delimiters("<<", ">>");
        syntax.comment_delimiters("<#", "#>");
    }
    env.set_syntax(syntax.build().unwrap());
    env.set_undefined_behavior(
        [UndefinedBehavior::Lenient, UndefinedBehavior::Chainable, UndefinedBehavior::Strict]
            [style.undefined],
    );
    let escaping = style.escaping;
    env.set_auto_escape_callback(move |_| match escaping {
        0 => AutoEscape::None,
        1 => AutoEscape::Html,
        _ => AutoEscape::Json,
    });
    env
}

impl Site {
    /// Counts the hits of tags, and not those of what functions have got.
    fn with_tags(set: &Set, hits: &Arc<AtomicUsize>) -> Self {
        let hits = hits.clone();
        let count = move |read: &CacheRead<'_>| {
            let is_tag = !read.name.ends_with(".rs");
            hits.fetch_add(usize::from(is_tag && read.outcome.is_hit()), Ordering::SeqCst);
        };
        let cache = Cacheops::builder().on_cache_read(count).build().unwrap();
        let mut env = environment(&set.style);
        let tags = Tags::install(&mut env, &cache);
        if set.style.brackets {
            tags.set_formatter(&mut env, brackets);
        }
        let (rows, point) = (Rows::default(), Arc::new(Point::default()));
        let (it, of) = (cache.clone(), rows.clone());
        env.add_function("rows", move || {
            let of = of.clone();
            lazy(&it, QuerySet::table("rows"), move || Ok::<_, Error>(all(&of)))
        });
        let (it, of) = (cache.clone(), rows.clone());
        env.add_function("got", move || {
            let got = it.cached_as("rows").get_or_fill(|| Ok::<_, Error>(all(&of)));
            Value::from(Serde(got.unwrap()))
        });
        let (it, of) = (cache.clone(), rows.clone());
        env.add_function("one", move |id: usize| {
            let one = QuerySet::table("rows").filter(eq("id", id as u64));
            let got = it.cached_as(one).extra(&id);
            let got = got.get_or_fill(|| Ok::<_, Error>(row(&of.lock().unwrap(), id)));
            Value::from(Serde(got.unwrap()))
        });
        let (it, of, at) = (cache.clone(), rows.clone(), point.clone());
        env.add_function("at", move || {
            let passed = at.passed.fetch_add(1, Ordering::SeqCst);
            if at.is_armed.load(Ordering::SeqCst) && passed == at.change_at.load(Ordering::SeqCst) {
                at.is_armed.store(false, Ordering::SeqCst);
                write(&it, &of, 1 + passed % 3);
            }
            Value::from_safe_string(String::new())
        });
        for (name, source) in set.templates(true) {
            tags.add_template(&mut env, name, source.clone())
                .unwrap_or_else(|error| panic!("seed {}: {error}\n{source}", set.seed));
        }
        Site { env, cache, rows, point }
    }

    fn without(set: &Set, rows: &Rows) -> Environment<'static> {
        let mut env = environment(&set.style);
        if set.style.brackets {
            env.set_formatter(brackets);
        }
        for name in ["rows", "got"] {
            let of = rows.clone();
            env.add_function(name, move || Value::from(Serde(all(&of))));
        }
        let of = rows.clone();
        env.add_function("one", move |id: usize| Value::from(Serde(row(&of.lock().unwrap(), id))));
        env.add_function("at", || Value::from_safe_string(String::new()));
        for (name, source) in set.templates(false) {
            env.add_template_owned(name, source.clone())
                .unwrap_or_else(|error| panic!("seed {}: {error}\n{source}", set.seed));
        }
        env
    }

    fn render(&self) -> Result<String, String> {
        self.point.passed.store(0, Ordering::SeqCst);
        render(&self.env)
    }
}

fn render(env: &Environment<'_>) -> Result<String, String> {
    let template = env.get_template("page").unwrap();
    template.render(context!(n => 7, s => "a&b")).map_err(|error| error.kind().to_string())
}

/// Tries all points of a set; how many renderings there were.
fn try_out(set: &Set, hits: &Arc<AtomicUsize>) -> usize {
    let mut count = 0;
    for is_warm in [false, true] {
        let mut point = 0;
        loop {
            let site = Site::with_tags(set, hits);
            let neutral = Site::without(set, &site.rows);
            if is_warm {
                let _ = site.render();
                write(&site.cache, &site.rows, 1 + (point + 1) % 3);
            }
            site.point.change_at.store(point, Ordering::SeqCst);
            site.point.is_armed.store(true, Ordering::SeqCst);
            let _ = site.render();
            let passed = !site.point.is_armed.swap(false, Ordering::SeqCst);
            for turn in 0..4 {
                let (page, wanted) = (site.render(), render(&neutral));
                assert_eq!(
                    page, wanted,
                    "seed {}, turn {turn} after a change at point {point}, warm: {is_warm}\n{set}",
                    set.seed
                );
                if turn == 1 {
                    write(&site.cache, &site.rows, 1 + point % 3);
                }
            }
            count += 6;
            if !passed {
                break;
            }
            point += 1;
        }
    }
    count
}

#[test]
fn pages_with_tags_equal_pages_without() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("JINJA_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("JINJA_SETS").unwrap_or(40),
    };
    let sets = seeds.end - seeds.start;
    let (mut renderings, mut errors) = (0, 0);
    let hits = Arc::default();
    for seed in seeds {
        let set = Set::new(seed);
        errors += u64::from(render(&Site::without(&set, &Rows::default())).is_err());
        renderings += try_out(&set, &hits);
    }
    let hits = hits.load(Ordering::SeqCst);
    println!("{sets} sets, {errors} of them errors, {renderings} renderings, {hits} hits");
    assert!(sets < 40 || hits > renderings / 4, "{hits} hits in {renderings} renderings");
    assert!(errors * 4 <= sets.max(4), "{errors} of {sets} sets do not render");
}
