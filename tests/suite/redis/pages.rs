//! How many round trips a page takes, as the server counts them.

use std::cell::Cell;
use std::time::{Duration, Instant};

use cacheops::{Cacheops, Consistency, Error, QuerySet, Redis, eq};
use cacheops_tests::engines::MiniJinja;
use cacheops_tests::servers::{Mode, Proxy, Server, Trips};
use cacheops_tests::{Context, Delimiters, Engine, Layout};

use super::{LONG, changed, patient, process, read, row, strict, until};

#[test]
fn lookups_and_invalidations_take_few_trips() {
    let server = Server::start();
    let bounded = patient(&server).consistency(Consistency::Bounded(LONG));
    let (cache, asking) = (process(bounded), process(strict(&server)));
    let database = Cell::new(1);
    let mut trips = Trips::since_now(&server);
    read(&cache, 1, &database);
    assert_eq!(trips.count(), 2, "a miss: one trip finds nothing and leases, one stores");
    read(&cache, 1, &database);
    assert_eq!(trips.count(), 0, "a hit from memory");
    read(&cache, 2, &database);
    assert_eq!(trips.count(), 2, "a miss of what has a known scheme");
    let mut unlocked = |cache: &Cacheops| {
        row(cache, 3).lock(false).get_or_fill(|| Ok::<_, Error>(0)).unwrap();
        trips.count()
    };
    assert_eq!(unlocked(&cache), 2, "a miss without a lock");
    assert_eq!(unlocked(&asking), 1, "a hit of what another process has stored");
    read(&asking, 1, &database);
    until("the lock is given back", || server.command(&["KEYS", "lock:*"]).unwrap().is_empty());
    trips.count();
    read(&asking, 1, &database);
    assert_eq!(trips.count(), 1, "a strict hit");
    cache.invalidate_obj("rows", &changed(1)).unwrap();
    assert!(trips.count() <= 2, "an invalidation");
    cache.invalidate_obj("rows", &changed(2)).unwrap();
    assert_eq!(trips.count(), 1, "one whose schemes are known");
    cache.invalidate_model("rows").unwrap();
    assert_eq!(trips.count(), 1, "one of a table");
}

#[test]
fn a_strict_page_of_twenty_takes_one_trip() {
    let server = Server::start();
    let (cache, other) = (process(strict(&server)), process(strict(&server)));
    let mut engine = MiniJinja::new(&cache, Delimiters::Default, Layout::default());
    let tag = |n: u32| format!("{{% cached_as sets[{n}] %}}{{{{ n }}}} {{% endcached_as %}}");
    engine.add("page", &(0..20).map(tag).collect::<String>()).unwrap();
    let set = |id: u32| serde_json::to_value(QuerySet::table("rows").filter(eq("id", id))).unwrap();
    let render = |n: u32| {
        let mut context = Context::default();
        context.values.insert("n".to_owned(), n.into());
        context.values.insert("sets".to_owned(), (0..20).map(set).collect());
        engine.render("page", &context).unwrap()
    };
    let mut trips = Trips::since_now(&server);
    assert_eq!(render(1), "1 ".repeat(20));
    assert!(trips.count() <= 40);
    assert_eq!(render(2), "1 ".repeat(20));
    assert!(trips.count() <= 3, "twenty hits");
    assert_eq!(render(3), "1 ".repeat(20));
    assert_eq!(trips.count(), 1, "twenty hits");
    // The next page shows the change of another process.
    for n in 4..30 {
        other.invalidate_obj("rows", &changed(u64::from(n % 20))).unwrap();
        let page = render(n);
        let words: Vec<&str> = page.split_whitespace().collect();
        assert_eq!(words[n as usize % 20], n.to_string(), "{page}");
        assert_eq!(words.iter().filter(|word| **word == n.to_string()).count(), 1, "{page}");
    }
}

