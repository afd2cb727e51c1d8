//! Large invalidations, and servers that refuse to drop keys.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cacheops::{Cacheops, Consistency, Error, ErrorKind, LinkState, QuerySet, Redis, eq};
use cacheops_tests::servers::Server;
use serde_json::{Value, json};

use super::{LONG, changed, is_live, patient, process, read, strict, until};

/// Fragments by ten kinds of queries.
fn read_in_ten_ways(cache: &Cacheops) -> u64 {
    let filled = Cell::new(0);
    for n in 0..10 {
        let set = QuerySet::table("rows").filter(eq("id", 1)).filter(eq(format!("f{n}"), n));
        let fill = || {
            filled.set(filled.get() + 1);
            Ok::<_, Error>(n)
        };
        cache.cached_as(set).extra(&n).get_or_fill(fill).unwrap();
    }
    filled.get()
}

fn wide_rows(count: u64) -> Vec<Value> {
    let row = |id: u64| {
        let fields = (0..10).map(|n| (format!("f{n}"), json!(n)));
        json!(fields.chain([("id".to_owned(), json!(id))]).collect::<serde_json::Map<_, _>>())
    };
    (0..count).map(row).collect()
}

/// More keys than are dropped one by one, with the default limits.
#[test]
fn a_large_batch_drops_the_table_in_one_command() {
    let server = Server::start();
    let cache = process(Redis::url(server.url()));
    let other = process(strict(&server));
    assert_eq!((read_in_ten_ways(&cache), read_in_ten_ways(&other)), (10, 0));
    let before = cache.shared_status().unwrap().sessions;
    cache.invalidate_objs("rows", wide_rows(300_000)).unwrap();
    assert_eq!(cache.shared_status().unwrap().sessions, before, "the connection holds");
    assert_eq!(read_in_ten_ways(&other), 10);
}

/// The same with `queue_invalidations`.
#[test]
fn a_large_queued_batch_is_delivered_as_its_table() {
    let server = Server::start();
    let cache = process(Redis::url(server.url()).queue_invalidations(10_000_000));
    let other = process(strict(&server));
    assert_eq!((read_in_ten_ways(&cache), read_in_ten_ways(&other)), (10, 0));
    server.stop();
    cache.invalidate_objs("rows", wide_rows(300_000)).unwrap();
    assert!(!is_live(&cache));
    server.cont();
    until("the connection", || is_live(&cache) && cache.shared_status().unwrap().pending == 0);
    assert_eq!(read_in_ten_ways(&other), 10);
}

/// The time limit holds for each round trip of a batch.
#[test]
fn the_time_limit_holds_for_one_trip() {
    let server = Server::start();
    let proxy = cacheops_tests::servers::Proxy::start(server.port());
    let limit = Duration::from_millis(400);
    let cache = process(Redis::url(server.url_at(proxy.port())).operation_timeout(limit));
    let other = process(strict(&server));
    let database = Cell::new(1);
    read(&other, 7, &database);
    proxy.set(cacheops_tests::servers::Mode::Delay(limit / 8));
    database.set(2);
    // Ten thousand keys take five round trips of a quarter of the limit, twice.
    cache.invalidate_objs("rows", (0..10_000).map(changed)).unwrap();
    assert_eq!(read(&other, 7, &database), (2, true));
}

/// While a server refuses to drop keys, this process shows nothing old and keeps its
/// connection. It goes on when the server drops keys again.
fn refused(refuse: impl Fn(&Server), allow: impl Fn(&Server), code: &str) {
    let server = Server::start();
    let cache = process(patient(&server));
    let kept = process(patient(&server).queue_invalidations(10));
    let database = Cell::new(1);
    (1..4).for_each(|id| assert_eq!(read(&cache, id, &database).0, 1));
    (1..4).for_each(|id| assert_eq!(read(&kept, id, &database), (1, false)));
    refuse(&server);
    let connections = || server.info("total_connections_received").parse::<u64>().unwrap();
    let before = connections();
    database.set(2);
    for _ in 0..20 {
        let error = cache.invalidate_obj("rows", &changed(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains(code), "{error}");
        assert_eq!(read(&cache, 1, &database), (2, true));
        kept.invalidate_obj("rows", &changed(2)).unwrap();
        assert_eq!(read(&kept, 2, &database), (2, true));
    }
    let status = cache.shared_status().unwrap();
    assert!(matches!(&status.state, LinkState::Down(why) if why.contains(code)), "{status:?}");
    assert_eq!((status.sessions, kept.shared_status().unwrap().pending), (1, 1));
    // Those of `connections` itself.
    assert_eq!(connections(), before + 1);
    let error = super::try_process(patient(&server)).unwrap_err();
    assert!(error.to_string().contains(code), "{error}");
    allow(&server);
    until("the connection", || is_live(&cache) && is_live(&kept));
    assert_eq!(cache.shared_status().unwrap().sessions, 1);
    assert_eq!(read(&cache, 2, &database), (2, true), "it was queued, and is delivered");
    assert_eq!(read(&cache, 3, &database), (1, false));
    // As documented: it was an error, so the application announces it again.
    cache.invalidate_obj("rows", &changed(1)).unwrap();
    assert_eq!(read(&kept, 1, &database), (2, true));
}

/// A value that the server refuses costs only the connection for large values, and is
/// not sent again.
#[test]
fn a_value_above_the_servers_limit_costs_only_its_own_connection() {
    let server = Server::options().arg("--proto-max-bulk-len", "1mb").start();
    let cache = process(Redis::url(server.url()).operation_timeout(super::LONG));
    let mut seed = 7_u64;
    let next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        seed
    };
    let numbers: Vec<u64> = std::iter::repeat_with(next).take(200_000).collect();
    let page = |id: u64| {
        let set = QuerySet::table("pages").filter(eq("id", id));
        let made = cache.cached_as(set).get_or_fill(|| Ok::<_, Error>(numbers.clone()));
        assert_eq!(made.unwrap().len(), numbers.len());
    };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (0..20).for_each(page);
            done.store(true, Ordering::SeqCst);
        });
        let mut announced = 0;
        while !done.load(Ordering::SeqCst) || announced < 100 {
            cache.invalidate_obj("rows", &changed(announced)).unwrap();
            announced += 1;
        }
    });
    assert_eq!(cache.shared_status().unwrap().sessions, 1);
    // That of the test, that of the cache, and the one that was closed.
    let mut made = server.info("total_connections_received").parse::<u64>().unwrap();
    for id in 20..40 {
        page(id);
    }
    made = server.info("total_connections_received").parse::<u64>().unwrap() - made;
    assert_eq!(made, 1, "that of the last INFO");
    // Smaller values are stored, including large ones.
    let stored = process(patient(&server));
    let text = |cache: &Cacheops, bytes: usize| {
        let place = cache.cached_as(QuerySet::table("texts")).extra(&bytes);
        place.get_or_fill(|| Ok::<_, Error>(numbers[..bytes / 9].to_vec())).unwrap();
    };
    for bytes in [300_000, 900_000] {
        text(&cache, bytes);
        text(&stored, bytes);
    }
    assert_eq!(stored.stats().shared_hits, 2);
}

