//! Bounds: of memory, of depth, of size.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cacheops::{Cacheops, Error, PrefixQuery, QuerySet, all, any, eq, not};
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

/// Hits remember how they ask again: that goes with the limit of memory, too.
fn what_hits_remember_does_not_pile_up<B: Backend>() {
    const STAMPS: u64 = 200;
    let cache = B::cache(Cacheops::builder().memory_limit(MIB));
    for n in 0..1_000 / B::SLOWNESS {
        let set = |id: u64| QuerySet::table("articles").filter(eq("id", n * STAMPS + id));
        for _ in 0..2 {
            let call = (1..STAMPS).fold(cache.cached_as(set(0)), |call, id| call.also(set(id)));
            call.get_or_fill(|| Ok::<_, Error>(n)).unwrap();
        }
    }
    let usage = cache.usage();
    // Those of fragments, those remembered in an eighth of the limit, and as many
    // idle ones, in each of the 64 shards.
    let most = 2 * (usage.fragments * STAMPS as usize + 1_000) + 64 * 64;
    assert!(usage.stamps <= most, "{usage:?}");
    assert!(usage.bookkeeping <= MIB, "{usage:?}");
}

/// Tenants by a computed prefix, each with three tables, who come and go.
fn tenants_do_not_pile_up<B: Backend>() {
    let tenant = Arc::new(AtomicU64::new(0));
    let prefix = {
        let tenant = tenant.clone();
        move |_: &PrefixQuery<'_>| format!("{}:", tenant.load(Ordering::SeqCst))
    };
    let cache = B::cache(Cacheops::builder().memory_limit(MIB).prefix_by(prefix));
    let come = |from: u64, to: u64| {
        for n in from..to {
            tenant.store(n, Ordering::SeqCst);
            for table in ["articles", "tags", "users"] {
                let set = QuerySet::table(table).filter(eq("id", 1));
                cache.cached_as(set).get_or_fill(|| Ok::<_, Error>(n)).unwrap();
            }
            if n % 2 == 0 {
                cache.invalidate_obj("tags", &json!({"id": 1})).unwrap();
            }
        }
        cache.usage()
    };
    let count = 60_000 / B::SLOWNESS;
    let whole = come(0, count);
    // What is held by fragments, and as much that is not: of tables, and of
    // stamps in each of the 64 shards.
    let bound = |fragments: usize| 4 * fragments + 64 * 64 + 1024;
    assert!(whole.tables <= bound(whole.fragments), "{whole:?}");
    let bytes = 100 * whole.tables as u64..=500 * bound(whole.fragments) as u64;
    assert!(bytes.contains(&whole.bookkeeping), "{whole:?}");
    // Of those that are forgotten the time is that of the last of them.
    tenant.store(0, Ordering::SeqCst);
    assert!(cache.get_last_invalidation(["tags"]).is_some());
}

/// More kinds of queries than there should be: what a changed row costs stays
/// within a bound, and each of them hears of it.
fn schemes_do_not_pile_up<B: Backend>() {
    let most = Arc::new(AtomicU64::new(0));
    let cache = B::cache(Cacheops::builder().on_cache_invalidated({
        let most = most.clone();
        move |event| {
            most.fetch_max(event.schemes as u64, Ordering::SeqCst);
        }
    }));
    let (database, filled) = (AtomicU64::new(1), AtomicU64::new(0));
    let read = |field: u64, value: u64| {
        let set = QuerySet::table("articles").filter(eq(format!("f{field}"), value));
        let value = cache.cached_as(set).get_or_fill(|| {
            filled.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Error>(database.load(Ordering::SeqCst))
        });
        value.unwrap()
    };
    let row = |value: u64| {
        let fields = (0..1_000).map(|n| (format!("f{n}"), json!(value)));
        json!(fields.collect::<serde_json::Map<_, _>>())
    };
    for round in 1..4 {
        database.store(round, Ordering::SeqCst);
        cache.invalidate_obj("articles", &row(1)).unwrap();
        (0..1_000).for_each(|field| assert_eq!(read(field, 1), round, "of f{field}"));
    }
    let most = most.load(Ordering::SeqCst);
    assert!((128..=129).contains(&most), "{most} schemes");
    // Those that there was room for are as exact as ever.
    read(0, 2);
    let before = filled.load(Ordering::SeqCst);
    cache.invalidate_obj("articles", &row(3)).unwrap();
    (0..1_000).for_each(|field| assert_eq!(read(field, 1), 3));
    let again = filled.load(Ordering::SeqCst) - before;
    assert!((800..1_000).contains(&again), "{again} of 1,000 made again");
}

