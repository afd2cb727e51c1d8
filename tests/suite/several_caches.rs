//! Caches inside of caches: what one was made from, another must not outlive.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cacheops::{Cacheops, Error, QuerySet, eq};
use cacheops_tests::{Backend, OverRedis, Strict};
use serde_json::json;

fn row(table: &str) -> QuerySet {
    QuerySet::table(table).filter(eq("id", 1))
}

fn read(cache: &Cacheops, table: &str, database: &AtomicU64) -> u64 {
    let read = || Ok::<_, Error>(database.load(Ordering::SeqCst));
    cache.cached_as(row(table)).get_or_fill(read).unwrap()
}

fn around(outer: &Cacheops, inner: &Cacheops, database: &AtomicU64) -> u64 {
    let made = || Ok::<_, Error>(read(inner, "b", database));
    outer.cached_as(row("a")).get_or_fill(made).unwrap()
}

/// However the inner cache learns of a change, and however often the outer one was
/// a hit before; nor does either lose what it keeps of its own.
fn nested<B: Backend>(inner: &Cacheops) {
    let outer = B::cache(Cacheops::builder());
    let database = AtomicU64::new(0);
    let row = json!({"id": 1});
    let changes: [&dyn Fn(); 5] = [
        &|| inner.invalidate_obj("b", &row).unwrap(),
        &|| inner.invalidate_model("b").unwrap(),
        &|| inner.invalidate_all().unwrap(),
        &|| {
            inner.invalidate_obj("b", &row).unwrap();
            outer.invalidate_obj("b", &row).unwrap();
        },
        &|| {
            outer.invalidate_model("other").unwrap();
            inner.invalidate_obj("b", &row).unwrap();
        },
    ];
    for change in changes {
        around(&outer, inner, &database);
        around(&outer, inner, &database);
        let version = database.fetch_add(1, Ordering::SeqCst) + 1;
        change();
        assert_eq!(around(&outer, inner, &database), version);
        assert_eq!(read(inner, "b", &database), version);
    }
    // Each goes on keeping what it has made by itself.
    for (cache, table) in [(&outer, "c"), (inner, "d"), (inner, "b"), (&outer, "c")] {
        let before = database.fetch_add(1, Ordering::SeqCst) + 1;
        cache.invalidate_model(table).unwrap();
        assert_eq!(read(cache, table, &database), before);
        database.fetch_add(1, Ordering::SeqCst);
        assert_eq!(read(cache, table, &database), before, "{table}");
    }
}

fn memory_inside<B: Backend>() {
    nested::<B>(&Cacheops::in_memory());
}

fn redis_inside<B: Backend>() {
    nested::<B>(&OverRedis::cache(Cacheops::builder()));
}

fn strict_inside<B: Backend>() {
    nested::<B>(&Strict::cache(Cacheops::builder()));
}

/// In templates: a function asks a small cache in memory.
fn a_function_with_a_cache_of_its_own<B: Backend>() {
    let (cache, small) = (B::cache(Cacheops::builder()), Cacheops::in_memory());
    let database = Arc::new(AtomicU64::new(1));
    let (it, of) = (small.clone(), database.clone());
    let rate = move || read(&it, "b", &of);
    let text = "{% cached_as 'articles' %}{{ rate() }}{% endcached_as %}";
    let mut env = minijinja::Environment::new();
    let tags = minijinja_cacheops::Tags::install(&mut env, &cache);
    env.add_function("rate", rate.clone());
    tags.add_template(&mut env, "page", text).unwrap();
    let mut tera = tera::Tera::default();
    let tera_tags = tera_cacheops::Tags::install(&mut tera, &cache);
    tera.register_function("rate", move |_: tera::Kwargs, _: &tera::State<'_>| rate());
    tera_tags.add_template(&mut tera, "page", text).unwrap();
    let render = || {
        let first = env.get_template("page").unwrap().render(()).unwrap();
        (first, tera.render("page", &tera::Context::new()).unwrap())
    };
    render();
    assert_eq!(render(), ("1".to_owned(), "1".to_owned()));
    database.store(2, Ordering::SeqCst);
    small.invalidate_model("b").unwrap();
    assert_eq!(render(), ("2".to_owned(), "2".to_owned()));
}

on_stores! {
    memory_inside redis_inside strict_inside a_function_with_a_cache_of_its_own
}
