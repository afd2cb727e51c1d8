//! The keys and values in the server.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cacheops::{Cacheops, Credentials, Error, QuerySet, Redis, eq};
use cacheops_tests::servers::{Cluster, Server};
use serde_json::json;

use super::{LONG, changed, patient, process, read, until};

fn keys(server: &Server, pattern: &str) -> Vec<String> {
    let keys = server.command(&["KEYS", pattern]).unwrap();
    keys.lines().filter(|key| !key.starts_with("(empty")).map(str::to_owned).collect()
}

#[test]
fn keys_are_spelled_as_documented() {
    let server = Server::start();
    let redis = patient(&server);
    let cache = Cacheops::builder().prefix("app:").redis(redis).build().unwrap();
    let set =
        QuerySet::table("blog.articles").filter(eq("status", "a&b")).filter(eq("category", 3));
    cache.cached_as(set).name("list").extra(&7).get_or_fill(|| Ok::<_, Error>(1)).unwrap();
    cache.invalidate_model("tags").unwrap();
    let mut all = keys(&server, "*");
    all.sort();
    let fragment = cache.fragments()[0].key.to_string();
    assert_eq!(all.len(), 7, "{all:?}");
    let expected = [
        "app:all".to_owned(),
        "app:conj:blog.articles:category=3&status=a%26b".to_owned(),
        format!("app:frag:{fragment}"),
        "app:last".to_owned(),
        "app:name:list".to_owned(),
        "app:schemes:blog.articles".to_owned(),
    ];
    assert!(expected.iter().all(|key| all.contains(key)), "{all:?}");
    let fields = server.command(&["HKEYS", "app:schemes:blog.articles"]).unwrap();
    assert!(fields.contains("_e") && fields.contains("category,status"), "{fields}");
    // All keys expire, except those that exist once.
    let lasting = ["app:all", "app:last"];
    for key in &all {
        let left: i64 = server.command(&["TTL", key]).unwrap().parse().unwrap();
        assert_eq!(left == -1, lasting.contains(&key.as_str()), "{key}: {left}");
    }
}

/// A damaged value, or one of another version, is a miss.
#[test]
fn damaged_values_are_misses() {
    let server = Server::start();
    let writer = process(patient(&server));
    let database = Cell::new(1);
    read(&writer, 1, &database);
    let key = keys(&server, "frag:*").remove(0);
    let len: usize = server.command(&["STRLEN", &key]).unwrap().parse().unwrap();
    for at in 0..len {
        let byte = server.command(&["GETRANGE", &key, &at.to_string(), &at.to_string()]).unwrap();
        let other = if byte == "x" { "y" } else { "x" };
        server.command(&["SETRANGE", &key, &at.to_string(), other]).unwrap();
        let reader = process(patient(&server));
        assert_eq!(read(&reader, 1, &database), (1, true), "byte {at} of {len}");
    }
    for junk in ["", "x", &"x".repeat(100)] {
        server.command(&["SET", &key, junk]).unwrap();
        assert_eq!(read(&process(patient(&server)), 1, &database), (1, true));
    }
    server.command(&["DEL", &key]).unwrap();
    server.command(&["LPUSH", &key, "a list"]).unwrap();
    assert_eq!(read(&process(patient(&server)), 1, &database), (1, true));
}

/// Keys of another type in the place of ours: nothing is cached, and all values are right.
#[test]
fn keys_of_another_type_are_misses() {
    let server = Server::start();
    for (key, command) in [("schemes:rows", "SET"), ("conj:rows:id=1", "LPUSH"), ("all", "LPUSH")] {
        let cache = process(patient(&server));
        server.command(&[command, key, "x"]).unwrap();
        let database = Cell::new(1);
        assert_eq!(read(&cache, 1, &database), (1, true), "{key}");
        assert_eq!(read(&cache, 1, &database), (1, true), "{key}");
        cache.invalidate_obj("rows", &changed(1)).unwrap();
        server.command(&["FLUSHALL"]).unwrap();
    }
}

#[test]
fn large_values_are_compressed_when_it_pays() {
    let server = Server::start();
    let cache = process(patient(&server).compress_above(1000));
    let other = process(patient(&server));
    let shrinks = "<li class=\"item\">text</li>\n".repeat(400);
    let mut seed = 1u64;
    let random = |_| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b' ' + (seed >> 33) as u8 % 94)
    };
    let stays: String = (0..10_000).map(random).collect();
    for (text, small) in [(shrinks, true), (stays, false)] {
        let get = |cache: &Cacheops| {
            let fill = || Ok::<_, Error>(text.clone());
            let place = cache.cached().name("text").extra(&small);
            get_text(place, fill)
        };
        assert_eq!(get(&cache), (text.clone(), true));
        assert_eq!(get(&other), (text.clone(), false), "the other process reads it");
        let key = cache.fragments()[0].key;
        let shared = other.shared_fragment(&key).unwrap().unwrap();
        assert!(shared.info.is_current);
        let bytes = shared.bytes;
        let later = futures_executor::block_on(other.shared_fragment_async(&key));
        assert_eq!(later.unwrap().unwrap().bytes, bytes);
        assert_eq!(bytes < text.len() / 4, small, "{bytes} of {}", text.len());
        cache.invalidate_all().unwrap();
    }
}