#[test]
fn a_server_that_lacks_replicas_is_not_used() {
    let set = |server: &Server, count| {
        server.command(&["CONFIG", "SET", "min-replicas-to-write", count]).unwrap();
    };
    refused(|server| set(server, "1"), |server| set(server, "0"), "NOREPLICAS");
}

#[test]
fn a_server_that_cannot_save_is_not_used() {
    let saves = |server: &Server, status: &str| {
        let _ = server.command(&["BGSAVE"]);
        until(status, || server.info("rdb_last_bgsave_status") == status);
    };
    // It cannot write a file over a directory.
    let in_the_way = |server: &Server| server.dir().join("dump.rdb");
    let refuse = |server: &Server| {
        std::fs::create_dir_all(in_the_way(server).join("kept")).unwrap();
        server.command(&["CONFIG", "SET", "save", "3600 1"]).unwrap();
        saves(server, "err");
    };
    let allow = |server: &Server| {
        std::fs::remove_dir_all(in_the_way(server)).unwrap();
        saves(server, "ok");
    };
    refused(refuse, allow, "MISCONF");
}

/// The rights to one tenant, and to what all share.
const ONE_TENANT: &str =
    "~shop:all ~shop:last ~shop:drops* ~shop:frag* ~shop:lock* ~shop:t1:* &* +@all";

/// An invalidation that the server refuses does not disable the cache for other
/// tenants: the supervisor tries again at once, not with the next heartbeat.
#[test]
fn a_refused_invalidation_does_not_disable_the_cache() {
    const ROUNDS: u32 = 20;
    let server = Server::options().user("web", "pw", ONE_TENANT).start();
    let tenant = Arc::new(Mutex::new("t1:"));
    let now = tenant.clone();
    let cache = Cacheops::builder()
        .prefix("shop:")
        .prefix_by(move |_| now.lock().unwrap().to_string())
        // A heartbeat comes each second.
        .redis(patient(&server).consistency(Consistency::Bounded(LONG)))
        .build()
        .unwrap();
    let database = Cell::new(1);
    let mut away = Duration::ZERO;
    for _ in 0..ROUNDS {
        *tenant.lock().unwrap() = "t2:";
        let error = cache.invalidate_obj("rows", &changed(1)).unwrap_err();
        assert!(error.to_string().contains("NOPERM"), "{error}");
        let began = Instant::now();
        *tenant.lock().unwrap() = "t1:";
        until("the connection", || is_live(&cache));
        away += began.elapsed();
        read(&cache, 1, &database);
        assert_eq!(read(&cache, 1, &database), (1, false));
    }
    assert!(away < Duration::from_secs(1) * ROUNDS / 3, "it was away for {away:?}");
}

/// If the user may not drop the keys of one tenant, everything is dropped instead, and
/// no other invalidation waits.
#[test]
fn a_refused_invalidation_does_not_delay_others() {
    let server = Server::options().user("web", "pw", ONE_TENANT).start();
    let tenant = Arc::new(Mutex::new("t1:"));
    let now = tenant.clone();
    let cache = Cacheops::builder()
        .prefix("shop:")
        .prefix_by(move |_| now.lock().unwrap().to_string())
        .redis(patient(&server).queue_invalidations(100))
        .build()
        .unwrap();
    let database = Cell::new(1);
    assert_eq!(read(&cache, 1, &database), (1, true));
    assert_eq!(read(&cache, 1, &database), (1, false));
    *tenant.lock().unwrap() = "t2:";
    cache.invalidate_objs("rows", &[changed(1), changed(2)]).unwrap();
    *tenant.lock().unwrap() = "t1:";
    database.set(2);
    cache.invalidate_obj("rows", &changed(1)).unwrap();
    until("the connection", || is_live(&cache));
    assert_eq!(cache.shared_status().unwrap().pending, 0);
    assert_eq!(read(&cache, 1, &database), (2, true));
    assert_eq!(read(&cache, 1, &database), (2, false));
}