/// A batch beyond the budget of drops becomes its table.
fn a_large_batch_becomes_its_table<B: Backend>() {
    let (whole, dropped) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let cache = B::cache(Cacheops::builder().on_cache_invalidated({
        let (whole, dropped) = (whole.clone(), dropped.clone());
        move |event| {
            whole.fetch_add(u64::from(event.whole_table), Ordering::SeqCst);
            dropped.fetch_add(event.dropped as u64, Ordering::SeqCst);
        }
    }));
    let database = AtomicU64::new(1);
    let read = || {
        let set = QuerySet::table("articles").filter(eq("id", 1_000_000));
        let fill = || Ok::<_, Error>(database.load(Ordering::SeqCst));
        cache.cached_as(set).get_or_fill(fill).unwrap()
    };
    let rows = |count: u64| (0..count).map(|id| json!({"id": id}));
    assert_eq!(read(), 1);
    database.store(2, Ordering::SeqCst);
    cache.invalidate_objs("articles", rows(100_000)).unwrap();
    assert_eq!((read(), whole.load(Ordering::SeqCst)), (1, 0), "it is not among them");
    cache.invalidate_objs("articles", rows(100_001)).unwrap();
    assert_eq!((read(), whole.load(Ordering::SeqCst)), (2, 1));
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
            "syntax error: `{{% cached %}}`: it is inside {} other cache tags, which is the maximum (in deeper:1)",
            E::MAX_DEPTH
        )
    );
    // Beside each other there is no such bound.
    engine.add("many", &"{% cached %}x{% endcached %}".repeat(2_000)).unwrap();
    assert_eq!(engine.render("many", &Context::default()).unwrap().len(), 2_000);
}

on_stores! {
    the_limit_is_kept stamps_do_not_pile_up what_hits_remember_does_not_pile_up tenants_do_not_pile_up schemes_do_not_pile_up
    a_large_batch_becomes_its_table
}

on_stores_and_engines! { a_large_fragment_is_rendered a_large_template nesting }

/// A fold over conditions does not nest, and what nests too deep is an error: it
/// would take the stack of whoever walks it.
#[test]
fn conditions_nest_so_deep_and_no_deeper() {
    let cache = Cacheops::in_memory();
    let fill = |condition| {
        let set = QuerySet::table("articles").filter(condition);
        cache.cached_as(&set).get_or_fill(|| Ok::<_, Error>(1))
    };
    let ids = || (0..20_000).map(|id| eq("id", id));
    fill(ids().fold(any([]), |folded, next| any([folded, next]))).unwrap();
    fill(ids().fold(all([]), |folded, next| all([folded, next]))).unwrap();

    let nested = |depth| (1..depth).fold(eq("id", 0), |inner, _| not(inner));
    fill(nested(128)).unwrap();
    for condition in [nested(129), nested(20_000)] {
        let error = fill(condition).unwrap_err().to_string();
        assert!(error.contains("more than 128 deep"), "{error}");
    }
    let zigzag =
        (0..20_000).fold(eq("id", 0), |inner, id| all([any([inner, eq("id", id)]), eq("a", id)]));
    assert!(fill(zigzag).is_err());
}