fn get_text(
    place: cacheops::Cached<'_>,
    fill: impl Fn() -> Result<String, Error>,
) -> (String, bool) {
    let filled = Cell::new(false);
    let text = place.get_or_fill(|| {
        filled.set(true);
        fill()
    });
    (text.unwrap(), filled.get())
}

#[test]
fn time_limits_apply_in_the_server_too() {
    let server = Server::start();
    let cache = process(patient(&server));
    let place = |cache: &Cacheops| {
        let value = cache.cached().name("short").time_to_live(Duration::from_millis(50));
        value.get_or_fill(|| Ok::<_, Error>(1)).unwrap();
    };
    place(&cache);
    let left: i64 =
        server.command(&["PTTL", &keys(&server, "frag:*")[0]]).unwrap().parse().unwrap();
    assert!((1..=50).contains(&left), "{left}");
    until("the end", || keys(&server, "frag:*").is_empty());
    // The clocks are compared as exactly as a round trip allows.
    until("the end here", || {
        place(&cache);
        cache.stats().misses == 2
    });
    assert_eq!(cache.stats().expired, 1);
}

#[test]
fn the_last_invalidation_is_timed_by_the_servers_clock() {
    let server = Server::start();
    let (one, two) = (process(patient(&server)), process(patient(&server)));
    assert_eq!(one.get_last_invalidation(["rows"]), None);
    let time = || {
        let text = server.command(&["TIME"]).unwrap();
        let (seconds, micros) = text.split_once('\n').unwrap();
        Duration::new(seconds.parse().unwrap(), micros.parse::<u32>().unwrap() * 1000)
    };
    let since = |time: Option<SystemTime>| time.unwrap().duration_since(UNIX_EPOCH).unwrap();
    // The two clocks are read one after the other.
    let slack = Duration::from_secs(1);
    let before = time();
    one.invalidate_obj("rows", &changed(1)).unwrap();
    let noted = since(two.get_last_invalidation(["rows"]));
    assert!(noted + slack >= before && noted <= time() + slack, "{noted:?} {before:?}");
    // Every invalidation advances it, whichever process it comes from.
    let mut last = noted;
    for n in 0..200 {
        let cache = if n % 2 == 0 { &one } else { &two };
        cache.invalidate_model("rows").unwrap();
        let now = since(one.get_last_invalidation(["rows", "others"]));
        assert!(now > last, "{n}: {now:?} after {last:?}");
        last = now;
    }
    assert_eq!(two.get_last_invalidation(["others"]), None);
    // Times that the server has lost count as now.
    server.command(&["DEL", "last"]).unwrap();
    assert!(since(one.get_last_invalidation(["others"])) + slack >= last);
}

/// Thousands of rows take a few round trips.
#[test]
fn batches_take_few_trips() {
    let server = Server::start();
    let cache = process(patient(&server));
    let database = Cell::new(1);
    for id in 0..100 {
        read(&cache, id, &database);
    }
    let reads = || -> u64 { server.info("total_reads_processed").parse().unwrap() };
    let before = reads();
    let rows = (0..10_000).map(|id| json!({"id": id}));
    cache.invalidate_objs("rows", rows).unwrap();
    // The server reads 16 KiB at a time: these are 300 KB of keys, twice.
    let trips = reads() - before;
    assert!(trips < 100, "{trips} reads for 10,000 rows");
    assert!((0..100).all(|id| read(&cache, id, &database).1));
}

#[test]
fn computed_prefixes_keep_tenants_apart() {
    use std::cell::RefCell;
    thread_local!(static TENANT: RefCell<String> = const { RefCell::new(String::new()) });
    let be = |name: &str| TENANT.with(|tenant| *tenant.borrow_mut() = name.to_owned());
    let server = Server::start();
    let open = || {
        let compute = |query: &cacheops::PrefixQuery<'_>| {
            let databases: Vec<&str> = query.databases().collect();
            TENANT.with(|tenant| format!("{}/{}:", tenant.borrow(), databases.join("+")))
        };
        let redis = patient(&server);
        Cacheops::builder().prefix("x:").prefix_by(compute).redis(redis).build().unwrap()
    };
    let (one, two) = (open(), open());
    let get = |cache: &Cacheops, value: u64| {
        let filled = Cell::new(false);
        let fill = || {
            filled.set(true);
            Ok::<_, Error>(value)
        };
        let set = QuerySet::table("shop.rows").filter(eq("id", 1));
        let value = get_number(cache.cached_as(set), fill);
        (value, filled.get())
    };
    be("a");
    assert_eq!(get(&one, 1), (1, true));
    be("b");
    assert_eq!(get(&one, 2), (2, true), "tenants do not share");
    assert_eq!(get(&two, 3), (2, false), "processes do");
    one.invalidate_obj("shop.rows", &changed(1)).unwrap();
    assert_eq!(get(&one, 4), (4, true));
    be("a");
    assert_eq!(get(&one, 5), (1, false), "the other tenant's row has not changed");
    assert!(keys(&server, "x:a/shop:conj:shop.rows:*").len() == 1, "{:?}", keys(&server, "*"));
    one.invalidate_all().unwrap();
    assert_eq!(get(&one, 6), (6, true));
}

