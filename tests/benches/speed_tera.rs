//! How fast hits and misses are in Tera, as ratios: what is compared runs by
//! turns in one process, and each figure is the median of many rounds.
//!
//! `cargo bench -p cacheops-tests --bench speed_tera`

#[allow(dead_code, reason = "no bench uses all of it")]
#[path = "measure/mod.rs"]
mod measure;

use std::hint::black_box;
use std::time::Duration;

use cacheops::{Cacheops, QuerySet, eq};
use measure::{Case, Table, in_turns, throughput};
use tera::{Context, Kwargs, State, Tera, Value};
use tera_cacheops::{Tags, queryset};

const TAG: &str = "{% cached_as articles, extra=lang %}{{ body }}{% endcached_as %}";

/// A Tera with the templates of all comparisons.
struct Site {
    tera: Tera,
    tags: Tags,
    context: Context,
    cache: Cacheops,
}

impl Site {
    fn new() -> Self {
        let cache = Cacheops::builder().memory_limit(1 << 30).build().unwrap();
        let mut tera = Tera::default();
        let tags = Tags::install(&mut tera, &cache);
        let stored = Value::safe_string(&"x".repeat(2048));
        tera.register_function("stored", move |kwargs: Kwargs, _: &State| {
            let _ = kwargs.must_get::<&Value>("of")?;
            let _ = kwargs.must_get::<&Value>("extra")?;
            Ok::<_, tera::Error>(stored.clone())
        });
        let miss = "{% cached_as articles, extra=lang %}{{ n }}{% endcached_as %}";
        for (name, source) in [
            ("none", String::new()),
            ("plain", "{{ body }}".to_owned()),
            ("call", "{{ stored(of=articles, extra=lang) }}".to_owned()),
            ("tag", TAG.to_owned()),
            ("page", TAG.repeat(20)),
            ("miss", miss.to_owned()),
            ("body", "{{ n }}".to_owned()),
        ] {
            tags.add_template(&mut tera, name, source).unwrap();
        }
        Site { tera, tags, context: Site::context(), cache }
    }

    fn context() -> Context {
        let mut context = Context::new();
        let articles = QuerySet::table("articles").filter(eq("category", 3));
        context.insert_value("articles", queryset(articles));
        context.insert_value("body", Value::safe_string(&"x".repeat(2048)));
        context.insert("lang", "de");
        context.insert("n", &1);
        context
    }

    fn render(&self, name: &str) -> String {
        self.tera.render(name, &self.context).unwrap()
    }
}

fn hits(table: &mut Table, site: &Site) {
    let run = |name: &'static str| Case::new(name, move || drop(black_box(site.render(name))));
    let through = Case::new("render", || {
        drop(black_box(site.tags.render(&site.tera, "tag", &site.context).unwrap()));
    });
    let times =
        in_turns(&mut [run("none"), run("plain"), run("call"), run("tag"), run("page"), through]);
    let [none, plain, call, tag, page, through] = times[..] else { return };
    table.row("a template that prints 2 KB", plain, None);
    table.row("call of a function that returns 2 KB", call, None);
    table.row("hit of 2 KB through the tag", tag, None);
    table.row("  by the renderer of the tags", through, None);
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

/// A layout in a tag, and pages that each set a name of their own in its block.
fn layout(pages: usize) -> (Tera, Tags) {
    let mut tera = Tera::default();
    let tags = Tags::install(&mut tera, &Cacheops::in_memory());
    let page = |n| {
        let source =
            format!("{{% extends 'layout' %}}{{% block b %}}{{% set x{n} = 1 %}}x{{% endblock %}}");
        (format!("page{n}"), source)
    };
    let layout = "{% cached %}{% block b %}{% endblock %}{% endcached %}".to_owned();
    let sources = (0..pages).map(page).chain([("layout".to_owned(), layout)]);
    tags.add_templates(&mut tera, sources).unwrap();
    // Else tags around blocks do not cache by Tera's own methods.
    tags.assume_all_loaded();
    (tera, tags)
}

fn layouts(table: &mut Table) {
    let (few, many) = (layout(1), layout(300));
    let context = Context::new();
    let hit = |(tera, _): &(Tera, Tags)| drop(black_box(tera.render("page0", &context).unwrap()));
    let source = |(tera, tags): &(Tera, Tags)| {
        drop(black_box(tags.render_str(tera, "{{ 1 }}", &context, true).unwrap()));
    };
    let times = in_turns(&mut [
        Case::new("few", || hit(&few)),
        Case::new("many", || hit(&many)),
        Case::new("source, few", || source(&few)),
        Case::new("source, many", || source(&many)),
    ]);
    let [few, many, source_of_few, source_of_many] = times[..] else { return };
    table.row("hit around a block, which one page fills", few, None);
    table.ratio("  to that which 300 pages fill", many / few, 1.3);
    table.row("source that is not added, beside one page", source_of_few, None);
    table.ratio("  to that beside 300 pages", source_of_many / source_of_few, 1.3);
}

fn threads(table: &mut Table, site: &Site) {
    // As in a server: the templates are shared, the context each request's own.
    let scaling = |name: &'static str| {
        let renderer = || {
            let context = Site::context();
            move || drop(black_box(site.tera.render(name, &context).unwrap()))
        };
        let (one, two) = throughput(&renderer, Duration::from_millis(300), 9);
        two / one
    };
    let plain = scaling("plain");
    table.ratio_at_least("hits a second of two threads to one", scaling("tag"), 1.7);
    table.ratio_at_least("  pages without a tag, for comparison", plain, 0.0);
}

/// Limits in nanoseconds were set on a machine that renders an empty template
/// in 52: how many times slower this one is.
fn slower(site: &Site) -> f64 {
    let times = in_turns(&mut [Case::new("empty", || drop(black_box(site.render("none"))))]);
    println!(
        "an empty template renders in {:.0} ns; limits in ns were set where it takes 52",
        times[0]
    );
    times[0] / 52.0
}

fn main() {
    let site = Site::new();
    let mut table = Table::new(slower(&site));
    hits(&mut table, &site);
    misses(&mut table, &site);
    layouts(&mut table);
    threads(&mut table, &site);
    table.print();
}