/// A prefetched fragment does not outlive an invalidation by the same process.
#[test]
fn a_page_that_invalidates_shows_its_own_change() {
    let server = Server::start();
    let cache = process(strict(&server));
    let database = Cell::new(1);
    let get = |page: &cacheops::Page, id: u64| {
        let set = QuerySet::table("rows").filter(eq("id", id));
        cache.cached_as(set).page(page).get_or_fill(|| Ok::<_, Error>(database.get())).unwrap()
    };
    for n in 1..10 {
        let page = cache.page();
        assert_eq!(get(&page, 1), 1);
        assert_eq!(get(&page, 2), n);
        database.set(n + 1);
        cache.invalidate_obj("rows", &changed(2)).unwrap();
        assert_eq!(get(&page, 2), n + 1);
        database.set(n + 1);
    }
}

/// After a cut, a page is verified in one round trip.
#[test]
fn a_page_after_a_cut_is_verified_in_one_trip() {
    let server = Server::start();
    let redis = patient(&server).consistency(Consistency::Bounded(Duration::from_secs(20)));
    let cache = process(redis);
    let render = |cache: &Cacheops| {
        let page = cache.page();
        for id in 0..20u64 {
            let set = QuerySet::table("rows").filter(eq("id", id));
            let value = cache.cached_as(set).page(&page).get_or_fill(|| Ok::<_, Error>(1));
            assert_eq!(value.unwrap(), 1);
        }
    };
    render(&cache);
    render(&cache);
    server.command(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
    until("the connection", || {
        cache.shared_status().unwrap().sessions > 1 && super::is_live(&cache)
    });
    let mut trips = Trips::since_now(&server);
    let misses = cache.stats().misses;
    render(&cache);
    assert_eq!(trips.count(), 1);
    assert_eq!(cache.stats().misses, misses);
}

/// A page that lasts longer than the bound, over a connection that has become silent:
/// what it has prefetched counts no longer than the bound.
#[test]
fn a_page_beyond_the_bound_is_verified_again() {
    let server = Server::start();
    let proxy = Proxy::start(server.port());
    let bound = Duration::from_millis(300);
    for mode in [Consistency::Bounded(bound), Consistency::Strict] {
        proxy.set(Mode::Pass);
        let redis = Redis::url(server.url_at(proxy.port())).consistency(mode);
        let cache = process(redis.operation_timeout(Duration::from_secs(2)));
        let other = process(strict(&server));
        let database = Cell::new(1);
        let on_page = |page: &cacheops::Page, id: u64| {
            let call = cache.cached_as(super::rows(id)).page(page);
            call.get_or_fill(|| Ok::<_, Error>(database.get())).unwrap()
        };
        let page = cache.page();
        (0..5).for_each(|id| assert_eq!(on_page(&page, id), 1));
        drop(page);
        // Memory is verified, together with the prefetched fragments of the page.
        server.command(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
        until("the connection", || {
            cache.shared_status().unwrap().sessions > 1 && super::is_live(&cache)
        });
        let page = cache.page();
        assert_eq!(on_page(&page, 0), 1);
        proxy.set(Mode::Silent);
        database.set(2);
        until("delivery", || other.invalidate_obj("rows", &changed(3)).is_ok());
        let announced = Instant::now();
        let limit = if mode == Consistency::Strict { Duration::from_secs(1) } else { bound };
        until("the bound", || {
            let began = announced.elapsed();
            let old = on_page(&page, 3) == 1;
            assert!(!old || began <= limit, "served {began:?} later");
            !old
        });
        other.invalidate_all().unwrap();
    }
}

/// A prefetch is bounded in bytes, because its time limit holds for all of it.
#[test]
fn large_fragments_are_not_prefetched_together() {
    let server = Server::start();
    let text = "x\u{e9}".repeat(150_000);
    let render = |cache: &Cacheops| {
        let page = cache.page();
        for id in 0..4 {
            let set = QuerySet::table("rows").filter(eq("id", id));
            let call = cache.cached_as(set).page(&page);
            call.get_or_fill(|| Ok::<_, Error>(text.clone())).unwrap();
        }
    };
    let large = || patient(&server).consistency(Consistency::Strict).compress_above(usize::MAX);
    let cache = process(large());
    render(&cache);
    let mut trips = Trips::since_now(&server);
    render(&cache);
    assert_eq!(trips.count(), 1, "of what is in memory only the stamps are read");
    // Everything in memory is outdated.
    cache.invalidate_model("rows").unwrap();
    render(&process(large()));
    trips.count();
    render(&cache);
    let count = trips.count();
    assert!(count > 2, "four of them in {count} trips");
}

/// Gets a page of fragments with one text.
fn page_of(cache: &Cacheops, text: &str, count: u32) {
    let page = cache.page();
    for id in 0..count {
        let set = QuerySet::table("rows").filter(eq("id", id));
        let call = cache.cached_as(set).page(&page);
        call.get_or_fill(|| Ok::<_, Error>(text.to_owned())).unwrap();
    }
}

/// In strict mode, with so many bytes of memory.
fn with_memory(server: &Server, bytes: u64) -> Cacheops {
    let redis = strict(server).compress_above(usize::MAX).connect_timeout(LONG);
    Cacheops::builder().memory_limit(bytes).redis(redis).build().unwrap()
}

/// Fragments that memory has no room for are prefetched.
#[test]
fn evicted_small_fragments_are_prefetched() {
    let server = Server::start();
    let cache = with_memory(&server, 60_000);
    let text = "x\u{e9}".repeat(3_000);
    page_of(&cache, &text, 20);
    page_of(&cache, &text, 20);
    let mut trips = Trips::since_now(&server);
    for _ in 0..3 {
        page_of(&cache, &text, 20);
        let count = trips.count();
        assert!(count <= 4, "a page of 20 takes {count} trips");
    }
}

/// Their current lengths count, although the page gets the same fragments as before.
#[test]
fn grown_fragments_are_not_prefetched_together() {
    let server = Server::start();
    let (cache, other) = (with_memory(&server, 400_000), with_memory(&server, 64 << 20));
    page_of(&cache, "small", 4);
    page_of(&cache, "small", 4);
    other.invalidate_model("rows").unwrap();
    let large = "x\u{e9}".repeat(200_000);
    page_of(&other, &large, 4);
    // This page learns the lengths.
    page_of(&cache, &large, 4);
    let mut trips = Trips::since_now(&server);
    for _ in 0..3 {
        page_of(&cache, &large, 4);
        let count = trips.count();
        // Together they would take one. The end of an earlier connection may be counted late.
        assert!(count >= 3, "four of 600 kB in {count} trips");
    }
}

/// A page prefetches for its own cache: what it has from one server is not used for a
/// cache over another.
#[test]
fn a_page_prefetches_for_its_own_cache_only() {
    let servers = [Server::start(), Server::start()];
    let [one, other] = [&servers[0], &servers[1]].map(|server| process(strict(server)));
    let get = |cache: &Cacheops, page: &cacheops::Page, id: u64, made: u64| {
        row(cache, id).page(page).get_or_fill(|| Ok::<_, Error>(made)).unwrap()
    };
    let all = |cache: &Cacheops, page: &cacheops::Page, made: u64| {
        [1, 2, 3].map(|id| get(cache, page, id, made))
    };
    // The third page knows which fragments follow.
    for _ in 0..3 {
        assert_eq!(all(&one, &one.page(), 1), [1; 3]);
    }
    assert_eq!(all(&other, &other.page(), 2), [2; 3]);
    let page = one.page();
    assert_eq!(get(&one, &page, 1, 1), 1);
    assert_eq!([2, 3].map(|id| get(&other, &page, id, 2)), [2, 2]);
    assert_eq!([2, 3].map(|id| get(&one, &page, id, 1)), [1, 1]);
}

/// What a fill costs does not depend on how much its page has read before.
#[test]
fn a_long_page_does_not_become_slower() {
    const FILLS: u64 = 6_000;
    const FEW: usize = 100;
    let server = Server::start();
    let cache = process(patient(&server));
    let page = cache.page();
    let times: Vec<Duration> = (0..FILLS)
        .map(|id| {
            let began = Instant::now();
            let set = QuerySet::table("rows").filter(eq("id", id));
            cache.cached_as(set).page(&page).get_or_fill(|| Ok::<_, Error>(id)).unwrap();
            began.elapsed()
        })
        .collect();
    // The fastest ones are those that nothing else on this machine has held up.
    let fastest = |times: &[Duration]| *times.iter().min().unwrap();
    let (first, last) = (fastest(&times[..FEW]), fastest(&times[times.len() - FEW..]));
    assert!(last < 3 * first, "{first:?} at first, {last:?} at last");
}
