//! Bounds: of memory, of depth, of size.

use cacheops::{Cacheops, Error, QuerySet, eq};
use cacheops_tests::{Backend, Context, Delimiters, Engine, Layout};
use serde_json::json;

const MIB: u64 = 1 << 20;

/// Fills `count` fragments of `len` bytes, each on a conjunction of its own.
fn fill(cache: &Cacheops, count: u64, len: usize) {
    let text = "x".repeat(len);
    for id in 0..count {
        let set = QuerySet::table("articles").filter(eq("id", id));
        let value = cache.cached_as(set).extra(&len).get_or_fill(|| Ok::<_, Error>(text.clone()));
        assert_eq!(value.unwrap().len(), len);
    }
}

fn the_limit_is_kept<B: Backend>() {
    let limit = 8 * MIB / B::SLOWNESS;
    let cache = B::cache(Cacheops::builder().memory_limit(limit));
    for (count, len) in [(20_000, 1_000), (200, 100_000), (100_000, 10)] {
        fill(&cache, count / B::SLOWNESS, len);
        let bytes = cache.usage().bytes;
        assert!(bytes <= limit, "{bytes} bytes of {limit}");
        assert!(bytes >= limit * 9 / 10, "only {bytes} bytes of {limit}");
    }
}

fn stamps_do_not_pile_up<B: Backend>() {
    let cache = B::cache(Cacheops::builder().memory_limit(MIB));
    let count = 100_000 / B::SLOWNESS;
    fill(&cache, count, 100);
    let usage = cache.usage();
    assert!(usage.fragments < 4_000, "{usage:?}");
    // At most as many idle ones as there are others, in each of the 64 shards.
    assert!(usage.stamps <= 2 * usage.fragments + 64 * 64, "{usage:?}");
    let schemes = 1;
    cache.invalidate_objs("articles", (0..count).map(|id| json!({"id": id}))).unwrap();
    assert!(cache.usage().stamps <= schemes, "{:?}", cache.usage());
}

fn a_large_fragment_is_rendered<B: Backend, E: Engine>() {
    let cache = B::cache(Cacheops::builder().memory_limit(MIB));
    let mut engine = E::new(&cache, Delimiters::Default, Layout::default());
    engine
        .add("page", "{% cached %}{{ text }}{% endcached %}{% cached %}small{% endcached %}")
        .unwrap();
    let mut context = Context::default();
    context.values.insert("text".to_owned(), json!("x".repeat(2 * MIB as usize)));
    for _ in 0..2 {
        assert_eq!(engine.render("page", &context).unwrap().len(), 2 * MIB as usize + 5);
    }
    let stats = cache.stats();
    // A shared tier has room for what the memory of the process has not.
    let expected = if B::SLOWNESS > 1 { (2, 2, 0) } else { (1, 1, 2) };
    assert_eq!((stats.hits, stats.stored, stats.not_stored), expected);
    assert!(cache.usage().bytes <= MIB);
}

fn a_large_template<B: Backend, E: Engine>() {
    let cache = B::cache(Cacheops::builder());
    let mut engine = E::new(&cache, Delimiters::Default, Layout::default());
    let text = "<p>some text\n".repeat(10 * MIB as usize / 13);
    let source = format!("{text}{{% cached %}}{{{{ 1 }}}}{{% endcached %}}{text}");
    engine.add("page", &source).unwrap();
    let page = engine.render("page", &Context::default()).unwrap();
    assert_eq!(page.trim_end().len(), 2 * text.len());
    // A tag that is never closed costs no more than one that is.
    let error = engine.add("page", &format!("{text}{{% cached %}}")).unwrap_err();
    assert!(error.contains("is never closed"), "{error}");
}

fn nesting<B: Backend, E: Engine>() {
    let cache = B::cache(Cacheops::builder());
    let mut engine = E::new(&cache, Delimiters::Default, Layout::default());
    let nested = |depth: usize| {
        format!("{}x{}", "{% cached %}".repeat(depth), "{% endcached %}".repeat(depth))
    };
    engine.add("deep", &nested(E::MAX_DEPTH)).unwrap();
    for _ in 0..2 {
        assert_eq!(engine.render("deep", &Context::default()).unwrap(), "x");
    }
    assert_eq!((cache.stats().misses, cache.stats().hits), (E::MAX_DEPTH as u64, 1));
    let error = engine.add("deeper", &nested(200)).unwrap_err();
    assert_eq!(
        error,
        format!(
            "syntax error: `{{% cached %}}`: it is inside {} other cache tags, and that is as deep as they can nest (in deeper:1)",
            E::MAX_DEPTH
        )
    );
    // Beside each other there is no such bound.
    engine.add("many", &"{% cached %}x{% endcached %}".repeat(2_000)).unwrap();
    assert_eq!(engine.render("many", &Context::default()).unwrap().len(), 2_000);
}

on_stores! { the_limit_is_kept stamps_do_not_pile_up }

on_stores_and_engines! { a_large_fragment_is_rendered a_large_template nesting }
