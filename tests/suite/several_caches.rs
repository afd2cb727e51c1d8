//! Caches inside of caches: what one was made from, another must not outlive.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cacheops::{Cacheops, Consistency, Error, QuerySet, Redis, eq};
use cacheops_tests::servers::{Mode, Proxy, Server};
use cacheops_tests::{Backend, OverRedis, Strict};
use serde_json::json;

/// As long as anything here may take on a busy machine.
const LONG: Duration = Duration::from_secs(30);

/// How long a cache waits for a server that has become silent.
const SHORT: Duration = Duration::from_secs(2);

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

/// What a cache is built over, for a page that shows a value of another.
fn caches_around(server: &Server, other: &Server) -> [(&'static str, Cacheops); 3] {
    let over = |server: &Server, prefix: &str| {
        let redis = Redis::url(server.url()).operation_timeout(LONG).connect_timeout(LONG);
        let redis = redis.consistency(Consistency::Strict);
        Cacheops::builder().prefix(prefix).redis(redis).build().unwrap()
    };
    [
        ("in memory", Cacheops::in_memory()),
        ("another prefix", over(server, "a:")),
        ("another server", over(other, "b:")),
    ]
}

/// What is made on a page that shows `got`.
fn shown(cache: &Cacheops, got: u64) -> u64 {
    cache.cached_as(row("rows")).name("shown").get_or_fill(|| Ok::<_, Error>(got)).unwrap()
}

/// A page shows a value of one cache in a fragment of another. The news of a change
/// is on its way to the first, and the second has it already: what the fragment shows
/// is older than its stamps.
/// Where a value of the other cache is read before a fill shows it.
enum Way {
    Page,
    Fill,
    Future,
}

fn news_on_its_way(mode: Consistency, way: &Way) {
    let (server, other) = (Server::start(), Server::start());
    for (name, around) in caches_around(&server, &other) {
        let proxy = Proxy::start(server.port());
        let inner = |port: u16, limit: Duration| {
            let redis = Redis::url(server.url_at(port)).connect_timeout(LONG).consistency(mode);
            Cacheops::builder().prefix("b:").redis(redis.operation_timeout(limit)).build().unwrap()
        };
        let (here, there) = (inner(proxy.port(), SHORT), inner(server.port(), LONG));
        there.invalidate_all().unwrap();
        let database = AtomicU64::new(1);
        read(&here, "rows", &database);
        let show = || {
            let got = read(&here, "rows", &database);
            proxy.set(Mode::SilentReplies);
            database.store(2, Ordering::SeqCst);
            let changed = json!({"id": 1});
            [&there, &around].iter().for_each(|it| it.invalidate_obj("rows", &changed).unwrap());
            assert_eq!(shown(&around, got), got, "{name}");
            got
        };
        match way {
            Way::Page => {
                let page = around.page();
                page.enter();
                show()
            }
            Way::Fill => {
                let outer = around.cached().name("outer");
                outer.get_or_fill(|| Ok::<_, Error>(show())).unwrap()
            }
            Way::Future => {
                let outer = around.cached().name("outer");
                let made = outer.get_or_fill_async(|| async { Ok::<_, Error>(show()) });
                futures_executor::block_on(made).unwrap()
            }
        };
        assert_eq!(shown(&around, 2), 2, "{name}");
    }
}

#[test]
fn news_on_its_way_strict() {
    [Way::Page, Way::Fill, Way::Future].iter().for_each(|way| {
        news_on_its_way(Consistency::Strict, way);
    });
}

#[test]
fn news_on_its_way_bounded() {
    [Way::Page, Way::Fill, Way::Future].iter().for_each(|way| {
        news_on_its_way(Consistency::Bounded(LONG), way);
    });
}

/// While its values are current, the other cache stores; when they are not, or when
/// nobody is left who would know, it does not.
#[test]
fn a_page_with_values_of_another_cache() {
    let (server, other) = (Server::start(), Server::start());
    for (name, around) in caches_around(&server, &other) {
        let redis = || Redis::url(server.url()).operation_timeout(LONG).connect_timeout(LONG);
        let inner = || Cacheops::builder().prefix("b:").redis(redis()).build().unwrap();
        let (here, there) = (inner(), inner());
        let database = AtomicU64::new(1);
        let stores = |change: &dyn Fn()| {
            around.invalidate_model("rows").unwrap();
            read(&here, "rows", &database);
            let page = around.page();
            page.enter();
            let got = read(&here, "rows", &database);
            change();
            let before = around.stats().stored;
            shown(&around, got);
            around.stats().stored - before
        };
        assert_eq!(stores(&|| ()), 1, "{name}");
        assert_eq!(stores(&|| there.invalidate_model("other").unwrap()), 1, "{name}");
        assert_eq!(stores(&|| there.invalidate_model("rows").unwrap()), 0, "{name}");
        assert_eq!(stores(&|| ()), 1, "{name}");
        let page = around.page();
        page.enter();
        let got = read(&here, "rows", &database);
        drop(here);
        around.invalidate_model("rows").unwrap();
        shown(&around, got);
        drop(page);
        assert_eq!(shown(&around, got + 1), got + 1, "{name}: its cache is gone");
    }
}

on_stores! {
    memory_inside redis_inside strict_inside a_function_with_a_cache_of_its_own
}
