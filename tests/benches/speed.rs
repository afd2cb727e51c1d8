//! How fast it is, as ratios: what is compared runs by turns in one process,
//! and each figure is the median of many rounds.
//!
//! `cargo bench -p cacheops-tests --bench speed`

#[allow(dead_code, reason = "no bench uses all of it")]
mod measure;

use std::hint::black_box;
use std::time::Duration;

use cacheops::{Cacheops, QuerySet, WriteEvent, eq};
use criterion::Criterion;
use measure::{Case, Table, in_turns, throughput};
use minijinja::value::Kwargs;
use minijinja::{Environment, State, Value, context};
use minijinja_cacheops::{Tags, queryset};
use serde::Serialize;

const TAG: &str = "{% cached_as articles, extra=lang %}{{ body }}{% endcached_as %}";

/// An environment with the templates of all comparisons.
struct Site {
    env: Environment<'static>,
    context: Value,
    cache: Cacheops,
}

impl Site {
    fn new() -> Self {
        let cache = Cacheops::builder().memory_limit(1 << 30).build().unwrap();
        let mut env = Environment::new();
        env.set_debug(false);
        let tags = Tags::install(&mut env, &cache);
        let stored = Value::from_safe_string("x".repeat(2048));
        env.add_function("stored", move |_: &mut State, _: &[Value], kwargs: Kwargs| {
            let _: Value = kwargs.get("caller")?;
            let _: Value = kwargs.get("extra")?;
            kwargs.assert_all_used()?;
            Ok::<_, minijinja::Error>(stored.clone())
        });
        let call = "{% call stored(articles, extra=lang) %}{{ body }}{% endcall %}";
        let miss = "{% cached_as articles, extra=lang %}{{ n }}{% endcached_as %}";
        for (name, source) in [
            ("none", String::new()),
            ("plain", "{{ body }}".to_owned()),
            ("call", call.to_owned()),
            ("tag", TAG.to_owned()),
            ("page", TAG.repeat(20)),
            ("miss", miss.to_owned()),
            ("body", "{{ n }}".to_owned()),
        ] {
            tags.add_template(&mut env, name, source).unwrap();
        }
        let context = Site::context();
        Site { env, context, cache }
    }

    fn context() -> Value {
        let articles = queryset(QuerySet::table("articles").filter(eq("category", 3)));
        let body = Value::from_safe_string("x".repeat(2048));
        context!(articles, body, lang => "de", n => 1)
    }

    fn render(&self, name: &str) -> String {
        self.env.get_template(name).unwrap().render(self.context.clone()).unwrap()
    }
}

#[derive(Serialize)]
struct Article {
    id: u64,
    category: u64,
    status: &'static str,
    title: String,
}

fn article(id: u64) -> Article {
    Article { id, category: id % 50, status: "published", title: format!("Article {id}") }
}

fn hits(table: &mut Table, site: &Site) {
    let run = |name: &'static str| Case::new(name, move || drop(black_box(site.render(name))));
    let times = in_turns(&mut [run("none"), run("plain"), run("call"), run("tag"), run("page")]);
    let [none, plain, call, tag, page] = times[..] else { return };
    table.row("a template that prints 2 KB", plain, None);
    table.row("call of a function that returns 2 KB", call, None);
    table.row("hit of 2 KB through the tag", tag, None);
    table.limit("  over the template without the tag", tag - none, Some(1500.0));
    table.ratio("  to the call of a function", tag / call, 2.5);
    table.row("page of 20 hits", page, None);
    table.ratio("  to one hit", page / tag, 22.0);
}

fn misses(table: &mut Table, site: &Site) {
    let miss = || {
        site.cache.invalidate_model("articles").unwrap();
        drop(black_box(site.render("miss")));
    };
    let drop_only = || site.cache.invalidate_model("articles").unwrap();
    let body = || drop(black_box(site.render("body")));
    let times = in_turns(&mut [
        Case::new("miss", miss),
        Case::new("invalidate_model", drop_only),
        Case::new("body", body),
    ]);
    table.limit("a miss over rendering the body", times[0] - times[1] - times[2], Some(10_000.0));
}

fn threads(table: &mut Table, site: &Site) {
    // As in a server: the template is shared, the context each request's own.
    let renderer = || {
        let template = site.env.get_template("tag").unwrap();
        let context = Site::context();
        move || drop(black_box(template.render(context.clone()).unwrap()))
    };
    let (one, two) = throughput(&renderer, Duration::from_millis(300), 9);
    table.ratio_at_least("hits a second of two threads to one", two / one, 1.7);
}