fn get_number(place: cacheops::Cached<'_>, fill: impl FnOnce() -> Result<u64, Error>) -> u64 {
    place.get_or_fill(fill).unwrap()
}

/// Numbers that even compressed use the connection for large values.
fn large() -> Vec<u64> {
    let next = |seed: &u64| Some(seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    std::iter::successors(Some(7), next).take(60_000).collect()
}

/// Fills a large fragment here. Returns whether another process finds it.
fn is_shared(cache: &Cacheops, server: &Server, id: u64) -> bool {
    let numbers = large();
    let set = || QuerySet::table("texts").filter(eq("id", id));
    let of = |cache: &Cacheops| {
        let filled = Cell::new(false);
        let place = cache.cached_as(set());
        let made = place.get_or_fill(|| {
            filled.set(true);
            Ok::<_, Error>(numbers.clone())
        });
        assert_eq!(made.unwrap().len(), numbers.len());
        filled.get()
    };
    assert!(of(cache), "it is new");
    !of(&process(patient(server)))
}

/// A server that closes the connection for large values, as it does when it is idle, has
/// not refused a size.
#[test]
fn a_closed_bulk_connection_is_reopened() {
    let server = Server::start();
    let cache = process(patient(&server));
    for id in 0..3 {
        assert!(is_shared(&cache, &server, id), "value {id}");
        let clients = server.command(&["CLIENT", "LIST"]).unwrap();
        let of = |line: &str, name: &str| {
            let mut fields = line.split(' ');
            fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
        };
        let large = clients.lines().filter(|line| of(line, "cmd").as_deref() == Some("set"));
        let ids: Vec<String> = large.filter_map(|line| of(line, "id")).collect();
        assert_eq!(ids.len(), 1, "{clients}");
        server.command(&["CLIENT", "KILL", "ID", &ids[0]]).unwrap();
    }
    assert_eq!(cache.shared_status().unwrap().sessions, 1);
}

/// Nor has a server that cannot be reached for a moment.
#[test]
fn an_unavailable_bulk_connection_only_skips_storing() {
    let server = Server::start();
    let fails = Arc::new(AtomicBool::new(false));
    let is_failing = fails.clone();
    let cache =
        process(patient(&server).credentials(move || match is_failing.load(Ordering::SeqCst) {
            true => Err("none".into()),
            false => Ok(Credentials::new(Some("default"), "x")),
        }));
    fails.store(true, Ordering::SeqCst);
    assert!(!is_shared(&cache, &server, 1));
    fails.store(false, Ordering::SeqCst);
    assert!(is_shared(&cache, &server, 2));
}

/// If a slot has moved, the value is not stored there, and its size does not count as
/// refused.
#[test]
fn large_values_of_a_moved_slot_are_stored_after_a_redirection() {
    let cluster = Cluster::start(2);
    let redis = || Redis::cluster(cluster.urls()).operation_timeout(LONG);
    let cache = process(redis());
    let numbers = large();
    let moved = std::sync::OnceLock::new();
    let place = |cache: &Cacheops, id: u64, meanwhile: &dyn Fn()| {
        let set = QuerySet::table("texts").filter(eq("id", id));
        let made = cache.cached_as(set).get_or_fill(|| {
            meanwhile();
            Ok::<_, Error>(numbers.clone())
        });
        assert_eq!(made.unwrap().len(), numbers.len());
    };
    // The slot of the fragment is known once it is stored.
    place(&cache, 1, &|| {});
    let keys = |node: usize| {
        let keys = cluster.node(node).command(&["KEYS", "frag:*"]).unwrap();
        keys.lines().filter(|key| key.starts_with("frag:")).map(str::to_owned).next()
    };
    let (from, key) = (0..2).find_map(|node| Some((node, keys(node)?))).unwrap();
    cache.invalidate_obj("texts", &changed(1)).unwrap();
    place(&cache, 1, &|| {
        moved.get_or_init(|| cluster.move_slot(Cluster::slot_of(&key), from, 1 - from));
    });
    assert!(moved.get().is_some());
    for id in 2..6 {
        place(&cache, id, &|| {});
    }
    let other = process(redis());
    (2..6).for_each(|id| place(&other, id, &|| panic!("{id} is not shared")));
}