/// A cache with `count` fragments, all on one conjunction or each on its own.
fn filled(count: u64, dependent: bool) -> Cacheops {
    let cache = Cacheops::builder().memory_limit(4 << 30).build().unwrap();
    for id in 0..count {
        let set = match dependent {
            true => QuerySet::table("articles").filter(eq("category", 3)),
            false => QuerySet::table("articles").filter(eq("category", 1000 + id)),
        };
        let value = cache
            .cached_as(set)
            .extra(&id)
            .name("side")
            .get_or_fill(|| Ok::<_, cacheops::Error>(1u8));
        assert!(value.is_ok());
    }
    // The scheme is in use, with or without fragments.
    let set = QuerySet::table("articles").filter(eq("category", 3));
    let _ = cache.cached_as(set).get_or_fill(|| Ok::<_, cacheops::Error>(1u8));
    cache
}

fn invalidations(table: &mut Table) {
    let empty = filled(0, true);
    let dependent = filled(1_000_000, true);
    let unrelated = filled(1_000_000, false);
    let row = Article { id: 1, category: 3, status: "published", title: String::new() };
    let set = QuerySet::table("articles").filter(eq("category", 3));
    // Each round registers the scheme and a stamp anew, so that there is one
    // to drop, in all three caches alike.
    let refill = |cache: &Cacheops| {
        let _ = cache.lease(&[&set]);
    };
    type Drop = fn(&Cacheops, &Article);
    let kinds: [(&str, Drop); 4] = [
        ("invalidate_obj", |cache, row| drop(cache.invalidate_obj("articles", row))),
        ("invalidate_model", |cache, _| cache.invalidate_model("articles").unwrap()),
        ("invalidate_fragment", |cache, _| cache.invalidate_fragment("side").unwrap()),
        ("invalidate_all", |cache, _| cache.invalidate_all().unwrap()),
    ];
    for (name, kind) in kinds {
        let case = |of: &'static str, cache: &'_ Cacheops| {
            let (cache, row, refill) = (cache.clone(), &row, &refill);
            Case::new(of, move || {
                refill(&cache);
                kind(&cache, row);
            })
        };
        let times = in_turns(&mut [
            case("empty", &empty),
            case("dependent", &dependent),
            case("unrelated", &unrelated),
        ]);
        table.row(&format!("{name}, with its lease"), times[0], None);
        table.ratio("  with 1,000,000 dependent fragments", times[1] / times[0], 1.2);
        table.ratio("  with 1,000,000 unrelated fragments", times[2] / times[0], 1.2);
    }
}

fn batches(table: &mut Table) {
    let cache = Cacheops::in_memory();
    for id in 0..3_500u64 {
        for set in [
            QuerySet::table("articles").filter(eq("id", id)),
            QuerySet::table("articles")
                .filter(eq("category", id % 50))
                .filter(eq("status", "published")),
            QuerySet::table("articles").filter(eq("category", id % 50)),
        ] {
            let _ = cache.cached_as(set).get_or_fill(|| Ok::<_, cacheops::Error>(id));
        }
    }
    let rows: Vec<Article> = (0..3_500).map(article).collect();
    let batch = || {
        let events = rows.iter().map(|row| WriteEvent::update("articles", row, row));
        cache.invalidate_batch(events).unwrap();
    };
    let times = in_turns(&mut [Case::new("batch", batch)]);
    table.limit("3,500 updated rows, three schemes", times[0], Some(10_000_000.0));
}

/// For the record between versions, by criterion.
fn record(site: &Site) {
    let mut criterion = Criterion::default()
        .measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_millis(500))
        .configure_from_args();
    for name in ["plain", "call", "tag", "page"] {
        criterion.bench_function(name, |b| b.iter(|| site.render(black_box(name))));
    }
    let cache = filled(10_000, true);
    let row = article(3);
    criterion
        .bench_function("invalidate_obj", |b| b.iter(|| cache.invalidate_obj("articles", &row)));
    criterion.final_summary();
}

/// Limits in nanoseconds were set on a machine that renders an empty template
/// in 94: how many times slower this one is.
fn slower(site: &Site) -> f64 {
    let empty = site.env.get_template("none").unwrap();
    let times = in_turns(&mut [Case::new("empty", || drop(black_box(empty.render(()).unwrap())))]);
    println!(
        "an empty template renders in {:.0} ns; limits in ns were set where it takes 94",
        times[0]
    );
    times[0] / 94.0
}

fn main() {
    let site = Site::new();
    let mut table = Table::new(slower(&site));
    hits(&mut table, &site);
    misses(&mut table, &site);
    threads(&mut table, &site);
    batches(&mut table);
    invalidations(&mut table);
    table.print();
    if std::env::args().any(|argument| argument == "--record") {
        record(&site);
    }
}
